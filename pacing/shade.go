package pacing

import (
	"math"

	"rebound/rtb"
)

// A small share of the bids in first-price auctions is randomised around the best one,
// so that the win rates of other prices stay known.
const (
	exploreShare = 0.02
	exploreRange = 0.35 // of ln price, to either side
)

// bid returns the price for a worth (the value divided by the multiplier), with its
// chance to win, and its expected cost in micros. In second price the worth itself is
// bid. In first price the bid maximises (worth - bid) x chance, but is at least the
// floor. The worth is at least the floor.
func (c *curve) bid(ask *rtb.Ask, worth, most rtb.CPM) (q rtb.Quote, expected float64) {
	value, full := float64(ask.Value)/1000, min(worth, most)
	switch {
	case ask.Auction == rtb.AuctionSecondPrice:
		b := float64(full) / 1000
		return rtb.Quote{Price: full, Chance: c.chance(value, b)}, c.cost(value, b, float64(ask.Floor)/1000)
	case ask.Auction == rtb.AuctionFirstPrice && c != nil && c.rates != nil:
		q.Learned, q.Explored = true, ask.Draw < exploreShare
		q.Price = min(rtb.CPM(c.rates.bestBid(float64(worth)/1000)*1000), full)
		if q.Explored {
			q.Price = min(q.Price.Scale(math.Exp(exploreRange*(2*ask.Draw/exploreShare-1))), full)
		}
		q.Price = max(q.Price, min(ask.Floor, full))
	default:
		q.Price = full
	}
	b := float64(q.Price) / 1000
	q.Chance = c.chance(value, b)
	return q, b * q.Chance
}
