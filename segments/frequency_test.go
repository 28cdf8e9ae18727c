package segments

import (
	"math/rand/v2"
	"slices"
	"testing"

	"rebound/events"
	"rebound/rtb"
)

func TestAnImpressionCountsOncePerBid(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", 0)
	l.notice(events.KindWin, v, 1) // a win is not an impression
	l.notice(events.KindImp, v, 1)
	l.notice(events.KindBill, v, 1)
	l.notice(events.KindBill, v, 2)
	l.notice(events.KindImp, v, 2)
	l.notice(events.KindBill, v, 0) // no bid id
	apply(t, s, l.take())
	p := profile(t, s, v)
	for kind, id := range map[string]string{"line": "shop/autumn/cart", "campaign": "shop/autumn", "advertiser": "shop", "creative": "shop/c1"} {
		f := p.Scope(rtb.ScopeOf(kind, id))
		if f == nil || len(f.Buckets) != 1 || f.Buckets[0].Count != 2 || f.Last != rtb.SecondOf(start) {
			t.Errorf("%s: %+v, want two impressions", kind, f)
		}
	}
	if len(p.Frequency) != 4 {
		t.Errorf("%d scopes, want 4", len(p.Frequency))
	}
}

// If VAST bills, its impression counts; other player events do not.
func TestAVideoImpressionCountsWhereItBills(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", 0)
	l.notice(events.KindVideo, v, 1)
	l.notice(events.KindVideo, v, 2)
	l.facts[len(l.facts)-1].Notice.Bills = true
	apply(t, s, l.take())
	f := profile(t, s, v).Scope(rtb.ScopeOf("line", "shop/autumn/cart"))
	if f == nil || len(f.Buckets) != 1 || f.Buckets[0].Count != 1 {
		t.Errorf("got %+v; want one impression", f)
	}
}

// TestBucketsLoseNothingAndNeverOverlap adds impressions over months and
// compares with the raw times: a window of any length holds at least the true
// number, and at most those of the buckets that it cuts.
func TestBucketsLoseNothingAndNeverOverlap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	v := &rtb.Visitor{}
	now := rtb.SecondOf(start)
	var times []rtb.Second
	longest := 0
	for range 5000 {
		now += rtb.Second(r.IntN(3 * fineSpan))
		if r.IntN(200) == 0 {
			now += rtb.Second(r.IntN(20 * daySpan))
		}
		at := now
		if r.IntN(10) == 0 {
			at -= rtb.Second(r.IntN(3 * daySpan))
		}
		times = append(times, at)
		addImpression(v, 1, at, now)
		f := v.Frequency[0]
		longest = max(longest, len(f.Buckets))
		for i, b := range f.Buckets {
			if i > 0 && b.Start+rtb.Second(b.Span) > f.Buckets[i-1].Start {
				t.Fatalf("buckets overlap or are not the newest first: %+v", f.Buckets)
			}
		}
		checkWindows(t, f, times, now, r)
	}
	if longest > 36+72+92 {
		t.Errorf("%d buckets, want at most 200", longest)
	}
	if last := slices.Max(times); v.Frequency[0].Last != last {
		t.Errorf("last %d, want %d", v.Frequency[0].Last, last)
	}
}

func checkWindows(t *testing.T, f rtb.FrequencyState, times []rtb.Second, now rtb.Second, r *rand.Rand) {
	t.Helper()
	from := now - rtb.Second(r.IntN([]int{90 * 86400, 48 * 3600, 2 * 3600}[r.IntN(3)]))
	truth, upper := uint32(0), uint32(0)
	for _, b := range f.Buckets {
		if b.Start+rtb.Second(b.Span) > from {
			upper += b.Count
		}
	}
	for _, at := range times {
		if at >= from {
			truth++
		}
	}
	if upper < truth {
		t.Fatalf("window from %d: buckets say at most %d, truth is %d", from, upper, truth)
	}
	slack, age := rtb.Second(86400), now-from // exact to a day; within 48 h to an hour; within 2 h to five minutes
	if age <= 2*3600 {
		slack = 300
	} else if age <= 48*3600 {
		slack = 3600
	}
	near := uint32(0)
	for _, at := range times {
		if at+slack >= from {
			near++
		}
	}
	if upper > near {
		t.Fatalf("window from %d (age %d): buckets say %d, at most %d are near it", from, age, upper, near)
	}
}
