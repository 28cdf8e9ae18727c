package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// 10,000 concurrent wins at 1.00 CPM on a total of 1.00: between 0.99 and 1.00 is
// settled, never more, and nothing is late.
func TestTotalOfOneAgainstTenThousandWins(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(0)
	l.Caps, l.LineTotal, l.MaxCPM = rtb.CapLineTotal, unit, 1_000_000
	p := w.start("r1", "", l)
	bids := make([]*rtb.Claims, 10_000)
	for i := range bids {
		bids[i] = w.bid(1_000_000)
	}
	var wg sync.WaitGroup
	var next, won atomic.Int64
	for range 16 {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(bids)) {
					return
				}
				c := bids[i]
				reason := p.Reserve(c, nil, nil)
				for range 3 { // a bidder has the next request then; here it is the same again
					if reason != rtb.NoBidGrant {
						break
					}
					p.Step(context.Background(), noon)
					reason = p.Reserve(c, nil, nil)
				}
				if reason == rtb.NoBidNone {
					won.Add(1)
					w.must(w.notice(events.KindBill, c))
				}
			}
		})
	}
	wg.Wait()
	r := row(t, p.Budgets(w.now), "cart", "total")
	if r.Spent < unit*99/100 || r.Spent > unit || r.Late != 0 || r.Reserved != 0 {
		t.Fatalf("got %+v; want 0.99 to 1.00 spent", r)
	}
	s := p.Stats()
	t.Logf("settled %s with %d grants for %d wins", r.Spent, s.Grants, won.Load())
}

// Many goroutines reserve, release, lose, win and expire while grants are cut:
// the sums hold at every moment and at the end nothing is left over.
func TestConcurrentLedger(t *testing.T) {
	total := 200_000
	switch {
	case os.Getenv("PACING_FULL") != "":
		total = 1_000_000
	case raceOn:
		total = 20_000 // the fold is slow under the race detector
	}
	w := newWorld(t)
	const limit = 300 * unit
	l := dayPlan(limit)
	l.Caps, l.CampaignTotal = rtb.CapLineDay|rtb.CapCampaignTotal, limit
	p := w.start("r1", "", l)
	id := rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", rtb.DayOf(noon, time.UTC))
	notices := make(chan events.Fact, 1024)
	var clock atomic.Int64 // seconds after noon
	var folder sync.WaitGroup
	folder.Go(func() { foldAll(t, w, p, notices, &clock, id) })
	const workers = 8
	var wg sync.WaitGroup
	for k := range workers {
		wg.Go(func() { bidAll(p, uint64(k), total/workers, notices, &clock) })
	}
	wg.Wait()
	close(notices)
	folder.Wait()
	w.pass(3 * time.Hour)
	w.must(events.Fact{ID: "end", Kind: events.KindTick})
	s := p.Stats()
	if s.Reservations != 0 || s.Lines[0].Reserved != 0 || p.reservations.count.Load() != 0 {
		t.Fatalf("left over: %+v", s)
	}
	checkAccounts(t, p, 0)
	b := p.budgets[id]
	if b.Settled > limit || b.Settled != s.Lines[0].Spend {
		t.Fatalf("settled %d, line %d, cap %d", b.Settled, s.Lines[0].Spend, limit)
	}
	t.Logf("%d bids: settled %s, %d expired, %d late, %d grants", total, b.Settled, s.Expired, s.LateBills, s.Grants)
}

// foldAll applies notices in batches, as the log hands them over, and steps.
func foldAll(t *testing.T, w *world, p *Pacer, notices <-chan events.Fact, clock *atomic.Int64, id rtb.BudgetID) {
	batch := make([]events.Fact, 0, 256)
	for f := range notices {
		batch = append(batch[:0], f)
		for len(batch) < cap(batch) && len(notices) > 0 {
			batch = append(batch, <-notices)
		}
		w.now = noon.Add(time.Duration(clock.Add(1)) * time.Second / 4)
		w.must(batch...)
		w.facts = w.facts[:0]
		p.Step(context.Background(), w.now)
		if b := p.budgets[id]; b.Settled-b.Late+b.held(p.now) > p.accounts[id].limit {
			t.Errorf("settled %d - late %d + held %d is above the cap", b.Settled, b.Late, b.held(p.now))
			for range notices { // let the bidders end
			}
			return
		}
	}
}

func bidAll(p *Pacer, seed uint64, n int, notices chan<- events.Fact, clock *atomic.Int64) {
	r := rand.New(rand.NewPCG(seed, 3))
	w := &world{}
	for range n {
		w.now = noon.Add(time.Duration(clock.Load()) * time.Second / 4)
		c := w.bid(rtb.CPM(1 + r.IntN(2_000_000)))
		r2 := r.Uint64()
		for i := range 8 {
			c.Bid[i], c.Bid[8+i] = byte(r2>>(8*i)), byte(seed)
		}
		if p.Reserve(c, nil, nil) != rtb.NoBidNone {
			continue
		}
		switch k := r.IntN(10); {
		case k == 0:
			p.Release(c.Bid)
		case k == 1:
			notices <- w.notice(events.KindLoss, c)
		case k == 2:
			notices <- w.notice(events.KindWin, c)
		case k < 7:
			f := w.notice(events.KindBill, c)
			f.Notice.Charge = rtb.Micros(r.Int64N(int64(c.Reserved) + 1))
			notices <- f
		}
	}
}

