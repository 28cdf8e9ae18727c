package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/campaigns"
	"rebound/internal/spec"
)

// Diff returns what changed from a to b, one line per change, for people:
// fields of the files, markup of creatives, rates, lists and feeds. It does not
// show secrets. No line means that nothing of interest changed.
func Diff(a, b *Snapshot) []string {
	d := differ{}
	d.compare(reflect.ValueOf(&a.File).Elem(), reflect.ValueOf(&b.File).Elem(), "")
	out := append(d.changed, d.removed...)
	out = append(out, diffCreatives(a, b)...)
	return append(out, diffData(a, b)...)
}

// Risks returns what a reload from a to b risks although both are valid: an
// advertiser's day begins at another time, so that its daily caps can be spent twice
// within 24 hours.
func Risks(a, b *Snapshot) []spec.Problem {
	before := map[string]string{}
	for _, adv := range a.Index.Advertisers() {
		before[adv.ID] = adv.Zone.String()
	}
	var out []spec.Problem
	for i := range b.Advertisers {
		adv := b.Index.Advertiser(b.Advertisers[i].ID)
		if was, is := before[adv.ID], adv.Zone.String(); was != "" && was != is {
			out = append(out, spec.Problem{Path: spec.At("advertisers", i) + ".timezone", Got: was + " -> " + is,
				Want: "a change while the campaigns of " + spec.Quote(adv.ID) + " are paused: the day now begins at another time, so its daily budgets can be spent twice within 24 hours"})
		}
	}
	return out
}

// differ compares two configurations field by field. It keeps texts of what differs
// only, because the fields of a large configuration are many times larger as texts.
type differ struct {
	path    []step   // from the top to the values being compared
	changed []string // changed and added values, in the order of the new configuration
	removed []string // in the order of the old one
}

// step is one part of a path: a field or a key of a map, or an item of a list.
type step struct {
	name string
	item bool
}

// at returns the path of the values being compared.
func (d *differ) at() string {
	path := ""
	for _, s := range d.path {
		if s.item {
			path += "[" + s.name + "]"
		} else {
			path = spec.Join(path, s.name)
		}
	}
	return path
}

// compareAt compares values one step further down.
func (d *differ) compareAt(s step, a, b reflect.Value, options string) {
	d.path = append(d.path, s)
	d.compare(a, b, options)
	d.path = d.path[:len(d.path)-1]
}

// compare compares two values of the same type. The zero [reflect.Value] is one that
// only the other side has.
func (d *differ) compare(a, b reflect.Value, options string) {
	a, b = given(a), given(b)
	switch {
	case !a.IsValid() && !b.IsValid() || a.IsValid() && b.IsValid() && samePlain(a, b):
		return
	case !a.IsValid():
		if hasText(b) {
			d.changed = append(d.changed, "added "+d.at())
		}
		return
	case !b.IsValid():
		if hasText(a) {
			d.removed = append(d.removed, "removed "+d.at())
		}
		return
	}
	if was, ok := textOf(a); ok {
		is, _ := textOf(b)
		d.texts(was, is, options)
		return
	}
	switch a.Kind() {
	case reflect.Struct:
		for _, fd := range fieldsOf(a.Type()).list {
			d.compareAt(step{name: fd.name}, a.FieldByIndex(fd.index), b.FieldByIndex(fd.index), fd.options)
		}
	case reflect.Slice:
		d.items(a, b, options)
	case reflect.Map:
		for _, k := range sortedKeys(b) {
			d.compareAt(step{name: k.String()}, a.MapIndex(k), b.MapIndex(k), "")
		}
		for _, k := range sortedKeys(a) {
			if !b.MapIndex(k).IsValid() {
				d.compareAt(step{name: k.String()}, a.MapIndex(k), reflect.Value{}, "")
			}
		}
	}
}

// texts compares values as texts; an empty text is no value.
func (d *differ) texts(was, is, options string) {
	switch {
	case was == is:
	case was == "":
		d.changed = append(d.changed, "added "+d.at())
	case is == "":
		d.removed = append(d.removed, "removed "+d.at())
	case options == "env":
		d.changed = append(d.changed, d.at()+": a secret -> another")
	default:
		d.changed = append(d.changed, d.at()+": "+was+" -> "+is)
	}
}

// items compares the items of two lists by their names.
func (d *differ) items(a, b reflect.Value, options string) {
	before := make(map[string]reflect.Value, a.Len())
	for i := range a.Len() {
		before[itemName(a.Index(i), i)] = a.Index(i)
	}
	for i := range b.Len() {
		name := itemName(b.Index(i), i)
		d.compareAt(step{name, true}, before[name], b.Index(i), options)
		delete(before, name)
	}
	for i := range a.Len() {
		name := itemName(a.Index(i), i)
		if was, ok := before[name]; ok {
			d.compareAt(step{name, true}, was, reflect.Value{}, options)
			delete(before, name)
		}
	}
}

