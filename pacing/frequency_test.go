package pacing

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

var (
	lineScope  = rtb.ScopeOf("line", "shop/autumn/cart")
	otherScope = rtb.ScopeOf("line", "shop/autumn/viewed")
)

func visitor(n byte) *rtb.Visitor { return &rtb.Visitor{Key: rtb.Key{n, 1}} }

func capped(limit int, per, gap time.Duration) []rtb.FrequencyCap {
	return []rtb.FrequencyCap{{Scope: lineScope, Max: limit, Per: per, MinGap: gap}}
}

// Twenty requests of one page at once never pass a cap together.
func TestParallelRequestsKeepTheCap(t *testing.T) {
	for _, tt := range []struct {
		name string
		caps []rtb.FrequencyCap
		want int64
	}{
		{"max 5", capped(5, time.Hour, 0), 5},
		{"max 5, 3 of several scopes", []rtb.FrequencyCap{
			{Scope: lineScope, Max: 5, Per: time.Hour}, {Scope: otherScope, Max: 3, Per: time.Hour}}, 3},
		{"gap: 3 in flight", capped(0, 0, time.Minute), 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("r1", "", dayPlan(50*unit))
			bids := make([]*rtb.Claims, 20)
			for i := range bids {
				bids[i] = w.bid(1_000_000)
			}
			var won atomic.Int64
			var wg sync.WaitGroup
			for _, c := range bids {
				wg.Go(func() {
					if p.Reserve(c, visitor(1), tt.caps) == rtb.NoBidNone {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != tt.want {
				t.Fatalf("%d of 20 bids; want %d", won.Load(), tt.want)
			}
			if r := row(t, p.Budgets(w.now), "cart", "day"); r.Reserved != rtb.Micros(1000*tt.want) {
				t.Fatalf("refused bids hold money: %+v", r)
			}
			wantReason(t, p.Reserve(w.bid(1_000_000), visitor(2), tt.caps), rtb.NoBidNone)
		})
	}
}

// An impression counts from the fact that reported it until it is in the
// profile, and not twice; a lost or unsent bid does not count.
func TestFrequencyHandover(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	caps := capped(1, time.Hour, 0)
	v := visitor(1)
	first := w.bid(1_000_000)
	wantReason(t, p.Reserve(first, v, caps), rtb.NoBidNone)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidFrequency)
	p.Release(first.Bid)
	lost := w.bid(1_000_000)
	wantReason(t, p.Reserve(lost, v, caps), rtb.NoBidNone)
	w.must(w.notice(events.KindLoss, lost))
	shown := w.bid(1_000_000)
	wantReason(t, p.Reserve(shown, v, caps), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, shown))
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidFrequency)

	v.Position = w.facts[len(w.facts)-1].Seq // the profile has folded the bill
	v.Frequency = []rtb.FrequencyState{{Scope: lineScope, Last: rtb.SecondOf(w.now), Buckets: []rtb.FrequencyBucket{
		{Start: rtb.SecondOf(w.now), Span: 300, Count: 1}}}}
	two := capped(2, time.Hour, 0)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidFrequency)
	next := w.bid(1_000_000)
	wantReason(t, p.Reserve(next, v, two), rtb.NoBidNone)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, two), rtb.NoBidFrequency)
	w.now = w.now.Add(90 * time.Minute) // the impression has left the window
	p.Release(next.Bid)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidGrant) // but so has the grant
	p.Step(t.Context(), w.now)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidNone)
}

// A minimum gap counts impressions only.
func TestMinGap(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	caps := capped(10, 24*time.Hour, time.Minute)
	v := visitor(1)
	for range 3 {
		wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidNone)
	}
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidInFlight)
	w.pass(30 * time.Second)
	shown := w.bid(1_000_000)
	wantReason(t, p.Reserve(shown, v, caps), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, shown))
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidFrequency)
	w.pass(59 * time.Second)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidFrequency)
	w.pass(time.Second)
	wantReason(t, p.Reserve(w.bid(1_000_000), v, caps), rtb.NoBidNone)

	seen := visitor(2)
	seen.Frequency = []rtb.FrequencyState{{Scope: lineScope, Last: rtb.SecondOf(w.now.Add(-59 * time.Second))}}
	wantReason(t, p.Reserve(w.bid(1_000_000), seen, caps), rtb.NoBidFrequency)
	seen.Frequency[0].Last--
	wantReason(t, p.Reserve(w.bid(1_000_000), seen, caps), rtb.NoBidNone)
}

