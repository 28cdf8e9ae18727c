package bidder

import "time"

// Limits of a decision.
const (
	MaxOptions = maxOptions
	MaxQuotes  = maxQuotes
	MaxDrops   = maxDrops
	LateEvery  = lateEvery
)

// Work is what the last decision did.
type Work struct {
	Steps, Quotes, Options, Entries int
	Oversized                       bool
	Budget                          time.Duration // from the arrival to the deadline
}

// Work tells what the last decision did.
func (s *Scratch) Work() Work {
	w := &s.outcome.work
	return Work{w.steps, w.quotes, len(w.options), w.entries, s.oversized(), s.input.Deadline.Sub(s.input.Now)}
}
