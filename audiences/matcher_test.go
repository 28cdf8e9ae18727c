package audiences

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rebound/events"
	"rebound/rtb"
)

func fact(t testing.TB, event string) *events.Fact {
	t.Helper()
	f := events.Fact{Kind: events.KindEvent, Advertiser: "shop", Event: &events.Event{}}
	if err := json.Unmarshal([]byte(event), f.Event); err != nil {
		t.Fatal(err)
	}
	return &f
}

const shoeEvent = `{"name":"view_item","items":[{"id":"sku1","price_micros":29900000,"category":"Shoes > Running > Trail","brand":"Acme"},
 {"id":"sku2","price_micros":5000000,"category":"Socks"}],"value_micros":34900000,"order_id":"O-1",
 "url":{"host":"shop.example","path":"/P/42","query":"size=9&colour=dark+blue&x%5B%5D=1"},"ref_host":"News.example",
 "utm":{"source":"mail"},"q":"Running Shoes","props":{"vip":"7","Empty":""},"action_source":"web"}`

func TestConditions(t *testing.T) {
	f := func(condition string, want bool) {
		t.Helper()
		text := `[{id: x, include: {event: view_item, where: [` + condition + `]}}]`
		m, err := NewMatcher(compiled(t, text).Rules())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Match(fact(t, shoeEvent), nil)) == 1; got != want {
			t.Errorf("%s: matched %v, want %v", condition, got, want)
		}
	}
	f(`{field: q, value: running shoes}`, true)
	f(`{field: q, value: running shoes, cs: true}`, false)
	f(`{field: q, value: Running Shoes, cs: true}`, true)
	f(`{field: q, op: neq, value: running shoes}`, false)
	f(`{field: q, op: in, value: [boots, RUNNING SHOES]}`, true)
	f(`{field: q, op: not_in, value: [boots, RUNNING SHOES]}`, false)
	f(`{field: q, op: contains, value: NING}`, true)
	f(`{field: q, op: not_contains, value: boot}`, true)
	f(`{field: q, op: prefix, value: run}`, true)
	f(`{field: q, op: suffix, value: run}`, false)
	f(`{field: q, op: regex, value: "^run.*s$"}`, true)
	f(`{field: q, op: regex, value: "^run.*s$", cs: true}`, false)
	f(`{field: q, op: exists}`, true)
	f(`{field: q, op: exists, value: false}`, false)
	f(`{field: url.host, value: shop.example}`, true)
	f(`{field: url.path, op: prefix, value: /p/}`, true)
	f(`{field: url, value: "shop.example/p/42?size=9&colour=dark+blue&x%5b%5d=1"}`, true)
	f(`{field: url.query.colour, value: dark blue}`, true)
	f(`{field: "url.query.x[]", value: 1}`, true)
	f(`{field: url.query.size, op: gt, value: 8.5}`, true)
	f(`{field: url.query.none, op: exists}`, false)
	f(`{field: url.query.none, op: neq, value: a}`, true)
	f(`{field: ref.host, value: news.example}`, true)
	f(`{field: utm.source, value: mail}`, true)
	f(`{field: utm.medium, op: exists}`, false)
	f(`{field: order_id, value: o-1}`, true)
	f(`{field: action_source, value: web}`, true)
	f(`{field: prop.vip, op: gte, value: 7}`, true)
	f(`{field: prop.vip, op: lt, value: 7}`, false)
	f(`{field: prop.Empty, op: exists}`, true)
	f(`{field: prop.none, op: lt, value: 7}`, false)
	f(`{field: value, op: gt, value: 34.89}`, true)
	f(`{field: value, value: 34.9}`, true)
	f(`{field: value, op: lte, value: 34.8}`, false)
	f(`{field: value, op: not_in, value: [1, 34.90]}`, false)
	f(`{field: item.id, value: SKU2}`, true)
	f(`{field: item.brand, value: acme}`, true)
	f(`{field: item.category, op: under, value: "Shoes>Running"}`, true)
	f(`{field: item.category, op: under, value: "Shoes > Run"}`, false)
	f(`{field: item.price, op: lt, value: 6}`, true)
	f(`{field: geo.country, value: [de, at]}`, false)
	f(`{field: device.type, op: exists, value: false}`, true)
	// One item must meet all conditions about items.
	f(`{field: item.id, value: sku2}, {field: item.price, op: lt, value: 6}`, true)
	f(`{field: item.id, value: sku1}, {field: item.price, op: lt, value: 6}`, false)
	f(`{field: item.id, value: sku2}, {field: item.brand, op: exists, value: false}`, true)
}

