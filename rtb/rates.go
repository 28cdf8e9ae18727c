package rtb

import (
	"math"
	"time"
)

// Rates is a table of exchange rates with an age limit. It is immutable. A nil
// table knows every currency's rate to itself and no other.
type Rates struct {
	Base   Currency
	AsOf   time.Time
	MaxAge time.Duration // 0: no limit
	// PerBase is how much of a currency one unit of Base is worth.
	PerBase map[Currency]float64
}

// Rate is how many millionths of to one unit of from is worth, rounded up to
// a whole one. It never refuses a currency to itself; otherwise NoBidRateStale says
// that the table is older than MaxAge, NoBidCurrency that it lacks one of the
// two. It does not allocate.
func (r *Rates) Rate(from, to Currency, now time.Time) (int64, NoBidReason) {
	if from == to {
		return RateOne, NoBidNone
	}
	if r == nil {
		return 0, NoBidCurrency
	}
	f, okFrom := r.perBase(from)
	t, okTo := r.perBase(to)
	if !okFrom || !okTo {
		return 0, NoBidCurrency
	}
	if r.MaxAge > 0 && now.Sub(r.AsOf) > r.MaxAge {
		return 0, NoBidRateStale
	}
	rate := math.Ceil(t / f * RateOne)
	if !(rate >= 1) || rate > 1e15 {
		return 0, NoBidCurrency
	}
	return int64(rate), NoBidNone
}

func (r *Rates) perBase(c Currency) (float64, bool) {
	if c == r.Base {
		return 1, true
	}
	x, ok := r.PerBase[c]
	return x, ok && x > 0
}
