package bidder

import (
	"rebound/campaigns"
	"rebound/rtb"
)

// matchLines collects the options of every line that the visitor's segments allow.
// It returns the furthest reason for which a line was dropped.
func (d *Decision) matchLines() rtb.NoBidReason {
	lines := d.catalog.Index.Contextual()
	if !d.anonymous {
		lines = d.catalog.Index.Candidates(&d.visitor, &d.index)
	}
	if len(lines) == 0 {
		if d.catalog.Index.Live() == 0 {
			return rtb.NoBidNoCampaign
		}
		return rtb.NoBidNoAudience
	}
	for _, l := range lines {
		if d.spend(1) {
			break
		}
		d.matchLine(l)
	}
	if d.timedOut || d.pastDeadline() {
		return rtb.NoBidLate
	}
	return d.out.Reason
}

// matchLine finds the options of one line on every impression.
func (d *Decision) matchLine(l *campaigns.Line) {
	m, r := d.filterLine(l)
	if r != rtb.NoBidNone {
		d.drop(l, -1, r)
		return
	}
	at, found := len(d.candidates), false
	d.candidates = append(d.candidates, candidate{line: l, match: m})
	for i := range d.opportunity.Imps {
		if d.spend(1) {
			break
		}
		opt, r := d.filterCreatives(l, i)
		if r != rtb.NoBidNone {
			d.drop(l, i, r)
			continue
		}
		if !found {
			found, d.candidates[at].adjust = true, d.adjustment(l)
			if at == 0 {
				d.currency = d.responseCurrency(l)
			}
		}
		opt.candidate, opt.imp = at, i
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
func (d *Decision) addOptions(c *candidate, opt option) {
	l, imp, start, furthest := c.line, &d.opportunity.Imps[opt.imp], len(d.options), rtb.NoBidNone
	if bidsOpenly(l, imp) {
		furthest = d.addOption(c, &opt, start)
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
		furthest = max(furthest, d.addOption(c, &opt, start))
	}
	if furthest != rtb.NoBidNone {
		d.drop(l, opt.imp, furthest)
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
	if r := d.price(opt, c); r != rtb.NoBidNone {
		return r
	}
	kept, worst := d.options[start:], -1
	if len(kept) < d.optionLimit(opt) && len(d.options) < maxOptions {
		d.options = append(d.options, *opt)
		return rtb.NoBidNone
	}
	d.out.Lost.Options++
	for i := range kept {
		if kept[i].deal > 0 && (worst < 0 || d.compareOptions(&kept[i], &kept[worst]) > 0) {
			worst = i
		}
	}
	if worst >= 0 && d.compareOptions(opt, &kept[worst]) < 0 {
		kept[worst] = *opt
	}
	return rtb.NoBidNone
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
