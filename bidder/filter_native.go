package bidder

import (
	"rebound/creatives"
	"rebound/rtb"
)

// fitsNative checks what can be known of a native creative before its product is
// chosen: the request must be readable, and where our pixel bills it must be one
// that the placement calls (Native Ads 1.2 §4.7).
func (d *Decision) fitsNative(imp *rtb.Impression, c *creatives.Creative) rtb.NoBidReason {
	n := &imp.Native
	switch {
	case n.Bad, len(n.Assets) == 0:
		return rtb.NoBidNoFormat
	case d.profile.BillingSource(rtb.FormatNative) == rtb.BillOnImp && !creatives.TracksImp(n):
		return rtb.NoBidNoFormat
	case needsOtherAPI(c.APIs, n.API):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}
