package bidder

import "time"

// Limits of a decision.
const (
	MaxOptions = maxOptions
	MaxQuotes  = maxQuotes
	MaxDrops   = maxDrops
	CheckEvery = checkEvery
)

// Work counts what the last decision did.
type Work struct {
	Steps, Quotes, Options, Entries int
	Oversized                       bool
	Budget                          time.Duration // from the arrival to the deadline
}

// Work returns what the last decision did.
func (d *Decision) Work() Work {
	return Work{d.steps, d.quotes, len(d.options), d.entries, d.oversized(), d.deadline.Sub(d.now)}
}
