package bidder

import (
	"slices"
	"strings"
	"time"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/events"
	"rebound/exchange"
	"rebound/rtb"
)

// Input is everything that a decision depends on. What it points to must not
// change until Decide returns.
type Input struct {
	Opportunity *rtb.Opportunity
	Visitor     *rtb.Visitor
	Exchange    *exchange.Profile
	Catalog     *Catalog
	Budgets     Budgets
	Links       Links
	Source      Source    // bid ids and draws
	Now         time.Time // of the request's arrival
	// PreciseGeo tells that privacy lets exact coordinates be used.
	PreciseGeo bool
	// UserData tells that privacy lets what the request says of its user be used.
	UserData bool
	// Nobody tells that the visitor is not known, or may not be: contextual lines
	// alone may bid, and nothing is keyed to anybody. Child tells that children are
	// there, so that of those only child-safe ones may.
	Nobody, Child bool
	// Clock and Deadline end a decision that takes too long: it is checked before
	// anything is priced. A nil Clock never ends it.
	Clock    Clock
	Deadline time.Time
	// Dry decides as ever, but what is reserved is released at once, pacing is not
	// told, and the links of the offers never bill: for explain.
	Dry bool
}

// Outcome is what was decided. It is reused: Decide resets it, and its slices
// are valid until then.
type Outcome struct {
	// Reason is NoBidNone when there are bids, else the furthest stage that any
	// line reached.
	Reason rtb.NoBidReason
	Bids   []Bid
	// Code is the wire's code of the reason where the reason has several; else 0.
	Code int
	// Drops are the lines that did not bid, one for each impression that they
	// could not have or one for all of them.
	Drops []Drop
	// Lost is what was left out because of the limits of one decision.
	Lost Lost
	// Draw is the request's random draw in [0, 1).
	Draw float64

	work work
}

// Bid is one offer and how it came about. Prices are CPM: of Offer in its
// currency, of Value and Quote in the advertiser's.
type Bid struct {
	Offer    rtb.Offer
	Claims   rtb.Claims
	Line     *campaigns.Line
	Creative *creatives.Creative
	Products []*creatives.Product
	Value    rtb.CPM
	Quote    rtb.Quote
	Factors  events.Factors
}

// Drop is one line that did not bid. NoBidNone is the reason of a line that
// could have, where another line was worth more.
type Drop struct {
	Line   *campaigns.Line
	Imp    int // index into Opportunity.Imps; -1 for all
	Reason rtb.NoBidReason
}

// Decide chooses what to offer for every impression: candidates by the
// visitor's segments, filters, price, then a reservation for the best of them,
// or the next. It reads nothing but its input; only reservations and what pacing
// observes go out.
func Decide(in *Input, out *Outcome) {
	out.reset()
	out.work.facts.Begin(in.Opportunity, in.Catalog.Supply, in.Exchange.SChainASI, in.PreciseGeo, in.UserData)
	out.work.refused = in.Catalog.Approvals.Refused(in.Exchange.ID)
	out.decide(in)
	out.Code = out.work.facts.Code(out.Reason)
	out.work.facts.End()
	out.work.refused = nil
}

func (out *Outcome) decide(in *Input) {
	out.Draw = float64(in.Source.Uint64()>>11) / (1 << 53)
	if out.Reason = out.gateSupply(in); out.Reason != rtb.NoBidNone {
		return
	}
	lines := in.Catalog.Index.Contextual()
	if !in.Nobody {
		lines = in.Catalog.Index.Candidates(in.Visitor, &out.work.index)
	}
	if len(lines) == 0 {
		out.Reason = rtb.NoBidNoAudience
		if in.Catalog.Index.Live() == 0 {
			out.Reason = rtb.NoBidNoCampaign
		}
		return
	}
	for _, l := range lines {
		if out.pay(in, 1) {
			break
		}
		out.matchLine(in, l)
	}
	if out.work.late || in.late() {
		out.Reason = rtb.NoBidLate
		return
	}
	out.order()
	if out.take(in); out.work.late {
		out.release(in, rtb.NoBidLate)
		return
	}
	out.observe(in)
}

func (in *Input) late() bool { return in.Clock != nil && in.Clock().After(in.Deadline) }

func (out *Outcome) reset() {
	out.work.reset()
	out.Code, out.Lost = 0, Lost{}
	out.Reason, out.Bids, out.Drops, out.Draw = rtb.NoBidNone, out.Bids[:0], out.Drops[:0], 0
}

// drop notes why a line does not bid, and takes the furthest reason for the
// request's.
func (out *Outcome) drop(l *campaigns.Line, imp int, r rtb.NoBidReason) {
	if len(out.Drops) < maxDrops {
		out.Drops = append(out.Drops, Drop{l, imp, r})
	} else {
		out.Lost.Drops++
	}
	out.Reason = max(out.Reason, r)
}