// Buckets that reach into the window count whole.
func TestImpressions(t *testing.T) {
	s := &rtb.FrequencyState{Buckets: []rtb.FrequencyBucket{{Start: 900, Span: 100, Count: 2}, {Start: 600, Span: 300, Count: 3}, {Start: 0, Span: 600, Count: 5}}}
	for _, tt := range []struct {
		from rtb.Second
		want int
	}{{1000, 0}, {999, 2}, {900, 2}, {899, 5}, {599, 10}, {0, 10}} {
		if got := impressions(s, tt.from); got != tt.want {
			t.Errorf("after %d: %d impressions; want %d", tt.from, got, tt.want)
		}
	}
}

// Nothing about a visitor is kept once all bids for the visitor have ended.
func TestFlightsEnd(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	caps := capped(10, time.Hour, 0)
	var bids []*rtb.Claims
	for i := range 4 {
		c := w.bid(1_000_000)
		wantReason(t, p.Reserve(c, visitor(byte(i/2)), caps), rtb.NoBidNone)
		bids = append(bids, c)
	}
	w.must(w.notice(events.KindBill, bids[0]))
	w.must(w.notice(events.KindWin, bids[1]))
	w.must(w.notice(events.KindLoss, bids[2]))
	w.pass(31 * time.Minute)
	w.must(events.Fact{ID: "t", Kind: events.KindTick})
	for i := range p.flights.shards {
		if n := p.flights.shards[i].byKey.used + p.flights.shards[i].byScope.used; n != 0 {
			t.Fatalf("%d visitors left", n)
		}
	}
	if n := p.reservations.count.Load(); n != 0 {
		t.Fatalf("%d reservations left", n)
	}
}

// A request that read the profile before an impression does not miss it, although a request
// with a newer profile has had it handed over.
func TestOlderProfileMissesNoImpression(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	caps, old := capped(1, time.Hour, 0), visitor(1)
	c := w.bid(1_000_000)
	c.Visitor = old.Key
	wantReason(t, p.Reserve(c, old, caps), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))
	seen := visitor(1)
	seen.Position = 1 << 40
	seen.Frequency = []rtb.FrequencyState{{Scope: lineScope, Last: rtb.SecondOf(w.now), Buckets: []rtb.FrequencyBucket{{Start: rtb.SecondOf(w.now), Span: 300, Count: 1}}}}
	wantReason(t, p.Reserve(w.bid(1_000_000), seen, caps), rtb.NoBidFrequency)
	if u := p.FrequencyOf(seen, caps, w.now); u[0].Count != 1 {
		t.Errorf("got %d impressions; want one", u[0].Count)
	}
	wantReason(t, p.Reserve(w.bid(1_000_000), old, caps), rtb.NoBidFrequency)
}

// Bids of more scopes than are kept with their visitor are counted like the others,
// whatever the order in which they end.
func TestManyScopesOfOneVisitor(t *testing.T) {
	type bid struct {
		flight flightRef
		scopes scopeSet
		seen   bool
	}
	f, r := newFlights(), rand.New(rand.NewPCG(1, 2))
	v := visitor(1)
	sh := f.shard(v.Key)
	var bids []bid
	for n := range 20_000 {
		switch i := r.IntN(max(len(bids), 1)); {
		case len(bids) < 2 || len(bids) < 12 && r.IntN(2) == 0:
			var b bid
			for range 1 + r.IntN(3) {
				id := rtb.ScopeID(1 + r.IntN(6))
				if !slices.Contains(b.scopes.ids[:b.scopes.n], id) {
					b.scopes.ids[b.scopes.n], b.scopes.n = id, b.scopes.n+1
				}
			}
			b.scopes.visitor = v.Key
			b.flight, _ = f.reserve(v, nil, &b.scopes, rtb.Second(1_000_000+n))
			bids = append(bids, b)
		case !bids[i].seen && r.IntN(3) == 0:
			f.impression(&bids[i].flight, uint64(n+1), rtb.Second(1_000_000+n))
			bids[i].seen = true
		default:
			f.drop(&bids[i].flight)
			bids = slices.Delete(bids, i, i+1)
		}
		for id := rtb.ScopeID(1); id <= 6; id++ {
			var open, seen int32
			for i := range bids {
				if b := &bids[i]; slices.Contains(b.scopes.ids[:b.scopes.n], id) {
					if b.seen {
						seen++
					} else {
						open++
					}
				}
			}
			c, _ := sh.scope(sh.visitor(&v.Key), id)
			if c == nil && open+seen == 0 {
				continue
			}
			if c == nil || c.open != open || c.seen != seen || c.refs != open+seen {
				t.Fatalf("step %d, scope %d: got %+v; want %d open and %d seen", n, id, c, open, seen)
			}
		}
	}
	for i := range bids {
		f.drop(&bids[i].flight)
	}
	if sh.byKey.used+sh.byScope.used != 0 {
		t.Fatalf("%d visitors and %d scopes are left", sh.byKey.used, sh.byScope.used)
	}
}
