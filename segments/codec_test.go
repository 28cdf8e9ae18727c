package segments

import (
	"encoding/binary"
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

// fullRecord has n of everything.
func fullRecord(n int) *record {
	r := &record{v: *fullVisitor(n)}
	for i := range n {
		at := rtb.Second(1_790_001_000 + i)
		r.v.Segments[i].Sums = []rtb.DayValue{{Day: at.UTCDay(), Value: 12e6}, {Day: at.UTCDay() - 9, Value: 1}}
		r.shared = append(r.shared, rtb.SegmentState{ID: rtb.SegmentID(i*1e15 + 1), First: at, Last: at, Count: 1, Recent: []rtb.Second{at}})
		r.members = append(r.members, member{segment: rtb.SegmentID(i*1e15 + 2), list: rtb.SegmentID(i*1e15 + 3), job: uint64(i), at: at})
	}
	return r
}

func TestProfileRoundTrip(t *testing.T) {
	var got record
	d := newDictionary()
	for _, n := range []int{32, 0, 3, 8, 1} { // one record is reused
		want := fullRecord(n)
		if err := got.decode(want.append(nil, d), d); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(*want) {
			t.Errorf("%d: got\n%v\nwant\n%v", n, got, *want)
		}
	}
	t.Logf("a profile of 8 segments, 8 products and 8 scopes is %d bytes", len((&record{v: *fullVisitor(8)}).append(nil, d)))
}

// Profiles that were written before sums and lists existed are read.
func TestOldProfile(t *testing.T) {
	want, d := fullVisitor(5), newDictionary()
	var r record
	if err := r.decode(appendProfile1(want), d); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(r.v) != fmt.Sprint(*want) {
		t.Errorf("got\n%v\nwant\n%v", r.v, *want)
	}
}

// appendProfile1 writes a profile as version 1 did.
func appendProfile1(v *rtb.Visitor) []byte {
	b := binary.AppendUvarint([]byte{profileVersion1}, v.Position)
	b = binary.AppendUvarint(b, uint64(len(v.Segments)))
	for i := range v.Segments {
		s := &v.Segments[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(s.ID))
		b = binary.LittleEndian.AppendUint32(b, uint32(s.Last))
		b = binary.AppendUvarint(b, uint64(s.Last-s.First))
		b = binary.AppendUvarint(b, uint64(s.Count))
		b = append(b, byte(len(s.Recent)))
		from := s.Last
		for _, t := range s.Recent {
			b = binary.AppendUvarint(b, uint64(from-t))
			from = t
		}
	}
	b = binary.AppendUvarint(b, uint64(len(v.Products)))
	for i := range v.Products {
		p := &v.Products[i]
		b = appendText(appendText(b, p.Advertiser), p.ID)
		b = append(binary.LittleEndian.AppendUint32(b, uint32(p.Last)), byte(p.Kind))
	}
	return appendFrequency(b, v)
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := inMemory(t)
	b, v := fullRecord(20).append(nil, s.dict.Load()), &rtb.Visitor{}
	if n := testing.AllocsPerRun(100, func() {
		if s.decode(b, s.dict.Load(), v) != nil {
			t.Fatal("damaged")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	d := newDictionary()
	f.Add(fullRecord(3).append(nil, d))
	f.Add(fullRecord(0).append(nil, d))
	f.Add((&edge{"em", "shop", []uint32{7, 9}, []device{{rtb.Key{1}, 5}, {rtb.Key{2}, 6}}}).append(nil))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again record
		if r.decode(b, d) == nil {
			if b[0] == profileVersion1 {
				return
			}
			if err := again.decode(r.append(nil, d), d); err != nil || fmt.Sprint(r) != fmt.Sprint(again) {
				t.Fatalf("%x reads as %v, written and read as %v: %v", b, r, again, err)
			}
		} else if len(r.v.Segments)+len(r.v.Products)+len(r.v.Frequency)+len(r.shared)+len(r.members) > 0 {
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
	s := inMemory(b)
	p, v := (&record{v: *fullVisitor(8)}).append(nil, s.dict.Load()), &rtb.Visitor{}
	b.ReportAllocs()
	for b.Loop() {
		if s.decode(p, s.dict.Load(), v) != nil {
			b.Fatal("damaged")
		}
	}
}
