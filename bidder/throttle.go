package bidder

import (
	"sync/atomic"
	"time"
)

// throttle is a lock-free token bucket. It stores the time at which the bucket
// will be full again (generic cell rate algorithm).
type throttle struct {
	fullAt atomic.Int64 // unix nanoseconds
}

// burst is the part of a second's quota that may arrive at once.
const burst = int64(100 * time.Millisecond)

// allow reports whether a request is within a quota per second, and counts it; 0
// means no limit.
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
