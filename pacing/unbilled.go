package pacing

import (
	"maps"
	"slices"

	"go.uber.org/zap"

	"rebound/events"
)

// An exchange that reports wins and no bills spends money that nobody counts: at
// so many wins, of which so large a share was never billed, it gets no bids.
const (
	enoughWins    = 200
	unbilledShare = 0.9
	recentWins    = 1000 // beyond that older ones count half
)

// billing is what became of an exchange's wins in this run, once billed or past
// their bill window. A win notice that bills is not counted.
type billing struct {
	wins, unbilled float64
	blind          bool
}

// Billing are the figures of one exchange's wins. Older ones count less.
type Billing struct {
	Exchange string
	Wins     float64 // billed, or past their bill window
	Unbilled float64 // of those, never billed
	Blind    bool    // it gets no bids because of that
}

// outcome counts a win that was billed (0) or can no longer be in time (1). p.mu
// is held.
func (p *Pacer) outcome(exchange string, unbilled float64) {
	b := p.billing[exchange]
	if b == nil {
		b = &billing{}
		p.billing[exchange] = b
	}
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
			p.judgeBilling(id, b)
		}
	}
}

// judgeBilling publishes a change in which exchanges are blind.
func (p *Pacer) judgeBilling(exchange string, b *billing) {
	blind := b.wins >= enoughWins && b.unbilled >= unbilledShare*b.wins
	if blind == b.blind {
		return
	}
	b.blind = blind
	if blind {
		p.o.Logger.Error("an exchange reports wins and hardly any bills: it gets no bids", zap.String("exchange", exchange),
			zap.Float64("wins", b.wins), zap.Float64("unbilled", b.unbilled),
			zap.String("remedy", `look whether its notices reach us and billing_source is right; then POST /admin/pause {"scope":"exchange:`+exchange+`","on":false}`))
	} else {
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
		list = append(list, Billing{Exchange: id, Wins: b.wins, Unbilled: b.unbilled, Blind: b.blind})
	}
	return list
}
