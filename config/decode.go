package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/exchange"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Types that have their own syntax.
var (
	durationType = reflect.TypeFor[time.Duration]()
	timeType     = reflect.TypeFor[time.Time]()
	microsType   = reflect.TypeFor[rtb.Micros]()
	cpmType      = reflect.TypeFor[rtb.CPM]()
	fileType     = reflect.TypeFor[File]()
	profileType  = reflect.TypeFor[exchange.ProfileSpec]()
)

// shapeUnmarshaler is implemented by types that accept both a value and a list,
// without depending on the YAML library: it gets a function that decodes the
// node into a value.
type shapeUnmarshaler interface {
	UnmarshalYAML(unmarshal func(any) error) error
}

// decode decodes a node into v, which must be settable. options are the config
// tag of the field. Every mismatch is a problem, and everything else is
// decoded.
func (l *loader) decode(n *node, v reflect.Value, path, options string) {
	if n.kind == kindNull {
		return
	}
	if n.kind == kindScalar && n.tag == tagBool && !l.quiet {
		l.words[path] = n.text
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		l.decode(n, p.Elem(), path, options)
		v.Set(p)
		return
	}
	if l.decodeSpecial(n, v, path) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		l.decodeStruct(n, v, path)
	case reflect.Slice:
		l.decodeList(n, v, path, options)
	case reflect.Map:
		l.decodeMap(n, v, path)
	default:
		if n.kind != kindScalar {
			l.unread(n.place(), path, n.describe(), wantOf(v.Type()), "")
			return
		}
		l.decodeScalar(n, v, path, options)
	}
}

// decodeSpecial decodes types whose syntax is not that of their Go kind.
func (l *loader) decodeSpecial(n *node, v reflect.Value, path string) bool {
	addr := v.Addr().Interface()
	if s, ok := addr.(shapeUnmarshaler); ok {
		if err := s.UnmarshalYAML(func(dst any) error { return l.try(n, dst) }); err != nil {
			_, want := gotWant(err)
			l.unread(n.place(), path, n.describe(), want, "")
		}
		return true
	}
	if n.kind != kindScalar {
		if _, text := addr.(encoding.TextUnmarshaler); text && v.Kind() != reflect.Slice && v.Kind() != reflect.Struct {
			l.unread(n.place(), path, n.describe(), "a value", "")
			return true
		}
		return false
	}
	var err error
	switch v.Type() {
	case durationType:
		var d time.Duration
		if d, err = spec.ParseDuration(n.text); err == nil {
			v.SetInt(int64(d))
		}
	case timeType:
		var t time.Time
		if t, err = time.Parse(time.RFC3339, n.text); err != nil {
			err = fmt.Errorf("cannot parse time: got %q; want a time with its zone, such as 2026-10-01T00:00:00+02:00", n.text)
		}
		v.Set(reflect.ValueOf(t.UTC()))
	case microsType, cpmType:
		var m rtb.Micros
		m, err = rtb.ParseMicros(strings.ReplaceAll(n.text, "_", ""), rtb.RoundDown)
		v.SetInt(int64(m))
	default:
		text, ok := addr.(encoding.TextUnmarshaler)
		if !ok {
			return false
		}
		err = text.UnmarshalText([]byte(n.text))
	}
	if err != nil {
		got, want := gotWant(err)
		l.unread(n.place(), path, got, want, "")
	}
	return true
}

// try decodes a node into dst without reporting problems.
func (l *loader) try(n *node, dst any) error {
	t := &loader{fsys: l.fsys, getenv: l.getenv, files: l.files, quiet: true}
	t.decode(n, reflect.ValueOf(dst).Elem(), "", "")
	if len(t.found) > 0 {
		return fmt.Errorf("got %s; want %s", t.found[0].Got, t.found[0].Want)
	}
	return nil
}

var gotWantText = regexp.MustCompile(`(?s)got (.*?); want (.*)$`)

// gotWant splits an error of the form "cannot ...: got x; want y".
func gotWant(err error) (got, want string) {
	text := err.Error()
	if cause := errors.Unwrap(err); cause != nil {
		text = strings.TrimSuffix(text, ": "+cause.Error())
	}
	if m := gotWantText.FindStringSubmatch(text); m != nil {
		return m[1], m[2]
	}
	return err.Error(), "a valid value"
}

