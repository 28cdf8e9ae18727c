package rtb

import (
	"math"
	"math/bits"
)

// RateOne is the rate between a currency and itself: rates are millionths of
// the target's unit for one unit of the source.
const RateOne = 1_000_000

// Convert turns a price into another currency at a rate in millionths. It
// multiplies in 128 bits and rounds as told; the result is held at [MaxCPM].
// Prices and rates that are not positive give 0.
func (p CPM) Convert(rate int64, round Rounding) CPM {
	if p <= 0 || rate <= 0 {
		return 0
	}
	if rate == RateOne {
		return min(p, MaxCPM)
	}
	hi, lo := bits.Mul64(uint64(p), uint64(rate))
	if hi >= RateOne {
		return MaxCPM
	}
	q, rest := bits.Div64(hi, lo, RateOne)
	if q >= uint64(MaxCPM) {
		return MaxCPM
	}
	if rest > 0 && round == RoundUp {
		q++
	}
	return CPM(q)
}

// Charge is what one impression at a price in the bid's currency costs in the
// advertiser's, rounded up twice: first the conversion, then the thousandth. A
// lower price never costs more, so a clearing price at or below the bid never
// costs more than what the bid reserved. A missing rate counts as one to one.
// A bid for many impressions at once costs all of them.
func (c *Claims) Charge(price CPM) Micros { return c.ChargeTimes(price, 0) }

// ChargeTimes is the charge where the exchange tells how many impressions it
// really was, in millionths (${AUCTION_MULTIPLIER}): never more than the quantity
// that was bid for; 0 means that it does not tell.
func (c *Claims) ChargeTimes(price CPM, multiplier int64) Micros {
	rate, times := c.Rate, c.Quantity
	if rate <= 0 {
		rate = RateOne
	}
	if times <= 0 {
		times = RateOne
	}
	if multiplier > 0 {
		times = min(times, multiplier)
	}
	cost := price.Convert(rate, RoundUp).Cost()
	if times == RateOne || cost <= 0 {
		return cost
	}
	hi, lo := bits.Mul64(uint64(cost), uint64(times))
	if hi >= RateOne {
		return math.MaxInt64
	}
	q, rest := bits.Div64(hi, lo, RateOne)
	if rest > 0 {
		q++
	}
	return Micros(min(q, math.MaxInt64))
}

// ConvertBack is the highest price that [CPM.Convert] at the same rate, rounded
// up, takes to at most p: the way from the advertiser's currency to the bid's. A
// floor that p reaches after conversion, it reaches too.
func (p CPM) ConvertBack(rate int64) CPM {
	if p <= 0 || rate <= 0 {
		return 0
	}
	if rate == RateOne {
		return min(p, MaxCPM)
	}
	hi, lo := bits.Mul64(uint64(p), RateOne)
	if hi >= uint64(rate) {
		return MaxCPM
	}
	q, _ := bits.Div64(hi, lo, uint64(rate))
	return CPM(min(q, uint64(MaxCPM)))
}
