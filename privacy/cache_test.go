package privacy

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

func TestCacheTakesInOnTheSecondSight(t *testing.T) {
	conformance.Covers(t, "G26")
	p := shop()
	want := []Stats{{Misses: 1}, {Misses: 2, Entries: 1}, {Hits: 1, Misses: 2, Entries: 1}, {Hits: 2, Misses: 2, Entries: 1}}
	for i, w := range want {
		p.Decide(gdpr(tc1))
		if got := p.Stats(); got != w {
			t.Errorf("after decision %d: got %+v; want %+v", i+1, got, w)
		}
	}
	long := tc1
	for len(long) <= maxCachedLen {
		long += "A"
	}
	p.Decide(gdpr(long))
	p.Decide(gdpr(long))
	if got := p.Stats(); got.Oversized != 2 || got.Entries != 1 {
		t.Errorf("a long string: got %+v; want 2 oversized and still 1 entry", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	conformance.Covers(t, "G26")
	p := &Policy{VendorID: us42, CacheEntries: 64}
	rng := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		s := gdpr(generateTCF(rng).String())
		p.Decide(s)
		p.Decide(s)
	}
	if got := p.Stats(); got.Entries > 64 || got.Entries < 32 {
		t.Errorf("2,000 strings, each twice: got %d entries; want at most 64 and the cache in use", got.Entries)
	}
	none := &Policy{VendorID: us42, CacheEntries: -1}
	none.Decide(gdpr(tc1))
	none.Decide(gdpr(tc1))
	if got := none.Stats(); got.Entries != 0 || got.Oversized != 2 {
		t.Errorf("no cache: got %+v; want no entries", got)
	}
}

// Many goroutines that share a cache which is far too small get the same results as
// one without a cache. Run it with the race detector.
func TestCacheConcurrently(t *testing.T) {
	const strings, workers, rounds = 200, 8, 2000
	rng := rand.New(rand.NewPCG(9, 10))
	plain := &Policy{VendorID: us42, CacheEntries: -1}
	signals := make([]*rtb.Signals, strings)
	want := make([]rtb.Permissions, strings)
	for i := range signals {
		u := generateUS(rng, 7+i%21)
		signals[i] = &rtb.Signals{GDPR: rtb.Flag(1 + i%2), Consent: []byte(generateTCF(rng).String()),
			GPP: []byte(gppOf(map[int]string{u.id: u.String()}, true)), GPPSID: []int{u.id}}
		want[i] = plain.Decide(signals[i])
	}
	small := &Policy{VendorID: us42, CacheEntries: 16}
	var wg sync.WaitGroup
	failed := make(chan string, workers)
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 11))
			for range rounds {
				i := int(rng.ExpFloat64()*10) % strings // some often, most seldom
				if got := small.Decide(signals[i]); got != want[i] {
					failed <- fmt.Sprintf("string %d: got %+v; want %+v", i, got, want[i])
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	for f := range failed {
		t.Error(f)
	}
	if s := small.Stats(); s.Hits == 0 || s.Misses == 0 || s.Entries > 32 {
		t.Errorf("got %+v; want hits, misses and at most 32 entries", s)
	}
}

func TestDecisionsDoNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	rng := rand.New(rand.NewPCG(12, 13))
	p := shop()
	cached := gdpr(tc8)
	cached.GPP, cached.GPPSID = []byte("DBACNYA~"+tc1+"~1YNN"), []int{2, 6}
	var once []*rtb.Signals
	for range 300 {
		once = append(once, gdpr(generateTCF(rng).String()))
	}
	long := gdpr(tc1)
	for len(long.Consent) <= maxCachedLen {
		long.Consent = append(long.Consent, 'A')
	}
	browser := &Consent{GDPR: []byte("1"), GDPRConsent: []byte(tc1), GPP: cached.GPP, GPPSID: []byte("2,6")}
	for range 3 {
		p.Decide(cached)
		p.Browser(browser)
	}
	n := 0
	for name, f := range map[string]func(){
		"cached":  func() { p.Decide(cached) },
		"once":    func() { p.Decide(once[n%len(once)]); n++ },
		"long":    func() { p.Decide(long) },
		"refused": func() { p.Decide(&rtb.Signals{COPPA: rtb.Yes}) },
		"browser": func() { p.Browser(browser) },
	} {
		if got := testing.AllocsPerRun(200, f); got != 0 {
			t.Errorf("%s: %v allocations; want 0", name, got)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	us := &rtb.Signals{Country: []byte("USA"), GPP: []byte(gppNone), GPPSID: []int{7}, USPrivacy: []byte("1YNN")}
	spec := generateTCF(rand.New(rand.NewPCG(1, 2)))
	spec.vendorConsent = vendors{spans: []span{{1, 1400}}}
	spec.vendorInterest = vendors{spans: []span{{1, 1400}}}
	spec.disclosed = &spec.vendorConsent
	for name, s := range map[string]*rtb.Signals{"tcf": gdpr(tc8), "tcf-900-chars": gdpr(spec.String()), "gpp": us, "nothing": {Country: []byte("CAN")}} {
		for kind, entries := range map[string]int{"cached": 0, "parsed": -1} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				p := &Policy{VendorID: us42, CacheEntries: entries}
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(s)
				}
			})
		}
	}
}
