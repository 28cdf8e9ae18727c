package config

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"rebound/internal/spec"
)

// The lists of values that the schema and the reference show are those that loading
// accepts: enums.yaml has a wrong value in every field with a list.
func TestEnumsAreWhatLoadingAccepts(t *testing.T) {
	fields := map[string]string{} // struct.field: values
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(rt reflect.Type) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice || rt.Kind() == reflect.Map {
			rt = rt.Elem()
		}
		if rt.Kind() != reflect.Struct || seen[rt] || rt == timeType {
			return
		}
		seen[rt] = true
		for _, f := range fieldsOf(rt).list {
			if f.enum != "" {
				fields[f.owner+"."+f.name] = f.enum
			}
			walk(rt.FieldByIndex(f.index).Type)
		}
	}
	walk(fileType)
	_, err := Load("testdata/enums.yaml", Options{})
	var problems spec.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("got %v; want problems", err)
	}
	index := regexp.MustCompile(`\[\d+\]`)
	for name, enum := range fields {
		_, field, _ := strings.Cut(name[strings.Index(name, ".")+1:], ".")
		values := strings.Split(enum, ",")
		slices.Sort(values)
		if !slices.ContainsFunc(problems, func(p spec.Problem) bool {
			list, ok := strings.CutPrefix(p.Want, "one of ")
			list, _, _ = strings.Cut(list, " for ") // the operators depend on the field
			if !ok && len(values) == 1 {
				list, ok = values[0], strings.Contains(p.Want, values[0])
			}
			accepted := strings.Split(list, ", ")
			slices.Sort(accepted)
			path := index.ReplaceAllString(p.Path, "")
			return ok && slices.Equal(accepted, values) && (strings.HasSuffix(path, "."+field) || strings.Contains(path, "."+field+"."))
		}) {
			t.Errorf("%s: no problem with the values %v", name, values)
		}
	}
	if len(fields) < 30 {
		t.Errorf("got %d fields with lists of values", len(fields))
	}
	if t.Failed() {
		t.Log(err)
	}
}

// Almost every field has a description in the schema, and lists of values are enums.
func TestSchemaDescribes(t *testing.T) {
	b, err := json.Marshal(schemaOf(t))
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Defs map[string]struct {
			Description string
			Properties  map[string]struct {
				Description string
				Enum        []string
				Items       struct{ Enum []string }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	described, fields := 0, 0
	for _, d := range all.Defs {
		for _, p := range d.Properties {
			if fields++; p.Description != "" {
				described++
			}
		}
	}
	if fields < 250 || described < fields*9/10 {
		t.Errorf("got %d descriptions of %d fields", described, fields)
	}
	line := all.Defs["campaigns.LineSpec"]
	if line.Description == "" || !slices.Equal(line.Properties["status"].Enum, []string{"active", "paused", "draft", "archived"}) || line.Properties["daypart"].Description == "" ||
		!slices.Contains(all.Defs["campaigns.DeviceSpec"].Properties["os"].Items.Enum, "ios") {
		t.Errorf("got %+v", line)
	}
}

func schemaOf(t *testing.T) map[string]any {
	t.Helper()
	s, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	return s
}
