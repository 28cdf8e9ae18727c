package bidder

import (
	"time"

	"rebound/exchange"
)

// minWork is the least time in which an answer can be worked out. A request that
// leaves less is refused without work.
const minWork = time.Millisecond

// deadline is when the answer must be on its way: arrival and tmax, less what the
// exchange's network takes and a margin (OpenRTB 2.6 §3.2.1; conformance T15). ok
// is false when that is too soon to begin.
func deadline(arrival, now time.Time, p *exchange.Profile, tmax time.Duration) (at time.Time, ok bool) {
	at = arrival.Add(p.Budget(tmax))
	return at, at.Sub(now) >= minWork
}
