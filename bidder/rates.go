package bidder

import (
	"maps"
	"math"
	"time"

	"rebound/rtb"
)

// Rates turns prices of one currency into another. It is immutable. The nil
// Rates knows only that a currency is worth itself.
type Rates struct {
	worth  map[rtb.Currency]float64
	asOf   time.Time
	maxAge time.Duration
}

// NewRates makes a table: worth is what one unit of each currency is worth, in
// units of one common currency, which is 1. asOf is when the rates were
// true; older than maxAge, they are not used any more (0: no limit).
func NewRates(worth map[rtb.Currency]float64, asOf time.Time, maxAge time.Duration) *Rates {
	r := &Rates{worth: maps.Clone(worth), asOf: asOf, maxAge: maxAge}
	maps.DeleteFunc(r.worth, func(_ rtb.Currency, v float64) bool { return !(v > 0) || math.IsInf(v, 0) })
	return r
}

// Rate is how many millionths of to one unit of from is worth. Without a rate
// the reason is currency; with one that is too old, rate_stale.
func (r *Rates) Rate(from, to rtb.Currency, now time.Time) (int64, rtb.NoBidReason) {
	if from == to {
		return rtb.RateOne, rtb.NoBidNone
	}
	if r == nil {
		return 0, rtb.NoBidCurrency
	}
	f, ok := r.worth[from]
	t, ok2 := r.worth[to]
	if !ok || !ok2 {
		return 0, rtb.NoBidCurrency
	}
	if r.maxAge > 0 && now.Sub(r.asOf) > r.maxAge {
		return 0, rtb.NoBidRateStale
	}
	rate := math.Ceil(f / t * rtb.RateOne)
	if !(rate >= 1) || rate > math.MaxInt64/4 {
		return 0, rtb.NoBidCurrency
	}
	return int64(rate), rtb.NoBidNone
}
