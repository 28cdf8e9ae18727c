package segments

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// randomLog generates months of facts about a few visitors: all kinds of facts,
// duplicated, late and out of order, with gaps in which entries expire.
func randomLog(seed uint64, n int) []events.Fact {
	r := rand.New(rand.NewPCG(seed, 7))
	l := newLog()
	names := []string{"view_item", "view_item", "add_to_cart", "purchase", "page_view"}
	for range n {
		visitor := visitorOf(fmt.Sprint("v", r.IntN(8)))
		key := rtb.Key{byte(r.IntN(20)), 1}
		kind := []string{"b:demo", "b:demo-first", "ifa", "em", "eid:x"}[int(key[0])%5]
		switch r.IntN(20) {
		case 0, 1, 2:
			l.link(visitor, kind, key)
		case 3, 4, 5:
			l.notice([]events.Kind{events.KindImp, events.KindBill, events.KindWin}[r.IntN(3)], visitor, byte(r.IntN(40)))
		case 6:
			if r.IntN(15) == 0 {
				l.add(events.Fact{Kind: events.KindOptOut, Visitor: visitor, Keys: []events.LinkKey{{KeyKind: kind, Key: key}}})
			}
		case 7:
			l.add(events.Fact{Kind: events.KindErase, Keys: []events.LinkKey{{KeyKind: kind, Key: key}}})
		case 8:
			l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Rules: allRules[:1+r.IntN(len(allRules))]}})
		case 9:
			l.now = l.now.Add(time.Duration(r.IntN(600)) * time.Hour)
		default:
			l.event(visitor, names[r.IntN(len(names))], time.Duration(r.IntN(100))*time.Hour, fmt.Sprint("SKU", r.IntN(50)))
			if r.IntN(3) == 0 {
				l.facts[len(l.facts)-1].Event.EventID = fmt.Sprint("e", r.IntN(10))
				l.facts[len(l.facts)-1].Event.OrderID = fmt.Sprint("o", r.IntN(10))
			}
		}
		l.now = l.now.Add(time.Duration(r.IntN(200)) * time.Second)
	}
	return l.take()
}

func TestTheStateDependsOnTheFactsAlone(t *testing.T) {
	for seed := range uint64(5) {
		facts := randomLog(seed, 1500)
		whole := inMemory(t)
		apply(t, whole, facts)
		want := dump(t, whole)
		if len(want) < 30 || whole.Stats().Duplicates == 0 {
			t.Fatalf("seed %d: the log tests little: %d keys, %+v", seed, len(want), whole.Stats())
		}

		one := inMemory(t)
		for i := range facts {
			apply(t, one, facts[i:i+1])
			apply(t, one, facts[max(0, i-3):i+1]) // told again
		}
		sameDump(t, fmt.Sprint("one by one, seed ", seed), dump(t, one), want)

		r, dir := rand.New(rand.NewPCG(seed, 8)), t.TempDir()
		s := open(t, Options{Dir: dir + "/v"})
		for rest := facts; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(200))
			apply(t, s, rest[:n])
			rest = rest[n:]
			if r.IntN(3) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = open(t, Options{Dir: dir + "/v"})
			}
		}
		sameDump(t, fmt.Sprint("restarts, seed ", seed), dump(t, s), want)
		if s.Stats().Visitors != whole.Stats().Visitors || s.Stats().OptOuts != whole.Stats().OptOuts {
			t.Errorf("seed %d: counts %+v, want those of %+v", seed, s.Stats(), whole.Stats())
		}
		profiles := 0
		for k := range want {
			if k[0] == profileSpace {
				profiles++
			}
		}
		if uint64(profiles) != s.Stats().Visitors {
			t.Errorf("seed %d: %d visitors counted, %d profiles", seed, s.Stats().Visitors, profiles)
		}
	}
}

func TestEventsMayComeInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var want *rtb.Visitor
	ages := []int{}
	for range 60 {
		ages = append(ages, r.IntN(500))
	}
	for range 20 {
		r.Shuffle(len(ages), func(i, j int) { ages[i], ages[j] = ages[j], ages[i] })
		l, s := newLog(), inMemory(t)
		for _, a := range ages {
			l.event(visitorOf("v"), "view_item", time.Duration(a)*time.Hour, fmt.Sprint("sku", a%20))
		}
		apply(t, s, l.take())
		got := profile(t, s, visitorOf("v"))
		if want == nil {
			want = got
			sorted := slices.Sorted(slices.Values(ages))
			st := got.Segment(audiences.SegmentOf(viewRule))
			if st.Count != 60 || st.Last != rtb.SecondOf(start)-rtb.Second(3600*sorted[0]) || st.First != rtb.SecondOf(start)-rtb.Second(3600*sorted[59]) ||
				len(st.Recent) != rtb.MaxRecent || st.Recent[15] != rtb.SecondOf(start)-rtb.Second(3600*sorted[15]) {
				t.Fatalf("%+v for %v", st, sorted)
			}
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("order matters:\n got %v\nwant %v", got, want)
		}
	}
}

func TestAnEventCountsOnce(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	event := func(name, eventID, order string) {
		l.event(v, name, 0)
		e := l.facts[len(l.facts)-1].Event
		e.EventID, e.OrderID = eventID, order
	}
	count := func(rule string, want uint32) {
		t.Helper()
		apply(t, s, l.take())
		if got := segment(t, s, v, rule).Count; got != want {
			t.Errorf("%s: count %d, want %d", rule, got, want)
		}
	}
	event("view_item", "e1", "")
	event("view_item", "e1", "")
	event("add_to_cart", "e1", "") // another event may have the same id
	count(viewRule, 1)
	count(cartRule, 1)
	l.now = start.Add(47 * time.Hour)
	event("view_item", "e1", "")
	count(viewRule, 1)
	l.now = start.Add(49 * time.Hour)
	event("view_item", "e1", "")
	count(viewRule, 2)

	// Without an event id the fact's own id counts; without both, each counts.
	event("view_item", "", "")
	event("view_item", "", "")
	l.facts[1].ID = l.facts[0].ID
	count(viewRule, 3)

	// A purchase counts once per order for 90 days, whatever else it says.
	event("purchase", "p1", "o1")
	event("purchase", "p2", "o1")
	count(buyRule, 1)
	l.now = l.now.Add(89 * 24 * time.Hour)
	event("purchase", "p3", "o1")
	count(buyRule, 1)
	event("purchase", "p1", "o2") // two orders
	count(buyRule, 2)
	l.now = l.now.Add(2 * 24 * time.Hour)
	event("purchase", "p4", "o1")
	count(buyRule, 3)
	if d := s.Stats().Duplicates; d != 5 {
		t.Errorf("%d duplicates counted, want 5", d)
	}
}

func TestFactsAtOrBelowThePositionAreSkipped(t *testing.T) {
	l, s := newLog(), inMemory(t)
	for range 3 {
		l.event(visitorOf("v"), "view_item", 0)
		l.facts[len(l.facts)-1].ID = "" // only its position distinguishes it
	}
	facts := l.take()
	apply(t, s, facts[:3])
	apply(t, s, facts[:3])
	apply(t, s, facts)
	if got := segment(t, s, visitorOf("v"), viewRule).Count; got != 3 || s.Position() != facts[3].Position() {
		t.Errorf("%d views at %+v, want 3", got, s.Position())
	}
}

func TestClocksThatAreAheadAreHeldBack(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", -5*time.Minute)
	l.event(v, "add_to_cart", -5*time.Hour)
	apply(t, s, l.take())
	if got, want := segment(t, s, v, viewRule).Last, rtb.SecondOf(start)+300; got != want {
		t.Errorf("five minutes ahead: %d, want %d", got, want)
	}
	if got, want := segment(t, s, v, cartRule).Last, rtb.SecondOf(start); got != want {
		t.Errorf("five hours ahead: %d, want the log's time %d", got, want)
	}
}

