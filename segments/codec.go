package segments

import (
	"encoding/binary"
	"errors"
	"unsafe"

	"rebound/rtb"
)

// Versions of an encoded profile, its first byte. Version 1 has whole segment ids and no
// sums, members and shared segments; it is still read.
const (
	profileVersion1 = 1
	profileVersion  = 2
)

// Bounds of a profile. Entries beyond them are dropped, the oldest first.
const (
	maxSegments  = 256
	maxProducts  = 32
	maxScopes    = 64
	maxBuckets   = 256
	maxSums      = 64 // days with a value, of one segment
	maxMembers   = 128
	maxShared    = 32
	maxProductID = 200
)

// record is a stored profile: what the visitor did, what others did who are the same person,
// and the lists that the visitor is on. A [rtb.Visitor] for a bid combines the three.
type record struct {
	v       rtb.Visitor
	shared  []rtb.SegmentState // purchases of the person's other devices, by ID
	members []member
}

func (r *record) reset() {
	r.v.Reset()
	r.shared, r.members = r.shared[:0], r.members[:0]
}

// append appends a record: version, position, the latest time, segments, products,
// frequencies, shared segments, members. Segments and advertisers are numbers of the
// dictionary. Times are encoded as distances to the latest one or to the time before. The
// key is not included.
func (r *record) append(b []byte, d *dictionary) []byte {
	b = append(b, profileVersion)
	b = binary.AppendUvarint(b, r.v.Position)
	base := r.latest()
	b = binary.LittleEndian.AppendUint32(b, uint32(base))
	b = appendSegments(b, r.v.Segments, base, d)
	b = binary.AppendUvarint(b, uint64(len(r.v.Products)))
	for i := range r.v.Products {
		p := &r.v.Products[i]
		b = binary.AppendUvarint(b, uint64(d.advertiser(p.Advertiser))<<3|uint64(p.Kind&7))
		b = appendText(b, p.ID)
		b = binary.AppendUvarint(b, uint64(base-p.Last))
	}
	b = appendFrequency(b, &r.v)
	if len(r.shared)+len(r.members) == 0 {
		return b
	}
	b = appendSegments(b, r.shared, base, d)
	for i := range r.members {
		m := &r.members[i]
		b = binary.AppendUvarint(b, uint64(d.segment(m.segment)))
		b = binary.AppendUvarint(b, uint64(d.segment(m.list)))
		b = binary.AppendUvarint(b, m.job)
		b = binary.AppendUvarint(b, uint64(base-m.at))
	}
	return b
}

// latest returns the latest time in a record.
func (r *record) latest() rtb.Second {
	last := lastActive(&r.v)
	for i := range r.shared {
		last = max(last, r.shared[i].Last)
	}
	for i := range r.members {
		last = max(last, r.members[i].at)
	}
	return last
}

// Bits of the first number of a segment.
const (
	headSums     = 1 // sums follow
	headComplete = 2 // see complete
)

// complete reports whether the recent events are all there were, so that they say when the
// first and the last one happened.
func complete(s *rtb.SegmentState) bool {
	n := len(s.Recent)
	return n > 0 && uint64(n) == uint64(s.Count) && s.Recent[0] == s.Last && s.Recent[n-1] == s.First
}

func appendSegments(b []byte, list []rtb.SegmentState, base rtb.Second, d *dictionary) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		s := &list[i]
		head := uint64(d.segment(s.ID)) << 2
		if len(s.Sums) > 0 {
			head |= headSums
		}
		if complete(s) {
			head |= headComplete
		}
		b = binary.AppendUvarint(b, head)
		b = binary.AppendUvarint(b, uint64(base-s.Last))
		b = binary.AppendUvarint(b, uint64(s.Count))
		if head&headComplete != 0 {
			for i := 1; i < len(s.Recent); i++ {
				b = binary.AppendUvarint(b, uint64(s.Recent[i-1]-s.Recent[i]))
			}
		} else {
			b = binary.AppendUvarint(b, uint64(s.Last-s.First))
			b = append(b, byte(len(s.Recent)))
			from := s.Last
			for _, t := range s.Recent {
				b = binary.AppendUvarint(b, uint64(from-t))
				from = t
			}
		}
		if len(s.Sums) > 0 {
			b = append(b, byte(len(s.Sums)))
			for _, x := range s.Sums {
				b = binary.AppendUvarint(b, uint64(x.Day))
				b = binary.AppendVarint(b, int64(x.Value))
			}
		}
	}
	return b
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

