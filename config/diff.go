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
	before, after := flatten(a), flatten(b)
	var out []string
	for _, path := range union(before.order, after.order) {
		was, had := before.values[path]
		is, has := after.values[path]
		switch {
		case had && has && was != is:
			if strings.HasPrefix(is, secret) {
				was, is = "a secret", "another"
			}
			out = append(out, path+": "+was+" -> "+is)
		case had != has:
			if top := topmost(path, before.tables, after.tables); top != "" {
				path = top
			}
			line := "added " + path
			if had {
				line = "removed " + path
			}
			out = append(out, line)
		}
	}
	out = slices.Compact(out)
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

// secret is the prefix of the text of a field whose value must not be shown.
const secret = "\x00"

// topmost returns the outermost table around a field that only one side has;
// empty if both have the table of the field.
func topmost(path string, a, b map[string]bool) string {
	top := ""
	for p := path; p != ""; {
		p = p[:max(0, strings.LastIndexAny(p, ".["))]
		if p != "" && a[p] != b[p] {
			top = p
		}
	}
	return top
}

// union returns the paths of both, in the order of b, followed by those of a
// only.
func union(a, b []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, list := range [][]string{b, a} {
		for _, p := range list {
			if !seen[p] {
				seen[p] = true
				out = append(out, p)
			}
		}
	}
	return out
}

// flat is a configuration as paths and texts. Items of lists are named by their
// ids.
type flat struct {
	order  []string
	values map[string]string
	tables map[string]bool
}

func flatten(s *Snapshot) *flat {
	f := &flat{values: map[string]string{}, tables: map[string]bool{}}
	f.add("", reflect.ValueOf(s.File), "")
	return f
}

func (f *flat) set(path, text string) {
	f.order = append(f.order, path)
	f.values[path] = text
}

func (f *flat) add(path string, v reflect.Value, options string) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if v.IsZero() && v.Kind() != reflect.Struct {
		return
	}
	if text, ok := textOf(v); ok {
		if options == "env" {
			text = secret + text
		}
		if text != "" {
			f.set(path, text)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.tables[path] = true
		for _, fd := range fieldsOf(v.Type()).list {
			f.add(spec.Join(path, fd.name), v.FieldByIndex(fd.index), fd.options)
		}
	case reflect.Slice:
		f.tables[path] = true
		for i := range v.Len() {
			f.add(path+"["+itemName(v.Index(i), i)+"]", v.Index(i), options)
		}
	case reflect.Map:
		f.tables[path] = true
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			f.add(spec.Join(path, k.String()), v.MapIndex(k), "")
		}
	}
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
