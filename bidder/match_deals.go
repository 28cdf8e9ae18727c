package bidder

import (
	"bytes"

	"rebound/campaigns"
	"rebound/rtb"
)

// bidsOpenly reports whether a line may bid on an impression without a deal.
// Deals that cannot be read may have closed the auction.
func bidsOpenly(l *campaigns.Line, imp *rtb.Impression) bool {
	return !imp.PrivateAuction && !imp.DealsBad && (l.Deals == nil || !l.Deals.Only)
}

// takesDeal reports whether a line may bid under a deal (OpenRTB 2.6 §3.2.12):
// the deal must be one of the line's, and invite our seat and the advertiser's
// domain. id is the deal's id as configured, or empty when the line takes any
// deal.
func (d *Decision) takesDeal(l *campaigns.Line, deal *rtb.Deal) (id string, ok bool) {
	if id, ok = l.Deals.Takes(deal.ID); !ok || deal.ListsBad || deal.FloorBad {
		return "", false
	}
	if len(deal.WSeat) > 0 && !contains(deal.WSeat, d.profile.Seat) {
		return "", false
	}
	domains := d.catalog.registrable(l.Advertiser)
	if len(deal.WADomain) > 0 && (len(domains) == 0 || !containsDomain(deal.WADomain, domains[0])) {
		return "", false
	}
	return id, true
}

// containsDomain reports whether a list contains a domain, with or without a
// scheme, a trailing slash and "www.".
func containsDomain(list [][]byte, domain string) bool {
	for _, e := range list {
		if i := bytes.Index(e, []byte("://")); i >= 0 {
			e = e[i+3:]
		}
		e = bytes.TrimRight(bytes.TrimSpace(e), "./")
		if len(e) > 4 && rtb.EqualFold(e[:4], "www.") {
			e = e[4:]
		}
		if rtb.EqualFold(e, domain) {
			return true
		}
	}
	return false
}

// canBid reports whether a line can bid on an impression at all: openly, or
// under one of its deals.
func (d *Decision) canBid(l *campaigns.Line, imp *rtb.Impression) bool {
	if bidsOpenly(l, imp) {
		return true
	}
	if l.Deals == nil {
		return false
	}
	for i := range imp.Deals {
		if d.spend(dealSteps(&imp.Deals[i])) {
			return false
		}
		if _, ok := d.takesDeal(l, &imp.Deals[i]); ok {
			return true
		}
	}
	return false
}

// dealSteps returns the work steps of reading a deal's lists.
func dealSteps(d *rtb.Deal) int { return 1 + len(d.WSeat) + len(d.WADomain) }

// dealOf returns the deal of an option; nil for an open bid.
func (d *Decision) dealOf(opt *option) *rtb.Deal {
	if opt.deal == 0 {
		return nil
	}
	return &d.opportunity.Imps[opt.imp].Deals[opt.deal-1]
}