// given returns the value that v points to, or the zero Value if the file does not set
// it.
func given(v reflect.Value) reflect.Value {
	if v.IsValid() && v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if !v.IsValid() || v.Kind() != reflect.Struct && v.IsZero() {
		return reflect.Value{}
	}
	return v
}

// samePlain reports whether two values of the same type are equal strings, numbers or
// booleans.
func samePlain(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return a.Equal(b)
	}
	return false
}

// hasText reports whether any value inside v has a text.
func hasText(v reflect.Value) bool {
	if v = given(v); !v.IsValid() {
		return false
	}
	if text, ok := textOf(v); ok {
		return text != ""
	}
	switch v.Kind() {
	case reflect.Struct:
		return slices.ContainsFunc(fieldsOf(v.Type()).list, func(fd field) bool { return hasText(v.FieldByIndex(fd.index)) })
	case reflect.Slice:
		for i := range v.Len() {
			if hasText(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		return slices.ContainsFunc(v.MapKeys(), func(k reflect.Value) bool { return hasText(v.MapIndex(k)) })
	}
	return false
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}

// itemName returns the name of an item of a list: its id, or else its index.
func itemName(v reflect.Value, i int) string {
	if v.Kind() == reflect.Struct {
		if id := v.FieldByName("ID"); id.IsValid() && id.Kind() == reflect.String && id.String() != "" {
			name := id.String()
			if adv := v.FieldByName("Advertiser"); adv.IsValid() && adv.Kind() == reflect.String && adv.String() != "" {
				name = adv.String() + "/" + name
			}
			return name
		}
	}
	return strconv.Itoa(i)
}

// textOf returns a scalar value as the file writes it.
func textOf(v reflect.Value) (string, bool) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return spec.FormatDuration(x), true
	case time.Time:
		if x.IsZero() {
			return "", true
		}
		return x.Format(time.RFC3339), true
	case fmt.Stringer:
		if v.Kind() != reflect.Slice {
			return x.String(), true
		}
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return string(b), err == nil
	}
	switch v.Kind() {
	case reflect.String:
		return spec.Quote(v.String()), true
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float32, reflect.Float64:
		return fmt.Sprint(v.Interface()), true
	}
	return "", false
}

// diffCreatives returns changes of markup in separate files.
func diffCreatives(a, b *Snapshot) []string {
	var out []string
	for i := range b.Creatives {
		id := b.Creatives[i].ID
		was, is := a.CreativeIndex[id], b.CreativeIndex[id]
		if was != nil && is != nil && was.CRID != is.CRID {
			out = append(out, "creative "+id+": markup changed, crid "+was.CRID+" -> "+is.CRID)
		}
	}
	return out
}

// diffData returns changes of rates and feeds, whose content is not part of the
// fields.
func diffData(a, b *Snapshot) []string {
	var out []string
	if a.Rates != nil && b.Rates != nil && !a.Rates.AsOf.Equal(b.Rates.AsOf) {
		out = append(out, "rates: of "+a.Rates.AsOf.Format(time.RFC3339)+" -> "+b.Rates.AsOf.Format(time.RFC3339))
	}
	out = append(out, diffLists(a, b)...)
	for i := range b.Feeds {
		id := b.Feeds[i].ID
		was, is := a.FeedIndex[id], b.FeedIndex[id]
		switch {
		case was == nil || is == nil:
		case is.Kept != "":
			out = append(out, fmt.Sprintf("feed %s: %s; the %d products loaded before stay in use", id, is.Kept, is.Good))
		case was.Sum != is.Sum:
			added, removed, changed := was.Changes(is)
			out = append(out, fmt.Sprintf("feed %s: %d products, %d bad rows -> %d products, %d bad rows (%d added, %d removed, %d changed)",
				id, was.Good, was.Bad, is.Good, is.Bad, added, removed, changed))
		}
	}
	return out
}

// diffLists returns changes of list files.
func diffLists(a, b *Snapshot) []string {
	if a.Tables == nil || b.Tables == nil {
		return nil
	}
	var out []string
	before := map[string]campaigns.File{}
	for _, f := range a.Tables.Files() {
		before[f.Name] = f
	}
	for _, f := range b.Tables.Files() {
		if was, ok := before[f.Name]; ok && was.Sum != f.Sum {
			out = append(out, fmt.Sprintf("list %s: %d rows -> %d rows", f.Name, was.Rows, f.Rows))
		}
	}
	return out
}
