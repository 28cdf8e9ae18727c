package pacing

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// charge books a bill in all budgets of its line, so that a cap which is added later
// includes earlier spend and impressions. The budgets named in its claims had to
// cover it. lost is set if the bid had been reported lost.
func (p *Pacer) charge(f *events.Fact, late, lost bool) {
	n := f.Notice
	amount := max(n.Charge, 0)
	least, uncovered := amount, false // the amount that the grant of every cap on money covers
	at, id := periodsOf(n), lineOf(f)
	for _, c := range rtb.Caps { // impressions first: a new budget of them begins with those counted before this bill
		if c.OnImps() {
			uncovered = p.chargeCap(f, c, rtb.BudgetIn(c, id, &at), rtb.ImpressionUnit, late) < rtb.ImpressionUnit || uncovered
		}
	}
	for _, c := range rtb.Caps {
		if !c.OnImps() {
			least = min(least, p.chargeCap(f, c, rtb.BudgetIn(c, id, &at), amount, late))
		}
	}
	if n.Caps == 0 && late {
		least = 0
	}
	p.addTotal(id, amount, amount-least, f.Currency)
	if least < amount || uncovered {
		p.counts.late.Add(1)
	}
	p.settled(f, amount, lost)
}

// chargeCap books a bill in one of the budgets of its line and returns the amount that the
// bid's grant covers, which is all of it where the cap did not bind the bid. A cap per hour
// that did not bind counts nothing: it is new, or too long ago to matter.
func (p *Pacer) chargeCap(f *events.Fact, c rtb.CapSet, id rtb.BudgetID, amount rtb.Micros, late bool) (covered rtb.Micros) {
	n := f.Notice
	binds := n.Caps&c != 0
	if !binds {
		none := id.Window == rtb.WindowHour || id.Window == rtb.WindowFlight && id.Day == 0
		if none || id.Imps && p.budgets[id] == nil {
			return amount
		}
	}
	b := p.budget(id)
	if !id.Imps {
		b.Imps += rtb.ImpressionUnit
		if !binds && id.Campaign == "" && b.Settled != 0 && b.Currency != f.Currency { // the advertiser's currency has changed
			return amount
		}
		p.counted(b, f)
	}
	if !binds {
		b.Settled += amount
		return amount
	}
	covered = b.settle(n.Grant, amount, late, p.now)
	if c := p.controls[controlOf(id)]; c != nil {
		c.charged(float64(amount), p.mine(n.Grant))
	}
	if a := p.accountOf(n.Grant, id); a != nil && covered > 0 {
		a.available.Add(-covered)
	}
	if covered < amount {
		p.lateBill(n, id, amount-covered)
	}
	return covered
}

// periodsOf returns the periods in which the bid of a notice counts.
func periodsOf(n *events.Notice) rtb.Periods {
	at := rtb.Periods{Day: n.Day, Hour: n.Hour, Flights: n.Flights}
	if at.Hour == 0 {
		at.Hour = rtb.HourOf(n.Issued, time.UTC)
	}
	return at
}

// lineOf returns the line of a notice.
func lineOf(f *events.Fact) rtb.LineID {
	return rtb.LineID{Advertiser: f.Advertiser, Campaign: f.Notice.Campaign, Line: f.Notice.Line}
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
	p.hear(n.Exchange)
	known := p.reservations.with(n.BidID, func(r *reservation) {
		if r.state == resWon && f.Kind != events.KindWin {
			p.outcome(n.Exchange, 0)
		}
		switch {
		case r.state == resDoubted:
			p.resolve(r, true)
		case r.state == resOverdue:
			p.endOverdue(r, true)
		case r.holds():
			r.give()
		}
		r.state = resSettled
		p.freeSlot(r)
		r.paid = amount
		p.paths.markets.won(r.path, float64(amount)/float64(r.cost))
		r.toWin = competing(n)
		if r.due >= r.winExpiry { // else it is looked at once more before
			r.due = max(r.winExpiry, after(at, settledMemory))
		}
		if r.tracked {
			p.flights.impression(&r.inFlight, f.Seq, at)
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
	periods, line := periodsOf(n), lineOf(f)
	for _, c := range rtb.Caps { // it was already learned from as a loss
		if n.Caps&c == 0 {
			continue
		}
		paid := amount
		if c.OnImps() {
			paid = impsOf(amount)
		}
		if a := p.accounts[rtb.BudgetIn(c, line, &periods)]; a != nil {
			a.control.late(float64(paid))
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
