package audiences

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"rebound/rtb"
)

// specs reads audiences as config does.
func specs(t testing.TB, text string) []Spec {
	t.Helper()
	var out []Spec
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("cannot read rules: %v", err)
	}
	return out
}

func compiled(t testing.TB, text string) *Set {
	t.Helper()
	set, problems := Compile(specs(t, text), []string{"shop"})
	if len(problems) > 0 {
		t.Fatalf("problems: %v", problems)
	}
	return set
}

const cartRules = `
- id: cart_abandoners
  ttl: 30d
  include:
    all:
      - event: AddToCart
        within: 7d
        not_within: 30m
        min_count: 2
        where:
          - {field: url.path, op: prefix, value: /Shop/}
          - {field: item.category, op: under, value: "Shoes>Running "}
          - {field: item.price, op: gte, value: 29.90}
  exclude:
    any:
      - {event: purchase, within: 90d, after: include}
      - {audience: staff}
- id: staff
  include: {event: staff_login, where: [{field: prop.Role, value: [clerk, Admin, clerk]}]}
- id: viewers
  include: {any: [{event: view_item}, {event: add_to_cart, where: [{field: url.path, op: prefix, value: /shop/}, {field: item.category, op: under, value: shoes > running}, {field: item.price, op: gte, value: "29.9"}]}]}
`