// Events hold host names in ASCII; rules may write them as people do.
func TestHostsInLetters(t *testing.T) {
	e := events.Event{Name: "page_view", URL: &events.URL{Host: "www.xn--bcher-kva.example", Path: "/übersicht"}, RefHost: "xn--mnchen-3ya.example"}
	f := func(condition string, want bool) {
		t.Helper()
		m, err := NewMatcher(compiled(t, `[{id: x, include: {event: page_view, where: [`+condition+`]}}]`).Rules())
		if err != nil {
			t.Fatal(err)
		}
		if got := len(m.Match(&events.Fact{Kind: events.KindEvent, Advertiser: "shop", Event: &e}, nil)) == 1; got != want {
			t.Errorf("%s: matched %v; want %v", condition, got, want)
		}
	}
	f(`{field: url.host, value: WWW.Bücher.example}`, true)
	f(`{field: url.host, value: www.xn--bcher-kva.example}`, true)
	f(`{field: url.host, op: in, value: [a.example, www.bücher.example.]}`, true)
	f(`{field: url.host, op: neq, value: www.bücher.example}`, false)
	f(`{field: url.host, op: suffix, value: .Bücher.example}`, true)
	f(`{field: url.host, op: suffix, value: .xn--bcher-kva.example}`, true)
	f(`{field: url.host, op: prefix, value: www.bü}`, true)
	f(`{field: url.host, op: contains, value: üch}`, true)
	f(`{field: url.host, op: not_contains, value: üch}`, false)
	f(`{field: url.host, op: regex, value: "^www\\.b.cher"}`, false)
	f(`{field: url.host, op: regex, value: "^www\\.[bü]+cher"}`, true)
	f(`{field: url, op: prefix, value: www.bücher.example/über}`, true)
	f(`{field: url, value: www.bücher.example/übersicht}`, true)
	f(`{field: ref.host, value: münchen.example}`, true)
}

func TestMatchMember(t *testing.T) {
	set := compiled(t, `
- {id: vip, include: {list: vip}}
- {id: gold, include: {list: crm, where: [{field: trait.tier, value: Gold}]}}
- {id: rich, include: {list: "*", where: [{field: trait.score, op: gte, value: 50}]}}
- {id: all, include: {event: "*"}}`)
	m, err := NewMatcher(set.Rules())
	if err != nil {
		t.Fatal(err)
	}
	match := func(advertiser string, row Member, want ...string) {
		t.Helper()
		var ids []rtb.SegmentID
		for _, w := range want {
			ids = append(ids, set.Audience(w).Triggers()...)
		}
		slices.Sort(ids)
		if got := m.MatchMember(advertiser, &row, nil); !slices.Equal(got, ids) {
			t.Errorf("%v: %v; want those of %v", row, got, want)
		}
	}
	match("shop", Member{List: "vip"}, "vip")
	match("shop", Member{List: "crm", Traits: map[string]string{"tier": "gold", "score": "50"}}, "gold", "rich")
	match("shop", Member{List: "vip", Traits: map[string]string{"tier": "gold", "score": "49.9"}}, "vip")
	match("other", Member{List: "vip"})
	if got := m.Match(&events.Fact{Kind: events.KindEvent, Advertiser: "shop", Event: &events.Event{Name: memberEvent, Props: map[string]string{"list": "vip"}}}, nil); len(got) > 1 {
		t.Errorf("an event with the name of the members' rule is in %d segments; want that of any event only", len(got))
	}
	if got := set.Audience("vip").Triggers(); len(got) != 1 || got[0] != ListSegment("shop", "vip") {
		t.Errorf("ListSegment: got %v; want %v", ListSegment("shop", "vip"), got)
	}
}

