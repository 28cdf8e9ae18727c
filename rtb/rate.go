package rtb

import (
	"math"
	"math/bits"
)

// Rate is an exact exchange rate: one unit of the source currency is worth
// Num/Den units of the target. A rate whose parts are not both positive, such as
// the zero value, counts as one to one.
type Rate struct{ Num, Den int64 }

// RateOne is the rate between a currency and itself.
var RateOne = Rate{1, 1}

// Inverse returns the rate of the opposite direction. It is exact.
func (r Rate) Inverse() Rate { return Rate{r.Den, r.Num} }

// Float returns the rate as a number, for logs and reports. Do not use it to
// compute amounts of money.
func (r Rate) Float() float64 {
	if !r.valid() {
		return 1
	}
	return float64(r.Num) / float64(r.Den)
}

func (r Rate) valid() bool { return r.Num > 0 && r.Den > 0 }

// Convert returns the price in another currency. It multiplies in 128 bits and
// rounds once, so it is off by less than a micro; the result is capped at
// [MaxCPM]. A price that is not positive gives 0.
//
// Rounding down with the inverse rate gives the highest price that converts to
// at most p when rounded up. A floor that p reaches after conversion is therefore
// also reached by the price that goes back.
func (p CPM) Convert(rate Rate, round Rounding) CPM {
	if p <= 0 {
		return 0
	}
	if !rate.valid() || rate.Num == rate.Den {
		return min(p, MaxCPM)
	}
	hi, lo := bits.Mul64(uint64(p), uint64(rate.Num))
	if hi >= uint64(rate.Den) {
		return MaxCPM
	}
	q, rest := bits.Div64(hi, lo, uint64(rate.Den))
	if q >= uint64(MaxCPM) {
		return MaxCPM
	}
	if rest > 0 && round == RoundUp {
		q++
	}
	return CPM(q)
}

// Quantity is a number of impressions in millionths: a screen in public shows
// one ad to a fraction of a person, or to many (OpenRTB 2.6 §3.2.31).
type Quantity int64

// OneImpression is the quantity of an ordinary bid.
const OneImpression Quantity = 1_000_000

// Charge returns what one bid at a price in Currency costs in
// AdvertiserCurrency, for all impressions that it pays for. It rounds up, first
// the conversion and then the thousandth. A lower price never costs more, so a
// clearing price at or below the bid never costs more than the bid reserved.
func (c *Claims) Charge(price CPM) Micros { return c.ChargeFor(price, 0) }

// ChargeFor is Charge for a quantity that the exchange reported
// (${AUCTION_MULTIPLIER}), which counts up to the quantity of the bid; 0 means
// that none was reported.
func (c *Claims) ChargeFor(price CPM, reported Quantity) Micros {
	quantity := c.Quantity
	if quantity <= 0 {
		quantity = OneImpression
	}
	if reported > 0 {
		quantity = min(quantity, reported)
	}
	cost := price.Convert(c.Rate, RoundUp).Cost()
	if quantity == OneImpression || cost <= 0 {
		return cost
	}
	hi, lo := bits.Mul64(uint64(cost), uint64(quantity))
	if hi >= uint64(OneImpression) {
		return math.MaxInt64
	}
	q, rest := bits.Div64(hi, lo, uint64(OneImpression))
	if rest > 0 {
		q++
	}
	return Micros(min(q, math.MaxInt64))
}
