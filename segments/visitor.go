package segments

import (
	"slices"

	"rebound/rtb"
)

// visitor makes v what a bid sees: what the visitor did, what other devices of the same
// person bought, and the lists that count at now. It uses and reuses v's memory; r is spent.
func (r *record) visitor(v *rtb.Visitor, all lists, now rtb.Second) {
	for i := range r.shared {
		o := &r.shared[i]
		s := insertSegment(v, o.ID, o.First)
		s.First, s.Last, s.Count = min(s.First, o.First), max(s.Last, o.Last), s.Count+o.Count
		for _, at := range o.Recent {
			addRecent(s, at)
		}
		for _, x := range o.Sums {
			addValue(s, x.Day, x.Value)
		}
	}
	for i := range r.members {
		m := &r.members[i]
		if !all[m.list].counts(m, now) {
			continue
		}
		s := insertSegment(v, m.segment, m.at)
		s.First, s.Last, s.Count = min(s.First, m.at), max(s.Last, m.at), s.Count+1
		addRecent(s, m.at)
	}
}

// insertSegment returns the state of a segment, which it adds, with the given time and no
// event, if the visitor has none. It allocates only to make the list longer.
func insertSegment(v *rtb.Visitor, id rtb.SegmentID, at rtb.Second) *rtb.SegmentState {
	i, found := slices.BinarySearchFunc(v.Segments, id, compareSegment)
	if found {
		return &v.Segments[i]
	}
	spare := grow(&v.Segments)
	recent, sums := spare.Recent[:0], spare.Sums[:0]
	copy(v.Segments[i+1:], v.Segments[i:])
	v.Segments[i] = rtb.SegmentState{ID: id, First: at, Last: at, Recent: recent, Sums: sums}
	return &v.Segments[i]
}
