package creatives

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"rebound/internal/spec"
)

// fieldsOf returns the values of the fields of a spec that it sets, by name.
func fieldsOf(s *Spec) map[string]any {
	set := map[string]any{}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); !f.IsZero() {
			set[v.Type().Field(i).Tag.Get("yaml")] = f.Interface()
		}
	}
	return set
}

// only checks that a spec has no fields of other types.
func (c *compiler) only(k *kind) {
	set := fieldsOf(c.spec)
	for _, field := range slices.Sorted(maps.Keys(set)) {
		owners := kindsWith(func(k *kind) bool { return k.has(field) })
		if len(owners) > 0 && !k.has(field) {
			c.Add(field, field, "nothing for type "+k.name+"; it belongs to "+strings.Join(owners, ", "))
		}
	}
}

// trackers checks the URLs of third-party trackers.
func (c *compiler) trackers(out *Creative) {
	t := &c.spec.Trackers
	for i, u := range t.Imp {
		c.checkLink(spec.At("trackers.imp", i), u, out)
	}
	for i, u := range t.Click {
		c.checkLink(spec.At("trackers.click", i), u, out)
	}
}

// checkLink checks a URL that is loaded or called.
func (c *compiler) checkLink(field, u string, out *Creative) {
	if want := checkURL(withoutMacros(u), !out.Secure); want != "" {
		c.Add(field, spec.Quote(u), want)
	}
}

// withoutMacros replaces the exchange macros of a URL by characters that a URL
// may have.
func withoutMacros(u string) string {
	for {
		i := strings.Index(u, "${")
		if i < 0 {
			return u
		}
		end := strings.IndexByte(u[i:], '}')
		if end < 0 {
			return u
		}
		u = u[:i] + "x" + u[i+end+1:]
	}
}
