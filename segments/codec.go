package segments

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"rebound/rtb"
)

// profileVersion is the first byte of an encoded profile.
const profileVersion = 1

// Bounds of a profile. Entries beyond them are dropped, the oldest first.
const (
	maxSegments  = 256
	maxProducts  = 32
	maxScopes    = 64
	maxBuckets   = 256
	maxProductID = 200
)

// appendProfile appends a profile: version, position, segments, products, frequencies.
// Ids and latest times have a fixed width; older times are encoded as the distance to
// the previous one. The key is not included.
func appendProfile(b []byte, v *rtb.Visitor) []byte {
	b = append(b, profileVersion)
	b = binary.AppendUvarint(b, v.Position)
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
		b = appendText(b, p.Advertiser)
		b = appendText(b, p.ID)
		b = binary.LittleEndian.AppendUint32(b, uint32(p.Last))
		b = append(b, byte(p.Kind))
	}
	return appendFrequency(b, v)
}

func appendFrequency(b []byte, v *rtb.Visitor) []byte {
	b = binary.AppendUvarint(b, uint64(len(v.Frequency)))
	for i := range v.Frequency {
		f := &v.Frequency[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(f.Scope))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Last))
		b = binary.AppendUvarint(b, uint64(len(f.Buckets)))
		for _, k := range f.Buckets {
			b = binary.LittleEndian.AppendUint32(b, uint32(k.Start))
			b = binary.AppendUvarint(b, uint64(k.Span))
			b = binary.AppendUvarint(b, uint64(k.Count))
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

var errProfile = errors.New("cannot read profile: got damaged bytes; want what appendProfile wrote")

// decodeProfile fills v from b and reuses v's memory. Texts in v point into b, so b must
// never change afterwards. On an error v is empty.
func decodeProfile(b []byte, v *rtb.Visitor) error {
	v.Reset()
	r := reader{b: b}
	if r.byte() != profileVersion {
		return errProfile
	}
	v.Position = r.uvarint()
	r.segments(v)
	r.products(v)
	r.frequency(v)
	if r.bad || len(r.b) > 0 {
		v.Reset()
		return errProfile
	}
	return nil
}

// reader consumes values from the front of b; after the first failure it
// returns zeros and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) uint32() uint32 {
	x := r.uvarint()
	if x > 1<<32-1 {
		r.bad = true
	}
	return uint32(x)
}

func (r *reader) fixed32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) fixed64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// before returns the time d seconds before t.
func (r *reader) before(t rtb.Second) rtb.Second {
	d := r.uint32()
	if d > uint32(t) {
		r.bad = true
		return 0
	}
	return t - rtb.Second(d)
}

// count reads a length and refuses more than limit.
func (r *reader) count(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.bad = true
		return 0
	}
	return int(n)
}

// text returns a view into the input.
func (r *reader) text(limit int) string {
	b := r.take(r.count(limit))
	return unsafe.String(unsafe.SliceData(b), len(b))
}

func (r *reader) segments(v *rtb.Visitor) {
	for range r.count(maxSegments) {
		s := grow(&v.Segments)
		recent := s.Recent[:0]
		*s = rtb.SegmentState{ID: rtb.SegmentID(r.fixed64()), Last: rtb.Second(r.fixed32())}
		s.First = r.before(s.Last)
		s.Count = r.uint32()
		n := int(r.byte())
		if n > rtb.MaxRecent {
			r.bad = true
			n = 0
		}
		t := s.Last
		for range n {
			t = r.before(t)
			recent = append(recent, t)
		}
		s.Recent = recent
		if r.bad {
			return
		}
	}
}

func (r *reader) products(v *rtb.Visitor) {
	for range r.count(maxProducts) {
		p := grow(&v.Products)
		*p = rtb.ProductSeen{Advertiser: r.text(64), ID: r.text(maxProductID), Last: rtb.Second(r.fixed32()), Kind: rtb.ProductKind(r.byte())}
		if r.bad {
			return
		}
	}
}

func (r *reader) frequency(v *rtb.Visitor) {
	for range r.count(maxScopes) {
		f := grow(&v.Frequency)
		buckets := f.Buckets[:0]
		*f = rtb.FrequencyState{Scope: rtb.ScopeID(r.fixed64()), Last: rtb.Second(r.fixed32())}
		for range r.count(maxBuckets) {
			buckets = append(buckets, rtb.FrequencyBucket{Start: rtb.Second(r.fixed32()), Span: r.uint32(), Count: r.uint32()})
		}
		f.Buckets = buckets
		if r.bad {
			return
		}
	}
}

// grow lengthens s by one and returns the new element, which still has its old
// value from when s was longer.
func grow[T any](s *[]T) *T {
	if n := len(*s); n < cap(*s) {
		*s = (*s)[:n+1]
	} else {
		var zero T
		*s = append(*s, zero)
	}
	return &(*s)[len(*s)-1]
}