// matchLine finds the impressions that a line can be shown on.
func (out *Outcome) matchLine(in *Input, l *campaigns.Line) {
	m, r := out.gateLine(in, l)
	if r != rtb.NoBidNone {
		out.drop(l, -1, r)
		return
	}
	w, at, found := &out.work, len(out.work.matched), false
	w.matched = append(w.matched, matched{line: l, match: m})
	for i := range in.Opportunity.Imps {
		if out.pay(in, 1) {
			break
		}
		opt, r := out.fit(in, l, i)
		if r != rtb.NoBidNone {
			out.drop(l, i, r)
			continue
		}
		if !found {
			found, w.matched[at].adjust = true, out.factorOf(in, l)
			if at == 0 {
				w.currency = w.currencyOf(in)
			}
		}
		opt.match, opt.imp = at, i
		out.addOptions(in, &w.matched[at], opt)
	}
	if !found {
		w.matched = w.matched[:at]
	}
}

// order puts the options into the order in which they are tried, so that a run
// can be repeated.
func (out *Outcome) order() {
	w := &out.work
	// The comparison reads the lines, so it is a closure; it does not outlive the
	// sort and stays on the stack.
	slices.SortFunc(w.options, func(a, b option) int { return w.compare(&a, &b) })
}

// compare is what is guaranteed, priority, deals before open bids, price, then ids.
func (w *work) compare(a, b *option) int {
	x, y := w.matched[a.match].line, w.matched[b.match].line
	switch {
	case a.money.guaranteed != b.money.guaranteed:
		return ahead(a.money.guaranteed)
	case x.Priority != y.Priority:
		return y.Priority - x.Priority
	case (a.deal > 0) != (b.deal > 0):
		return ahead(a.deal > 0)
	case a.money.price != b.money.price:
		return int(min(max(b.money.price-a.money.price, -1), 1))
	case x != y:
		return compareLines(x, y)
	}
	if a.imp != b.imp {
		return a.imp - b.imp
	}
	return a.deal - b.deal
}

// ahead orders what has something before what has not.
func ahead(has bool) int {
	if has {
		return -1
	}
	return 1
}

func compareLines(x, y *campaigns.Line) int {
	if c := strings.Compare(x.ID.Advertiser, y.ID.Advertiser); c != 0 {
		return c
	}
	if c := strings.Compare(x.ID.Campaign, y.ID.Campaign); c != 0 {
		return c
	}
	return strings.Compare(x.ID.Line, y.ID.Line)
}

// take makes offers of the options in their order: as many for an impression as
// the exchange or the pod takes, a line on one impression only, at most so many
// lines of an advertiser, each offer covered by a reservation.
func (out *Outcome) take(in *Input) {
	w := &out.work
	for i := range w.options {
		opt := &w.options[i]
		m := &w.matched[opt.match]
		if out.pay(in, 1) {
			return // what is reserved is released by the caller
		}
		if out.elsewhere(m.line, opt.imp) || !out.takes(in, opt) {
			out.drop(m.line, opt.imp, rtb.NoBidNone)
			continue
		}
		if out.linesOf(m.line) >= in.Catalog.linesPerAdvertiser() {
			out.drop(m.line, opt.imp, rtb.NoBidNone)
			continue
		}
		out.pay(in, offerSteps)
		if r := out.offer(in, opt, m); r != rtb.NoBidNone {
			out.drop(m.line, opt.imp, r)
			continue
		}
		m.expected = max(m.expected, opt.money.quote.Expected) // of a deal's and an open bid one can win
	}
	if len(out.Bids) > 0 {
		out.Reason = rtb.NoBidNone
	}
}

// elsewhere tells whether a line has an offer on another impression.
func (out *Outcome) elsewhere(l *campaigns.Line, imp int) bool {
	for i := range out.Bids {
		if out.Bids[i].Line == l && out.Bids[i].Offer.Imp != imp {
			return true
		}
	}
	return false
}

// linesOf counts the other lines of a line's advertiser that have offers.
func (out *Outcome) linesOf(l *campaigns.Line) int {
	n := 0
	for i := range out.Bids {
		x := out.Bids[i].Line
		if x == l || x.Advertiser != l.Advertiser {
			continue
		}
		first := true
		for j := range i {
			first = first && out.Bids[j].Line != x
		}
		if first {
			n++
		}
	}
	return n
}

// observe tells pacing of every line that could have bid. A test is no traffic.
func (out *Outcome) observe(in *Input) {
	if in.Dry || in.Opportunity.Test {
		return
	}
	for i := range out.work.matched {
		m := &out.work.matched[i]
		in.Budgets.Observe(m.line.ID, m.expected)
	}
}

// release gives back what the offers reserved, and drops them.
func (out *Outcome) release(in *Input, r rtb.NoBidReason) {
	for i := range out.Bids {
		if !in.Dry {
			in.Budgets.Release(out.Bids[i].Offer.Bid)
		}
	}
	out.Bids, out.Reason = out.Bids[:0], r
}
