package sim

import (
	"errors"
	"fmt"
	"slices"

	"rebound/rtb"
)

// errTwoBids says that the guard against bidding against ourselves failed.
var errTwoBids = errors.New("an impression has bids over two supply paths")

// impressionHash spreads the numbers of impressions over the shards of the guard.
const impressionHash = 0x9E3779B97F4A7C15

// bidOverPaths offers an impression over one supply path after the other, and returns
// the price of the bid. The impression then costs what that path takes.
func (c *campaign) bidOverPaths(i int) float64 {
	q, p := &c.day[i], c.node(i)
	bid := 0.0
	for _, path := range q.Paths {
		c.r.bids++
		o := rtb.PathOffer{
			Impression: uint64(i+1) * impressionHash, Market: uint64(q.Slot) + 1, Path: uint64(path) + 1, Request: c.r.bids, At: c.r.now,
		}
		handle, reason := p.EnterPath(&o)
		if reason != rtb.NoBidNone {
			continue
		}
		b := c.quote(i, handle)
		if b == 0 {
			p.LeavePath(&o)
			continue
		}
		if bid > 0 && c.r.failure == nil {
			c.r.failure = fmt.Errorf("cannot bid on request %d: %w", i, errTwoBids)
		}
		bid = b
		q.Price *= c.r.s.PathFees[path]
	}
	return bid
}

// ownDay returns a copy of a day for a bidder that chooses paths itself, because its
// choices decide prices.
func (s *Scenario) ownDay(day []Request) []Request {
	if len(s.PathFees) == 0 {
		return day
	}
	return slices.Clone(day)
}

// firstPath returns a day as it is for a bidder that takes the first path of every
// impression.
func (s *Scenario) firstPath(day []Request) []Request {
	own := s.ownDay(day)
	for i := range own {
		if q := &own[i]; len(q.Paths) > 0 {
			q.Price *= s.PathFees[q.Paths[0]]
		}
	}
	return own
}
