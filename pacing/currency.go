package pacing

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// counted notes the currency of a fact's amounts in a budget. While nothing was
// spent the last grant's counts; after that it never changes.
func (p *Pacer) counted(b *budget, f *events.Fact) {
	switch {
	case f.Currency.IsZero() || f.Currency == b.Currency:
	case b.Currency.IsZero() || b.Settled == 0:
		b.Currency = f.Currency
		p.recheck = true
	default:
		p.o.Logger.Error("an amount in another currency was counted as it stands", zap.Stringer("budget", b.id),
			zap.Stringer("currency", f.Currency), zap.Stringer("want", b.Currency), zap.Uint64("seq", f.Seq))
	}
}

// foreign finds a budget of a line that counts in another currency than the
// line: something was spent from it, or a grant holds something. Every budget
// counts, also where no cap binds now. p.mu is held.
func (p *Pacer) foreign(l *LinePlan, day rtb.Day) *budget {
	for _, c := range rtb.Caps {
		b := p.budgets[rtb.BudgetOf(c, l.Line.Advertiser, l.Line.Campaign, l.Line.Line, day)]
		if b == nil || b.Currency.IsZero() || b.Currency == l.Currency || l.Currency.IsZero() {
			continue
		}
		if b.Settled != 0 || b.held(p.now) != 0 {
			return b
		}
	}
	return nil
}

// CheckPlan says what in a plan cannot be bid for: a line whose currency is not
// the one that its budgets were spent in. [Pacer.SetPlan] takes such a plan, and
// does not bid for the line.
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
		if b := p.foreign(l, rtb.DayOf(now, l.zone())); b != nil {
			errs = append(errs, foreignError(l, b))
		}
	}
	return errors.Join(errs...)
}

func foreignError(l *LinePlan, b *budget) error {
	return fmt.Errorf("cannot count budget %s in %s: got a line in %s; want %s, in which %s was spent, or a new campaign",
		b.id, l.Currency, l.Currency, b.Currency, b.Settled)
}

// refuse notes that a line does not bid because of its currency, and says so when
// that is new.
func (p *Pacer) refuse(l *LinePlan, b *budget, known bool) *tableLine {
	if !known {
		p.o.Logger.Error("a line does not bid: its advertiser's currency was changed after it had spent", zap.Error(foreignError(l, b)))
	}
	p.refused[l.Line] = true
	return &tableLine{line: p.line(l.Line), refused: rtb.NoBidCurrency}
}
