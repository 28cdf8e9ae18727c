package replay

import (
	"rebound/rtb"
	"rebound/segments"
)

// visitors finds the visitor that the record carries, or else the one in the
// folded facts, where there are any.
type visitors struct {
	recorded *rtb.Visitor
	store    *segments.Store
}

// Find implements the bidder's Visitors.
func (v *visitors) Find(exchange string, ids []rtb.ExternalID, out *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	switch {
	case v.recorded != nil:
		if out.CopyFrom(v.recorded); out.OptedOut {
			return rtb.NoBidPrivacyOptedOut
		}
		return rtb.NoBidNone
	case len(ids) == 0:
		return rtb.NoBidNoID
	case v.store == nil:
		return rtb.NoBidUnknownVisitor
	}
	return v.store.Find(exchange, ids, out, beforeRead)
}

// links writes URLs that will never be called. Signing them would take most of the
// time of a replay.
type links struct{}

// Seal implements the bidder's Links.
func (links) Seal(*rtb.SealedClaims, *rtb.Claims) {}

// AppendURL implements the bidder's Links.
func (links) AppendURL(dst []byte, kind rtb.NoticeKind, _ *rtb.SealedClaims) []byte {
	dst = append(dst, "https://replay.invalid/v1/"...)
	return append(dst, kind.String()...)
}

// AppendEventURL implements the bidder's Links.
func (l links) AppendEventURL(dst []byte, t *rtb.SealedClaims) ([]byte, int) {
	dst = l.AppendURL(dst, rtb.NoticeVideo, t)
	return dst, len(dst)
}

// AppendToken implements the bidder's Links.
func (links) AppendToken(dst []byte, _ rtb.NoticeKind, _ *rtb.SealedClaims) []byte { return dst }
