package bidder_test

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/internal/lab"
	"rebound/loadtest"
	"rebound/loadtest/scale"
	"rebound/rtb"
)

// path is a bidder with a configuration of realistic size, whose visitors each saw
// one product, and the traffic of the load test.
type path struct {
	t       testing.TB
	now     time.Time
	lab     *lab.Lab
	traffic loadtest.Traffic
	bodies  [][]byte
	d       *bidder.Decision
	rq      bidder.Request
	n       int // requests so far
}

// newPath opens a bidder with 2,000 visitors for o; knownPct of the requests are theirs.
func newPath(t testing.TB, o scale.Options, knownPct float64, adjust func(*bidder.Options)) *path {
	return newPathOf(t, o, loadtest.Traffic{Visitors: 2000, KnownPct: knownPct, Seed: 1}, adjust)
}

func newPathOf(t testing.TB, o scale.Options, traffic loadtest.Traffic, adjust func(*bidder.Options)) *path {
	t.Helper()
	files, err := scale.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: text}
	}
	p := &path{t: t, now: time.Date(2026, 10, 1, 16, 0, 0, 0, time.UTC), traffic: traffic, d: bidder.NewDecision()}
	c, err := config.LoadFS(fsys, scale.Main, config.Options{Now: p.now})
	if err != nil {
		t.Fatal(err)
	}
	p.lab, err = lab.Open(lab.Options{Config: c, Now: func() time.Time { return p.now }, Name: "path", Node: "n1", CacheBytes: 64 << 20, Hash: rtb.HashSip, Adjust: func(o *bidder.Options) {
		o.Sources = nil
		if adjust != nil {
			adjust(o)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.lab.Close() })
	for n := range p.traffic.Visitors {
		p.view(p.traffic.Visitor(n), fmt.Sprintf("SKU%d", 1+n%40))
	}
	p.lab.CutGrants()
	p.bodies = p.traffic.Bodies(4096)
	for range 2 * len(p.bodies) { // profiles are cached, curves frozen, and memory has its size
		p.answer()
	}
	return p
}

func (p *path) view(visitor, item string) {
	p.t.Helper()
	f := events.Fact{Kind: events.KindEvent, Advertiser: "shop", Visitor: p.lab.Keyring.Key(rtb.IDVisitor, "", []byte(visitor)),
		Event: &events.Event{Name: "view_item", Trust: events.TrustServer, Items: []events.Item{{ID: item, Quantity: 1}}}}
	if err := p.lab.Put(f); err != nil {
		p.t.Fatal(err)
	}
}

// answer answers the next request, half a millisecond after the one before.
func (p *path) answer() bidder.Response {
	p.now = p.now.Add(500 * time.Microsecond)
	p.rq = bidder.Request{Exchange: "demo", Body: p.bodies[p.n%len(p.bodies)], Arrival: p.now}
	p.n++
	return p.lab.Bidder.Answer(&p.rq, p.d)
}

// step does the work of pacing between requests.
func (p *path) step() {
	if err := p.lab.Put(events.Fact{Kind: events.KindTick}); err != nil {
		p.t.Fatal(err)
	}
	p.lab.CutGrants()
}

// recorded returns a change of a bidder's options that records every request in a bid
// log, which is written while the test runs.
func recorded(t testing.TB) func(*bidder.Options) {
	return func(o *bidder.Options) {
		l, err := events.OpenBidLog(events.BidLogOptions{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Go(func() { _ = l.Run(ctx) })
		t.Cleanup(func() { stop(); done.Wait() })
		o.Records, o.KnownNoBidShare, o.UnknownNoBidShare = l, 0.01, 0.001
	}
}

// pathCases are the cases of the speed targets: 1,000 lines, of which a visitor is a
// candidate for 4, and 10,000 lines, of which it is a candidate for 100. The names end
// with the percentage of requests whose visitor is ours.
var pathCases = []struct {
	name  string
	o     scale.Options
	known float64
}{
	{"1k/0", scale.Options{Lines: 1000, Candidates: 4}, 0},
	{"1k/10", scale.Options{Lines: 1000, Candidates: 4}, 10},
	{"1k/100", scale.Options{Lines: 1000, Candidates: 4}, 100},
	{"10k/10", scale.Options{Lines: 10_000, Candidates: 100}, 10},
	{"10k/100", scale.Options{Lines: 10_000, Candidates: 100}, 100},
}

// BenchmarkPath measures the whole path of a request with everything on. cpu-ns/op is the
// processor time of the thread that answers, without that of the collector and of other
// programs; p99-us and p99.9-us are of the elapsed times, which include both.
func BenchmarkPath(b *testing.B) {
	for _, c := range pathCases {
		b.Run(c.name, func(b *testing.B) { newPath(b, c.o, c.known, recorded(b)).measure(b, elapsed) })
	}
}

// BenchmarkMillion measures the same with a million visitors, while one garbage
// collection follows the other. The times of the requests are processor times as well, so
// that other programs on the machine do not count.
func BenchmarkMillion(b *testing.B) {
	if testing.Short() {
		b.Skip("a million visitors take minutes to introduce")
	}
	for _, known := range []float64{0, 10, 100} {
		b.Run(fmt.Sprint(known), func(b *testing.B) {
			p := newPathOf(b, scale.Options{Lines: 1000, Candidates: 4}, loadtest.Traffic{Visitors: 1_000_000, KnownPct: known, Seed: 1}, recorded(b))
			var collector sync.WaitGroup
			done := make(chan struct{})
			collector.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						runtime.GC()
					}
				}
			})
			p.measure(b, threadCPU)
			close(done)
			collector.Wait()
		})
	}
}

