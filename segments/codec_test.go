package segments

import (
	"fmt"
	"testing"

	"rebound/rtb"
)

// fullVisitor has n of everything.
func fullVisitor(n int) *rtb.Visitor {
	v := &rtb.Visitor{Position: 12345}
	for i := range n {
		t := rtb.Second(1_790_000_000 + i)
		v.Segments = append(v.Segments, rtb.SegmentState{ID: rtb.SegmentID(i * 1e15), First: t - 5000, Last: t, Count: uint32(i + 3), Recent: []rtb.Second{t, t, t - 40}})
		v.Products = append(v.Products, rtb.ProductSeen{Advertiser: "shop", ID: fmt.Sprint("sku", i), Last: t, Kind: rtb.ProductCarted})
		v.Frequency = append(v.Frequency, rtb.FrequencyState{Scope: rtb.ScopeID(i * 1e14), Last: t, Buckets: []rtb.FrequencyBucket{{Start: t, Span: 300, Count: 2}, {Start: t - 5000, Span: 3600, Count: 70000}}})
	}
	return v
}

func TestProfileRoundTrip(t *testing.T) {
	var got rtb.Visitor
	for _, n := range []int{32, 0, 3, 8, 1} { // one visitor is reused
		want := fullVisitor(n)
		if err := decodeProfile(appendProfile(nil, want), &got); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(*want) {
			t.Errorf("%d: got\n%v\nwant\n%v", n, got, *want)
		}
	}
	t.Logf("a profile of 8 segments, 8 products and 8 scopes is %d bytes", len(appendProfile(nil, fullVisitor(8))))
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b, v := appendProfile(nil, fullVisitor(20)), &rtb.Visitor{}
	if n := testing.AllocsPerRun(100, func() {
		if decodeProfile(b, v) != nil {
			t.Fatal("damaged")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(appendProfile(nil, fullVisitor(3)))
	f.Add(appendProfile(nil, fullVisitor(0)))
	f.Add((&edge{"em", []uint32{7, 9}, []device{{rtb.Key{1}, 5}, {rtb.Key{2}, 6}}}).append(nil))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again rtb.Visitor
		if decodeProfile(b, &v) == nil {
			if err := decodeProfile(appendProfile(nil, &v), &again); err != nil || fmt.Sprint(v) != fmt.Sprint(again) {
				t.Fatalf("%x reads as %v, written and read as %v: %v", b, v, again, err)
			}
		} else if len(v.Segments)+len(v.Products)+len(v.Frequency) > 0 {
			t.Fatal("a damaged profile left something behind")
		}
		e, err := decodeEdge(b)
		k, ok := latestDevice(b, 0)
		if err == nil && len(e.devices) > 0 && (!ok || k != e.devices[len(e.devices)-1].visitor) {
			t.Fatalf("%x: the latest device is %v, %v", b, k, ok)
		}
		_, _ = latestDevice(b, 1<<32-1)
	})
}

func BenchmarkDecode(b *testing.B) {
	p, v := appendProfile(nil, fullVisitor(8)), &rtb.Visitor{}
	b.ReportAllocs()
	for b.Loop() {
		if decodeProfile(p, v) != nil {
			b.Fatal("damaged")
		}
	}
}
