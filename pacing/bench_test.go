package pacing

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rebound/rtb"
)

// manyLines starts a run with active lines of one campaign that pace two caps each, and
// whose place has learned enough to shade.
func manyLines(tb testing.TB, lines int) (*Pacer, *world, []rtb.LineHandle) {
	tb.Helper()
	w := newWorld(&testing.T{})
	p := w.start("r1", "")
	var plan []LinePlan
	for i := range lines {
		l := dayPlan(1_000_000_000 * unit)
		l.Mode, l.CampaignMode = Even, Even
		l.Caps, l.CampaignDay = rtb.CapLineDay|rtb.CapCampaignDay, 1_000_000_000*unit
		l.Line.Line = fmt.Sprintf("line-%d", i)
		plan = append(plan, l)
	}
	p.SetPlan(plan)
	var handles []rtb.LineHandle
	for i := range plan {
		handles = append(handles, p.Handle(plan[i].Line))
	}
	p.Quote(handles[0], &rtb.Ask{Value: 2_000_000, Auction: rtb.AuctionFirstPrice, Exchange: "demo"})
	p.Step(context.Background(), w.now)
	pl := (*p.places.Load())[placeKey{"demo", usd, rtb.SlotOther}]
	for i := range 1000 {
		pl.learn(&reservation{cost: rtb.Micros(500 + i), paid: rtb.Micros(i % 2 * 500), value: 2000, firstPrice: true, issued: 1})
	}
	w.now = w.now.Add(2 * time.Minute)
	for range 3 {
		p.Step(context.Background(), w.now)
	}
	if pl.curve.Load().rates == nil {
		tb.Fatal("the place does not shade")
	}
	return p, w, handles
}

// bidOnce prices, shades and reserves one bid, counts it, and releases it.
func bidOnce(p *Pacer, h rtb.LineHandle, ask *rtb.Ask, c *rtb.Claims, bid uint64) rtb.NoBidReason {
	q, r := p.Quote(h, ask)
	o := rtb.Observation{Requests: 1, Quotes: 1, Full: q.Full}
	if r == rtb.NoBidNone {
		for i := range 8 {
			c.Bid[i] = byte(bid >> (8 * i))
		}
		c.Handle, c.Price, c.Reserved, c.Expected = h, q.Price, q.Price.Cost(), q.Expected
		if r = p.Reserve(c, nil, nil); r == rtb.NoBidNone {
			o.Expected = q.Expected
			p.Release(c.Bid)
		}
	}
	p.Observe(h, &o)
	return r
}

// The whole of pacing's part of a bid, with 10,000 active lines in one campaign whose
// cap all goroutines contend for.
func BenchmarkBid(b *testing.B) {
	p, w, handles := manyLines(b, 10_000)
	var ids atomic.Uint64
	template := *w.bid(1000)
	template.FirstPrice = true
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, n := template, ids.Add(1)<<32
		ask := rtb.Ask{Value: 2_000_000, Floor: 100_000, Auction: rtb.AuctionFirstPrice, Exchange: "demo", Draw: 0.5}
		for pb.Next() {
			n++
			if r := bidOnce(p, handles[n%uint64(len(handles))], &ask, &c, n); r != rtb.NoBidNone && r != rtb.NoBidGrant && r != rtb.NoBidOverloaded {
				b.Error(r)
				return
			}
		}
	})
}

// One round of pacing with 10,000 lines, of which all, or a hundred, were observed since
// the last round.
func BenchmarkRound(b *testing.B) {
	for _, observed := range []int{10_000, 100, 0} {
		b.Run(fmt.Sprintf("observed=%d", observed), func(b *testing.B) {
			p, w, handles := manyLines(b, 10_000)
			o := rtb.Observation{Requests: 1, Expected: 100, Quotes: 1, Full: 200}
			for range 20 {
				w.now = w.now.Add(stepEvery)
				p.round(w.now)
			}
			for b.Loop() {
				b.StopTimer()
				for i := range observed {
					p.Observe(handles[i*len(handles)/observed], &o)
				}
				w.now = w.now.Add(stepEvery)
				b.StartTimer()
				p.round(w.now)
			}
		})
	}
}

// Pricing, shading, reserving and counting do not allocate.
func TestBidDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	p, w, handles := manyLines(t, 100)
	c, n := *w.bid(1000), uint64(1)<<32
	c.FirstPrice = true
	ask := rtb.Ask{Value: 2_000_000, Floor: 100_000, Auction: rtb.AuctionFirstPrice, Exchange: "demo", Draw: 0.5}
	for range 1000 { // the memory of reservations grows at first
		n++
		bidOnce(p, handles[0], &ask, &c, n)
	}
	shaded := 0
	got := testing.AllocsPerRun(200, func() {
		n++
		if q, r := p.Quote(handles[0], &ask); r == rtb.NoBidNone && q.Learned && q.Shading < 1 {
			shaded++
		}
		bidOnce(p, handles[0], &ask, &c, n)
	})
	if got > 0.1 || shaded == 0 {
		t.Errorf("%v allocations a bid, %d shaded; want none, and shaded bids", got, shaded)
	}
}