var began = time.Now()

// elapsed is the clock of the elapsed time.
func elapsed() time.Duration { return time.Since(began) }

// measure answers requests and reports their times by a clock.
func (p *path) measure(b *testing.B, clock func() time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	bids, took := 0, make([]time.Duration, 0, 1<<20)
	cpu := -threadCPU()
	b.ReportAllocs()
	for b.Loop() {
		if p.n%4096 == 0 {
			b.StopTimer()
			cpu += threadCPU()
			p.step()
			cpu -= threadCPU()
			b.StartTimer()
		}
		start := clock()
		if p.answer().Offers > 0 {
			bids++
		}
		if len(took) < cap(took) {
			took = append(took, clock()-start)
		}
	}
	cpu += threadCPU()
	if p.traffic.KnownPct == 100 && bids < b.N*9/10 {
		b.Fatalf("got %d bids of %d requests; want nearly all", bids, b.N)
	}
	slices.Sort(took)
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
	b.ReportMetric(float64(took[len(took)*999/1000].Nanoseconds())/1e3, "p99.9-us")
}

// With a hundred candidates of many lines, neither a no-bid nor deciding a bid
// allocates, whether the round is short or full.
func TestPathAllocations(t *testing.T) {
	if raceOn {
		t.Skip("allocation counts differ under the race detector")
	}
	p := newPath(t, scale.Options{Lines: 1000, Candidates: 100}, 100, nil)
	short, full := 0, 0
	for _, floor := range []string{"", "11.90"} { // 11.90 is above every price
		if floor != "" {
			for i := range p.bodies {
				p.bodies[i] = floors.ReplaceAll(p.bodies[i], []byte(`"bidfloor":`+floor))
			}
		}
		for range 3 * len(p.bodies) {
			p.answer()
		}
		got := testing.AllocsPerRun(4000, func() {
			rs := p.answer()
			if rs.Offers > 0 != (floor == "") {
				t.Fatalf("floor %q: got %d bids, %q", floor, rs.Offers, rs.Reason)
			}
			if p.d.Outcome().Skipped > 0 {
				short++
			} else {
				full++
			}
		})
		if got != 0 {
			t.Errorf("floor %q: got %v allocations; want 0", floor, got)
		}
	}
	if short < 1000 || full < 100 {
		t.Errorf("got %d short and %d full rounds; want both", short, full)
	}
}

var floors = regexp.MustCompile(`"bidfloor":[0-9.]+`)