func TestProductsSeen(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", time.Hour, " SKU1 ", "sku2", "")
	l.event(v, "add_to_cart", 30*time.Minute, "sku2")
	l.event(v, "purchase", 20*time.Minute, "Sku1")
	l.event(v, "view_item", 10*time.Minute, "SKU1")
	l.event(v, "search", 0, "sku9") // does not concern its items
	apply(t, s, l.take())
	at := func(ago int) rtb.Second { return rtb.SecondOf(start) - rtb.Second(ago) }
	want := []rtb.ProductSeen{{Advertiser: "shop", ID: "sku1", Last: at(600), Kind: rtb.ProductBought}, {Advertiser: "shop", ID: "sku2", Last: at(1800), Kind: rtb.ProductCarted}}
	if got := profile(t, s, v).Products; !slices.Equal(got, want) {
		t.Errorf("products %+v, want %+v", got, want)
	}
}

func TestProfilesAreBounded(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	var rules []string
	for i := range 300 {
		rules = append(rules, fmt.Sprintf(`shop "e%03d"`, i))
	}
	l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Rules: rules}})
	for i := range 300 {
		l.event(v, fmt.Sprintf("e%03d", i), 0)
		l.event(v, "view_item", 0, fmt.Sprint("sku", i))
		l.notice(events.KindImp, v, 0)
		n := l.facts[len(l.facts)-1].Notice
		n.BidID, n.Line = rtb.BidID{byte(i), byte(i >> 8), 1}, fmt.Sprint("line", i)
		l.now = l.now.Add(time.Minute)
	}
	apply(t, s, l.take())
	p := profile(t, s, v)
	if len(p.Segments) != maxSegments || len(p.Products) != maxProducts || len(p.Frequency) != maxScopes {
		t.Fatalf("%d segments, %d products, %d scopes", len(p.Segments), len(p.Products), len(p.Frequency))
	}
	if p.Products[0].ID != "sku299" || p.Segment(audiences.SegmentOf(rules[299])) == nil || p.Segment(audiences.SegmentOf(rules[0])) != nil {
		t.Error("not the oldest were dropped")
	}
	if !slices.IsSortedFunc(p.Segments, func(a, b rtb.SegmentState) int { return compare(uint64(a.ID), uint64(b.ID)) }) {
		t.Error("segments are not sorted")
	}
	if got := s.Stats().Dropped; got != 300-maxSegments+300-maxProducts+303-maxScopes {
		t.Errorf("%d dropped were counted", got)
	}
}

func compare(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}

func TestAdvertisersStayApart(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", 0, "sku1")
	l.facts[len(l.facts)-1].Advertiser = "other"
	l.event(v, "purchase", 0, "sku1")
	l.facts[len(l.facts)-1].Event.EventID = "e1"
	l.event(v, "purchase", 0, "sku1") // the same ids at another advertiser are another purchase
	l.facts[len(l.facts)-1].Event.EventID = "e1"
	l.facts[len(l.facts)-1].Advertiser = "other"
	apply(t, s, l.take())
	p := profile(t, s, v)
	if p.Segment(audiences.SegmentOf(otherRule)) == nil || p.Segment(audiences.SegmentOf(viewRule)) != nil {
		t.Errorf("segments %+v: want other's view and not shop's", p.Segments)
	}
	if len(p.Products) != 2 || p.Products[0].Advertiser == p.Products[1].Advertiser || s.Stats().Duplicates != 0 {
		t.Errorf("products %+v", p.Products)
	}
}

func TestRulesComeFromTheLastConfigAndSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	l, v := newLog(), visitorOf("v")
	s := open(t, Options{Dir: dir})
	l.event(v, "view_item", 0)
	l.add(events.Fact{Kind: events.KindConfig, Config: &events.Config{Rules: []string{cartRule, "not a rule"}}})
	l.event(v, "view_item", 0)
	apply(t, s, l.take())
	if s.Stats().BadRules != 1 {
		t.Errorf("%d bad rules, want 1", s.Stats().BadRules)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	l.event(v, "view_item", 0)
	l.event(v, "add_to_cart", 0)
	apply(t, s, l.take())
	if a, b := segment(t, s, v, viewRule).Count, segment(t, s, v, cartRule).Count; a != 1 || b != 1 {
		t.Errorf("views %d, carts %d; want 1 and 1", a, b)
	}
}

