package pacing

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/rtb"
)

// offerOf is the offer of an impression over a path, in a request of its own.
func offerOf(impression, path uint64, at time.Time) *rtb.PathOffer {
	return &rtb.PathOffer{Impression: impression, Market: 7, Path: path, Request: impression<<8 | path, At: at}
}

func TestOneImpressionHasOneBid(t *testing.T) {
	p := newWorld(t).start("r1", "", dayPlan(unit))
	enter := func(path uint64, after time.Duration, want rtb.NoBidReason) {
		t.Helper()
		_, got := p.EnterPath(offerOf(1, path, noon.Add(after)))
		wantReason(t, got, want)
	}
	dry := offerOf(1, 10, noon)
	dry.Dry = true
	_, r := p.EnterPath(dry)
	wantReason(t, r, rtb.NoBidNone)
	enter(11, 0, rtb.NoBidNone) // the dry offer left nothing
	enter(11, time.Millisecond, rtb.NoBidNone)
	enter(12, 20*time.Millisecond, rtb.NoBidSameImpression)
	enter(12, SamePeriod-time.Millisecond, rtb.NoBidSameImpression)
	_, r = p.EnterPath(offerOf(2, 12, noon))
	wantReason(t, r, rtb.NoBidNone)
	p.LeavePath(offerOf(1, 12, noon)) // not its own
	enter(12, 30*time.Millisecond, rtb.NoBidSameImpression)
	p.LeavePath(offerOf(1, 11, noon))
	enter(12, 40*time.Millisecond, rtb.NoBidNone)
	enter(11, 50*time.Millisecond, rtb.NoBidSameImpression)
	enter(11, 40*time.Millisecond+SamePeriod, rtb.NoBidNone)
	if s := p.Stats().Paths; s.Repeated != 4 || s.Declined != 0 || s.Forgotten != 0 {
		t.Errorf("got %+v; want 4 repeated offers", s)
	}
	_, r = p.EnterPath(&rtb.PathOffer{})
	wantReason(t, r, rtb.NoBidNone)
}

// Requests in parallel, each over a path of its own, never get two bids for one
// impression.
func TestParallelOffersHaveOneBid(t *testing.T) {
	p := newWorld(t).start("r1", "", dayPlan(unit))
	const impressions, routes = 2000, 8
	var bids [impressions]atomic.Int32
	var wg sync.WaitGroup
	for path := range uint64(routes) {
		wg.Go(func() {
			for i := range uint64(impressions) {
				if _, r := p.EnterPath(offerOf(i+1, path+1, noon)); r == rtb.NoBidNone {
					bids[i].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range bids {
		if n := bids[i].Load(); n != 1 {
			t.Fatalf("impression %d got %d bids; want 1", i, n)
		}
	}
}

// offerBoth offers n impressions over path 1 and then, for a share of them, over path 2;
// wins are billed at the path's price. It returns the bids of each.
func offerBoth(p *Pacer, n int, from uint64, price [3]rtb.Micros, both func(i int) bool) (bids [3]int) {
	for i := range n {
		id := (from + uint64(i)) * 0x9e3779b97f4a7c15
		at := noon.Add(time.Duration(from+uint64(i)) * 10 * time.Millisecond)
		for path := uint64(1); path <= 2; path++ {
			if path == 2 && !both(i) {
				continue
			}
			if h, r := p.EnterPath(offerOf(id, path, at)); r == rtb.NoBidNone {
				bids[path]++
				p.paths.markets.bid(h, 1)
				p.paths.markets.won(h, float64(price[path])/1000)
			}
		}
	}
	return bids
}

func TestCheaperPathIsPreferred(t *testing.T) {
	always := func(int) bool { return true }
	start := func() *Pacer {
		p := newWorld(t).start("r1", "", dayPlan(unit))
		// Path 2 becomes known where path 1 does not bid.
		for i := range uint64(leastWins) {
			h, _ := p.EnterPath(offerOf(1<<40|i, 2, noon))
			p.paths.markets.bid(h, 1)
			p.paths.markets.won(h, 0.8)
		}
		return p
	}
	const n = 2000
	p := start()
	offerBoth(p, 100, 1, [3]rtb.Micros{0, 1000, 800}, always)
	bids := offerBoth(p, n, 1000, [3]rtb.Micros{0, 1000, 800}, always)
	if explored := bids[1]; bids[2] < n*9/10 || explored == 0 || bids[1]+bids[2] != n {
		t.Errorf("got %v bids of %d; want most on the cheaper path, some on the other, and none lost", bids, n)
	}
	if s := p.Stats().Paths; s.Declined == 0 {
		t.Error("no offer was counted as declined")
	}
	p = start()
	offerBoth(p, 2*costMemory, 1, [3]rtb.Micros{0, 805, 800}, always)
	if bids = offerBoth(p, n, 1e6, [3]rtb.Micros{0, 805, 800}, always); bids[1] < n*9/10 {
		t.Errorf("got %v bids; want most on the first path, because the other is hardly cheaper", bids)
	}
	p = start()
	if bids = offerBoth(p, n, 1, [3]rtb.Micros{0, 1000, 800}, func(i int) bool { return i%2 == 0 }); bids[1] != n {
		t.Errorf("got %v bids; want all on the first path, because the other often does not follow", bids)
	}
}

// A full table forgets the oldest impressions and counts them; markets come and go.
func TestPathMemoryIsBounded(t *testing.T) {
	p := newWorld(t).start("r1", "", dayPlan(unit))
	const most = offerSets * offerWays
	for i := range uint64(2 * most) {
		o := offerOf((i+1)*0x9e3779b97f4a7c15, 1, noon)
		o.Market = i * 0x9e3779b97f4a7c15
		if h, r := p.EnterPath(o); r != rtb.NoBidNone || h == 0 {
			t.Fatalf("offer %d: got handle %d, reason %q", i, h, r)
		}
	}
	if s := p.Stats().Paths; s.Forgotten < most || s.Forgotten > 2*most {
		t.Errorf("got %d forgotten; want about %d", s.Forgotten, most)
	}
	o := offerOf(1, 1, noon)
	if n := testing.AllocsPerRun(100, func() { o.Impression++; p.EnterPath(o); p.LeavePath(o) }); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
}

// A restart keeps what was learned of supply paths.
func TestLearnedPathsSurviveARestart(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	p := w.start("r1", dir, dayPlan(unit))
	for i := range uint64(leastWins) {
		h, _ := p.EnterPath(offerOf(1<<40|i, 2, noon))
		p.paths.markets.bid(h, 1)
		p.paths.markets.won(h, 0.8)
	}
	always := func(int) bool { return true }
	offerBoth(p, 200, 1, [3]rtb.Micros{0, 1000, 800}, always)
	want := *p.paths.markets.set(marketID(7)).find(marketID(7))
	w.end(p)
	p = w.start("r2", dir, dayPlan(unit))
	got := p.paths.markets.set(marketID(7)).find(marketID(7))
	if got == nil || got.paths != want.paths || got.used != want.used {
		t.Fatalf("got %+v; want %+v", got, want)
	}
	if bids := offerBoth(p, 500, 1000, [3]rtb.Micros{0, 1000, 800}, always); bids[2] < 400 {
		t.Errorf("got %v bids after the restart; want most over the cheaper path", bids)
	}
}
