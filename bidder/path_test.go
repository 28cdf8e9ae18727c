package bidder_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/internal/lab"
	"rebound/loadtest"
	"rebound/loadtest/scale"
	"rebound/pacing"
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

// newPath opens a bidder for o; knownPct of the requests are of its visitors.
func newPath(t testing.TB, o scale.Options, knownPct float64, adjust func(*bidder.Options)) *path {
	t.Helper()
	files, err := scale.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: text}
	}
	p := &path{t: t, now: time.Date(2026, 10, 1, 16, 0, 0, 0, time.UTC), traffic: loadtest.Traffic{Visitors: 2000, KnownPct: knownPct, Seed: 1}, d: bidder.NewDecision()}
	c, err := config.LoadFS(fsys, scale.Main, config.Options{Now: p.now})
	if err != nil {
		t.Fatal(err)
	}
	p.lab, err = lab.Open(lab.Options{Config: c, Now: func() time.Time { return p.now }, Name: "path", Node: "n1", CacheBytes: 64 << 20, Adjust: func(o *bidder.Options) {
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

// BenchmarkPath measures the whole path of a request: 1,000 lines of which a visitor
// is a candidate for 4, and 10,000 lines of which it is a candidate for 100. The
// share of our visitors is in the name.
func BenchmarkPath(b *testing.B) {
	for _, c := range []struct {
		name  string
		o     scale.Options
		known float64
	}{
		{"1k/0", scale.Options{Lines: 1000, Candidates: 4}, 0},
		{"1k/10", scale.Options{Lines: 1000, Candidates: 4}, 10},
		{"1k/100", scale.Options{Lines: 1000, Candidates: 4}, 100},
		{"10k/10", scale.Options{Lines: 10_000, Candidates: 100}, 10},
		{"10k/100", scale.Options{Lines: 10_000, Candidates: 100}, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newPath(b, c.o, c.known, nil)
			bids := 0
			b.ReportAllocs()
			for b.Loop() {
				if p.n%4096 == 0 {
					b.StopTimer()
					p.step()
					b.StartTimer()
				}
				if p.answer().Offers > 0 {
					bids++
				}
			}
			if c.known == 100 && bids < b.N*9/10 {
				b.Fatalf("got %d bids of %d requests; want nearly all", bids, b.N)
			}
		})
	}
}

var _ = pacing.Even
var _ = slices.Sort[[]int]