// The bid path of a warm Pacer allocates nothing.
func TestBidPathAllocations(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t)
	l := dayPlan(5000 * unit)
	l.Mode = Even
	l.Caps, l.CampaignTotal = rtb.CapLineDay|rtb.CapCampaignTotal, 5000*unit
	p := w.start("r1", "", l)
	w.pass(10 * time.Second)
	caps := capped(1000, time.Hour, 0)
	v := visitor(1)
	c := w.bid(1_000_000)
	var n uint64
	cycle := func() {
		n++
		c.Bid[8], c.Bid[9] = byte(n), byte(n>>8)
		q, reason := p.quote(cartLine, 2_000_000, 100_000, rtb.AuctionSecondPrice)
		if reason != rtb.NoBidNone {
			t.Fatal(reason)
		}
		if reason := p.Reserve(c, v, caps); reason != rtb.NoBidNone {
			t.Fatal(reason)
		}
		p.observe(cartLine, q.Expected)
		if p.Paused("demo", "shop", "autumn") != rtb.NoBidNone {
			t.Fatal("paused")
		}
		p.Release(c.Bid)
	}
	for range 3000 { // warm
		cycle()
	}
	if got := testing.AllocsPerRun(2000, cycle); got > 0 {
		t.Fatalf("%.2f allocations per bid; want 0", got)
	}
}

func benchPacer(b *testing.B) (*Pacer, *world) {
	t := &testing.T{}
	w := newWorld(t)
	w.t = t
	p, err := Open(Options{InMemory: true, Run: "r1", Append: w.append, Now: func() time.Time { return w.now }, MaxReservations: 1 << 24})
	if err != nil {
		b.Fatal(err)
	}
	w.runs = append(w.runs, p)
	b.Cleanup(func() { p.Close() })
	plan := []LinePlan{}
	for i := range 200 {
		l := dayPlan(1_000_000_000 * unit)
		l.Mode = Even
		l.Caps, l.CampaignTotal = rtb.CapLineDay|rtb.CapCampaignTotal, 1_000_000_000*unit
		l.Line.Line = fmt.Sprintf("line-%d", i)
		plan = append(plan, l)
	}
	plan[0].Line = cartLine
	p.SetPlan(plan)
	p.Step(context.Background(), w.now)
	p.quote(cartLine, 2_000_000, 100_000, rtb.AuctionSecondPrice)
	w.now = w.now.Add(time.Second)
	p.Step(context.Background(), w.now)
	return p, w
}

func BenchmarkQuote(b *testing.B) {
	p, _ := benchPacer(b)
	h := p.Handle(cartLine)
	b.ReportAllocs()
	for b.Loop() {
		p.Quote(h, &rtb.Ask{Value: 2_000_000, Floor: 100_000, Auction: rtb.AuctionSecondPrice, Exchange: "demo"})
	}
}

func BenchmarkObserve(b *testing.B) {
	p, _ := benchPacer(b)
	h, o := p.Handle(cartLine), rtb.Observation{Requests: 1, Expected: 100, Quotes: 1, Full: 200}
	b.ReportAllocs()
	for b.Loop() {
		p.Observe(h, &o)
	}
}

// BenchmarkReserve covers two caps and a frequency cap, and releases.
func BenchmarkReserve(b *testing.B) {
	p, w := benchPacer(b)
	c := w.bid(1000)
	v := visitor(1)
	caps := capped(1000, time.Hour, 0)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n++
		for i := range 8 {
			c.Bid[i] = byte(n >> (8 * i))
		}
		v.Key[0], v.Key[1] = byte(n), byte(n>>8)
		if r := p.Reserve(c, v, caps); r != rtb.NoBidNone {
			b.Fatal(r)
		}
		p.Release(c.Bid)
		if n%100_000 == 0 { // released reservations are removed as the log's time advances
			w.now = w.now.Add(6 * time.Minute)
			w.must(events.Fact{Kind: events.KindTick})
			p.Step(context.Background(), w.now)
			w.facts = w.facts[:0]
			c.Issued = w.now
			c.WinExpiry, c.BillExpiry = c.Issued.Add(5*time.Minute), c.Issued.Add(30*time.Minute)
		}
	}
}

// BenchmarkApply folds a win and a bill of one bid.
func BenchmarkApply(b *testing.B) {
	p, w := benchPacer(b)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		c := w.bid(1000)
		if r := p.Reserve(c, nil, nil); r != rtb.NoBidNone {
			b.Fatal(r)
		}
		w.must(w.notice(events.KindWin, c), w.notice(events.KindBill, c))
		w.facts = w.facts[:0]
		n++
	}
}
