package pacing

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Apply folds facts in the order of the log, and stores what changed and the new
// position in one batch. A fact at or below the position changes nothing.
func (p *Pacer) Apply(facts []events.Fact) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	pos := p.Position()
	err := p.store.sound()
	if err == nil {
		err = p.foldAll(facts, &pos)
	}
	if err == nil {
		err = p.commit(pos)
	}
	if err != nil {
		if damaged(err) { // read again it would be no better
			p.o.Logger.Error("the money view is damaged; it is emptied and rebuilt from the log", zap.Error(err))
			err = errors.Join(err, p.refill(""))
		}
		return err
	}
	p.pos.Store(&pos)
	p.reservations.sweep(p.now/1e9, p.ripe)
	return nil
}

// foldAll folds what is after pos and moves it. Bids of a time behind the log's
// are refused before anything of theirs is swept.
func (p *Pacer) foldAll(facts []events.Fact, pos *events.Position) error {
	defer func() { p.sight.logTime.Store(p.now) }()
	for i := range facts {
		f := &facts[i]
		if f.Seq <= pos.Seq {
			continue
		}
		if err := p.fold(f); err != nil {
			return fmt.Errorf("cannot fold fact %d into money view: %w", f.Seq, err)
		}
		*pos = f.Position()
	}
	return nil
}

func (p *Pacer) fold(f *events.Fact) error {
	p.now = max(p.now, f.TS.UnixNano())
	switch f.Kind {
	case events.KindGrant:
		if f.Grant != nil {
			p.foldGrant(f)
		}
	case events.KindPause:
		if f.Pause != nil {
			p.foldPause(f)
		}
	case events.KindWin, events.KindBill, events.KindLoss, events.KindImp, events.KindVideo:
		if f.Notice != nil && !f.Notice.BidID.IsZero() {
			return p.foldNotice(f)
		}
	}
	return nil
}

// budget finds a budget to change, or begins it.
func (p *Pacer) budget(id rtb.BudgetID) *budget {
	b := p.budgets[id]
	if b == nil {
		b = &budget{id: id}
		p.budgets[id] = b
	}
	if !b.dirty {
		b.dirty = true
		p.changed.budgets = append(p.changed.budgets, b)
	}
	return b
}

func (p *Pacer) foldGrant(f *events.Fact) {
	b := p.budget(f.Grant.Budget)
	p.counted(b, f)
	mine := f.Grant.Run == p.o.Run
	var a *account
	if mine {
		a = p.account(b.id) // before the amount changes: an account opens with what is there
	} else {
		a = p.accounts[b.id]
	}
	grown := b.applyGrant(f, p.now)
	if mine {
		a.granted(grown)
	}
}

// foldNotice remembers wins and losses, charges bills, and moves this run's
// reservation of the bid, where there is one.
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
	case f.Kind == events.KindWin && rec.won == 0:
		rec.won = p.now
		if rec.lost == 0 {
			p.wonBid(n)
		}
	case f.Kind == events.KindLoss && rec.lost == 0 && rec.charged == 0:
		rec.lost = p.now
		p.lostBid(n)
	}
	if !n.Bills {
		return nil
	}
	if rec.charged != 0 {
		p.counts.duplicates.Add(1)
		return nil
	}
	rec.charged = p.now
	p.charge(f, rec.late(n, p.now))
	return nil
}

// notice finds what is remembered of a bid, or begins it.
func (p *Pacer) notice(id rtb.BidID) (*notice, error) {
	if n := p.notices[id]; n != nil {
		return n, nil
	}
	n := &notice{}
	if _, err := p.store.get(noticeKey(id), n.decode); err != nil {
		return nil, err
	}
	p.notices[id] = n
	return n, nil
}

func (p *Pacer) wonBid(n *events.Notice) {
	p.reservations.with(n.BidID, func(r *reservation) {
		if r.state != resBid || p.now > seconds(n.WinExpiry) {
			return
		}
		r.state, r.exchange = resWon, n.Exchange
		r.paid = r.cost
		if n.Charge > 0 {
			r.paid = int64(n.Charge)
		}
		r.toWin = competing(n)
		r.expect(r.paid)
	})
}

func (p *Pacer) lostBid(n *events.Notice) {
	p.reservations.with(n.BidID, func(r *reservation) {
		if !r.holds() {
			return
		}
		r.give()
		r.state = resLost
		r.paid = 0
		r.toWin = competing(n)
		p.untrack(r)
	})
}

// shown marks an impression that books nothing: the profile counts it too.
func (p *Pacer) shown(f *events.Fact) {
	if f.Kind != events.KindImp {
		return
	}
	p.reservations.with(f.Notice.BidID, func(r *reservation) {
		if r.tracked {
			p.flights.impression(r.visitor, r.bid, f.Seq, p.now/1e9)
		}
	})
}

// ripe ends, or prolongs, a reservation whose due has passed in the log's time.
// p.mu and the reservation's shard are held.
func (p *Pacer) ripe(r *reservation) {
	switch r.state {
	case resBid:
		r.give()
		r.state = resLost
		p.counts.expired.Add(1)
		p.learn(r)
	case resWon:
		p.learn(r)
		if r.billExpiry >= p.now/1e9 {
			r.due = r.billExpiry
			return
		}
		r.give()
		r.state = resLost
		p.counts.expired.Add(1)
		p.outcome(r.exchange, 1)
	case resSettled, resLost:
		p.learn(r)
	}
	p.untrack(r)
}

// learn takes an outcome once, when it has the age at which losses are known.
func (p *Pacer) learn(r *reservation) {
	if r.learned {
		return
	}
	r.learned = true
	for _, a := range r.accounts {
		if a == nil {
			break
		}
		a.control.outcome(float64(r.expected), float64(r.paid))
	}
	r.line.learn(r)
}
