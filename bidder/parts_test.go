package bidder

import (
	"bytes"
	"compress/gzip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebound/exchange"
	"rebound/internal/conformance"
	"rebound/internal/spec"
)

var start = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

// Rule T20: of 1,500 requests per second about 1,000 pass, and bursts are bounded.
func TestThrottleKeepsItsQuota(t *testing.T) {
	conformance.Covers(t, "T20")
	var th throttle
	passed := 0
	for i := range 15_000 {
		if th.allow(start.Add(time.Duration(i)*10*time.Second/15_000), 1000) {
			passed++
		}
	}
	if passed < 10_000 || passed > 10_200 {
		t.Errorf("got %d in ten seconds; want about 10,000", passed)
	}
	var burst throttle
	var atOnce atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if burst.allow(start, 1000) {
					atOnce.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := atOnce.Load(); n != 100 {
		t.Errorf("got %d in one instant; want 100, a tenth of a second's", n)
	}
	if !th.allow(start, 0) {
		t.Error("a quota of 0 refuses")
	}
	var rare throttle
	if !rare.allow(start, 1) || rare.allow(start.Add(time.Millisecond), 1) || !rare.allow(start.Add(1100*time.Millisecond), 1) {
		t.Error("one a second is not kept")
	}
}

// Rules T15, T16, T17.
func TestDeadline(t *testing.T) {
	conformance.Covers(t, "T15", "T16", "T17")
	profile := exchange.ProfileSpec{ID: "x", Seat: "s", DefaultTMax: spec.Duration(200 * time.Millisecond)}
	rtt := spec.Duration(40 * time.Millisecond)
	profile.RTTAllowance = &rtt
	p, problems := profile.Compile()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, c := range []struct {
		name string
		tmax time.Duration
		late time.Duration // how long the request waited before we looked
		want time.Duration
		ok   bool
	}{
		{"tmax", 100 * time.Millisecond, 0, 50 * time.Millisecond, true},
		{"absent", 0, 0, 150 * time.Millisecond, true},
		{"negative", -time.Second, 0, 150 * time.Millisecond, true},
		{"too short", 5 * time.Millisecond, 0, -45 * time.Millisecond, false},
		{"waited too long", 100 * time.Millisecond, 50 * time.Millisecond, 50 * time.Millisecond, false},
	} {
		at, ok := deadline(start, start.Add(c.late), p, c.tmax)
		if at.Sub(start) != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v; want %v, %v", c.name, at.Sub(start), ok, c.want, c.ok)
		}
	}
}

// Rule T12.
func TestAcceptsGzip(t *testing.T) {
	conformance.Covers(t, "T12")
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false,
		"gzip;q=1.0": true, "*": true, "*;q=0": false, "br": false, "xgzip": false, "identity;q=1, *;q=0": false,
		"gzip;q=0.001": true, ",,": false, "gzip;q=0, *": false, "*, gzip;q=0": false, "br|gzip": true, "gzip;q=0|*": false, "|gzip": true, "br;q=1|gzip;q=0.0": false,
		"gzip;q=0.5, identity": false, "identity;q=0.5, gzip": true, "identity, gzip": true, "gzip;q=0.3, identity;q=0.7": false, "*;q=0.5, identity;q=0.1": true,
		"gzip;q=high": false, "gzip;q=1.5": false, "gzip; Q=0": false, "gzip;level=1;q=0": false, "x-gzip": true, "gzip ; q=1": true,
	} {
		if got := acceptsGzip(bytes.Split([]byte(header), []byte{'|'})...); got != want {
			t.Errorf("%q: got %v; want %v", header, got, want)
		}
	}
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Rule T11: a small body never expands beyond the limit, however it was compressed.
func TestInflateStopsAtItsLimit(t *testing.T) {
	conformance.Covers(t, "T11")
	b := New(Options{})
	const limit = 64 << 10
	for n, want := range map[int]error{0: nil, 1: nil, limit - 1: nil, limit: nil, limit + 1: errInflated, 50 << 20: errInflated} {
		raw := zipped(t, bytes.Repeat([]byte{'a'}, n))
		got, err := b.inflate(nil, raw, limit)
		if err != want || err == nil && len(got) != n || cap(got) > 4*limit {
			t.Errorf("%d bytes: got %d (room %d), %v; want %v", n, len(got), cap(got), err, want)
		}
	}
	good := zipped(t, []byte(strings.Repeat("abc", 1000)))
	for name, raw := range map[string][]byte{"nothing": nil, "no gzip": []byte("hello"), "cut": good[:len(good)/2], "sum": append(bytes.Clone(good[:len(good)-8]), 0, 0, 0, 0, 0, 0, 0, 0)} {
		if _, err := b.inflate(nil, raw, limit); err == nil || err == errInflated {
			t.Errorf("%s: got %v; want an error of the format", name, err)
		}
	}
	if got, err := b.inflate(nil, good, limit); err != nil || len(got) != 3000 {
		t.Errorf("after bad bodies: got %d bytes, %v", len(got), err)
	}
	var before, after runtime.MemStats
	bomb := zipped(t, make([]byte, 64<<20))
	runtime.ReadMemStats(&before)
	for range 20 {
		_, _ = b.inflate(nil, bomb, limit)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 20*8*limit {
		t.Errorf("20 bombs allocated %d bytes", grown)
	}
}

func TestSamplingIsAShareAndRepeats(t *testing.T) {
	b := New(Options{KnownNoBidShare: 0.1, UnknownNoBidShare: 0.01, Records: noRecords{}})
	in := map[bool]int{}
	for i := range 100_000 {
		d := &Decision{known: i%2 == 0}
		d.opportunity.ID = []byte("request-" + time.Duration(i).String())
		w := b.sampleWeight(d, &Response{Status: 204, Reason: 1})
		if again := b.sampleWeight(d, &Response{Status: 204, Reason: 1}); again != w {
			t.Fatalf("request %d: got weight %v, then %v", i, w, again)
		}
		if w > 0 {
			in[d.known]++
			if want := map[bool]float64{true: 10, false: 100}[d.known]; w != want {
				t.Fatalf("got weight %v; want %v", w, want)
			}
		}
	}
	if in[true] < 4_700 || in[true] > 5_300 || in[false] < 420 || in[false] > 580 {
		t.Errorf("got %d known and %d unknown of 50,000 each; want about 5,000 and 500", in[true], in[false])
	}
	d := &Decision{}
	d.opportunity.ID = []byte("x")
	if w := b.sampleWeight(d, &Response{Offers: 1}); w != 1 {
		t.Errorf("a bid: got weight %v; want 1", w)
	}
	none := &Response{Status: 204, Reason: 1}
	for _, known := range []bool{false, true} { // as a reload changes them
		d.known = known
		b.SetNoBidShares(0, 1)
		if w, want := b.sampleWeight(d, none), map[bool]float64{false: 1}[known]; w != want {
			t.Errorf("known %v: got weight %v; want %v by the new shares", known, w, want)
		}
	}
}
