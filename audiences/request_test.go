package audiences

import (
	"testing"
	"time"

	"rebound/rtb"
)

// texts returns texts as a request has them.
func texts(list ...string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func TestRulesAboutTheRequest(t *testing.T) {
	o := &rtb.Opportunity{
		Keywords: texts("Cycling", " Trail Running ", "ÉTÉ"), UserKeywords: 2,
		UserSegments: []rtb.UserSegment{{Provider: []byte("Data.Example"), SegTax: 4, ID: []byte("687")}},
	}
	o.Device.Country = []byte("DEU")
	o.Supply.Cats = texts("IAB17-44", "iab2")
	f := func(rule string, user, want bool) {
		t.Helper()
		p := compiled(t, `[{id: x, include: {`+rule+`}}]`).Audience("x")
		got := p.EvalRequest(&rtb.Visitor{}, &Request{Opportunity: o, User: user}, time.Unix(1e9, 0), Window{})
		if got.In != want {
			t.Errorf("%s with user %v: in %v; want %v", rule, user, got.In, want)
		}
		if want && (got.Last != 1e9 || got.Count != 1) {
			t.Errorf("%s: last %d, count %d; want that of an event now", rule, got.Last, got.Count)
		}
		if p.Eval(&rtb.Visitor{}, time.Unix(1e9, 0), Window{}).In {
			t.Errorf("%s is true without a request", rule)
		}
		if len(p.Triggers()) > 0 {
			t.Errorf("%s needs a segment", rule)
		}
	}
	f(`request.keyword: [shoes, cycling]`, false, true)
	f(`request.keyword: trail running`, false, true)
	f(`request.keyword: trail`, false, false)
	f(`request.keyword: été`, true, true)
	f(`request.keyword: été`, false, false) // the user's own
	f(`request.segment: {id: 687}`, true, true)
	f(`request.segment: {id: 687}`, false, false)
	f(`request.segment: {id: [1, 687], provider: data.example, segtax: 4}`, true, true)
	f(`request.segment: {id: 687, segtax: 5}`, true, false)
	f(`request.segment: {id: 687, provider: other.example}`, true, false)
	f(`request.segment: {id: 688}`, true, false)
	f(`request.geo: [AT, DE]`, false, true)
	f(`request.geo: FR`, false, false)
	f(`request.cat: IAB17`, false, true)
	f(`request.cat: IAB17-44`, false, true)
	f(`request.cat: IAB1`, false, false)
	f(`request.cat: [IAB2]`, false, true)
}

func TestPartsOfTheRequest(t *testing.T) {
	f := func(audience string, want rtb.Parts) {
		t.Helper()
		set := compiled(t, `[{id: base, include: {request.cat: IAB1}}, {id: x, `+audience+`}]`)
		if got := set.Audience("x").Parts(); got != want {
			t.Errorf("%s: got parts %04b; want %04b", audience, got, want)
		}
	}
	f(`include: {event: view_item}`, 0)
	f(`include: {request.geo: DE}`, 0)
	f(`include: {request.keyword: a}`, rtb.PartKeywords)
	f(`include: {request.segment: {id: 1}}`, rtb.PartSegments)
	f(`include: {any: [{event: view_item}, {all: [{request.cat: IAB1}, {request.keyword: a}]}]}`, rtb.PartCategories|rtb.PartKeywords)
	f(`include: {audience: base}`, rtb.PartCategories)
	f(`include: {event: view_item}, exclude: {request.segment: {id: 1}}`, rtb.PartSegments)
}

// A rule about the request is no substitute for a segment, and no hindrance to one.
func TestTriggersWithRulesAboutTheRequest(t *testing.T) {
	set := compiled(t, `
- {id: both, include: {all: [{request.geo: DE}, {event: a}]}}
- {id: either, include: {any: [{request.geo: DE}, {event: a}]}}
- {id: nested, include: {all: [{any: [{request.geo: DE}, {event: a}]}, {any: [{event: b}, {event: c}]}]}}
- {id: reference, include: {all: [{audience: either}, {event: b}]}}`)
	for id, want := range map[string]int{"both": 1, "either": 0, "nested": 2, "reference": 1} {
		if got := len(set.Audience(id).Triggers()); got != want {
			t.Errorf("%s: %d triggers; want %d", id, got, want)
		}
	}
}

func TestRulesAboutTheRequestDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := compiled(t, `[{id: x, include: {all: [{request.keyword: [a, été]}, {request.segment: {id: s, provider: p}}, {request.cat: IAB1}, {request.geo: DE}]}}]`).Audience("x")
	o := &rtb.Opportunity{Keywords: texts("b", "ÉTÉ"), UserKeywords: 2, UserSegments: []rtb.UserSegment{{Provider: []byte("P"), ID: []byte("s")}}}
	o.Device.Country = []byte("DE")
	o.Supply.Cats = texts("IAB1")
	v, r, now := &rtb.Visitor{}, &Request{Opportunity: o, User: true}, time.Unix(1e9, 0)
	in := false
	if n := testing.AllocsPerRun(100, func() { in = p.EvalRequest(v, r, now, Window{}).In }); n != 0 || !in {
		t.Errorf("%v allocations, in %v", n, in)
	}
}
