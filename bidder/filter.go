package bidder

import (
	"slices"

	"rebound/campaigns"
	"rebound/rtb"
)

// ourTaxonomy is the taxonomy of the configuration's categories: IAB Content
// Taxonomy 1.0 (AdCOM, List: Category Taxonomies).
const ourTaxonomy = 1

// filterRequest refuses a request that none of our lines may answer.
func (d *Decision) filterRequest() rtb.NoBidReason {
	o, seat := &d.opportunity, d.profile.Seat
	switch {
	case len(o.WSeat) > 0 && !contains(o.WSeat, seat), contains(o.BSeat, seat):
		return rtb.NoBidSeatBlocked // OpenRTB 2.6 §3.2.1; both lists apply
	case o.BlockListsBad:
		return rtb.NoBidAdvertiserBlocked // the list was present, but what it blocks is unknown
	case o.CurBad:
		return rtb.NoBidCurrency
	}
	return d.catalog.Supply.Place(&d.facts, d.profile.ID)
}

// filterLine decides whether a line may answer the request at all.
func (d *Decision) filterLine(l *campaigns.Line) (m campaigns.Match, r rtb.NoBidReason) {
	switch {
	case !l.Live(d.now):
		return m, rtb.NoBidNoCampaign
	case d.child && !l.ChildSafe:
		return m, rtb.NoBidPrivacyCOPPA
	case !l.On(d.profile.ID):
		return m, rtb.NoBidInventory
	}
	if l.Targeting != nil {
		if r = l.Targeting.Supply(&d.facts, d.profile.ID); r != rtb.NoBidNone {
			return m, r
		}
	}
	if m = l.Audience.Match(&d.visitor, d.facts.Request(), d.now); m.Reason != rtb.NoBidNone {
		return m, m.Reason
	}
	if l.Targeting != nil {
		if r = l.Targeting.Identity(d.visitor.Match - 1); r != rtb.NoBidNone {
			return m, r
		}
		if r = d.checkDevice(l.Targeting); r != rtb.NoBidNone {
			return m, r
		}
	}
	if d.budgets.CampaignPaused(l.ID.Advertiser, l.ID.Campaign) {
		return m, rtb.NoBidPaused
	}
	if d.advertiserBlocked(l.Advertiser) {
		return m, rtb.NoBidAdvertiserBlocked
	}
	if l.App != nil || d.opportunity.DSARequired > 0 {
		d.spend(len(d.opportunity.BApp))
		return m, filterApp(&d.opportunity, l)
	}
	return m, rtb.NoBidNone
}

// blockedAdvertiser caches whether badv blocks an advertiser.
type blockedAdvertiser struct {
	advertiser *campaigns.Advertiser
	blocked    bool
}

// advertiserBlocked reports whether badv blocks an advertiser. The list is read
// once for each advertiser and request.
func (d *Decision) advertiserBlocked(a *campaigns.Advertiser) bool {
	list := d.opportunity.BAdv
	if len(list) == 0 {
		return false
	}
	for _, b := range d.blocked {
		if b.advertiser == a {
			return b.blocked
		}
	}
	d.spend(len(list))
	blocked := false
	for _, domain := range d.catalog.registrable(a) {
		blocked = blocked || slices.ContainsFunc(list, func(e []byte) bool { return blocksDomain(e, domain) })
	}
	d.blocked = append(d.blocked, blockedAdvertiser{a, blocked})
	return blocked
}

// filterApp checks what the request blocks or demands of the advertised app:
// bapp (OpenRTB 2.6 §3.2.1), and disclosure under the Digital Services Act,
// which the values 2 and 3 require and either side must render (IAB Tech Lab,
// DSA Transparency).
func filterApp(o *rtb.Opportunity, l *campaigns.Line) rtb.NoBidReason {
	if l.App != nil && containsFold(o.BApp, l.App.Bundle) {
		return rtb.NoBidAdvertiserBlocked
	}
	const required = 2
	if _, ok := l.Disclosure.Answer(o.DSAPubRender); o.DSARequired >= required && !ok {
		return rtb.NoBidAdvertiserBlocked
	}
	return rtb.NoBidNone
}
