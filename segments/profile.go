package segments

import (
	"cmp"
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// addEvent counts one event of a segment. Events may arrive in any order. It returns the
// number of segments that had to be dropped.
func addEvent(v *rtb.Visitor, id rtb.SegmentID, at rtb.Second) (dropped int) {
	s := insertSegment(v, id, at)
	s.First, s.Last = min(s.First, at), max(s.Last, at)
	if s.Count < 1<<32-1 {
		s.Count++
	}
	addRecent(s, at)
	if len(v.Segments) <= maxSegments {
		return 0
	}
	oldest := 0
	for i := range v.Segments {
		if v.Segments[i].Last < v.Segments[oldest].Last {
			oldest = i
		}
	}
	v.Segments = slices.Delete(v.Segments, oldest, oldest+1)
	return 1
}

func compareSegment(s rtb.SegmentState, id rtb.SegmentID) int { return cmp.Compare(s.ID, id) }

// addRecent adds the time of an event to those that are kept.
func addRecent(s *rtb.SegmentState, at rtb.Second) {
	place, _ := slices.BinarySearchFunc(s.Recent, at, func(a, b rtb.Second) int { return cmp.Compare(b, a) })
	if place < rtb.MaxRecent {
		s.Recent = slices.Insert(s.Recent, place, at)
		s.Recent = s.Recent[:min(len(s.Recent), rtb.MaxRecent)]
	}
}

// addValue adds the value of an event to that of its day. It returns the number of days
// that had to be dropped.
func addValue(s *rtb.SegmentState, day uint32, value rtb.Micros) (dropped int) {
	i, found := slices.BinarySearchFunc(s.Sums, day, func(x rtb.DayValue, day uint32) int { return cmp.Compare(day, x.Day) })
	if !found {
		s.Sums = slices.Insert(s.Sums, i, rtb.DayValue{Day: day})
	}
	s.Sums[i].Value += value
	if len(s.Sums) <= maxSums {
		return 0
	}
	s.Sums = s.Sums[:maxSums]
	return 1
}

// productKinds maps the events that concern their items.
var productKinds = map[string]rtb.ProductKind{
	"view_item":        rtb.ProductViewed,
	"add_to_wishlist":  rtb.ProductWished,
	"add_to_cart":      rtb.ProductCarted,
	"view_cart":        rtb.ProductCarted,
	"begin_checkout":   rtb.ProductCarted,
	"add_payment_info": rtb.ProductCarted,
	"purchase":         rtb.ProductBought,
}

// addProducts remembers the items of an event, each with its strongest kind and latest
// time. It returns the number of products that had to be dropped.
func addProducts(v *rtb.Visitor, advertiser string, e *events.Event, at rtb.Second) (dropped int) {
	kind := productKinds[e.Name]
	if kind == 0 || len(advertiser) > 64 {
		return 0
	}
	for i := range e.Items {
		id := rtb.FoldProductID(e.Items[i].ID)
		if id == "" {
			continue
		}
		addProduct(v, rtb.ProductSeen{Advertiser: advertiser, ID: id, Last: at, Kind: kind})
	}
	slices.SortStableFunc(v.Products, func(a, b rtb.ProductSeen) int {
		return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.ID, b.ID))
	})
	if n := len(v.Products); n > maxProducts {
		clear(v.Products[maxProducts:])
		v.Products = v.Products[:maxProducts]
		return n - maxProducts
	}
	return 0
}

func addProduct(v *rtb.Visitor, p rtb.ProductSeen) {
	for i := range v.Products {
		q := &v.Products[i]
		if q.ID == p.ID && q.Advertiser == p.Advertiser {
			q.Last, q.Kind = max(q.Last, p.Last), max(q.Kind, p.Kind)
			return
		}
	}
	v.Products = append(v.Products, p)
}

// lastActive returns the latest time in a profile.
func lastActive(v *rtb.Visitor) rtb.Second {
	var last rtb.Second
	for i := range v.Segments {
		last = max(last, v.Segments[i].Last)
	}
	for i := range v.Products {
		last = max(last, v.Products[i].Last)
	}
	for i := range v.Frequency {
		last = max(last, v.Frequency[i].Last)
	}
	return last
}