func (l *loader) decodeList(n *node, v reflect.Value, path, options string) {
	if n.kind != kindList {
		hint := ""
		if n.kind == kindScalar {
			hint = "[" + n.text + "]"
		}
		l.unread(n.place(), path, n.describe(), "a list", hint)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.values), len(n.values))
	for i, item := range n.values {
		p := path + "[" + strconv.Itoa(i) + "]"
		if item.kind == kindNull {
			l.unread(item.place(), p, "nothing", "an item", "")
			continue
		}
		l.decode(item, list.Index(i), p, options)
	}
	v.Set(list)
}

func (l *loader) decodeMap(n *node, v reflect.Value, path string) {
	if n.kind != kindTable {
		l.unread(n.place(), path, n.describe(), "a mapping", "")
		return
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.keys))
	for i := range n.keys {
		item := reflect.New(v.Type().Elem()).Elem()
		l.decode(n.values[i], item, spec.Join(path, n.keys[i].name), "")
		m.SetMapIndex(reflect.ValueOf(n.keys[i].name).Convert(v.Type().Key()), item)
	}
	v.Set(m)
}

func (l *loader) decodeStruct(n *node, v reflect.Value, path string) {
	if n.kind != kindTable {
		l.unread(n.place(), path, n.describe(), "a mapping", "")
		return
	}
	if v.Type() == profileType {
		l.expand(n, path, false, nil)
	}
	fields := fieldsOf(v.Type())
	if len(fields.list) == 0 {
		l.unread(n.place(), path, n.describe(), "a value", "")
		return
	}
	for i := range n.keys {
		k := &n.keys[i]
		p := spec.Join(path, k.name)
		f, ok := fields.find(k.name)
		if !ok {
			l.unknown(k, p, fields.names)
			continue
		}
		l.decode(n.values[i], v.FieldByIndex(f.index), p, f.options)
	}
}

// manyFields is how many field names a problem lists at most if the nearest one
// is known.
const manyFields = 20

func (l *loader) unknown(k *key, path string, names []string) {
	hint, want := spec.DidYouMean(k.name, names), "one of "+strings.Join(names, ", ")
	if hint != "" && len(names) > manyFields {
		want = "a known field"
	}
	if near := spec.Nearest(k.name, names); near != "" {
		l.breaks(path[:len(path)-len(k.name)] + near) // that it is missing follows
	}
	l.unread(k.place(), path, "unknown field "+spec.Quote(k.name), want, hint)
}

func (l *loader) decodeScalar(n *node, v reflect.Value, path, options string) {
	wrong := func() { l.unread(n.place(), path, n.describe(), wantOf(v.Type()), "") }
	number := strings.ReplaceAll(n.text, "_", "")
	switch v.Kind() {
	case reflect.String:
		if n.block && !l.quiet {
			l.blocks[path] = n
		}
		v.SetString(l.text(n, path, options))
	case reflect.Bool:
		b, err := strconv.ParseBool(n.text)
		if n.tag != tagBool || err != nil {
			hint := ""
			if slices.Contains([]string{"yes", "no", "on", "off", "y", "n"}, strings.ToLower(n.text)) {
				hint = "yes, no, on and off are words here, not booleans"
			}
			l.unread(n.place(), path, n.describe(), wantOf(v.Type()), hint)
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(number, 10, 64)
		if n.tag != tagInt || err != nil || v.OverflowInt(i) {
			wrong()
			return
		}
		v.SetInt(i)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(number, 64)
		if n.tag != tagFloat && n.tag != tagInt || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			wrong()
			return
		}
		v.SetFloat(x)
	default:
		l.unread(n.place(), path, n.describe(), "no such field: a fault of this version, which does not read fields of type "+v.Type().String(), "")
	}
}

var envName = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// text returns the value of a string field: with environment variables replaced
// if the field allows them, and relative to the file if the field is a path.
func (l *loader) text(n *node, path, options string) (value string) {
	switch options {
	case "lists":
		return listEntry(n)
	case "path":
		if n.text == "" {
			return ""
		}
		return resolve(n.src.dir, n.text)
	case "env":
		if l.placeholders != nil {
			return l.placeholders[path]
		}
		defer func() { l.noteSecret(n, path, value) }()
		return envName.ReplaceAllStringFunc(n.text, func(m string) string {
			name := m[2 : len(m)-1]
			if l.getenv != nil {
				if value, ok := l.getenv(name); ok && value != "" {
					return value
				} else if ok {
					l.unread(n.place(), path, "${"+name+"}, which is empty", "an environment variable with a value", "export "+name+"=...")
					return ""
				}
			}
			l.unread(n.place(), path, "${"+name+"}, which is not set", "an environment variable that is set", "export "+name+"=...")
			return ""
		})
	}
	return n.text
}

// wantOf describes the values that a type accepts.
func wantOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a mapping"
	}
	return "a whole number"
}
