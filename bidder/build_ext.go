package bidder

import (
	"rebound/campaigns"
	"rebound/exchange"
	"rebound/rtb"
)

// buildExt appends the members of bid.ext: the disclosure and the SKAdNetwork
// signature that the request asks for, the exchange's billing id, and the token
// by which the exchange names the bid in its feedback. ok is false when the
// exchange requires one of its billing ids and none is ours.
func (d *Decision) buildExt(l *campaigns.Line, imp *rtb.Impression) (ext []byte, ok bool) {
	start := len(d.text)
	next := func() []byte { // the text, ready for one more member
		if len(d.text) > start {
			d.text = append(d.text, ',')
		}
		return d.text
	}
	billingID, ok := d.profile.BillingID(imp.BillingIDs)
	if !ok {
		return nil, false
	}
	if disclosure, ok := l.Disclosure.Answer(d.opportunity.DSAPubRender); ok && d.opportunity.DSARequired > 0 {
		d.text = append(next(), disclosure...)
	}
	if l.App != nil && l.App.SKAdN != nil && len(imp.SKAdN) > 0 {
		if signed := d.signSKAdN(l.App, imp.SKAdN); signed != nil {
			d.text = append(append(next(), `"skadn":`...), signed...)
		}
	}
	if billingID != nil {
		d.text = exchange.AppendBillingID(next(), billingID)
	}
	if d.profile.BidFeedback {
		// The token of the loss notice, because it cannot charge anything.
		if d.token = d.links.AppendToken(d.token[:0], rtb.NoticeLoss, &d.sealed); len(d.token) > 0 {
			d.text = exchange.AppendToken(next(), d.token)
		}
	}
	return d.text[start:len(d.text):len(d.text)], true
}
