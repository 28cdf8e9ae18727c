package campaigns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/creatives"
	"rebound/internal/spec"
	"rebound/rtb"
)

var t0 = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func micros(m rtb.Micros) *rtb.Micros { return &m }

// input is a configuration that has no problems: one advertiser, one campaign,
// one line for those who viewed an item.
func input(t testing.TB) Input {
	t.Helper()
	return Input{
		Advertisers: []AdvertiserSpec{{ID: "shop", Domains: []string{"shop.example"}}},
		Campaigns: []CampaignSpec{{ID: "autumn", Advertiser: "shop", Status: "active", Budget: BudgetSpec{Daily: micros(50_000_000)},
			Lines: []LineSpec{line("viewed", "viewers")}}},
		Creatives: compileCreatives(t, "banner"),
		Exchanges: []string{"demo", "other"},
	}
}

func line(id string, audience ...string) LineSpec {
	return LineSpec{ID: id, Audience: AudienceSpec{Include: audience}, Bid: BidSpec{CPM: 2_000_000, MaxCPM: 8_000_000}, Creatives: refs("banner")}
}

func compileCreatives(t testing.TB, ids ...string) map[string]*creatives.Creative {
	t.Helper()
	var specs []creatives.Spec
	for _, id := range ids {
		specs = append(specs, creatives.Spec{ID: id, Type: "image", Size: "300x250", ImageURL: "https://cdn.example/a.png", ClickURL: "https://www.shop.example/"})
	}
	list, problems := creatives.Compile(specs, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	out := map[string]*creatives.Creative{}
	for _, c := range list {
		out[c.ID] = c
	}
	return out
}

// rules compiles audiences into the input, the built-in ones included.
func rules(t testing.TB, in *Input, specs ...audiences.Spec) {
	t.Helper()
	var ids []string
	for i := range specs {
		in.AudienceIDs = append(in.AudienceIDs, specs[i].ID)
	}
	for i := range in.Advertisers {
		ids = append(ids, in.Advertisers[i].ID)
		specs = append(specs, BuyersSpec(in.Advertisers[i].ID), SuppressedSpec(in.Advertisers[i].ID))
	}
	set, problems := audiences.Compile(specs, ids)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	in.Audiences = set
}

var standard = []audiences.Spec{
	{ID: "viewers", Advertiser: "shop", Include: audiences.Rule{Event: "view_item"}},
	{ID: "carts", Advertiser: "shop", Include: audiences.Rule{Event: "add_to_cart"}},
	{ID: "buyers", Advertiser: "shop", TTL: spec.Duration(180 * 24 * time.Hour), Include: audiences.Rule{Event: "purchase"}},
}

func mustCompile(t testing.TB, in Input) *Index {
	t.Helper()
	x, problems := Compile(in)
	if x == nil {
		t.Fatalf("got %+v", problems)
	}
	return x
}

// holder is a visitor who did the only thing that an audience asks for.
func holder(x *audiences.Set, ids map[string]time.Duration) *rtb.Visitor {
	v := &rtb.Visitor{}
	for id, ago := range ids {
		at := rtb.SecondOf(t0.Add(-ago))
		for _, seg := range x.Audience(id).Triggers() {
			v.Segments = append(v.Segments, rtb.SegmentState{ID: seg, First: at, Last: at, Count: 1, Recent: []rtb.Second{at}})
		}
	}
	slices.SortFunc(v.Segments, func(a, b rtb.SegmentState) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return v
}

// sortedCandidates returns the candidates by ordinal.
func sortedCandidates(x *Index, v *rtb.Visitor, s *Scratch) []int32 {
	return slices.Sorted(slices.Values(x.Candidates(v, s)))
}

func TestCandidatesAreThoseOfTheSegments(t *testing.T) {
	in := input(t)
	in.Campaigns[0].Lines = []LineSpec{line("viewed", "viewers"), line("cart", "carts"), line("a-cart", "carts"), line("off", "carts")}
	ten := 90
	in.Campaigns[0].Lines[1].Priority = &ten
	in.Campaigns[0].Lines[3].Status = "paused"
	rules(t, &in, standard...)
	x := mustCompile(t, in)
	var s Scratch
	f := func(want string, held map[string]time.Duration) {
		t.Helper()
		got := ""
		for _, n := range sortedCandidates(x, holder(in.Audiences, held), &s) {
			got += x.LiveLine(n).ID.Line + " "
		}
		if got != want {
			t.Errorf("%v: got %q; want %q", held, got, want)
		}
	}
	f("", nil)
	f("viewed ", map[string]time.Duration{"viewers": time.Hour})
	f("cart a-cart ", map[string]time.Duration{"carts": time.Hour})
	f("cart a-cart viewed ", map[string]time.Duration{"carts": time.Hour, "viewers": time.Hour})
	if x.Live() != 3 || len(x.Lines()) != 4 || x.Line(rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: "off"}) == nil {
		t.Errorf("got %d live of %d lines; want 3 of 4, the paused one to be found", x.Live(), len(x.Lines()))
	}
}

func TestPartsThatLinesAskFor(t *testing.T) {
	f := func(want rtb.Parts, change func(in *Input, l *LineSpec)) {
		t.Helper()
		in := input(t)
		rules(t, &in, append(slices.Clone(standard), audiences.Spec{ID: "readers", Advertiser: "shop", Include: audiences.Rule{RequestKeyword: audiences.Values{"a"}}})...)
		change(&in, &in.Campaigns[0].Lines[0])
		if got := mustCompile(t, in).Parts(); got != want {
			t.Errorf("got parts %04b; want %04b", got, want)
		}
	}
	f(0, func(*Input, *LineSpec) {})
	f(rtb.PartKeywords, func(_ *Input, l *LineSpec) { l.Keywords.None = []string{"a"} })
	f(0, func(_ *Input, l *LineSpec) { l.Keywords.None, l.Status = []string{"a"}, "paused" })
	f(rtb.PartSegments, func(_ *Input, l *LineSpec) { l.RequestSegments = []RequestSpec{{IDs: []string{"1"}}} })
	f(rtb.PartCategories, func(_ *Input, l *LineSpec) { l.Safety.BlockCat = []string{"IAB1"} })
	f(rtb.PartCategories, func(in *Input, _ *LineSpec) { in.Advertisers[0].Safety.BlockCat = []string{"IAB1"} })
	f(rtb.PartBrowser, func(_ *Input, l *LineSpec) { l.Device.Browsers = []string{"firefox"} })
	f(0, func(_ *Input, l *LineSpec) { l.Device.OS = []string{"ios"} })
	f(rtb.PartKeywords, func(_ *Input, l *LineSpec) { l.Audience.Exclude = []string{"readers"} })
	f(rtb.PartKeywords, func(_ *Input, l *LineSpec) { l.Audience.AnyOf = []string{"readers"} })
	f(rtb.PartKeywords, func(_ *Input, l *LineSpec) { l.Creatives[0].When.Audience = "readers" })
}

func TestMatch(t *testing.T) {
	in := input(t)
	l := line("l", "viewers")
	l.Audience.AnyOf = []string{"carts", "buyers"}
	in.Campaigns[0].Lines[0].Audience = AudienceSpec{Include: []string{"viewers"}, Exclude: []string{"carts"}, Within: 48 * time.Hour, NotWithin: time.Hour}
	in.Campaigns[0].Lines = append(in.Campaigns[0].Lines, l)
	rules(t, &in, standard...)
	x := mustCompile(t, in)
	f := func(id string, want rtb.NoBidReason, held map[string]time.Duration) Match {
		t.Helper()
		got := x.Line(rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: id}).Audience.Match(holder(in.Audiences, held), nil, t0)
		if got.Reason != want {
			t.Errorf("%s, %v: got %q; want %q", id, held, got.Reason, want)
		}
		return got
	}
	hour := time.Hour
	f("viewed", rtb.NoBidNoAudience, nil)
	f("viewed", rtb.NoBidNoAudience, map[string]time.Duration{"viewers": 49 * hour})
	f("viewed", rtb.NoBidNoAudience, map[string]time.Duration{"viewers": hour / 2})
	if m := f("viewed", rtb.NoBidNone, map[string]time.Duration{"viewers": 2 * hour}); m.Last != rtb.SecondOf(t0.Add(-2*hour)) || m.Count != 1 {
		t.Errorf("got %+v; want the event's time and one event", m)
	}
	f("viewed", rtb.NoBidAudienceExcluded, map[string]time.Duration{"viewers": 2 * hour, "carts": 400 * hour})
	buyers := BuyersID("shop")
	f("viewed", rtb.NoBidAudienceExcluded, map[string]time.Duration{"viewers": 2 * hour, buyers: 29 * 24 * hour})
	f("viewed", rtb.NoBidNone, map[string]time.Duration{"viewers": 2 * hour, buyers: 31 * 24 * hour})
	f("l", rtb.NoBidNoAudience, map[string]time.Duration{"viewers": hour})
	f("l", rtb.NoBidNoAudience, map[string]time.Duration{"carts": hour})
	f("l", rtb.NoBidNone, map[string]time.Duration{"viewers": hour, "carts": hour})
}

