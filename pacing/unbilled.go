package pacing

import (
	"maps"
	"slices"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// The spend of an exchange that reports wins but no bills is unknown. After a
// number of wins of which a large share was never billed, it gets no bids. The
// same applies to an exchange whose bills arrive after their reservations have
// ended.
const (
	enoughWins    = 200
	unbilledShare = 0.9
	recentWins    = 1000 // above this count, older wins count half
)

// billing counts the outcomes of an exchange's wins in this run, once billed or
// past their bill window. A win notice that bills is not counted.
type billing struct {
	wins, unbilled float64
	late           bool // its late bills exceeded their share of a budget
	blind          bool
	silence
}

// lateShare is the share of a cap that late bills of one exchange may take before the
// exchange gets no bids; a larger holdback raises this to the holdback.
const lateShare = 0.1

// lateKey identifies the late spend of one exchange in one budget.
type lateKey struct {
	budget   rtb.BudgetID
	exchange string
}

// lateBill counts the part of a late bill of this run that a budget's grant does not cover.
// p.mu is held.
func (p *Pacer) lateBill(n *events.Notice, id rtb.BudgetID, amount rtb.Micros) {
	a := p.accounts[id]
	if a == nil || !p.mine(n.Grant) {
		return
	}
	key := lateKey{id, n.Exchange}
	p.lateBy[key] += amount
	b, sum := p.bills(n.Exchange), p.lateBy[key]
	if b.late || sum <= max(rtb.Micros(lateShare*float64(a.limit)), a.holdback) {
		return
	}
	b.late = true
	p.distrustNotices(n.Exchange)
	p.o.Logger.Error("late bills of an exchange exceed their share of a budget: it gets no more bids", zap.String("exchange", n.Exchange),
		zap.Stringer("budget", id), zap.Stringer("late", sum), zap.Stringer("cap", a.limit),
		zap.String("remedy", `compare auction_ttl, exp and bill_window with the delay of its bills; then POST /admin/pause {"scope":"exchange:`+n.Exchange+`","on":false}`))
	p.judgeBilling(n.Exchange, b)
}

// bills returns the figures of an exchange's wins, creating them if necessary. p.mu is held.
func (p *Pacer) bills(exchange string) *billing {
	b := p.billing[exchange]
	if b == nil {
		b = &billing{}
		p.billing[exchange] = b
	}
	return b
}

// Billing contains the figures of one exchange's wins. Older ones count less.
type Billing struct {
	Exchange string
	Wins     float64 // billed, or past their bill window
	Unbilled float64 // those of them that were never billed
	Late     bool    // its late bills exceeded their share of a budget
	Silent   bool    // its bids were billed far less often than usual
	Losses   bool    // it billed far more of its losses than usual
	Blind    bool    // it gets no bids, for one of these reasons
}

// outcome counts a win that was billed (0) or can no longer be billed in time (1). p.mu
// is held.
func (p *Pacer) outcome(exchange string, unbilled float64) {
	b := p.bills(exchange)
	if b.wins >= recentWins {
		b.wins, b.unbilled = b.wins/2, b.unbilled/2
	}
	b.wins++
	b.unbilled += unbilled
	p.judgeBilling(exchange, b)
}

// billedAfterAll corrects the count of a win that was billed late. p.mu is held.
func (p *Pacer) billedAfterAll(exchange string) {
	if b := p.billing[exchange]; b != nil && b.unbilled >= 1 {
		b.unbilled--
		p.judgeBilling(exchange, b)
	}
}

// trustBilling resets the counts of the exchanges that an operator resumed. p.mu is
// held.
func (p *Pacer) trustBilling(x *events.Pause) {
	if x.On {
		return
	}
	for id, b := range p.billing {
		if x.Scope == "all" || x.Scope == "exchange:"+id {
			*b = billing{blind: b.blind}
			p.trustLosses(id)
			maps.DeleteFunc(p.lateBy, func(k lateKey, _ rtb.Micros) bool { return k.exchange == id })
			p.judgeBilling(id, b)
		}
	}
}

// judgeBilling publishes changes to the set of exchanges that get no bids.
func (p *Pacer) judgeBilling(exchange string, b *billing) {
	unbilled := b.wins >= enoughWins && b.unbilled >= unbilledShare*b.wins
	blind := unbilled || b.late || b.silent || p.stoppedByLosses(exchange)
	if blind == b.blind {
		return
	}
	b.blind = blind
	if unbilled {
		p.o.Logger.Error("an exchange reports wins but hardly any bills: it gets no more bids", zap.String("exchange", exchange),
			zap.Float64("wins", b.wins), zap.Float64("unbilled", b.unbilled),
			zap.String("remedy", `check that its notices reach us and that billing_source is right; then POST /admin/pause {"scope":"exchange:`+exchange+`","on":false}`))
	} else if !blind {
		p.o.Logger.Warn("an exchange gets bids again", zap.String("exchange", exchange))
	}
	set := map[string]struct{}{}
	for id, x := range p.billing {
		if x.blind {
			set[id] = struct{}{}
		}
	}
	p.unbilled.Store(&set)
}

// unpaid reports whether an exchange gets no bids because its wins are not billed.
func (p *Pacer) unpaid(exchange string) bool {
	set := p.unbilled.Load()
	if set == nil || len(*set) == 0 {
		return false
	}
	_, ok := (*set)[exchange]
	return ok
}

// billings lists the exchanges' figures. p.mu is held.
func (p *Pacer) billings() []Billing {
	var list []Billing
	for _, id := range slices.Sorted(maps.Keys(p.billing)) {
		b := p.billing[id]
		if b.wins == 0 && !b.blind {
			continue
		}
		list = append(list, Billing{Exchange: id, Wins: b.wins, Unbilled: b.unbilled, Late: b.late, Silent: b.silent, Losses: p.stoppedByLosses(id), Blind: b.blind})
	}
	return list
}
