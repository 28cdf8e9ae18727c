package pacing

import (
	"context"

	"rebound/rtb"
)

// Erase removes visitors who were erased from the reservations that are kept on disk,
// and everything that was deleted from the view's files. What their bids cost stays
// held. Their bids in flight count for frequency caps until the bidder stops.
func (p *Pacer) Erase(ctx context.Context, visitors map[rtb.Key]struct{}) error {
	p.slots.forget(visitors)
	return p.db.Scrub(ctx)
}
