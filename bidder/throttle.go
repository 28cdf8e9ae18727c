package bidder

import (
	"sync/atomic"
	"time"
)

// throttle is a token bucket without a lock: it keeps the moment at which the
// bucket would be full again (generic cell rate algorithm).
type throttle struct {
	fullAt atomic.Int64 // unix nanoseconds
}

// burst is how much of a second's quota may come at once.
const burst = int64(100 * time.Millisecond)

// allow takes one token of a quota per second; a quota of 0 has no limit.
func (t *throttle) allow(now time.Time, quota int) bool {
	if quota <= 0 {
		return true
	}
	step := int64(time.Second) / int64(quota)
	n := now.UnixNano()
	for {
		old := t.fullAt.Load()
		next := max(old, n) + step
		if next-n > max(burst, step) {
			return false
		}
		if t.fullAt.CompareAndSwap(old, next) {
			return true
		}
	}
}