func TestConvertersDefault(t *testing.T) {
	f := func(name string, o OffDuration, audience string, want time.Duration) {
		t.Helper()
		in := input(t)
		in.Campaigns[0].Lines[0].Audience.Include = []string{audience}
		in.Campaigns[0].Lines[0].ExcludeConverters = o
		rules(t, &in, standard...)
		a := mustCompile(t, in).Lines()[0].Audience
		if a.Converters != want || (a.Buyers != nil) != (want > 0) {
			t.Errorf("%s: got %v; want %v", name, a.Converters, want)
		}
	}
	f("prospects", OffDuration{}, "viewers", 30*24*time.Hour)
	f("buyers", OffDuration{}, "buyers", 0)
	f("off", OffDuration{Set: true}, "viewers", 0)
	f("asked for", OffDuration{Set: true, D: time.Hour}, "buyers", time.Hour)
}

func TestBuyersRemember540Days(t *testing.T) {
	in := input(t)
	in.Campaigns[0].Lines[0].ExcludeConverters = OffDuration{Set: true, D: 500 * 24 * time.Hour}
	in.Campaigns[0].Lines[0].Audience.Within = 0
	rules(t, &in, standard...)
	a := mustCompile(t, in).Lines()[0].Audience
	got := a.Match(holder(in.Audiences, map[string]time.Duration{"viewers": time.Hour, BuyersID("shop"): 499 * 24 * time.Hour}), nil, t0)
	if got.Reason != rtb.NoBidAudienceExcluded {
		t.Errorf("got %q; want audience_excluded", got.Reason)
	}
}

