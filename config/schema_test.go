package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestSchemaFitsTheSamples validates every sample with the schema: every field
// in them must be known to it, and an invented field must not be.
func TestSchemaFitsTheSamples(t *testing.T) {
	text, err := json.Marshal(schemaOf(t))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	exchange := schema["$defs"].(map[string]any)["exchange.ProfileSpec"].(map[string]any)
	files := map[string]map[string]any{"../examples/shop/rebound.yaml": schema, "../examples/markets.yaml": schema}
	profiles, err := filepath.Glob("../examples/exchanges/*.yaml")
	if err != nil || len(profiles) < 10 {
		t.Fatalf("got %d profiles, %v", len(profiles), err)
	}
	for _, name := range profiles {
		files[name] = exchange
	}
	for name, s := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		for _, wrong := range misfits(schema, s, v, name) {
			t.Error(wrong)
		}
	}
	for _, bad := range []string{`{"versoin":1}`, `{"version":"one"}`, `{"exchanges":{}}`, `{"exchanges":[{"seats":"x"}]}`, `{"privacy":{"notice_ttl":[]}}`} {
		var v any
		if err := yaml.Unmarshal([]byte(bad), &v); err != nil {
			t.Fatal(err)
		}
		if len(misfits(schema, schema, v, "bad")) == 0 {
			t.Errorf("%s fits", bad)
		}
	}
}

// misfits compares a YAML value with the few words of JSON Schema that Schema uses.
func misfits(root, s map[string]any, v any, path string) (wrong []string) {
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	kind := "other"
	switch v.(type) {
	case map[string]any:
		kind = "object"
	case []any:
		kind = "array"
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case int:
		kind = "integer"
	case float64:
		kind = "number"
	case nil:
		return nil
	}
	var allowed []string
	switch want := s["type"].(type) {
	case string:
		allowed = []string{want}
	case []any:
		for _, w := range want {
			allowed = append(allowed, w.(string))
		}
	}
	if len(allowed) > 0 && !slices.Contains(allowed, kind) && !(kind == "integer" && slices.Contains(allowed, "number")) && kind != "other" {
		return []string{fmt.Sprintf("%s: got %s; want %v", path, kind, allowed)}
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for k, item := range v {
			p, ok := properties[k].(map[string]any)
			if !ok {
				if s["additionalProperties"] == false {
					wrong = append(wrong, path+"."+k+": unknown")
				}
				p, _ = s["additionalProperties"].(map[string]any)
			}
			wrong = append(wrong, misfits(root, p, item, path+"."+k)...)
		}
	case []any:
		items, _ := s["items"].(map[string]any)
		for i, item := range v {
			wrong = append(wrong, misfits(root, items, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return wrong
}
