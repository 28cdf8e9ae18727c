package bidder

import (
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// LatencyBuckets are the upper bounds of the latency histogram. One more bucket
// holds anything slower.
var LatencyBuckets = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond,
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond,
}

// counters are the counters of one exchange. A reload keeps them. Every request
// counts under answered or under exactly one of noBids.
type counters struct {
	requests atomic.Uint64
	answered atomic.Uint64
	offers   atomic.Uint64
	known    atomic.Uint64
	unknown  atomic.Uint64
	noBids   [rtb.NoBidReasons]atomic.Uint64
	latency  [len(LatencyBuckets) + 1]atomic.Uint64
	nanos    atomic.Uint64
}

// response counts a response.
func (c *counters) response(rs *Response, took time.Duration) {
	if rs.Offers == 0 {
		c.noBid(rs.Reason, took)
		return
	}
	c.answered.Add(1)
	c.offers.Add(uint64(rs.Offers))
	c.request(took)
}

// noBid counts a request that is not answered with a bid.
func (c *counters) noBid(r rtb.NoBidReason, took time.Duration) {
	c.noBids[min(r, rtb.NoBidReasons-1)].Add(1)
	c.request(took)
}

// match counts whether the visitor of a request was known.
func (c *counters) match(d *Decision) {
	switch {
	case d.known:
		c.known.Add(1)
	case d.unmatched:
		c.unknown.Add(1)
	}
}

func (c *counters) request(d time.Duration) {
	c.requests.Add(1)
	i := 0
	for i < len(LatencyBuckets) && d > LatencyBuckets[i] {
		i++
	}
	c.latency[i].Add(1)
	c.nanos.Add(uint64(max(d, 0)))
}

// Stats are the counters of one exchange since the process started.
type Stats struct {
	Exchange string
	Requests uint64
	Bids     uint64 // requests answered with at least one bid
	Offers   uint64 // bids in those responses
	// Known are the requests whose user ids belong to a visitor, and Unknown those of
	// which none does. Requests without a usable id, and those that privacy keeps from
	// being looked up, are neither.
	Known, Unknown uint64
	NoBids         [rtb.NoBidReasons]uint64
	// Latency counts requests by [LatencyBuckets], from arrival to response.
	Latency [len(LatencyBuckets) + 1]uint64
	Seconds float64 // sum of the latencies
}

func (c *counters) stats(exchange string) Stats {
	s := Stats{
		Exchange: exchange, Requests: c.requests.Load(), Bids: c.answered.Load(), Offers: c.offers.Load(),
		Known: c.known.Load(), Unknown: c.unknown.Load(),
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