// A person on a list that suppresses is left out of every line of the advertiser, also of one
// for buyers.
func TestSuppressedPersonsAreExcluded(t *testing.T) {
	in := input(t)
	in.Campaigns[0].Lines[0].Audience.Include = []string{"buyers"}
	in.Campaigns[0].Lines[0].Audience.Within = 0
	rules(t, &in, standard...)
	a := mustCompile(t, in).Lines()[0].Audience
	f := func(held map[string]time.Duration, want rtb.NoBidReason) {
		t.Helper()
		if got := a.Match(holder(in.Audiences, held), nil, t0).Reason; got != want {
			t.Errorf("%v: got %q; want %q", held, got, want)
		}
	}
	f(map[string]time.Duration{"buyers": time.Hour}, rtb.NoBidNone)
	f(map[string]time.Duration{"buyers": time.Hour, SuppressedID("shop"): 500 * 24 * time.Hour}, rtb.NoBidAudienceExcluded)
}

// TestIndexAgainstAWalkOverAllLines checks, on random configurations and
// visitors, that no line whose audience holds is missing from the candidates, and
// that their order is the documented one.
func TestIndexAgainstAWalkOverAllLines(t *testing.T) {
	held, excluded := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		in, ids := randomInput(t, r)
		x := mustCompile(t, in)
		var s Scratch
		for range 30 {
			with := map[string]time.Duration{}
			for range r.IntN(6) {
				with[ids[r.IntN(len(ids))]] = time.Duration(r.IntN(40*24)) * time.Hour
			}
			v := holder(in.Audiences, with)
			var got []*Line
			for _, n := range sortedCandidates(x, v, &s) {
				got = append(got, x.LiveLine(n))
			}
			if !slices.IsSortedFunc(got, better) {
				t.Fatalf("seed %d: candidates out of order", seed)
			}
			found := map[*Line]bool{}
			for _, l := range got {
				if found[l] || l.Status != StatusActive {
					t.Fatalf("seed %d: got %v twice or not active", seed, l.ID)
				}
				found[l] = true
			}
			for _, l := range x.Lines() {
				reason := l.Audience.Match(v, nil, t0).Reason
				if l.Status != StatusActive || reason == rtb.NoBidNoAudience {
					continue
				}
				if !found[l] {
					t.Fatalf("seed %d: %v holds and is no candidate", seed, l.ID)
				}
				if reason == rtb.NoBidNone {
					held++
				} else {
					excluded++
				}
			}
		}
	}
	if held < 100 || excluded < 20 {
		t.Errorf("got %d lines that hold and %d that exclude; want a test of both", held, excluded)
	}
}

