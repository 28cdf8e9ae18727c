package pacing

import (
	"time"

	"rebound/rtb"
)

// Reserve covers the worst cost of a bid (c.Reserved) under every cap of its
// line, and its visitor's frequency, or covers nothing and returns the reason. It sets the
// claims' Node, Grant, Caps, Day, Hour and Flights; sign them afterwards. The time is c.Issued.
// A test bid is never covered, and never refused.
//
// Reasons: frequency, in_flight (the visitor); budget (a cap has no room), grant
// (the cap has room, but this run's grant is used up; a new one has been
// requested); paced (money is short, and the bid would use what it reserves worse
// than others); overloaded (too many bids in flight); no_campaign (not in the plan);
// currency (the line spent in another); blind (spend cannot be known,
// [Pacer.Blind], or the bid's time is behind the log's); error (a second bid of
// the same id, no cost, or a life beyond Options.MaxBidLife).
func (p *Pacer) Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason {
	e := p.table.Load().line(c.Handle)
	if c.Handle == 0 {
		e = p.table.Load().lines[rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line}]
	}
	if e == nil {
		return rtb.NoBidNoCampaign
	}
	if e.refused != rtb.NoBidNone {
		return e.refused
	}
	r := reservation{
		bid: c.Bid, exchange: c.Exchange, format: c.Format, line: e.line, firstPrice: c.FirstPrice, cost: c.Reserved, expected: c.Expected, value: c.Value,
		issued: rtb.SecondOf(c.Issued), winExpiry: rtb.SecondOf(c.WinExpiry), billExpiry: rtb.SecondOf(c.BillExpiry),
	}
	r.due, r.flight, r.flightImps = r.winExpiry, r.expected, r.chance()
	if life := p.shortest.Load(); life > 0 {
		r.due = min(r.due, r.issued+life)
	}
	r.dry = c.Dry
	r.place = (*p.places.Load())[placeKey{c.Exchange, e.currency, c.Slot}]
	day := e.on(r.issued)
	if day == nil {
		p.renew()
		return rtb.NoBidGrant
	}
	// A bid that lives longer than usual never makes an ordinary grant longer.
	r.long = r.life() > p.o.BidLife && !day.heldFor(&r)
	c.Node, c.Grant, c.Caps, c.Day, c.Flights = p.o.Node, p.o.Run, e.caps, day.kept.at.Day, day.kept.at.Flights
	if c.Hour = day.kept.at.Hour; !e.caps.AnyIn(rtb.WindowHour) || c.Hour == rtb.HourOf(c.Issued, time.UTC) {
		c.Hour = 0 // the hour of Issued in UTC
	}
	if r.long {
		c.Grant = p.longRun
	}
	if c.Test {
		return rtb.NoBidNone
	}
	if r.cost <= 0 || r.winExpiry < r.issued || r.life() > p.o.MaxBidLife {
		return rtb.NoBidError
	}
	if reason := p.unseen(c.Issued); reason != rtb.NoBidNone {
		return reason
	}
	var scopes scopeSet
	if len(caps) > 0 && v != nil && !v.Key.IsZero() {
		if r.issued <= p.unknownUntil.Load() { // bids of the last run may still be shown
			return rtb.NoBidFrequency
		}
		if !scopes.set(v.Key, caps) {
			return rtb.NoBidError
		}
		flight, reason := p.flights.reserve(v, caps, &scopes, r.issued)
		if reason != rtb.NoBidNone {
			return reason
		}
		r.tracked, r.inFlight = true, flight
	}
	if r.expected > 0 {
		r.path = c.Path
	}
	reason := p.cover(&r, day, &scopes)
	if reason == rtb.NoBidNone {
		p.paths.markets.bid(r.path, float64(r.expected)/float64(r.cost))
		return rtb.NoBidNone
	}
	if r.tracked {
		p.flights.drop(&r.inFlight)
	}
	return reason
}

// heldFor reports whether the day's ordinary grants are held long enough for a bid.
func (d *tableDay) heldFor(r *reservation) bool {
	for _, a := range d.accounts {
		if r.ends() > a.heldUntil.Load() {
			return false
		}
	}
	return true
}

