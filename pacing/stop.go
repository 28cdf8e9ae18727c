package pacing

import (
	"context"
	"fmt"
	"time"

	"rebound/events"
)

// Stop ends bidding for good and returns the money that the grants hold beyond
// the bids in flight, with one final grant each and all of them in one append.
// Run must have ended. Money that cannot be returned stays held until the
// grant's end. Stop does not try if the last append failed.
func (p *Pacer) Stop(ctx context.Context) error {
	p.stepMu.Lock()
	defer p.stepMu.Unlock()
	p.stopping.Store(true)
	facts := p.returns(p.o.Now())
	if len(facts) == 0 {
		return nil
	}
	if p.failing.Load() {
		return fmt.Errorf("cannot return %d grants: the last append failed; they are held until they end", len(facts))
	}
	if err := p.append(ctx, facts...); err != nil {
		return fmt.Errorf("cannot return %d grants: %w", len(facts), err)
	}
	return nil
}

// returns lists the final grants of every account that has something to return.
func (p *Pacer) returns(now time.Time) []events.Fact {
	p.mu.Lock()
	defer p.mu.Unlock()
	var facts []events.Fact
	for _, a := range p.sortedAccounts() {
		a.until.Store(0)
		if free := a.available.Swap(0); free > 0 {
			a.withheld += free
		} else {
			a.available.Add(free)
		}
		b := p.budgetOf(a)
		if b == nil || a.withheld <= 0 {
			continue
		}
		g := b.run(a.run)
		if g == nil || g.HeldUntil.Before(p.now) {
			continue
		}
		facts = append(facts, p.grantFact(a, b, wantedGrant{
			amount: g.Amount - a.withheld, until: now.Truncate(time.Second), heldUntil: g.HeldUntil,
		}, now))
	}
	return facts
}
