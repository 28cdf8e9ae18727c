package rtb

import (
	"math"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	cur := func(s string) Currency { c, _ := ParseCurrency(s); return c }
	now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	r := &Rates{Base: USD, AsOf: now, MaxAge: time.Hour, PerBase: map[Currency]float64{cur("EUR"): 0.8, cur("JPY"): 150, cur("XXX"): 0, cur("XTS"): math.Inf(1)}}
	f := func(r *Rates, from, to string, at time.Time, want int64, reason NoBidReason) {
		t.Helper()
		if got, why := r.Rate(cur(from), cur(to), at); got != want || why != reason {
			t.Errorf("%s to %s: got %d, %q; want %d, %q", from, to, got, why, want, reason)
		}
	}
	f(r, "EUR", "USD", now, 1_250_000, NoBidNone)
	f(r, "USD", "EUR", now, 800_000, NoBidNone)
	f(r, "EUR", "JPY", now, 187_500_000, NoBidNone)
	f(r, "JPY", "USD", now, 6667, NoBidNone) // up, never down
	f(r, "GBP", "USD", now, 0, NoBidCurrency)
	f(r, "XXX", "USD", now, 0, NoBidCurrency)
	f(r, "XTS", "USD", now, 0, NoBidCurrency)
	f(r, "USD", "XTS", now, 0, NoBidCurrency)
	f(r, "EUR", "USD", now.Add(time.Hour), 1_250_000, NoBidNone)
	f(r, "EUR", "USD", now.Add(time.Hour+1), 0, NoBidRateStale)
	f(r, "EUR", "EUR", now.Add(time.Hour+1), RateOne, NoBidNone)
	f(nil, "USD", "USD", now, RateOne, NoBidNone)
	f(nil, "EUR", "USD", now, 0, NoBidCurrency)
	if n := testing.AllocsPerRun(100, func() { r.Rate(USD, cur("EUR"), now) }); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
}
