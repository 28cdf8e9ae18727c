package pacing

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// Apply folds facts in the order of the log, and stores the changes and the new position
// in one batch. A fact at or below the position changes nothing. If the view's files
// turn out to be damaged, Apply empties the view and returns an error that wraps
// [view.ErrDamaged].
func (p *Pacer) Apply(facts []events.Fact) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.apply(facts, p.Position().Seq)
}

// apply folds the facts whose sequence is above seen; all of them if seen is 0.
// Facts that replace deleted files share one sequence. p.mu is held.
func (p *Pacer) apply(facts []events.Fact, seen uint64) error {
	for len(facts) > 0 && seen > 0 && facts[0].Seq <= seen {
		facts = facts[1:]
	}
	if len(facts) == 0 {
		return nil
	}
	err := p.foldAll(facts)
	if err == nil {
		err = p.commit(facts[len(facts)-1].Position())
	}
	if err != nil {
		if view.IsDamage(err) {
			p.o.Logger.Error("the money view is damaged; it is emptied", zap.Error(err))
			err = errors.Join(err, p.refill(p.db.Reset))
		}
		return err
	}
	p.reservations.sweep(rtb.SecondOf(p.now), p.expire)
	p.judgeLosses()
	p.judgeOverdue()
	p.publishValues(rtb.SecondOf(p.now))
	return nil
}

// foldAll folds facts and publishes the time of the log: bids of an earlier
// time are refused before their reservations could expire.
func (p *Pacer) foldAll(facts []events.Fact) error {
	defer func() { p.sight.setLogTime(p.now) }()
	for i := range facts {
		if err := p.fold(&facts[i]); err != nil {
			return fmt.Errorf("cannot fold fact %d into the money view: %w", facts[i].Seq, err)
		}
	}
	return nil
}

func (p *Pacer) fold(f *events.Fact) error {
	p.now = later(p.now, f.TS.UTC())
	if err := p.values.look(rtb.SecondOf(p.now)); err != nil {
		return err
	}
	switch f.Kind {
	case events.KindEvent:
		return p.foldOrder(f)
	case events.KindGrant:
		if f.Grant != nil {
			p.foldGrant(f)
		}
	case events.KindPause:
		if f.Pause != nil {
			p.foldPause(f)
		}
	case events.KindAdjust:
		if f.Adjustment != nil {
			return p.foldAdjustment(f)
		}
	case events.KindClick:
		if f.Notice != nil && !f.Notice.BidID.IsZero() {
			return p.foldClick(f)
		}
	case events.KindWin, events.KindBill, events.KindLoss, events.KindImp, events.KindVideo:
		if f.Notice != nil && !f.Notice.BidID.IsZero() {
			return p.foldNotice(f)
		}
	}
	return nil
}

// budget returns a budget that will be changed, creating it if necessary.
func (p *Pacer) budget(id rtb.BudgetID) *budget {
	b := p.budgets[id]
	if b == nil {
		b = p.newBudget(id)
	}
	if !b.dirty {
		b.dirty = true
		p.changed.budgets = append(p.changed.budgets, b)
	}
	return b
}

// newBudget adds a budget. One of impressions begins with those that the budget of money
// with the same owner and period has counted, so it does not matter when it is added.
func (p *Pacer) newBudget(id rtb.BudgetID) *budget {
	b := &budget{id: id}
	if id.Imps {
		money := id
		money.Imps = false
		if m := p.budgets[money]; m != nil {
			b.Settled = m.Imps
		}
	}
	p.budgets[id] = b
	p.epoch++
	return b
}

func (p *Pacer) foldGrant(f *events.Fact) {
	b := p.budget(f.Grant.Budget)
	p.counted(b, f)
	var a *account
	switch f.Grant.Run { // before the amount changes, because an account opens with the current balance
	case p.o.Run:
		a = p.account(b.id)
	case p.longRun:
		a = p.open(p.longs, b.id, p.longRun)
	}
	grown := b.applyGrant(f, p.now)
	if a != nil {
		a.granted(grown)
	}
}

