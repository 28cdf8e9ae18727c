package pacing

import (
	"context"
	"errors"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Pacer covers and prices bids. It is a view of the log. The methods of the bid
// path may be called from any goroutine; Apply from one at a time.
type Pacer struct {
	o Options
}

// Open reads the view from its folder.
func Open(o Options) (*Pacer, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	return &Pacer{o: o}, nil
}

// Close stores the controller's state and closes the view's folder. Apply must
// not be called afterwards.
func (p *Pacer) Close() error { return nil }

// Name is the view's name.
func (p *Pacer) Name() string { return "money" }

// Position is that of the last fact applied.
func (p *Pacer) Position() events.Position { return events.Position{} }

// Apply folds facts.
func (p *Pacer) Apply(facts []events.Fact) error { return errors.ErrUnsupported }

// Checkpoint writes a copy of the view to dir, which does not exist yet.
func (p *Pacer) Checkpoint(dir string) error { return errors.ErrUnsupported }

// Restore replaces the view by the copy in dir.
func (p *Pacer) Restore(dir string) error { return errors.ErrUnsupported }

// Reset empties the view.
func (p *Pacer) Reset() error { return errors.ErrUnsupported }

// SetPlan replaces the plan. What was spent stays; a cap below it refuses bids
// at once. It appends nothing: the next Step cuts the grants. now tells the day.
func (p *Pacer) SetPlan(now time.Time, plan []LinePlan) {}

// Run keeps grants ahead of need, lets time pass in the log while reservations
// are outstanding, and moves the multipliers, until ctx ends; then it gives back
// what its grants hold beyond the bids in flight, within the time of stop.
func (p *Pacer) Run(ctx context.Context, stop time.Duration) error { return errors.ErrUnsupported }

// Step does one round of Run at a time of the caller's clock.
func (p *Pacer) Step(ctx context.Context, now time.Time) {}

// Quote is the price for one line: value through the multiplier. The auction is
// one of rtb.Auction*. Reasons: no_campaign (not in the plan), floor (the value
// is below it), paced (the multiplier took the price below it).
func (p *Pacer) Quote(id rtb.LineID, value, floor rtb.CPM, auction int) (rtb.Quote, rtb.NoBidReason) {
	return rtb.Quote{}, rtb.NoBidNoCampaign
}

// Observe is told once per matched request and line what its bid is expected to
// cost; 0 when it did not bid, also because Reserve refused.
func (p *Pacer) Observe(id rtb.LineID, expected rtb.Micros) {}

// Reserve covers the worst cost of a bid (c.Reserved) under every cap of its
// line, and its visitor's frequency, or covers nothing and says why. It sets the
// claims' Node, Grant, Caps and Day; sign them afterwards. The time is c.Issued.
// A test bid is never covered, and never refused.
func (p *Pacer) Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason {
	return rtb.NoBidGrant
}

// Release gives back what was reserved for a bid that was not sent.
func (p *Pacer) Release(bid rtb.BidID) {}

// Paused tells whether bidding is stopped: everywhere or for the exchange, and
// for the campaign where one is named.
func (p *Pacer) Paused(exchange, advertiser, campaign string) rtb.NoBidReason { return rtb.NoBidNone }

// Pause appends a pause fact and obeys it at once. Scope is "all",
// "exchange:<id>" or "campaign:<advertiser>/<id>"; by says who asked.
func (p *Pacer) Pause(ctx context.Context, scope string, on bool, by string) error {
	return errors.ErrUnsupported
}

// SetBlind stops bidding, as blind, while on. It is not stored.
func (p *Pacer) SetBlind(on bool) {}

// Budgets lists every cap of the plan at now, by advertiser, campaign, line.
func (p *Pacer) Budgets(now time.Time) []BudgetRow { return nil }

// Stats are the figures of now.
func (p *Pacer) Stats() Stats { return Stats{} }
