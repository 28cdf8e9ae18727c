package audiences

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// history lists the events by segment: the full record that a profile summarizes.
type history map[rtb.SegmentID][]rtb.Second

// profile keeps of a history what the store keeps.
func (h history) profile() *rtb.Visitor {
	v := &rtb.Visitor{}
	for id, times := range h {
		if len(times) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(times))
		slices.Reverse(sorted)
		v.Segments = append(v.Segments, rtb.SegmentState{ID: id, First: sorted[len(sorted)-1], Last: sorted[0],
			Count: uint32(len(sorted)), Recent: sorted[:min(len(sorted), rtb.MaxRecent)]})
	}
	slices.SortFunc(v.Segments, func(a, b rtb.SegmentState) int { return cmp.Compare(a.ID, b.ID) })
	return v
}

// naive is the meaning of a rule, word for word, over the raw events.
type naive struct {
	h     history
	specs map[string]Spec
	now   int64
}

func (n naive) audience(id string, w Window) (in, excluded bool, last int64) {
	s := n.specs[id]
	ok, last := n.rule(s.Include, s.TTL, 0)
	age := n.now - last
	if !ok || w.Within > 0 && age > int64(w.Within.Seconds()) || w.NotWithin > 0 && age < int64(w.NotWithin.Seconds()) {
		return false, false, 0
	}
	if !s.Exclude.empty() {
		if out, _ := n.rule(s.Exclude, s.TTL, last); out {
			return false, true, last
		}
	}
	return true, false, last
}

func (n naive) rule(r Rule, ttl spec.Duration, includeLast int64) (ok bool, last int64) {
	switch {
	case r.Event != "":
		return n.leaf(r, ttl, includeLast)
	case r.Audience != "":
		in, _, last := n.audience(r.Audience, Window{})
		return in, last
	}
	trues := 0
	kids := append(slices.Clone(r.All), r.Any...)
	for _, k := range kids {
		if ok, l := n.rule(k, ttl, includeLast); ok {
			trues++
			last = max(last, l)
		}
	}
	ok = trues == len(kids) || r.Any != nil && trues > 0
	if !ok {
		last = 0
	}
	return ok, last
}

func (n naive) leaf(r Rule, ttl spec.Duration, includeLast int64) (bool, int64) {
	within := cmp.Or(r.Within, ttl)
	count, last, tooFresh := 0, int64(0), false
	for _, at := range n.h[SegmentOf(`shop "`+r.Event+`"`)] {
		at := int64(at)
		last = max(last, at)
		if r.NotWithin > 0 && at > n.now-int64(time.Duration(r.NotWithin).Seconds()) {
			tooFresh = true
		}
		if at < n.now-int64(time.Duration(within).Seconds()) || r.After == "include" && at < includeLast {
			continue
		}
		count++
	}
	if count < max(r.MinCount, 1) || tooFresh {
		return false, 0
	}
	return true, last
}

// randomRule makes rules of few events and short windows, so that borders are met.
func randomRule(r *rand.Rand, depth int, exclude bool) Rule {
	if depth > 0 && r.IntN(3) > 0 {
		kids := make([]Rule, 1+r.IntN(3))
		for i := range kids {
			kids[i] = randomRule(r, depth-1, exclude)
		}
		if r.IntN(2) == 0 {
			return Rule{All: kids}
		}
		return Rule{Any: kids}
	}
	leaf := Rule{Event: string(rune('a' + r.IntN(4))), MinCount: r.IntN(5)}
	if r.IntN(20) == 0 {
		leaf.MinCount = 16
	}
	if r.IntN(2) == 0 {
		leaf.Within = spec.Duration(time.Duration(5+r.IntN(100)) * time.Second)
	}
	if r.IntN(3) == 0 {
		leaf.NotWithin = spec.Duration(time.Duration(r.IntN(5)) * time.Second)
	}
	if exclude && r.IntN(2) == 0 {
		leaf.After = "include"
	}
	return leaf
}

