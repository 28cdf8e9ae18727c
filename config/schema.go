package config

import (
	_ "embed" // for the descriptions
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// descriptions are the comments of the structs and fields of the configuration, which
// internal/reference writes.
//
//go:embed descriptions.json
var descriptions []byte

// Schema returns the JSON Schema (draft 2020-12) of the configuration file, for
// editors: names, types, descriptions and lists of values. [Load] checks the values
// themselves.
func Schema() (map[string]any, error) {
	s := &schema{defs: map[string]any{}, comments: map[string]string{}}
	if err := json.Unmarshal(descriptions, &s.comments); err != nil {
		return nil, fmt.Errorf("cannot read descriptions: %w", err)
	}
	root := s.object(fileType)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Rebound configuration"
	root["$defs"] = s.defs
	return root, nil
}

type schema struct {
	defs     map[string]any
	comments map[string]string // by struct and by struct.field
}

var (
	shapeType = reflect.TypeFor[shapeUnmarshaler]()
	textType  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// of returns the schema of a type. options are the config tag of the field.
func (s *schema) of(t reflect.Type, options string) map[string]any {
	if t.Kind() == reflect.Pointer {
		return s.of(t.Elem(), options)
	}
	switch {
	case t == durationType, t == timeType:
		return kinds("string")
	case t == microsType, t == cpmType:
		return kinds("number", "string")
	case reflect.PointerTo(t).Implements(shapeType):
		return map[string]any{} // a value, a list or a mapping
	case reflect.PointerTo(t).Implements(textType):
		return s.text(t)
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.reference(t)
	case reflect.Slice, reflect.Array:
		return map[string]any{"type": "array", "items": s.of(t.Elem(), options)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": s.of(t.Elem(), "")}
	case reflect.Bool:
		return kinds("boolean")
	case reflect.Float32, reflect.Float64:
		return kinds("number")
	case reflect.String:
		return kinds("string", "number", "boolean") // in YAML 12 and true are not strings
	}
	return kinds("integer")
}

// text returns the schema of a type that parses itself from a text, and may
// have another form as well.
func (s *schema) text(t reflect.Type) map[string]any {
	out := kinds("string", "number", "boolean")
	switch t.Kind() {
	case reflect.Slice:
		out = kinds("string", "array")
		out["items"] = s.of(t.Elem(), "")
	case reflect.Struct:
		out = s.object(t)
		out["type"] = []string{"string", "object"}
	}
	return out
}

func kinds(names ...string) map[string]any {
	if len(names) == 1 {
		return map[string]any{"type": names[0]}
	}
	return map[string]any{"type": names}
}

// reference returns a reference to the definition of a struct.
func (s *schema) reference(t reflect.Type) map[string]any {
	name := t.String()
	if _, known := s.defs[name]; !known {
		s.defs[name] = nil // it may refer to itself
		s.defs[name] = s.object(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (s *schema) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	fields := fieldsOf(t)
	for _, f := range fields.list {
		p := s.of(t.FieldByIndex(f.index).Type, f.options)
		if text := s.comments[f.owner+"."+f.name]; text != "" {
			p["description"] = text
		}
		if f.enum != "" && !strings.Contains(f.enum, "<") { // <key> matches any key
			s.limit(p, strings.Split(f.enum, ","))
		}
		properties[f.name] = p
	}
	if len(fields.names) > len(fields.list) {
		properties["include"] = map[string]any{"type": []string{"string", "array"}, "items": kinds("string")}
	}
	out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	name, _, _ := strings.Cut(t.String(), "[")
	if text := s.comments[name]; text != "" {
		out["description"] = text
	}
	return out
}

// limit restricts a field, the items of a list, or the values of a mapping, to a list
// of values.
func (s *schema) limit(p map[string]any, values []string) {
	for _, inner := range []string{"items", "additionalProperties"} {
		if m, ok := p[inner].(map[string]any); ok {
			s.limit(m, values)
			return
		}
	}
	if ref, ok := p["$ref"].(string); ok { // a value by format
		for _, f := range s.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)["properties"].(map[string]any) {
			s.limit(f.(map[string]any), values)
		}
		return
	}
	p["enum"] = values
}
