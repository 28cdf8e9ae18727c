package pacing

import (
	"rebound/events"
	"rebound/rtb"
)

// charge books a bill in all four budgets of its line, so that a cap which is
// added later includes earlier spend. The budgets named in its claims had to
// cover it. lost is set if the bid had been reported lost.
func (p *Pacer) charge(f *events.Fact, late, lost bool) {
	n := f.Notice
	amount := max(n.Charge, 0)
	least := amount // the amount that every cap's grant covers
	for _, c := range rtb.Caps {
		id := rtb.BudgetOf(c, f.Advertiser, n.Campaign, n.Line, n.Day)
		b := p.budget(id)
		p.counted(b, f)
		if n.Caps&c == 0 {
			b.Settled += amount
			continue
		}
		covered := b.settle(n.Grant, amount, late, p.now)
		least = min(least, covered)
		if c := p.controls[controlOf(id)]; c != nil {
			c.charged(float64(amount), p.mine(n.Grant))
		}
		if a := p.accountOf(n.Grant, id); a != nil && covered > 0 {
			a.available.Add(-covered)
		}
	}
	if n.Caps == 0 && late {
		least = 0
	}
	id := rtb.LineID{Advertiser: f.Advertiser, Campaign: n.Campaign, Line: n.Line}
	p.addTotal(id, amount, amount-least, f.Currency)
	if least < amount {
		p.counts.late.Add(1)
		p.lateBill(f, amount-least)
	}
	p.settled(f, amount, lost)
}

// addTotal adds to the total charges of a line, which do not depend on its caps.
func (p *Pacer) addTotal(id rtb.LineID, amount, late rtb.Micros, currency rtb.Currency) {
	t := p.total(id)
	t.Spend += amount
	t.Late += late
	if t.Currency.IsZero() {
		t.Currency = currency
	}
	if !t.dirty {
		t.dirty = true
		p.changed.totals = append(p.changed.totals, id)
	}
}

// settled moves this run's reservation for a charged bid to settled.
func (p *Pacer) settled(f *events.Fact, amount rtb.Micros, lost bool) {
	n := f.Notice
	at := rtb.SecondOf(p.now)
	known := p.reservations.with(n.BidID, func(r *reservation) {
		if r.state == resWon && f.Kind != events.KindWin {
			p.outcome(n.Exchange, 0)
		}
		switch {
		case r.state == resDoubted:
			p.resolve(r, true)
		case r.holds():
			r.give()
		}
		r.state = resSettled
		p.freeSlot(r)
		r.paid = amount
		p.paths.markets.won(r.path, float64(amount)/float64(r.cost))
		r.toWin = competing(n)
		r.due = max(r.winExpiry, after(at, settledMemory))
		if r.tracked {
			p.flights.impression(r.visitor, r.flightSlot, f.Seq, at)
		}
	})
	if !p.mine(n.Grant) {
		return
	}
	if lost {
		if !known { // its outcome had already been counted as a loss
			c := p.claims(n.Exchange)
			c.Billed, c.moved = c.Billed+1, true
		}
		p.billedLoss(n)
	}
	if known {
		return
	}
	if rec := p.notices[n.BidID]; rec != nil && !rec.won.IsZero() && f.Kind != events.KindWin {
		p.billedAfterAll(n.Exchange)
	}
	for _, c := range rtb.Caps { // it was already learned from as a loss
		if n.Caps&c == 0 {
			continue
		}
		if a := p.accounts[rtb.BudgetOf(c, f.Advertiser, n.Campaign, n.Line, n.Day)]; a != nil {
			a.control.late(float64(amount))
		}
	}
}

// competing returns the price of one impression that a bid had to beat; 0 if
// the notice does not contain it.
func competing(n *events.Notice) rtb.Micros {
	if n.Bid <= 0 || n.Reserved <= 0 {
		return 0
	}
	perCPM := float64(n.Reserved) / float64(n.Bid)
	switch {
	case n.MinToWin > 0:
		return max(rtb.Micros(float64(n.MinToWin)*perCPM), 1)
	case !n.FirstPrice && n.PriceTold && n.Price > 0:
		return max(rtb.Micros(float64(n.Price)*perCPM), 1)
	}
	return 0
}
