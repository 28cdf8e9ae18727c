package pacing

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// Options configure a Pacer. Zero fields get the documented defaults.
type Options struct {
	// Dir is the folder of the view (Pebble). Required unless InMemory.
	Dir string
	// Reservations is the file that keeps the bids in flight for the next run; empty:
	// they are not kept, and what a dead run did not settle is held until its grants
	// end.
	Reservations string
	// InMemory keeps the view in memory only, for replay and tests.
	InMemory bool
	// Node names this node in grants; "local" by default.
	Node string
	// Run names this start of the node. It must never have been used before,
	// because the grants of an earlier run remain that run's own. Required.
	Run string
	// Append stores facts in the log, as journal.Log.Append. Required to bid.
	Append func(ctx context.Context, facts ...events.Fact) error
	// IsConflict reports whether an error of Append means a stale grant, which is normal
	// if several nodes share a budget; nil means that no error does.
	IsConflict func(error) bool
	// Now is the clock of Run; time.Now by default. Nothing else reads a clock.
	Now func() time.Time
	// Logger receives errors outside the bid path; may be nil.
	Logger *zap.Logger
	// BidLife is the usual longest time from a bid to its BillExpiry. Grants are
	// held for this long after the last bid from them. A bid with a longer life
	// draws from a separate grant of its budget, which is held for it: the first
	// one is refused, and the grant is cut. 2 h by default.
	BidLife time.Duration
	// MaxBidLife bounds the life of a bid: a longer one is refused as an error. 24 h by
	// default, at least BidLife, at most 7 d.
	MaxBidLife time.Duration
	// MaxReservations bounds the bids in flight; 1,048,576 by default. Above it bids are
	// refused as overloaded and counted.
	MaxReservations int
}

func (o *Options) setDefaults() error {
	if o.Run == "" {
		return fmt.Errorf("cannot open pacing: got no run; want Options.Run, a new name for each start")
	}
	if o.Dir == "" && !o.InMemory {
		return fmt.Errorf("cannot open pacing: got no folder; want Options.Dir, or InMemory")
	}
	if o.Node == "" {
		o.Node = "local"
	}
	if o.IsConflict == nil {
		o.IsConflict = func(error) bool { return false }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.BidLife <= 0 {
		o.BidLife = 2 * time.Hour
	}
	if o.MaxBidLife <= 0 {
		o.MaxBidLife = 26 * time.Hour
	}
	o.BidLife = min(o.BidLife, maxLife)
	o.MaxBidLife = min(max(o.MaxBidLife, o.BidLife), maxLife)
	if o.MaxReservations <= 0 {
		o.MaxReservations = 1 << 20
	}
	return nil
}