func TestEvalIsTheMeaningOfTheRule(t *testing.T) {
	const now = 1_800_000_000
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := map[string]int{}
	for round := range 20000 {
		specs := []Spec{{ID: "x", TTL: spec.Duration(time.Hour), Include: randomRule(r, 3, false)}, {ID: "y", TTL: spec.Duration(time.Hour), Include: randomRule(r, 1, false)}}
		if r.IntN(2) == 0 {
			specs[0].Exclude = randomRule(r, 2, true)
		}
		if r.IntN(3) == 0 {
			specs[0].Include = Rule{Any: []Rule{specs[0].Include, {Audience: "y"}}}
		}
		set, problems := Compile(specs, []string{"shop"})
		if len(problems) > 0 {
			t.Fatalf("%+v: %v", specs, problems)
		}
		h := history{}
		for range r.IntN(25) {
			id := SegmentOf(`shop "` + string(rune('a'+r.IntN(4))) + `"`)
			h[id] = append(h[id], rtb.Second(now+3-r.IntN(130)))
		}
		w := Window{}
		if r.IntN(3) == 0 {
			w = Window{Within: time.Duration(r.IntN(90)) * time.Second, NotWithin: time.Duration(r.IntN(4)) * time.Second}
		}
		n := naive{h, map[string]Spec{"x": specs[0], "y": specs[1]}, now}
		in, excluded, last := n.audience("x", w)
		got := set.Audience("x").Eval(h.profile(), time.Unix(now, 999), w)
		if got.In != in || got.Excluded != excluded || int64(got.Last) != last {
			t.Fatalf("round %d: %+v, want in %v excluded %v last %d\nspec %+v\nhistory %v\nwindow %v", round, got, in, excluded, last, specs, h, w)
		}
		triggers := set.Audience("x").Triggers()
		held := slices.ContainsFunc(triggers, func(id rtb.SegmentID) bool { return len(h[id]) > 0 })
		if (got.In || got.Excluded) && !held {
			t.Fatalf("round %d: in the audience without a trigger", round)
		}
		verdicts[fmt.Sprint(got.In, got.Excluded)]++
	}
	if len(verdicts) != 3 || verdicts["true false"] < 1000 || verdicts["false true"] < 500 {
		t.Errorf("the rounds do not cover the verdicts: %v", verdicts)
	}
}

func TestCountOfEvents(t *testing.T) {
	set := compiled(t, `[{id: x, include: {any: [{event: a, within: 1h}, {event: b, within: 1h}]}}]`)
	const now = rtb.Second(1_800_000_000)
	h := history{}
	for i := range 40 {
		h[SegmentOf(`shop "a"`)] = append(h[SegmentOf(`shop "a"`)], now-rtb.Second(i))
	}
	eval := func() Verdict { return set.Audience("x").Eval(h.profile(), now.Time(), Window{}) }
	if v := eval(); v.Count != 40 || v.Last != now {
		t.Errorf("%+v: want 40 events, all of them in the look-back", v)
	}
	h[SegmentOf(`shop "a"`)] = append(h[SegmentOf(`shop "a"`)], now-4000)
	if v := eval(); v.Count != rtb.MaxRecent {
		t.Errorf("%+v: want the lower bound %d", v, rtb.MaxRecent)
	}
	h = history{SegmentOf(`shop "a"`): {now - 5000, now - 20, now - 10}, SegmentOf(`shop "b"`): {now - 30}}
	if v := eval(); v.Count != 2 || v.Last != now-10 {
		t.Errorf("%+v: want the larger count, 2, and the later time", v)
	}
}

func bigSet(t testing.TB) (*Program, *rtb.Visitor, time.Time) {
	set := compiled(t, `
- {id: y, include: {event: c}}
- {id: x, include: {all: [{event: a, within: 7d, min_count: 2}, {any: [{event: b}, {audience: y}]}]}, exclude: {any: [{event: purchase, after: include}]}}`)
	const now = rtb.Second(1_800_000_000)
	h := history{SegmentOf(`shop "purchase"`): {now - 500}}
	for _, e := range strings.Split("abcdefghijk", "") {
		h[SegmentOf(`shop "`+e+`"`)] = []rtb.Second{now - 100, now - 200}
	}
	return set.Audience("x"), h.profile(), now.Time()
}

func TestEvalDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p, v, now := bigSet(t)
	var got Verdict
	if n := testing.AllocsPerRun(100, func() { got = p.Eval(v, now, Window{Within: time.Hour}) }); n != 0 || !got.In {
		t.Errorf("%v allocations, %+v", n, got)
	}
}

func BenchmarkEval(b *testing.B) {
	p, v, now := bigSet(b)
	for b.Loop() {
		p.Eval(v, now, Window{})
	}
}
