package config

import (
	"encoding"
	"reflect"
)

// Schema is the JSON Schema (draft 2020-12) of the configuration file, for
// editors: names, shapes and kinds of values. What the values may be is
// [Load]'s to say.
func Schema() map[string]any {
	s := &schema{defs: map[string]any{}}
	root := s.object(fileType)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Rebound configuration"
	root["$defs"] = s.defs
	return root
}

type schema struct{ defs map[string]any }

var (
	shapeType = reflect.TypeFor[shapeUnmarshaler]()
	textType  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// of is the schema of a type; options are the field's config tag.
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
		return map[string]any{} // a value, a list or a table
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
		return kinds("string", "number", "boolean") // YAML reads 12 and true as such
	}
	if options == "bytes" {
		return kinds("integer", "string")
	}
	return kinds("integer")
}

// text is the schema of a type that reads itself from a text, and from its own
// shape where that is more than a value.
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

// reference describes a struct once, and points there.
func (s *schema) reference(t reflect.Type) map[string]any {
	name := t.String()
	if _, known := s.defs[name]; !known {
		s.defs[name] = nil // it may hold itself
		s.defs[name] = s.object(t)
	}
	return map[string]any{"$ref": "#/$defs/" + name}
}

func (s *schema) object(t reflect.Type) map[string]any {
	properties := map[string]any{}
	fields := fieldsOf(t)
	for _, f := range fields.list {
		properties[f.name] = s.of(t.FieldByIndex(f.index).Type, f.options)
	}
	if len(fields.names) > len(fields.list) {
		properties["include"] = map[string]any{"type": []string{"string", "array"}, "items": kinds("string")}
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}
