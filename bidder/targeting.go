package bidder

import (
	"math"

	"rebound/campaigns"
	"rebound/rtb"
)

// gateTargeting asks about the place that the request is from; a line that asks
// for nothing is not here at all.
func (out *Outcome) gateTargeting(in *Input, l *campaigns.Line) rtb.NoBidReason {
	return l.Targeting.Supply(&out.work.facts, in.Exchange.ID)
}

// gateDevice asks about the identifier, the device, its place and its time.
func (out *Outcome) gateDevice(in *Input, l *campaigns.Line) rtb.NoBidReason {
	if r := l.Targeting.Identity(in.Visitor.Match - 1); r != rtb.NoBidNone {
		return r
	}
	return l.Targeting.Device(&out.work.facts, in.Now)
}

// gateApp asks what the request blocks or demands of what is advertised: the app
// (OpenRTB 2.6 §3.2.1, bapp), and disclosure under the Digital Services Act: 2
// and 3 demand it, and somebody has to show it (IAB Tech Lab, DSA Transparency).
func gateApp(o *rtb.Opportunity, l *campaigns.Line) rtb.NoBidReason {
	if l.App != nil && holdsFold(o.BApp, l.App.Bundle) {
		return rtb.NoBidAdvertiserBlocked
	}
	const required = 2
	if o.DSARequired >= required && (l.Disclosure == nil || !l.Disclosure.Renders && o.DSAPubRender == 0) {
		return rtb.NoBidAdvertiserBlocked
	}
	return rtb.NoBidNone
}

// positionOf is where on the page an impression is; -1 where it is not told.
func positionOf(imp *rtb.Impression) int {
	switch {
	case imp.Formats.Has(rtb.FormatBanner):
		return imp.Banner.Pos
	case imp.Formats.Has(rtb.FormatVideo):
		return imp.Video.Pos
	}
	return -1
}

// chance is a number in [0, 1) that the request's draw decides, another one for
// each impression and creative.
func (out *Outcome) chance(imp, creative int) float64 {
	h := math.Float64bits(out.Draw) ^ uint64(imp+1)*0x9e3779b97f4a7c15 ^ uint64(creative+1)*0xd1b54a32d192ed03
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return float64((h^h>>31)>>11) / (1 << 53)
}

// factorOf is what the request makes of a line's price.
func (out *Outcome) factorOf(in *Input, l *campaigns.Line) float64 {
	if l.Bid.Adjust == nil {
		return 1
	}
	return l.Bid.Adjust.Factor(&out.work.facts, in.Now)
}

// disclose starts bid.ext with what the line discloses, where it is asked for.
func (out *Outcome) disclose(in *Input, b *Bid, imp *rtb.Impression) {
	of, l, w := &b.Offer, b.Line, &out.work
	if l.App != nil {
		of.Bundle = l.App.Bundle
	}
	start := len(w.text)
	if in.Opportunity.DSARequired > 0 && l.Disclosure != nil {
		w.text = append(w.text, l.Disclosure.Ext...)
	}
	if l.App != nil && l.App.SKAdN != nil && len(imp.SKAdN) > 0 {
		w.text = appendSKAdN(w.text, start, in, l.App, imp.SKAdN)
	}
	if len(w.text) > start {
		of.Ext = w.text[start:len(w.text):len(w.text)]
	}
}
