package bidder

import "rebound/rtb"

// findLines returns the lines that the visitor's segments allow, or why there are
// none.
func (d *Decision) findLines() ([]int32, rtb.NoBidReason) {
	x := d.catalog.Index
	lines := x.Contextual()
	if !d.anonymous {
		lines = x.Candidates(&d.visitor, &d.index)
	}
	switch {
	case len(lines) > 0:
		return lines, rtb.NoBidNone
	case x.Live() == 0:
		return nil, rtb.NoBidNoCampaign
	}
	return nil, rtb.NoBidNoAudience
}

// matchLine evaluates the line with an ordinal: it finds its options on every
// impression.
func (d *Decision) matchLine(ordinal int32) {
	l := d.catalog.Index.LiveLine(ordinal)
	m, r := d.filterLine(l)
	if r != rtb.NoBidNone {
		d.drop(l, -1, r)
		return
	}
	at, found := len(d.candidates), false
	d.candidates = append(d.candidates, candidate{line: l, ordinal: ordinal, match: m, seen: rtb.Observation{Requests: d.weight}})
	for i := range d.opportunity.Imps {
		if d.spend(1) {
			break
		}
		opt := &d.option
		*opt = option{candidate: at, imp: i}
		if r := d.filterCreatives(l, i, opt); r != rtb.NoBidNone {
			d.drop(l, i, r)
			continue
		}
		if !found {
			found, d.candidates[at].adjust = true, d.adjustment(l)
			if d.currency.IsZero() {
				d.currency = d.responseCurrency(l.Advertiser.Currency)
			}
		}
		d.addOptions(&d.candidates[at], opt)
	}
	if !found {
		d.candidates = d.candidates[:at]
	}
}

// addOptions prices the ways in which a line can bid on an impression with the
// given creative: openly, and under the best of its deals. The bidder does not
// choose between an open bid and a deal: the exchange does (OpenRTB 2.x
// implementation notes, §7.3).
func (d *Decision) addOptions(c *candidate, opt *option) {
	l, imp, start, furthest := c.line, &d.opportunity.Imps[opt.imp], len(d.options), rtb.NoBidNone
	if bidsOpenly(l, imp) {
		furthest = d.addOption(c, opt, start)
	}
	for i := range imp.Deals {
		deal := &imp.Deals[i]
		if l.Deals == nil || d.spend(dealSteps(deal)) {
			break
		}
		if d.quotes >= maxQuotes {
			d.out.Lost.Options += len(imp.Deals) - i
			break
		}
		id, ok := d.takesDeal(l, deal)
		if !ok {
			continue
		}
		opt.deal, opt.dealID, opt.floor = i+1, id, dealFloor(deal, opt.creative)
		furthest = max(furthest, d.addOption(c, opt, start))
	}
	if furthest != rtb.NoBidNone {
		d.drop(l, opt.imp, furthest)
	}
	for i := start; i < len(d.options); i++ {
		o := &d.options[i]
		tie := uint64(c.ordinal)<<32 | uint64(o.imp)<<16 | uint64(o.deal)
		d.queue.push(queued{o.keyOf(l), tie, int32(i)})
	}
}

// addOption prices one option and keeps it if it is among the best of its line
// and impression, whose options begin at start. The open bid comes first and is
// always kept.
func (d *Decision) addOption(c *candidate, opt *option, start int) rtb.NoBidReason {
	if d.quotes >= maxQuotes {
		d.out.Lost.Options++
		return rtb.NoBidNone
	}
	d.quotes++
	r := d.price(opt, c)
	if t := d.request.Trace; t != nil {
		t.price(d, opt, c, r)
	}
	if r != rtb.NoBidNone {
		return r
	}
	kept, worst := d.options[start:], -1
	if len(kept) < d.optionLimit(opt) && len(d.options) < maxOptions {
		d.options = append(d.options, *opt)
		return rtb.NoBidNone
	}
	d.out.Lost.Options++
	for i := range kept {
		if kept[i].deal > 0 && (worst < 0 || betterDeal(&kept[worst], &kept[i])) {
			worst = i
		}
	}
	if worst >= 0 && betterDeal(opt, &kept[worst]) {
		kept[worst] = *opt
	}
	return rtb.NoBidNone
}

// betterDeal reports whether option a under a deal is better than option b of the same
// line and impression under another one.
func betterDeal(a, b *option) bool {
	if a.pricing.guaranteed != b.pricing.guaranteed {
		return a.pricing.guaranteed
	}
	if a.pricing.price != b.pricing.price {
		return a.pricing.price > b.pricing.price
	}
	return a.deal < b.deal
}

// optionLimit returns how many options of one line are kept for an impression:
// one more than the bids that the impression can take, of which a pod takes
// several.
func (d *Decision) optionLimit(opt *option) int {
	n := max(d.profile.MultibidMax, 1)
	if v := podOf(&d.opportunity.Imps[opt.imp], opt.creative.Format); v != nil && v.PodDur > 0 {
		n = max(n, min(max(v.MaxSeq, maxPodAds), maxLinePerPod))
	}
	return n + 1
}
