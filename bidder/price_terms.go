package bidder

import (
	"time"

	"rebound/creatives"
	"rebound/rtb"
)

// terms are the conditions of one bid: the impression's, or its deal's.
type terms struct {
	floorBad   bool // the floor cannot be read
	currency   rtb.Currency
	auction    int
	guaranteed bool
}

// termsOf returns the terms of an option. Floors without a currency are in USD
// (OpenRTB 2.6 §3.2.4, §3.2.12).
func (d *Decision) termsOf(opt *option) terms {
	imp, deal := &d.opportunity.Imps[opt.imp], d.dealOf(opt)
	t := terms{floorBad: imp.FloorBad, currency: imp.FloorCur, auction: d.opportunity.At}
	if deal != nil {
		t = terms{floorBad: deal.FloorBad, currency: deal.FloorCur, auction: t.auction, guaranteed: deal.Guaranteed}
		if deal.At != 0 {
			t.auction = deal.At // OpenRTB 2.6 §3.2.12: it overrides the request's
		}
	}
	if t.currency.IsZero() {
		t.currency = rtb.USD
	}
	// Only a deal has a fixed price (OpenRTB 2.6 §3.2.12). A request that says so
	// for every bid is taken to be of the exchange's own auction type.
	if t.auction == rtb.AuctionFixedPrice && (deal == nil || deal.At != t.auction) {
		t.auction = d.profile.At
	}
	return t
}

// impFloor returns the floor of an open bid in the impression's currency. For
// video and audio ads a floor for the duration or per second comes before the
// impression's (OpenRTB 2.6 §3.2.7, §3.2.35; conformance P7).
func impFloor(imp *rtb.Impression, c *creatives.Creative) rtb.CPM {
	if c.Duration > 0 {
		v := videoOf(imp, c.Format)
		if floor, ok := clipFloor(v.DurFloors, v.MinCPMPerSec, c.Duration); ok {
			return floor
		}
	}
	return imp.Floor
}

// floorVaries reports whether impFloor depends on the creative.
func floorVaries(imp *rtb.Impression) bool {
	if imp.Formats&(rtb.FormatVideo|rtb.FormatAudio) == 0 {
		return false
	}
	v, a := &imp.Video, &imp.Audio
	return len(v.DurFloors)+len(a.DurFloors) > 0 || v.MinCPMPerSec > 0 || a.MinCPMPerSec > 0
}

// dealFloor returns the floor of a bid under a deal in the deal's currency, with
// the same precedence. The impression's own floor is for open bids (conformance
// P7).
func dealFloor(d *rtb.Deal, c *creatives.Creative) rtb.CPM {
	if c.Duration > 0 {
		if floor, ok := clipFloor(d.DurFloors, d.MinCPMPerSec, c.Duration); ok {
			return floor
		}
	}
	return d.Floor
}

// clipFloor returns the highest floor that applies to a duration; ok is false
// when none does.
func clipFloor(floors []rtb.DurFloor, perSecond rtb.CPM, d time.Duration) (floor rtb.CPM, ok bool) {
	for _, f := range floors {
		if d >= f.Min && (f.Max <= 0 || d <= f.Max) {
			floor, ok = max(floor, f.Floor), true
		}
	}
	if seconds := rtb.CPM(d / time.Second); perSecond > 0 && seconds > 0 {
		floor, ok = max(floor, min(perSecond, rtb.MaxCPM/seconds)*seconds), true
	}
	return floor, ok
}