// foldNotice remembers wins and losses, charges bills, and updates this run's
// reservation of the bid, if there is one.
func (p *Pacer) foldNotice(f *events.Fact) error {
	n := f.Notice
	if !n.Bills && f.Kind != events.KindWin && f.Kind != events.KindLoss {
		p.shown(f)
		return nil
	}
	rec, err := p.notice(n.BidID)
	if err != nil {
		return err
	}
	switch {
	case f.Kind == events.KindWin && rec.won.IsZero():
		p.measure(n, rec)
		rec.won = p.now
		p.wonBid(n)
	case f.Kind == events.KindLoss && rec.lost.IsZero() && rec.charged.IsZero():
		rec.lost = p.now
		p.lostBid(n)
	}
	if !n.Bills {
		return nil
	}
	if !rec.charged.IsZero() {
		p.counts.duplicates.Add(1)
		return nil
	}
	p.measure(n, rec)
	rec.charged = p.now
	p.charge(f, rec.late(n, p.now), !rec.lost.IsZero())
	return p.learnBill(f, rec)
}

// notice returns the record of a bid's notices, creating it if necessary.
func (p *Pacer) notice(id rtb.BidID) (*notice, error) {
	if n := p.notices[id]; n != nil {
		return n, nil
	}
	n := &notice{}
	value, exists, err := p.db.Get(noticeKey(id))
	if err == nil && exists {
		err = n.decode(value)
	}
	if err != nil {
		return nil, err
	}
	p.notices[id] = n
	return n, nil
}

func (p *Pacer) wonBid(n *events.Notice) {
	p.reservations.with(n.BidID, func(r *reservation) {
		if p.now.After(n.WinExpiry.Truncate(time.Second)) {
			return
		}
		if r.state == resDoubted {
			r.won = true
			p.slots.mark(r.slot, r.state, true)
		}
		if r.state == resOverdue {
			p.takeBack(r)
		}
		if r.state != resBid {
			return
		}
		r.state, r.exchange = resWon, n.Exchange
		p.slots.mark(r.slot, r.state, false)
		r.paid = r.cost
		if n.Charge > 0 {
			r.paid = n.Charge
		}
		r.toWin = competing(n)
		r.expect(r.paid)
	})
}

func (p *Pacer) lostBid(n *events.Notice) {
	p.reservations.with(n.BidID, func(r *reservation) {
		if r.state == resOverdue {
			p.endOverdue(r, false)
			p.recover(r)
		}
		if r.state != resBid && r.state != resWon {
			return
		}
		r.exchange = n.Exchange // an inherited bid does not know it
		p.doubt(r)
		p.slots.mark(r.slot, r.state, r.won)
		r.paid = 0
		r.toWin = competing(n)
		p.untrack(r)
	})
}

// shown marks an impression that books no money; the profile counts it too.
func (p *Pacer) shown(f *events.Fact) {
	if f.Kind != events.KindImp {
		return
	}
	p.reservations.with(f.Notice.BidID, func(r *reservation) {
		if r.tracked {
			p.flights.impression(&r.inFlight, f.Seq, rtb.SecondOf(p.now))
		}
	})
}

// expire ends or extends a reservation whose due time has passed in the log's time. p.mu
// and the reservation's shard are held.
func (p *Pacer) expire(r *reservation) {
	if r.winExpiry >= rtb.SecondOf(p.now) && r.state != resDead {
		p.lookEarly(r)
		return
	}
	switch r.state {
	case resBid:
		r.give()
		r.state = resLost
		p.counts.expired.Add(1)
		p.learn(r)
	case resWon:
		p.learn(r)
		if r.billExpiry >= rtb.SecondOf(p.now) {
			r.due = r.billExpiry
			return
		}
		r.give()
		r.state = resLost
		p.counts.expired.Add(1)
		if r.exchange != "" {
			p.outcome(r.exchange, 1)
		}
	case resOverdue:
		p.endOverdue(r, false)
		r.state = resLost
		p.counts.expired.Add(1)
		p.learn(r)
	case resDoubted:
		if r.won && r.billExpiry >= rtb.SecondOf(p.now) {
			r.due = r.billExpiry
			return
		}
		p.resolve(r, false)
		r.state = resLost
		p.learn(r)
	case resSettled, resLost:
		p.learn(r)
	}
	p.untrack(r)
	p.freeSlot(r)
}

// learn records the outcome of a bid once, at the age at which losses are known.
func (p *Pacer) learn(r *reservation) {
	if r.learned {
		return
	}
	r.learned = true
	p.listen(r)
	p.judgeLoss(r)
	for _, a := range r.accounts() {
		if a.id.Imps {
			a.control.outcome(float64(r.chance()), float64(impsOf(r.paid)))
			continue
		}
		a.control.outcome(float64(r.expected), float64(r.paid))
	}
	r.place.learn(r)
}