// cover takes the cost from every account of the day and stores the
// reservation, or changes nothing.
func (p *Pacer) cover(r *reservation, day *tableDay, scopes *scopeSet) rtb.NoBidReason {
	if len(day.accounts) == 0 {
		return rtb.NoBidBudget // no cap limits the line, so it does not bid
	}
	r.day = day
	accounts := r.accounts()
	if !r.dry {
		r.line.asks(r)
	}
	if r.use() < r.line.leastUse() {
		return rtb.NoBidPaced
	}
	for i, a := range accounts {
		if reason := p.coverOne(a, r); reason != rtb.NoBidNone {
			for _, a := range accounts[:i] {
				a.give(r.costOf(a))
			}
			if !r.dry {
				r.line.refuses(r.expected)
			}
			return reason
		}
	}
	r.line.reserved.Add(r.cost)
	for _, a := range accounts {
		a.expected.Add(r.flightOf(a))
	}
	reason := p.store(r, &day.kept, scopes)
	if reason != rtb.NoBidNone {
		r.give()
		if reason == rtb.NoBidOverloaded && !r.dry {
			p.counts.refused.Add(1)
		}
	}
	return reason
}

// store writes a reservation to the mapped file and to memory, or to neither.
func (p *Pacer) store(r *reservation, caps *slotCaps, scopes *scopeSet) rtb.NoBidReason {
	r.slot = -1
	if p.slots != nil {
		x := slotRecord{
			slotCaps: *caps, run: r.accounts()[0].runHash, n: scopes.n, bid: r.bid, visitor: scopes.visitor, scopes: scopes.ids, cost: r.cost,
			issued: r.issued, winExpiry: r.winExpiry, billExpiry: r.billExpiry,
		}
		if r.slot = p.slots.put(&x); r.slot < 0 {
			p.renew() // the Step maps more slots
			return rtb.NoBidOverloaded
		}
	}
	reason := p.reservations.add(r)
	if reason != rtb.NoBidNone {
		p.slots.drop(r.slot)
	}
	return reason
}

// freeSlot frees the reservation's slot in the mapped file: the next run need not know
// of it.
func (p *Pacer) freeSlot(r *reservation) {
	p.slots.drop(r.slot)
	r.slot = -1
}

func (p *Pacer) coverOne(a *account, r *reservation) rtb.NoBidReason {
	if a.asked.Load() < r.issued {
		a.asked.Store(r.issued)
	}
	cost := r.costOf(a)
	if a.worst.Load() < cost {
		a.needs(cost)
	}
	if r.issued > a.until.Load() || r.ends() > a.heldUntil.Load() {
		p.outlives(r.life(), r.issued)
		reason := a.refusal(cost)
		if reason == rtb.NoBidBudget {
			return reason
		}
		p.renewOf(a)
		return rtb.NoBidGrant
	}
	if !a.take(cost) {
		reason := a.refusal(cost)
		if reason == rtb.NoBidGrant {
			p.renewOf(a)
		}
		return reason
	}
	if a.available.Load() < a.low.Load() {
		p.renewOf(a)
	}
	return rtb.NoBidNone
}

// renewOf requests a Step soon that checks the account's grant.
func (p *Pacer) renewOf(a *account) {
	p.short.add(a, &a.listed)
	p.renew()
}

// outlives records how long a bid lives, so that grants are held long enough.
func (p *Pacer) outlives(life time.Duration, at rtb.Second) {
	if life > p.o.BidLife {
		p.longBid.Store(at)
	}
	for {
		have := p.life.Load()
		if life <= have || p.life.CompareAndSwap(have, life) {
			return
		}
	}
}

// renew requests a Step soon. It never blocks.
func (p *Pacer) renew() {
	if p.wanted.Load() || p.stopping.Load() {
		return
	}
	if p.wanted.CompareAndSwap(false, true) {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Release releases the reservation of a bid that was not sent.
func (p *Pacer) Release(bid rtb.BidID) {
	p.reservations.with(bid, func(r *reservation) {
		if r.state != resBid {
			return
		}
		r.give()
		r.state = resDead
		p.untrack(r)
		p.freeSlot(r)
	})
}

// untrack stops counting a bid against its visitor's caps.
func (p *Pacer) untrack(r *reservation) {
	if r.tracked {
		r.tracked = false
		p.flights.drop(&r.inFlight)
	}
}