var errProfile = errors.New("cannot read profile: got damaged bytes; want what record.append wrote")

// decode fills r from b and reuses r's memory. Texts in r point into b, so b must never
// change afterwards. On an error r is empty.
func (r *record) decode(b []byte, d *dictionary) error {
	r.reset()
	in := reader{b: b}
	version := in.byte()
	r.v.Position = in.uvarint()
	switch version {
	case profileVersion1:
		in.segments1(&r.v)
		in.products1(&r.v)
		in.frequency(&r.v)
	case profileVersion:
		base := rtb.Second(in.fixed32())
		in.segments(&r.v.Segments, base, d)
		in.products(&r.v, base, d)
		in.frequency(&r.v)
		if !in.bad && len(in.b) > 0 {
			in.segments(&r.shared, base, d)
			in.members(r, base, d)
		}
	default:
		in.bad = true
	}
	if in.bad || len(in.b) > 0 {
		r.reset()
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

func (r *reader) varint() int64 {
	x, n := binary.Varint(r.b)
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

func (r *reader) segments(list *[]rtb.SegmentState, base rtb.Second, d *dictionary) {
	for range r.count(maxSegments) {
		s := grow(list)
		recent, sums := s.Recent[:0], s.Sums[:0]
		head := r.uvarint()
		*s = rtb.SegmentState{ID: r.segment(head>>2, d), Last: r.before(base), Count: r.uint32()}
		if head&headComplete != 0 {
			recent = r.complete(recent, s)
		} else {
			s.First = r.before(s.Last)
			recent = r.recent(recent, s.Last)
		}
		if head&headSums != 0 {
			n := int(r.byte())
			r.bad = r.bad || n > maxSums
			for range min(n, maxSums) {
				sums = append(sums, rtb.DayValue{Day: r.uint32(), Value: rtb.Micros(r.varint())})
			}
		}
		s.Recent, s.Sums = recent, sums
		if r.bad {
			return
		}
	}
}

// segment returns the segment with a number.
func (r *reader) segment(n uint64, d *dictionary) rtb.SegmentID {
	id, ok := d.segmentAt(n)
	r.bad = r.bad || !ok
	return id
}

// complete reads the times of all events of a segment, of which the first is known.
func (r *reader) complete(dst []rtb.Second, s *rtb.SegmentState) []rtb.Second {
	if s.Count == 0 || s.Count > rtb.MaxRecent {
		r.bad = true
		return dst
	}
	at := s.Last
	dst = append(dst, at)
	for range s.Count - 1 {
		at = r.before(at)
		dst = append(dst, at)
	}
	s.First = at
	return dst
}

func (r *reader) recent(dst []rtb.Second, from rtb.Second) []rtb.Second {
	n := int(r.byte())
	if n > rtb.MaxRecent {
		r.bad = true
		n = 0
	}
	for range n {
		from = r.before(from)
		dst = append(dst, from)
	}
	return dst
}

func (r *reader) products(v *rtb.Visitor, base rtb.Second, d *dictionary) {
	for range r.count(maxProducts) {
		p := grow(&v.Products)
		head := r.uvarint()
		*p = rtb.ProductSeen{Advertiser: d.advertiserAt(head >> 3), Kind: rtb.ProductKind(head & 7), ID: r.text(maxProductID), Last: r.before(base)}
		if r.bad {
			return
		}
	}
}

func (r *reader) members(to *record, base rtb.Second, d *dictionary) {
	for !r.bad && len(r.b) > 0 {
		m := member{segment: r.segment(r.uvarint(), d), list: r.segment(r.uvarint(), d), job: r.uvarint(), at: r.before(base)}
		if len(to.members) == maxMembers {
			r.bad = true
			return
		}
		to.members = append(to.members, m)
	}
}

func (r *reader) segments1(v *rtb.Visitor) {
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

func (r *reader) products1(v *rtb.Visitor) {
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
