package bidder

import (
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// LatencyBuckets are the upper bounds of the decision histogram; one more bucket
// holds what is slower.
var LatencyBuckets = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond,
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond,
}

// counters are one exchange's, for as long as the process lives: a reload keeps
// them. Every request ends in answered or in exactly one of noBids.
type counters struct {
	requests atomic.Uint64
	answered atomic.Uint64
	offers   atomic.Uint64
	noBids   [rtb.NoBidReasons]atomic.Uint64
	latency  [len(LatencyBuckets) + 1]atomic.Uint64
	nanos    atomic.Uint64
}

func (c *counters) took(d time.Duration) {
	i := 0
	for i < len(LatencyBuckets) && d > LatencyBuckets[i] {
		i++
	}
	c.latency[i].Add(1)
	c.nanos.Add(uint64(max(d, 0)))
}

// Stats are one exchange's counters since the process started.
type Stats struct {
	Exchange string
	Requests uint64
	Bids     uint64 // requests that were answered with at least one bid
	Offers   uint64 // bids in those answers
	NoBids   [rtb.NoBidReasons]uint64
	// Latency counts decisions by [LatencyBuckets], from arrival to answer.
	Latency [len(LatencyBuckets) + 1]uint64
	Seconds float64 // the sum of them
}

func (c *counters) stats(exchange string) Stats {
	s := Stats{
		Exchange: exchange, Requests: c.requests.Load(), Bids: c.answered.Load(), Offers: c.offers.Load(),
		Seconds: float64(c.nanos.Load()) / 1e9,
	}
	for i := range c.noBids {
		s.NoBids[i] = c.noBids[i].Load()
	}
	for i := range c.latency {
		s.Latency[i] = c.latency[i].Load()
	}
	return s
}