func TestSums(t *testing.T) {
	in := []Spec{{ID: "x", Currency: rtb.Currency{'E', 'U', 'R'}, Include: Rule{Event: "purchase", MinValue: 500e6}}, {ID: "y", Include: Rule{Event: "purchase"}}}
	set, problems := Compile(in, []string{"shop"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := set.Rules(); !slices.Equal(got, []string{`shop "purchase"`, `shop "purchase" sum "EUR"`}) {
		t.Fatalf("rules: %v", got)
	}
	m, err := NewMatcher(set.Rules())
	if err != nil {
		t.Fatal(err)
	}
	sum := set.Audience("x").Triggers()[0]
	if c, ok := m.Sum(sum); !ok || c.String() != "EUR" {
		t.Errorf("sum: %v %v", c, ok)
	}
	if _, ok := m.Sum(set.Audience("y").Triggers()[0]); ok {
		t.Error("a segment without min_value has a sum")
	}
	const now = rtb.Second(1_800_000_000)
	f := func(want bool, days ...rtb.DayValue) {
		t.Helper()
		v := &rtb.Visitor{Segments: []rtb.SegmentState{{ID: sum, First: now - 99, Last: now - 99, Count: 1, Recent: []rtb.Second{now - 99}, Sums: days}}}
		if got := set.Audience("x").Eval(v, now.Time(), Window{}).In; got != want {
			t.Errorf("%v: in %v; want %v", days, got, want)
		}
	}
	first := (now - 30*24*3600).UTCDay() // the default ttl
	f(true, rtb.DayValue{Day: now.UTCDay(), Value: 500e6})
	f(false, rtb.DayValue{Day: now.UTCDay(), Value: 499_999_999})
	f(true, rtb.DayValue{Day: now.UTCDay(), Value: 300e6}, rtb.DayValue{Day: first, Value: 200e6})
	f(false, rtb.DayValue{Day: now.UTCDay(), Value: 300e6}, rtb.DayValue{Day: first - 1, Value: 200e6})
}

func TestMatchKeepsAdvertisersAndNamesApart(t *testing.T) {
	texts := []string{`other "view_item"`, `shop "*"`, `shop "*" q exists "true"`, `shop "view_item"`}
	m, err := NewMatcher(append(texts, texts...))
	if err != nil {
		t.Fatal(err)
	}
	match := func(f *events.Fact, want ...string) {
		t.Helper()
		var ids []rtb.SegmentID
		for _, w := range want {
			ids = append(ids, SegmentOf(w))
		}
		slices.Sort(ids)
		if got := m.Match(f, nil); !slices.Equal(got, ids) {
			t.Errorf("%v, want those of %v", got, want)
		}
	}
	match(fact(t, `{"name":"view_item"}`), `shop "*"`, `shop "view_item"`)
	match(fact(t, `{"name":"other","q":"a"}`), `shop "*"`, `shop "*" q exists "true"`)
	f := fact(t, `{"name":"view_item"}`)
	f.Advertiser = "other"
	match(f, `other "view_item"`)
	f.Advertiser = "nobody"
	match(f)
	match(&events.Fact{Kind: events.KindEvent, Advertiser: "shop"})
	match(&events.Fact{Kind: events.KindBill, Advertiser: "shop"})
}

func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	m, err := NewMatcher([]string{`shop "view_item"`, `shop "view_item" url.path prefix "/p/"`, `shop "purchase"`})
	if err != nil {
		t.Fatal(err)
	}
	f := fact(t, `{"name":"view_item","url":{"path":"/p/1"}}`)
	dst := make([]rtb.SegmentID, 0, 8)
	if n := testing.AllocsPerRun(100, func() { dst = m.Match(f, dst[:0]) }); n != 0 || len(dst) != 2 {
		t.Errorf("%v allocations, %d segments", n, len(dst))
	}
}

func TestOtherSpellingsOfARuleAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "shop", `shop view_item`, `Shop "view_item"`, `shop "view_item" `, `shop "view_item"  q eq "a"`, `shop "view_item" q eq "A"`,
		`shop "view_item" q eq.cs`, `shop "view_item" q in "b" "a"`, `shop "view_item" q in "a"`, `shop "view_item" q eq "a" & `,
		`shop "view_item" url.path eq "a" & q eq "a"`, `shop "view_item" q eq "a" & q eq "a"`, "shop `view_item`", `shop ""`,
		`shop "view_item" value gt "1.0"`, `shop "view_item" trait.x eq "1"`, `shop "@list" q eq "1"`, `shop "@list"`, `shop "@list" list eq "a" & q eq "1"`,
		`shop "view_item" sum "eur"`, `shop "view_item" sum "EURO"`, `shop "view_item" list eq "a"`, `shop "view_item" url.host eq "bücher.example"`, `shop "view_item" q like "a"`, `shop "view_item" q eq 'a'`,
		`shop "v" ` + strings.Repeat(`q eq "a" & `, 20) + `q eq "b"`,
	} {
		if err := CheckText(text); err == nil {
			t.Errorf("%q was accepted", text)
		} else if _, err := NewMatcher([]string{text}); err == nil {
			t.Errorf("%q: NewMatcher accepted it", text)
		}
	}
}

func FuzzCanonicalText(f *testing.F) {
	for _, text := range compiled(f, cartRules).Rules() {
		f.Add(text, "q", "contains", "x", false)
	}
	f.Add(`shop "e" q regex "^a+$"`, "item.category", "under", " Shoes>Été ", false)
	f.Add(`shop "e"`, "q", "eq", "İstanbul\xff\"\n", true)
	f.Fuzz(func(t *testing.T, text, field, op, value string, cs bool) {
		if r, err := parseRule(text); err == nil {
			again, err := parseRule(r.text)
			if err != nil || again.id != r.id || r.text != text {
				t.Fatalf("%q reads as %q, and again: %v", text, r.text, err)
			}
			r.match(fact(t, shoeEvent).Event)
		}
		set, problems := Compile([]Spec{{ID: "x", Include: Rule{Event: "e", Where: []Condition{{Field: field, Op: op, Value: Values{value}, CS: cs}}}}}, []string{"shop"})
		if len(problems) > 0 {
			return
		}
		if _, err := NewMatcher(set.Rules()); err != nil {
			t.Fatalf("a compiled rule cannot be read: %v", err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m, _ := NewMatcher(compiled(b, cartRules).Rules())
	f := fact(b, shoeEvent)
	var dst []rtb.SegmentID
	for b.Loop() {
		dst = m.Match(f, dst[:0])
	}
}