func TestUnusableFactsChangeNothing(t *testing.T) {
	s, l := inMemory(t), newLog()
	apply(t, s, l.take())
	before := dump(t, s)
	for _, k := range []events.Kind{events.KindEvent, events.KindLink, events.KindImp, events.KindOptOut, events.KindErase, events.KindConfig, events.KindTick, "new"} {
		l.add(events.Fact{Kind: k})
	}
	l.event(rtb.Key{}, "view_item", 0)
	l.link(visitorOf("v"), "", rtb.Key{1})
	l.link(visitorOf("v"), "ifa", rtb.Key{})
	l.notice(events.KindBill, visitorOf("nobody"), 1)
	l.event(visitorOf("v"), "nothing anyone remembers", 0)
	apply(t, s, l.take())
	after := dump(t, s)
	before[metaNow] = after[metaNow]
	before[metaVisitors] = after[metaVisitors]
	sameDump(t, "unusable facts", after, before)
	if err := s.Apply(nil); err != nil {
		t.Error(err)
	}
}

func TestFoldedIsToldWhenBidsCanSeeTheEvent(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("seen")
	var told []time.Time
	s.OnFolded(func(ts time.Time) {
		told = append(told, ts)
		find(t, s, byUID("seen"), rtb.NoBidNone)
	})
	l.event(v, "view_item", time.Hour)
	apply(t, s, l.take())
	if len(told) != 1 || !told[0].Equal(start) {
		t.Errorf("told %v, want the fact's TS", told)
	}
}

func TestOldProfilesExpire(t *testing.T) {
	l, s := newLog(), inMemory(t)
	l.event(visitorOf("a"), "view_item", 0)
	l.event(visitorOf("b"), "view_item", 0)
	l.link(visitorOf("a"), "ifa", rtb.Key{1})
	l.now = start.Add(300 * 24 * time.Hour)
	l.event(visitorOf("b"), "view_item", 0)
	l.now = start.Add(541 * 24 * time.Hour)
	l.add(events.Fact{Kind: events.KindTick})
	apply(t, s, l.take())
	if s.Stats().Visitors != 1 {
		t.Errorf("%d visitors, want 1", s.Stats().Visitors)
	}
	find(t, s, byUID("a"), rtb.NoBidUnknownVisitor)
	find(t, s, byUID("b"), rtb.NoBidNone)
	l.now = start.Add(841 * 24 * time.Hour)
	l.add(events.Fact{Kind: events.KindTick})
	apply(t, s, l.take())
	for k := range dump(t, s) {
		if k[0] != 'm' {
			t.Errorf("%q is left", k)
		}
	}
}

// TestRulesOfSeveralFacts activates a configuration whose rules are in several facts. They
// apply once all facts are folded, also if the store was opened in between.
func TestRulesOfSeveralFacts(t *testing.T) {
	dir := t.TempDir()
	l, v := newLog(), visitorOf("v")
	s := open(t, Options{Dir: dir})
	rules := []string{cartRule}
	for i := range 3000 {
		rules = append(rules, fmt.Sprintf(`shop "e%0400d"`, i)) // too long a name: a rule that is ignored
	}
	parts := (&events.Config{Hash: "large", ActivatedAt: start, Rules: rules}).Split()
	if len(parts) < 2 {
		t.Fatalf("%d parts, want several", len(parts))
	}
	for i := range parts {
		l.add(events.Fact{Kind: events.KindConfig, Node: "n1", Config: &parts[i]})
		l.event(v, "view_item", 0) // counted under the rules before, until the last part
		l.event(v, "add_to_cart", 0)
		l.now = l.now.Add(time.Second)
		apply(t, s, l.take())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, Options{Dir: dir})
	}
	n := uint16(len(parts))
	if a, b := segment(t, s, v, viewRule).Count, segment(t, s, v, cartRule).Count; uint16(a) != n-1 || uint16(b) != n {
		t.Errorf("views %d, carts %d; want %d and %d", a, b, n-1, n)
	}
}
