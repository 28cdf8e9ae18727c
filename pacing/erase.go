package pacing

import (
	"context"

	"rebound/rtb"
)

// Erase removes visitors who were erased from the reservations and exposures that are kept on disk,
// and everything that was deleted from the view's files. What their bids cost stays
// held. Their bids in flight count for frequency caps until the bidder stops.
func (p *Pacer) Erase(ctx context.Context, visitors map[rtb.Key]struct{}) error {
	p.slots.forget(visitors)
	if err := p.forgetExposures(visitors); err != nil {
		return err
	}
	return p.db.Scrub(ctx)
}

// forgetExposures removes the exposures of visitors. What was learned from them stays: it
// holds nothing of a single person.
func (p *Pacer) forgetExposures(visitors map[rtb.Key]struct{}) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for visitor := range visitors {
		found, err := p.values.pending.list(touchKey(visitor, ""), append(touchKey(visitor, ""), 0xff))
		if err != nil {
			return err
		}
		for i := range found {
			if err := p.db.Remove(found[i].key); err != nil {
				return err
			}
		}
	}
	return nil
}
