package bidder

import (
	"rebound/creatives"
	"rebound/rtb"
)

// fitNative asks what can be known of a native creative before its product is:
// the request must be readable, and where our pixel bills it must be one that the
// placement calls (Native Ads 1.2 §4.7).
func (opt *option) fitNative(in *Input, imp *rtb.Impression) rtb.NoBidReason {
	n := &imp.Native
	switch {
	case n.Bad, len(n.Assets) == 0:
		return rtb.NoBidNoFormat
	case in.Exchange.BillingSource(rtb.FormatNative) == rtb.BillOnImp && !creatives.TracksImp(n):
		return rtb.NoBidNoFormat
	case !offersAPIs(n.API, opt.creative.APIs):
		return rtb.NoBidAPI
	}
	return rtb.NoBidNone
}