func TestCompileGivesCanonicalTexts(t *testing.T) {
	set := compiled(t, cartRules)
	want := []string{
		`shop "add_to_cart" item.category under "shoes > running" & item.price gte "29.9" & url.path prefix "/shop/"`,
		`shop "purchase"`,
		`shop "staff_login" prop.Role in "admin" "clerk"`,
		`shop "view_item"`,
	}
	if got := set.Rules(); !slices.Equal(got, want) {
		t.Errorf("rules:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, text := range set.Rules() {
		if set.Text(SegmentOf(text)) != text {
			t.Errorf("the segment of %q is not found by its hash", text)
		}
	}
	if got := set.IDs(); !slices.Equal(got, []string{"cart_abandoners", "staff", "viewers"}) {
		t.Errorf("ids: %v", got)
	}
	if p := set.Audience("cart_abandoners"); p.ID() != "cart_abandoners" || p.Advertiser() != "shop" {
		t.Errorf("program of %s/%s", p.Advertiser(), p.ID())
	}
	if set.Audience("nobody") != nil {
		t.Error("an unknown audience has a program")
	}
}

func TestTriggersAreTheFewestSegmentsThatMustBeHeld(t *testing.T) {
	set := compiled(t, `
- {id: one, include: {event: a}}
- {id: all, include: {all: [{any: [{event: a}, {event: b}]}, {event: c}]}}
- {id: any, include: {any: [{event: b}, {audience: all}, {event: b, min_count: 3}]}}
`)
	want := map[string][]string{"one": {`shop "a"`}, "all": {`shop "c"`}, "any": {`shop "b"`, `shop "c"`}}
	for id, texts := range want {
		var ids []rtb.SegmentID
		for _, s := range texts {
			ids = append(ids, SegmentOf(s))
		}
		slices.Sort(ids)
		if got := set.Audience(id).Triggers(); !slices.Equal(got, ids) {
			t.Errorf("%s: %v, want those of %v", id, got, texts)
		}
	}
}

func TestCompileTellsEveryProblem(t *testing.T) {
	f := func(yaml, path, want string) {
		t.Helper()
		set, problems := Compile(specs(t, yaml), []string{"shop", "other"})
		if set != nil || len(problems) == 0 {
			t.Fatalf("accepted: %s", yaml)
		}
		if len(problems) != 1 || problems[0].Path != path || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s:\n got %v\nwant %s ... %s", yaml, problems, path, want)
		}
	}
	leaf := func(s string) string { return "[{id: x, advertiser: shop, include: {event: e, " + s + "}}]" }
	where := func(s string) string { return leaf("where: [{" + s + "}]") }

	f("[{id: X, advertiser: shop, include: {event: e}}]", "[0].id", "a-z, 0-9")
	f("[{id: x, include: {event: e}}]", "[0].advertiser", "one of shop, other")
	f("[{id: x, advertiser: nobody, include: {event: e}}]", "[0].advertiser", "one of shop, other")
	f("[{id: x, advertiser: shop, include: {event: e}}, {id: x, advertiser: shop, include: {event: e}}]", "[1].id", "no other audience has")
	f("[{id: x, advertiser: shop}]", "[0].include", "a rule or a recipe")
	f("[{id: x, advertiser: shop, recipe: nope}]", "[0].recipe", "cart_abandoners")
	f("[{id: x, advertiser: shop, recipe: crm}]", "[0].with", "list, which the recipe crm needs")
	f("[{id: x, advertiser: shop, recipe: buyers, with: {category: a}}]", "[0].with.category", "does not use")
	f("[{id: x, advertiser: shop, include: {event: e}, with: {list: vip}}]", "[0].with", "a recipe")
	f("[{id: x, advertiser: shop, recipe: buyers, include: {event: e}}]", "[0].include", "one of them")
	f("[{id: x, advertiser: shop, ttl: 30m, include: {event: e}}]", "[0].ttl", "1h to 540d")
	f("[{id: x, advertiser: shop, ttl: 541d, include: {event: e}}]", "[0].ttl", "1h to 540d")
	f("[{id: x, advertiser: shop, include: {event: e, all: [{event: e}]}}]", "[0].include", "exactly one")
	f("[{id: x, advertiser: shop, include: {all: []}}]", "[0].include.all", "at least one")
	f("[{id: x, advertiser: shop, include: {all: [{any: [{all: [{any: [{all: [{event: e}]}]}]}]}]}}]", "[0].include.all[0].any[0].all[0].any[0].all", "depth of at most 4")
	f("[{id: x, advertiser: shop, include: {any: [{event: e}], within: 1d}}]", "[0].include", "only with event")
	f("[{id: x, advertiser: shop, include: {audience: y}}]", "[0].include.audience", "the id of an audience")
	f("[{id: x, advertiser: shop, include: {audience: x}}]", "[0].include.audience", "refer back")
	f("[{id: x, advertiser: shop, include: {audience: y}}, {id: y, advertiser: shop, include: {event: e}, exclude: {audience: x}}]", "[1].exclude.audience", "refer back")
	f("[{id: x, advertiser: shop, include: {audience: y}}, {id: y, advertiser: other, include: {event: e}}]", "[0].include.audience", "same advertiser")
	f(leaf("within: 31d"), "[0].include.within", "30d")
	f(leaf("within: 1h, not_within: 1h"), "[0].include.not_within", "less than within")
	f(leaf("within: 1500ms"), "[0].include", "whole seconds")
	f(leaf("min_count: 17"), "[0].include.min_count", "1 to 16")
	f(leaf("after: include"), "[0].include.after", "in exclude only")
	f("[{id: x, advertiser: shop, include: {event: e}, exclude: {event: e, after: dinner}}]", "[0].exclude.after", "include")
	f(leaf("list: vip"), "[0].include", "exactly one")
	f(leaf("min_value: -1"), "[0].include.min_value", "above 0")
	list := func(s string) string { return "[{id: x, advertiser: shop, include: {list: vip, " + s + "}}]" }
	f(where("field: trait.vip, value: 1"), "[0].include.where[0].field", `{list: "*", where: [...]}`)
	f(list("where: [{field: q, value: 1}]"), "[0].include.where[0].field", "trait.<name>")
	f(list("where: [{field: list, value: vip}]"), "[0].include.where[0].field", "one of")
	f(list("min_count: 2"), "[0].include", "only with event")
	f(list("within: 541d"), "[0].include.within", "540d")
	f("[{id: x, advertiser: shop, include: {list: 'V I P'}}]", "[0].include.list", "* for any")
	f("[{id: x, advertiser: shop, include: {event: '@list'}}]", "[0].include.event", "a name")
	f("[{id: x, advertiser: shop, include: {request.geo: QX}}]", "[0].include.request.geo[0]", "ISO 3166-1")
	f("[{id: x, advertiser: shop, include: {request.keyword: ' '}}]", "[0].include.request.keyword[0]", "256 bytes")
	f("[{id: x, advertiser: shop, include: {request.keyword: []}}]", "[0].include.request.keyword", "1 to 1000")
	f("[{id: x, advertiser: shop, include: {request.cat: ''}}]", "[0].include.request.cat[0]", "IAB17")
	f("[{id: x, advertiser: shop, include: {request.segment: {provider: p}}}]", "[0].include.request.segment.id", "at least one")
	f("[{id: x, advertiser: shop, include: {any: [{request.geo: CA}], within: 1h}}]", "[0].include", "only with event")
	f(where("field: request.geo, value: CA"), "[0].include.where[0].field", "one of")
	f(where("field: prop., value: a"), "[0].include.where[0].field", "prop.<key>")
	f(where(`field: "prop.a b", value: a`), "[0].include.where[0].field", "prop.<key>")
	f(where("field: url, op: under, value: a"), "[0].include.where[0].op", "contains")
	f(where("field: value, op: prefix, value: 1"), "[0].include.where[0].op", "gte")
	f(where("field: url, op: like, value: a"), "[0].include.where[0].op", "regex")
	f(where("field: url, op: contains"), "[0].include.where[0].value", "1 to 200")
	f(where("field: url, op: contains, value: [a, b]"), "[0].include.where[0].value", "one value")
	f(where("field: url, op: regex, value: '('"), "[0].include.where[0].value", "RE2")
	f(where("field: url, op: regex, value: '"+strings.Repeat("a", 257)+"'"), "[0].include.where[0].value", "at most 256")
	f(where("field: q, op: eq, value: '"+strings.Repeat("a", 513)+"'"), "[0].include.where[0].value", "at most 512")
	f(where("field: value, op: gt, value: much"), "[0].include.where[0].value", "a number")
	f(where("field: value, op: gt, value: NaN"), "[0].include.where[0].value", "a number")
	f(where("field: q, op: exists, value: maybe"), "[0].include.where[0].value", "true or false")
	f(leaf("where: ["+strings.Repeat("{field: q, value: a}, ", 17)+"]"), "[0].include.where", "at most 16")
	f("[{id: x, advertiser: shop, include: {any: ["+strings.Repeat("{event: e}, ", 65)+"]}}]", "[0]", "at most 64")
}

func TestReferencesMayNotBlowUp(t *testing.T) {
	var b strings.Builder
	b.WriteString("- {id: a0, include: {event: e}}\n")
	for i := 1; i < 12; i++ {
		prev := "{audience: a" + string(rune('a'+i-2)) + "}"
		if i == 1 {
			prev = "{audience: a0}"
		}
		b.WriteString("- {id: a" + string(rune('a'+i-1)) + ", include: {all: [" + prev + "," + prev + "," + prev + "]}}\n")
	}
	_, problems := Compile(specs(t, b.String()), []string{"shop"})
	if len(problems) == 0 || !strings.Contains(problems[0].Want, "1024") {
		t.Errorf("3^11 leaves were accepted: %v", problems)
	}
}

func TestTwoAdvertisersShareNoSegment(t *testing.T) {
	set, problems := Compile(specs(t, `
- {id: x, advertiser: shop, include: {event: e}}
- {id: y, advertiser: other, include: {event: e}}`), []string{"shop", "other"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	x, y := set.Audience("x").Triggers(), set.Audience("y").Triggers()
	if len(set.Rules()) != 2 || slices.Equal(x, y) {
		t.Errorf("rules %v, triggers %v and %v", set.Rules(), x, y)
	}
}
