package pacing

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// counted records the currency of a fact's amounts in a budget. Until something
// is spent the last grant's currency applies; after that it never changes.
func (p *Pacer) counted(b *budget, f *events.Fact) {
	switch {
	case b.id.Imps:
	case f.Currency.IsZero() || f.Currency == b.Currency:
	case b.Currency.IsZero():
		b.Currency = f.Currency
		a := p.accounts[b.id]
		p.recheck = p.recheck || a == nil || a.currency != f.Currency // else its lines bid already
	case b.Settled == 0:
		b.Currency = f.Currency
		p.recheck = true
	default:
		p.o.Logger.Error("an amount in another currency was counted without conversion", zap.Stringer("budget", b.id),
			zap.Stringer("currency", f.Currency), zap.Stringer("want", b.Currency), zap.Uint64("seq", f.Seq))
	}
}

// foreign returns a budget of a line whose currency differs from the line's
// because something was spent from it or a grant holds something. It considers
// every budget, including those without a cap in force. p.mu is held.
func (p *Pacer) foreign(l *LinePlan, now time.Time) *budget {
	at := l.periods(now)
	for _, c := range rtb.Caps {
		if c.OnImps() || c.Owner() == rtb.OwnAdvertiser && l.Caps&c == 0 { // a new campaign may have another currency
			continue
		}
		b := p.budgets[rtb.BudgetIn(c, l.Line, &at)]
		if b == nil || b.Currency.IsZero() || b.Currency == l.Currency || l.Currency.IsZero() {
			continue
		}
		if b.Settled != 0 || b.held(p.now) != 0 {
			return b
		}
	}
	return nil
}

// CheckPlan returns an error for the lines of a plan that cannot bid because
// their currency differs from the one in which their budgets were spent.
// [Pacer.SetPlan] accepts such a plan, and does not bid for these lines.
func (p *Pacer) CheckPlan(plan []LinePlan) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.o.Now()
	var errs []error
	for i := range plan {
		l := &plan[i]
		if !l.Active {
			continue
		}
		if b := p.foreign(l, now); b != nil {
			errs = append(errs, foreignError(l, b))
		}
	}
	return errors.Join(errs...)
}

func foreignError(l *LinePlan, b *budget) error {
	return fmt.Errorf("cannot count budget %s in %s: got a line in %s; want %s, in which %s was spent, or a new campaign",
		b.id, l.Currency, l.Currency, b.Currency, b.Settled)
}

// refuse records that a line does not bid because of its currency, and logs it
// the first time.
func (p *Pacer) refuse(l *LinePlan, b *budget, known bool) *tableLine {
	if !known {
		p.o.Logger.Error("a line does not bid: its advertiser's currency was changed after it had spent", zap.Error(foreignError(l, b)))
	}
	p.refused[l.Line] = true
	return &tableLine{line: p.line(l.Line), order: -1, refused: rtb.NoBidCurrency}
}
