package rtb

import "math/bits"

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
func (c *Claims) Charge(price CPM) Micros {
	rate := c.Rate
	if rate <= 0 {
		rate = RateOne
	}
	return price.Convert(rate, RoundUp).Cost()
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