// better is the order of candidates, written down once more.
func better(a, b *Line) int {
	if a.Priority != b.Priority {
		return b.Priority - a.Priority
	}
	if as, bs := a.ID.String(), b.ID.String(); as < bs {
		return -1
	} else if as > bs {
		return 1
	}
	return 0
}

func randomInput(t testing.TB, r *rand.Rand) (Input, []string) {
	in := input(t)
	in.Advertisers = append(in.Advertisers, AdvertiserSpec{ID: "second", Domains: []string{"shop.example"}})
	var specs []audiences.Spec
	var ids []string
	for i := range 30 {
		a := in.Advertisers[i%2].ID
		s := audiences.Spec{ID: fmt.Sprintf("a%02d", i), Advertiser: a, Include: audiences.Rule{Event: fmt.Sprintf("event%d", r.IntN(12))}}
		if r.IntN(3) == 0 {
			s.Include = audiences.Rule{Any: []audiences.Rule{{Event: fmt.Sprintf("event%d", r.IntN(12))}, {Event: fmt.Sprintf("event%d", r.IntN(12))}}}
		}
		if r.IntN(4) == 0 {
			s.Exclude = audiences.Rule{Event: fmt.Sprintf("event%d", r.IntN(12))}
		}
		specs, ids = append(specs, s), append(ids, s.ID)
	}
	in.Campaigns = nil
	for c := range 6 {
		cs := CampaignSpec{ID: fmt.Sprintf("c%d", c), Advertiser: in.Advertisers[c%2].ID, Status: "active", Budget: BudgetSpec{Total: micros(1)}}
		for l := range 1 + r.IntN(15) {
			ls := line(fmt.Sprintf("l%d", l))
			pick := func(n int) (out []string) {
				for range n {
					out = append(out, ids[2*r.IntN(15)+c%2])
				}
				return out
			}
			ls.Audience = AudienceSpec{Include: pick(r.IntN(3)), AnyOf: pick(r.IntN(3)), Exclude: pick(r.IntN(2))}
			if len(ls.Audience.Include)+len(ls.Audience.AnyOf) == 0 {
				ls.Audience.Include = pick(1)
			}
			p := r.IntN(4)
			ls.Priority = &p
			ls.Status = []string{"active", "active", "paused", "draft"}[r.IntN(4)]
			cs.Lines = append(cs.Lines, ls)
		}
		in.Campaigns = append(in.Campaigns, cs)
	}
	rules(t, &in, specs...)
	return in, ids
}

func TestCandidatesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations differ under the race detector")
	}
	in, held := randomInput(t, rand.New(rand.NewPCG(1, 1)))
	x := mustCompile(t, in)
	v := holder(in.Audiences, map[string]time.Duration{held[0]: time.Hour, held[1]: time.Hour, held[2]: time.Hour})
	var s Scratch
	n := len(x.Candidates(v, &s))
	if got := testing.AllocsPerRun(200, func() {
		for _, n := range x.Candidates(v, &s) {
			x.LiveLine(n).Audience.Match(v, nil, t0)
		}
	}); got != 0 || n == 0 {
		t.Errorf("got %v allocations for %d candidates; want 0 for some", got, n)
	}
}

// TestScratchServesManyIndexes checks that a scratch forgets the index before.
func TestScratchServesManyIndexes(t *testing.T) {
	small, in := input(t), input(t)
	rules(t, &small, standard...)
	for i := range 200 {
		in.Campaigns[0].Lines = append(in.Campaigns[0].Lines, line(fmt.Sprintf("l%03d", i), "viewers"))
	}
	rules(t, &in, standard...)
	a, b := mustCompile(t, small), mustCompile(t, in)
	v := holder(in.Audiences, map[string]time.Duration{"viewers": time.Hour})
	var s Scratch
	for range 3 {
		if n, m := len(a.Candidates(v, &s)), len(b.Candidates(v, &s)); n != 1 || m != 201 {
			t.Fatalf("got %d and %d; want 1 and 201", n, m)
		}
	}
	s.epoch = ^uint32(0)
	if n := len(b.Candidates(v, &s)); n != 201 {
		t.Errorf("after the epoch's end: got %d; want 201", n)
	}
}

