package apptest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// schema is a JSON Schema. The validator supports the keywords that the files
// under testdata use; an unsupported keyword is an error.
type schema struct {
	root object
}

// schemas are those of the two versions of the response that senders ask for.
func schemas(t testing.TB) map[string]*schema {
	t.Helper()
	all := map[string]*schema{}
	for _, version := range []string{"2.5", "2.6"} {
		text, err := os.ReadFile("testdata/response-" + version + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		s := &schema{}
		if err := json.Unmarshal(text, &s.root); err != nil {
			t.Fatal(err)
		}
		all[version] = s
	}
	return all
}

// check lists where a document differs from the schema.
func (s *schema) check(document []byte) []string {
	var v any
	if err := json.Unmarshal(document, &v); err != nil {
		return []string{fmt.Sprintf("no JSON: %v", err)}
	}
	return s.value("", s.root, v)
}

// schemaWords are the keywords by which a schema can refuse a value.
var schemaWords = map[string]func(s *schema, path string, rule, v any) []string{}

func init() { // the keywords refer to value, which refers to them
	schemaWords = map[string]func(s *schema, path string, rule, v any) []string{
		"type": ofType, "required": required, "properties": properties, "additionalProperties": noOthers, "items": items,
		"dependentRequired": dependent, "enum": oneOf, "pattern": pattern,
		"minLength":        bound("characters", length, func(n, limit float64) bool { return n >= limit }),
		"maxLength":        bound("characters", length, func(n, limit float64) bool { return n <= limit }),
		"minItems":         bound("elements", elements, func(n, limit float64) bool { return n >= limit }),
		"minimum":          bound("", number, func(n, limit float64) bool { return n >= limit }),
		"maximum":          bound("", number, func(n, limit float64) bool { return n <= limit }),
		"exclusiveMinimum": bound("", number, func(n, limit float64) bool { return n > limit }),
		"$comment":         nothing, "$defs": nothing,
	}
}

// value applies every keyword of a schema to a value.
func (s *schema) value(path string, rules object, v any) (wrong []string) {
	for _, word := range slices.Sorted(maps.Keys(rules)) {
		if word == "$ref" {
			name, ok := strings.CutPrefix(str(rules[word]), "#/$defs/")
			to := obj(obj(s.root["$defs"])[name])
			if !ok || to == nil {
				return []string{fmt.Sprintf("%s: the schema refers to %v, which is not there", path, rules[word])}
			}
			wrong = append(wrong, s.value(path, to, v)...)
			continue
		}
		check := schemaWords[word]
		if check == nil {
			return []string{fmt.Sprintf("%s: the schema holds %q, which the validator does not know", path, word)}
		}
		if word == "additionalProperties" {
			v := object{"properties": rules["properties"], "value": v}
			wrong = append(wrong, check(s, path, rules[word], v)...)
			continue
		}
		wrong = append(wrong, check(s, path, rules[word], v)...)
	}
	return wrong
}

func nothing(*schema, string, any, any) []string { return nil }

func ofType(_ *schema, path string, rule, v any) []string {
	ok := false
	switch x := v.(type) {
	case string:
		ok = rule == "string"
	case float64:
		ok = rule == "number" || rule == "integer" && x == float64(int64(x))
	case object:
		ok = rule == "object"
	case []any:
		ok = rule == "array"
	case bool:
		ok = rule == "boolean"
	}
	if !ok {
		return []string{fmt.Sprintf("%s: got %v; want a %v", path, v, rule)}
	}
	return nil
}

func required(_ *schema, path string, rule, v any) (wrong []string) {
	for _, name := range list(rule) {
		if o, ok := v.(object); ok && o[str(name)] == nil {
			wrong = append(wrong, fmt.Sprintf("%s: got no %v", path, name))
		}
	}
	return wrong
}

func dependent(s *schema, path string, rule, v any) (wrong []string) {
	for name, needs := range obj(rule) {
		if obj(v)[name] != nil {
			wrong = append(wrong, required(s, path+"."+name, needs, v)...)
		}
	}
	return wrong
}

func properties(s *schema, path string, rule, v any) (wrong []string) {
	for name, rules := range obj(rule) {
		if x, there := obj(v)[name]; there {
			wrong = append(wrong, s.value(path+"."+name, obj(rules), x)...)
		}
	}
	return wrong
}

// noOthers supports only additionalProperties: false; v holds the properties
// next to the value.
func noOthers(_ *schema, path string, rule, v any) (wrong []string) {
	known, in := obj(obj(v)["properties"]), obj(obj(v)["value"])
	for name := range in {
		if rule == false && known[name] == nil {
			wrong = append(wrong, fmt.Sprintf("%s: got %s, which is no member of it", path, name))
		}
	}
	return wrong
}

func items(s *schema, path string, rule, v any) (wrong []string) {
	for i, x := range list(v) {
		wrong = append(wrong, s.value(fmt.Sprintf("%s[%d]", path, i), obj(rule), x)...)
	}
	return wrong
}

func oneOf(_ *schema, path string, rule, v any) []string {
	if !slices.ContainsFunc(list(rule), func(x any) bool { return reflect.DeepEqual(x, v) }) {
		return []string{fmt.Sprintf("%s: got %v; want one of %v", path, v, rule)}
	}
	return nil
}

func pattern(_ *schema, path string, rule, v any) []string {
	text, ok := v.(string)
	if re, err := regexp.Compile(str(rule)); err != nil || ok && !re.MatchString(text) {
		return []string{fmt.Sprintf("%s: got %q; want %v", path, text, rule)}
	}
	return nil
}

func length(v any) (float64, bool) {
	s, ok := v.(string)
	return float64(utf8.RuneCountInString(s)), ok
}
func elements(v any) (float64, bool) { l, ok := v.([]any); return float64(len(l)), ok }
func number(v any) (float64, bool)   { f, ok := v.(float64); return f, ok }

func bound(of string, measure func(any) (float64, bool), holds func(n, limit float64) bool) func(*schema, string, any, any) []string {
	return func(_ *schema, path string, rule, v any) []string {
		limit, known := rule.(float64)
		if n, applies := measure(v); !known || applies && !holds(n, limit) {
			return []string{fmt.Sprintf("%s: got %g %s; the limit is %v", path, n, of, rule)}
		}
		return nil
	}
}

// TestSchemas shows that the schemas take a valid response and find each fault in it.
func TestSchemas(t *testing.T) {
	good := `{"id":"q","bidid":"b","cur":"USD","seatbid":[{"seat":"s","bid":[{"id":"x","impid":"1","price":1.5,"adm":"<b>","adomain":["shop.example"],` +
		`"cid":"c","crid":"r","cat":["IAB22"],"cattax":1,"attr":[1],"mtype":1,"w":300,"h":250,"exp":300,"language":"en","burl":"https://e.example/b?p=${AUCTION_PRICE}","ext":{"a":null}}]}]}`
	all := schemas(t)
	for version, s := range all {
		if wrong := s.check([]byte(good)); len(wrong) > 0 {
			t.Errorf("%s, a good answer: %v", version, wrong)
		}
	}
	for _, c := range []struct{ from, to, versions string }{
		{`"id":"q"`, `"id":7`, "2.5 2.6"}, {`"id":"q",`, ``, "2.5 2.6"}, {`"id":"q"`, `"id":""`, "2.5 2.6"}, {`"cur":"USD"`, `"cur":"usd"`, "2.5 2.6"},
		{`"seatbid":[{`, `"nbr":0,"seatbid":[],"x":[{`, "2.5 2.6"}, {`"bid":[{`, `"bid":[],"x":[{`, "2.5 2.6"}, {`"seat":"s",`, ``, "2.6"},
		{`"price":1.5`, `"price":0`, "2.5 2.6"}, {`"price":1.5`, `"price":"1.5"`, "2.5 2.6"}, {`"price":1.5`, `"price":null`, "2.5 2.6"},
		{`"impid":"1"`, `"impid":1`, "2.5 2.6"}, {`"impid":"1",`, ``, "2.5 2.6"}, {`"adomain":["shop.example"]`, `"adomain":[]`, "2.6"},
		{`"shop.example"`, `"https://shop.example"`, "2.6"}, {`"shop.example"`, `"Shop.example"`, "2.6"}, {`"crid":"r"`, `"crid":"` + strings.Repeat("r", 65) + `"`, "2.6"},
		{`"cattax":1,`, ``, "2.6"}, {`"cat":["IAB22"],`, ``, "2.6"}, {`"IAB22"`, `"shoes"`, "2.5"}, {`"attr":[1]`, `"attr":["1"]`, "2.5 2.6"},
		{`"mtype":1`, `"mtype":5`, "2.6"}, {`"w":300,`, ``, "2.6"}, {`"w":300`, `"w":300.5`, "2.5 2.6"}, {`"exp":300`, `"exp":null`, "2.5 2.6"},
		{`"language":"en"`, `"language":"english"`, "2.5 2.6"}, {`"https://e.example/b`, `"e.example/b`, "2.6"}, {`"cid":"c"`, `"cid":"c","clickurl":"x"`, "2.6"},
		{`"ext":{"a":null}`, `"ext":7`, "2.5 2.6"}, {`"bidid":"b"`, `"bidid":"b","nbr":-1`, "2.5 2.6"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		for version, s := range all {
			if got, want := len(s.check([]byte(bad))) > 0, strings.Contains(c.versions, version); bad == good || got != want {
				t.Errorf("%s: %s for %s: found a fault %v; want %v", version, c.to, c.from, got, want)
			}
		}
	}
	odd := &schema{root: object{"oneOf": []any{}}}
	if len(odd.check([]byte(`1`))) == 0 {
		t.Error("a keyword that nobody knows was passed over")
	}
}
