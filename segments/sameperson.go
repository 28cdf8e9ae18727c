package segments

import (
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// A person's identifier (an e-mail address, a phone number, a customer id) points to the
// devices that it was seen with. What the person bought with one of them counts for the
// others too, so that a buyer is no longer shown the product on the other device, and so do
// the impressions, so that frequency caps limit what the person sees. Only purchases and
// impressions are shared, only with devices that are linked to the same identifier, and only
// under the advertiser who linked it: what one device shares with another is not passed on
// to a third.

// otherDevices returns the visitors who are the same person as visitor for an advertiser.
func (t *batch) otherDevices(visitor rtb.Key, advertiser string) ([]rtb.Key, error) {
	ids, err := t.linked(visitor)
	if err != nil {
		return nil, err
	}
	var out []rtb.Key
	for _, l := range ids {
		if !person(l.KeyKind) {
			continue
		}
		e, _, err := t.edge(l.Key)
		if err != nil {
			return nil, err
		}
		if e.owner != advertiser {
			continue
		}
		for _, d := range e.devices {
			if !d.visitor.IsZero() && d.visitor != visitor && !slices.Contains(out, d.visitor) {
				out = append(out, d.visitor)
			}
		}
	}
	return out, nil
}

// shareEvent adds a purchase to the other devices of the visitor. t.ids are its segments.
func (t *batch) shareEvent(f *events.Fact, at rtb.Second) error {
	if f.Event.Name != "purchase" || len(t.ids) == 0 {
		return nil
	}
	segments := slices.Clone(t.ids)
	others, err := t.otherDevices(f.Visitor, f.Advertiser)
	for i := 0; i < len(others) && err == nil; i++ {
		err = t.bought(others[i], f, segments, at)
	}
	return err
}

// shareImpression counts an impression in scopes for the other devices of the visitor. The
// impressions from before two devices were linked are not shared.
func (t *batch) shareImpression(f *events.Fact, scopes []rtb.ScopeID, at rtb.Second) error {
	others, err := t.otherDevices(f.Visitor, f.Advertiser)
	if err != nil {
		return err
	}
	for _, d := range others {
		w, err := t.profile(d)
		if err != nil {
			return err
		}
		if w.exists {
			if err := t.seen(w, f, scopes, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// bought adds a purchase of another device to a visitor who has a profile.
func (t *batch) bought(visitor rtb.Key, f *events.Fact, segments []rtb.SegmentID, at rtb.Second) error {
	w, err := t.profile(visitor)
	if err != nil || !w.exists {
		return err
	}
	other := rtb.Visitor{Segments: w.shared}
	for _, id := range segments {
		addEvent(&other, id, at)
		if c, ok := t.matcher.Sum(id); ok && f.Currency == c && f.Event.Value > 0 {
			addValue(other.Segment(id), at.UTCDay(), f.Event.Value)
		}
	}
	w.shared = other.Segments[:min(len(other.Segments), maxShared)]
	return t.keep(w, f.Seq)
}

// shareWith copies the purchases of the other devices of an identifier to a visitor who was
// just linked to it, and the visitor's own to them. What was copied to a device before stays
// where it is.
func (t *batch) shareWith(e *edge, visitor rtb.Key, seq uint64) error {
	if !person(e.kind) || e.owner == "" || len(e.devices) < 2 {
		return nil
	}
	w, err := t.profile(visitor)
	if err != nil {
		return err
	}
	for _, d := range e.devices {
		if d.visitor == visitor || d.visitor.IsZero() {
			continue
		}
		o, err := t.profile(d.visitor)
		if err != nil {
			return err
		}
		for _, pair := range [][2]*work{{w, o}, {o, w}} {
			if t.copyPurchases(pair[0], pair[1], e.owner) && pair[0].exists {
				if err := t.keep(pair[0], seq); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// copyPurchases adds the purchases of from to those that its person made elsewhere, and
// reports whether there were any. A purchase that to already has is left out, by its time.
func (t *batch) copyPurchases(to, from *work, advertiser string) bool {
	if !to.exists || !from.exists {
		return false
	}
	other, copied := rtb.Visitor{Segments: to.shared}, false
	for i := range from.v.Segments {
		s := &from.v.Segments[i]
		if !t.matcher.CountsFor(s.ID, advertiser, "purchase") || len(other.Segments) >= maxShared {
			continue
		}
		mine := insertSegment(&other, s.ID, s.First)
		fresh := mine.Count == 0
		for _, at := range s.Recent {
			if !slices.Contains(mine.Recent, at) {
				mine.First, mine.Last, mine.Count = min(mine.First, at), max(mine.Last, at), mine.Count+1
				addRecent(mine, at)
			}
		}
		if fresh {
			mine.First, mine.Count = s.First, s.Count
			mine.Sums = append(mine.Sums, s.Sums...)
		}
		copied = true
	}
	to.shared = other.Segments
	return copied
}