func BenchmarkCandidates(b *testing.B) {
	for _, lines := range []int{10, 900} {
		b.Run(fmt.Sprintf("lines=%d", lines), func(b *testing.B) {
			in := input(b)
			in.Campaigns[0].Lines = nil
			var specs []audiences.Spec
			for i := range lines {
				id := fmt.Sprintf("a%05d", i)
				specs = append(specs, audiences.Spec{ID: id, Advertiser: "shop", Include: audiences.Rule{Event: id}})
				in.Campaigns[0].Lines = append(in.Campaigns[0].Lines, line("l"+id, id))
			}
			rules(b, &in, specs...)
			x := mustCompile(b, in)
			v := holder(in.Audiences, map[string]time.Duration{"a00001": time.Hour, "a00003": time.Hour, "a00007": time.Hour})
			var s Scratch
			b.ReportAllocs()
			for b.Loop() {
				x.Candidates(v, &s)
			}
		})
	}
}

func refs(ids ...string) (out []CreativeRef) {
	for _, id := range ids {
		out = append(out, CreativeRef{ID: id})
	}
	return out
}

// A contextual line is a candidate for every visitor, and the only candidate if
// there is no visitor.
func TestContextualLines(t *testing.T) {
	in := input(t)
	rules(t, &in, standard...)
	plain := in.Campaigns[0].Lines[0]
	byContext := plain
	byContext.ID, byContext.Contextual, byContext.Audience, byContext.Frequency = "by-context", true, AudienceSpec{}, Frequency{}
	in.Campaigns[0].Lines = []LineSpec{plain, byContext}
	x, problems := Compile(in)
	if x == nil {
		t.Fatal(problems)
	}
	if got := x.Contextual(); len(got) != 1 || x.LiveLine(got[0]).ID.Line != "by-context" {
		t.Errorf("got %v for nobody; want the contextual line alone", got)
	}
	var s Scratch
	if got := x.Candidates(&rtb.Visitor{}, &s); len(got) != 1 || !x.LiveLine(got[0]).Contextual {
		t.Errorf("got %v for a visitor without segments; want the contextual line", got)
	}
	if m := x.LiveLine(x.Contextual()[0]).Audience.Match(&rtb.Visitor{}, nil, time.Now()); m.Reason != rtb.NoBidNone {
		t.Errorf("the audience of a contextual line refuses: %v", m.Reason)
	}
	if (*Index)(nil).Contextual() != nil {
		t.Error("no index has contextual lines")
	}
}

// The bound of a line's factors is at least what any visitor with no newer event and
// no larger count gets, and lines with equal factors share them.
func TestFactorsAreBounded(t *testing.T) {
	in := input(t)
	rules(t, &in, standard...)
	bid := BidSpec{CPM: 1_000_000, MaxCPM: 9_000_000, Adjust: AdjustSpec{DeviceType: map[string]float64{"phone": 0.5}},
		Recency:   []RecencyStep{{time.Hour, 0.5}, {24 * time.Hour, 2}, {48 * time.Hour, 1}},
		Intensity: []IntensityStep{{3, 1.5}, {5, 0.5}, {9, 2}}}
	one, two, other := line("one", "viewers"), line("two", "viewers"), line("other", "viewers")
	one.Bid, two.Bid = bid, bid
	in.Campaigns[0].Lines = []LineSpec{one, two, other}
	x := mustCompile(t, in)
	if len(x.Factors()) != 2 {
		t.Fatalf("got %d different factors; want 2", len(x.Factors()))
	}
	for n := range int32(x.Live()) {
		l, f := x.LiveLine(n), x.Factors()[x.Terms(n).Factors]
		for age := time.Duration(0); age < 72*time.Hour; age += 30 * time.Minute {
			for count := range uint32(12) {
				bound := f.Bound(age, count, 0.5)
				for older := age; older < 72*time.Hour; older += 5 * time.Hour {
					for fewer := range count + 1 {
						if got := l.Bid.RecencyFactor(older) * l.Bid.IntensityFactor(fewer) * 0.5; got > bound {
							t.Fatalf("%s, age %v, count %d: got %v; want at most %v", l.ID.Line, older, fewer, got, bound)
						}
					}
				}
			}
		}
	}
}
