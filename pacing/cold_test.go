package pacing

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// BenchmarkColdBid measures pacing's part of a bid among many: 1,000 lines in 50
// campaigns, 20,000 visitors with a frequency cap, 60,000 bids in flight that are kept in
// a file, and other work between two bids that fills the first caches of the processor.
// p50-ns is the median time of a bid, and quiet-ns the same in the quietest tenth of the time.
func BenchmarkColdBid(b *testing.B) {
	w := newWorld(&testing.T{})
	w.reservations = filepath.Join(b.TempDir(), "reservations")
	p := w.start("r1", "")
	var plan []LinePlan
	for i := range 1000 {
		l := dayPlan(1_000_000_000 * unit)
		l.Mode, l.CampaignMode = Even, Even
		l.Caps, l.CampaignDay = rtb.CapLineDay|rtb.CapCampaignDay, 1_000_000_000*unit
		l.Line.Campaign, l.Line.Line = fmt.Sprintf("campaign-%d", i/20), fmt.Sprintf("line-%d", i)
		plan = append(plan, l)
	}
	p.SetPlan(plan)
	handles := make([]rtb.LineHandle, len(plan))
	caps := make([][]rtb.FrequencyCap, len(plan))
	for i := range plan {
		handles[i] = p.Handle(plan[i].Line)
		caps[i] = []rtb.FrequencyCap{{Scope: rtb.ScopeOf("line", plan[i].Line.Line), Max: 1000, Per: 24 * time.Hour}}
	}
	p.Step(context.Background(), w.now)
	r := rand.New(rand.NewPCG(1, 2))
	template, n := *w.bid(2_000_000), 0
	other := make([]uint64, 1<<16) // 512 KiB
	took := make([]time.Duration, 0, 1<<20)
	var sum uint64
	var later time.Duration // that the ends of bids took
	bid := func() time.Duration {
		n++
		if w.now = w.now.Add(time.Millisecond); n%4096 == 0 {
			start := time.Now()
			if err := w.append(context.Background(), events.Fact{Kind: events.KindTick}); err != nil {
				b.Fatal(err)
			}
			later += time.Since(start)
			p.Step(context.Background(), w.now)
			p.Step(context.Background(), w.now)
		}
		who := r.Uint64N(20_000)
		first := who % 997
		v := rtb.Visitor{Key: rtb.Key(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, who*0x9e3779b97f4a7c15), who*0xbf58476d1ce4e5b9))}
		site := r.Uint64N(400) * 0x9e3779b97f4a7c15
		offer := rtb.PathOffer{Impression: r.Uint64(), Market: site, Path: 1 + site>>62, Request: r.Uint64(), At: w.now}
		c := template
		binary.LittleEndian.PutUint64(c.Bid[:], r.Uint64())
		binary.LittleEndian.PutUint64(c.Bid[8:], r.Uint64())
		c.Visitor, c.Issued = v.Key, w.now
		c.WinExpiry, c.BillExpiry = w.now.Add(time.Minute), w.now.Add(time.Minute)
		ask := rtb.Ask{Value: 2_000_000, Floor: 100_000, Auction: rtb.AuctionSecondPrice, Exchange: "demo", Draw: 0.5}
		for i := 0; i < len(other); i += 8 {
			sum += other[i]
		}
		start := time.Now()
		for i := range first % 4 {
			p.Multiplier(handles[first+i])
		}
		var seen rtb.Observation
		q, reason := p.Quote(handles[first], &ask)
		if reason != rtb.NoBidNone {
			b.Fatal(reason)
		}
		c.Path, reason = p.EnterPath(&offer)
		if reason != rtb.NoBidNone {
			b.Fatal(reason)
		}
		c.Handle, c.Price, c.Reserved, c.Expected = handles[first], q.Price, q.Price.Cost(), q.Expected
		reason = p.Reserve(&c, &v, caps[first])
		seen = rtb.Observation{Requests: 1, Quotes: 1, Full: q.Full, Expected: q.Expected}
		p.Observe(handles[first], &seen)
		d := time.Since(start)
		if reason != rtb.NoBidNone {
			b.Fatal(n, reason)
		}
		return d
	}
	for range 150_000 {
		bid()
	}
	b.ResetTimer()
	later = 0
	expired := p.counts.expired.Load()
	for b.Loop() {
		if d := bid(); len(took) < cap(took) {
			took = append(took, d)
		}
	}
	var medians []time.Duration // of some bids in a row
	for few := range slices.Chunk(took, 500) {
		slices.Sort(few)
		medians = append(medians, few[len(few)/2])
	}
	slices.Sort(medians)
	b.ReportMetric(float64(medians[len(medians)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(medians[len(medians)/10].Nanoseconds()), "quiet-ns")
	b.ReportMetric(float64(later.Nanoseconds())/float64(max(p.counts.expired.Load()-expired, 1)), "expiry-ns")
	b.ReportMetric(float64(p.reservations.count.Load()), "in-flight")
	if sum != 0 {
		b.Fatal(sum)
	}
}
