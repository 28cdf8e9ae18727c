package bidder

import (
	"bytes"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/rtb"
)

// opensOn tells whether a line may bid on an impression without a deal. Deals that
// cannot be read may have closed the auction.
func opensOn(l *campaigns.Line, imp *rtb.Impression) bool {
	return !imp.PrivateAuction && !imp.DealsBad && (l.Deals == nil || !l.Deals.Only)
}

// takesDeal tells whether a line may bid under a deal (OpenRTB 2.6 §3.2.12):
// one of its own, our seat and our domain among those that are invited. own is
// the configuration's text of the id, where it has one.
func takesDeal(in *Input, l *campaigns.Line, d *rtb.Deal) (own string, ok bool) {
	if own, ok = l.Deals.Takes(d.ID); !ok || d.ListsBad || d.FloorBad {
		return "", false
	}
	if len(d.WSeat) > 0 && !holds(d.WSeat, in.Exchange.Seat) {
		return "", false
	}
	domains := in.Catalog.registrable(l.Advertiser)
	if len(d.WADomain) > 0 && (len(domains) == 0 || !invites(d.WADomain, domains[0])) {
		return "", false
	}
	return own, true
}

// invites tells whether a list of domains holds ours, in whatever form.
func invites(list [][]byte, domain string) bool {
	for _, e := range list {
		if i := bytes.Index(e, []byte("://")); i >= 0 {
			e = e[i+3:]
		}
		e = bytes.TrimRight(bytes.TrimSpace(e), "./")
		if len(e) > 4 && equalFold(e[:4], "www.") {
			e = e[4:]
		}
		if equalFold(e, domain) {
			return true
		}
	}
	return false
}

// anyWay tells whether a line can bid on an impression at all: openly, or under
// one of its deals.
func (out *Outcome) anyWay(in *Input, l *campaigns.Line, i int) bool {
	imp := &in.Opportunity.Imps[i]
	if opensOn(l, imp) {
		return true
	}
	if l.Deals == nil {
		return false
	}
	for j := range imp.Deals {
		d := &imp.Deals[j]
		if out.pay(in, dealSteps(d)) {
			return false
		}
		if _, ok := takesDeal(in, l, d); ok {
			return true
		}
	}
	return false
}

func dealSteps(d *rtb.Deal) int { return 1 + len(d.WSeat) + len(d.WADomain) }

// addOptions notes the ways in which a line can bid on an impression with the
// creative that fits: openly, and the best of its deals. There is no auction of
// ours between them: the exchange chooses (OpenRTB 2.x implementation notes, §7.3).
func (out *Outcome) addOptions(in *Input, m *matched, opt option) {
	l, imp, start, furthest := m.line, &in.Opportunity.Imps[opt.imp], len(out.work.options), rtb.NoBidNone
	if opensOn(l, imp) {
		furthest = out.addOption(in, m, &opt, start)
	}
	for i := range imp.Deals {
		d := &imp.Deals[i]
		if l.Deals == nil || out.pay(in, dealSteps(d)) {
			break
		}
		if out.work.quotes >= maxQuotes {
			out.Lost.Options += len(imp.Deals) - i
			break
		}
		own, ok := takesDeal(in, l, d)
		if !ok {
			continue
		}
		opt.deal, opt.dealID = i+1, own
		opt.floor = dealFloor(d, opt.creative)
		furthest = max(furthest, out.addOption(in, m, &opt, start))
	}
	if furthest != rtb.NoBidNone {
		out.drop(l, opt.imp, furthest)
	}
}

// addOption prices one way to bid, and keeps it if it is among the best of its
// line and impression, which begin at start. The open bid, which comes first, is
// always kept.
func (out *Outcome) addOption(in *Input, m *matched, opt *option, start int) rtb.NoBidReason {
	w := &out.work
	if w.quotes >= maxQuotes {
		out.Lost.Options++
		return rtb.NoBidNone
	}
	w.quotes++
	if r := quote(in, opt, m, w.currency); r != rtb.NoBidNone {
		return r
	}
	kept, worst := w.options[start:], -1
	if len(kept) < ways(in, opt) && len(w.options) < maxOptions {
		w.options = append(w.options, *opt)
		return rtb.NoBidNone
	}
	out.Lost.Options++
	for i := range kept {
		if kept[i].deal > 0 && (worst < 0 || w.compare(&kept[i], &kept[worst]) > 0) {
			worst = i
		}
	}
	if worst >= 0 && w.compare(opt, &kept[worst]) < 0 {
		kept[worst] = *opt
	}
	return rtb.NoBidNone
}

// ways is how many bids of one line an impression may come to hold, and one more:
// a pod takes several.
func ways(in *Input, opt *option) int {
	n := max(in.Exchange.MultibidMax, 1)
	if v := podOf(&in.Opportunity.Imps[opt.imp], opt.creative.Format); v != nil && v.PodDur > 0 {
		n = max(n, min(max(v.MaxSeq, maxPodAds), maxWays))
	}
	return n + 1
}

// dealOf is the deal of an option; nil for an open bid.
func (opt *option) dealOf(imp *rtb.Impression) *rtb.Deal {
	if opt.deal == 0 {
		return nil
	}
	return &imp.Deals[opt.deal-1]
}

// dealFloor is the floor of a bid under a deal, in the deal's currency: that for
// the duration or for each second, where there is one, else the deal's. The
// impression's own floor is for open bids (conformance P7).
func dealFloor(d *rtb.Deal, c *creatives.Creative) rtb.CPM {
	if c.Clip != nil {
		if floor, ok := clipFloor(d.DurFloors, d.MinCPMPerSec, c.Clip.Duration); ok {
			return floor
		}
	}
	return d.Floor
}

// terms are the conditions of one bid: the impression's, or its deal's.
type terms struct {
	bad        bool // the floor cannot be read
	cur        rtb.Currency
	at         int
	guaranteed bool
}

func (opt *option) terms(o *rtb.Opportunity, imp *rtb.Impression) terms {
	d := opt.dealOf(imp)
	if d == nil {
		return terms{bad: imp.FloorBad, cur: floorCurrency(imp), at: o.At}
	}
	t := terms{bad: d.FloorBad, cur: d.FloorCur, at: o.At, guaranteed: d.Guaranteed}
	if d.At != 0 {
		t.at = d.At // OpenRTB 2.6 §3.2.12: it overrides the request's
	}
	if t.cur.IsZero() {
		t.cur = rtb.USD
	}
	return t
}

// slots count the bids on one impression.
type slots struct{ deals, open int }

// room tells whether an impression takes one more bid. An exchange that takes one
// bid still takes a deal's and an open one side by side (conformance B5); of one
// that takes more the last place is kept for the open bid.
func (s *slots) room(limit int, deal, private bool) bool {
	limit = max(limit, 1)
	switch {
	case deal && private:
		return s.deals < limit
	case deal:
		return s.deals < max(1, limit-1)
	}
	return s.open < max(1, limit-s.deals)
}

func (s *slots) add(deal bool) {
	if deal {
		s.deals++
	} else {
		s.open++
	}
}
