package replay

import (
	"rebound/events"
	"rebound/rtb"
	"rebound/segments"
)

// visitors answers the bidder's lookup: with the profile that the record
// carries, else from the folded facts, where there are any.
type visitors struct {
	recorded *rtb.Visitor
	store    *segments.Store
	found    bool
}

// Find implements the bidder's Visitors.
func (v *visitors) Find(exchange string, ids []rtb.ExternalID, out *rtb.Visitor) rtb.NoBidReason {
	reason := v.find(exchange, ids, out)
	v.found = reason == rtb.NoBidNone
	return reason
}

func (v *visitors) find(exchange string, ids []rtb.ExternalID, out *rtb.Visitor) rtb.NoBidReason {
	if v.recorded != nil {
		out.CopyFrom(v.recorded)
		if out.OptedOut {
			return rtb.NoBidPrivacyOptedOut
		}
		return rtb.NoBidNone
	}
	if len(ids) == 0 {
		return rtb.NoBidNoID
	}
	if v.store == nil {
		return rtb.NoBidUnknownVisitor
	}
	return v.store.Find(exchange, ids, out)
}

// Position implements the bidder's Visitors.
func (v *visitors) Position() events.Position {
	if v.store == nil {
		return events.Position{}
	}
	return v.store.Position()
}

// links keeps the claims of the bids that are made, and writes URLs that nobody
// will ever call.
type links struct{ claims []rtb.Claims }

// AppendURL implements the bidder's Links.
func (l *links) AppendURL(dst []byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	if n := len(l.claims); n == 0 || l.claims[n-1].Bid != c.Bid {
		l.claims = append(l.claims, *c)
	}
	dst = append(dst, "https://replay.invalid/v1/"...)
	return append(dst, kind.String()...)
}

// AppendEventURL implements the bidder's Links.
func (l *links) AppendEventURL(dst []byte, c *rtb.Claims) ([]byte, int) {
	dst = l.AppendURL(dst, rtb.NoticeVideo, c)
	return dst, len(dst)
}

// AppendToken implements the bidder's Links.
func (l *links) AppendToken(dst []byte, _ rtb.NoticeKind, _ *rtb.Claims) []byte { return dst }

// of finds the claims of a bid.
func (l *links) of(bid rtb.BidID) *rtb.Claims {
	for i := range l.claims {
		if l.claims[i].Bid == bid {
			return &l.claims[i]
		}
	}
	return nil
}

// records keeps the record of the request at hand.
type records struct {
	rec   events.BidRecord
	taken bool
}

// Borrow implements the bidder's Records.
func (r *records) Borrow() *events.BidRecord {
	r.rec.Reset()
	return &r.rec
}

// Offer implements the bidder's Records.
func (r *records) Offer(*events.BidRecord) { r.taken = true }
