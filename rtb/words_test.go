package rtb

import (
	"math"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	cur := func(s string) Currency { c, _ := ParseCurrency(s); return c }
	now := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	r := &Rates{Base: USD, AsOf: now, MaxAge: time.Hour}
	for code, perBase := range map[string]float64{"EUR": 0.86, "JPY": 150, "VND": 26300, "XAU": 0.000243902439024390, "IRR": 1_250_000.5} {
		if !r.Set(cur(code), perBase) {
			t.Errorf("%s at %g was refused", code, perBase)
		}
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if r.Set(cur("XXX"), bad) {
			t.Errorf("%g was taken for a rate", bad)
		}
	}
	f := func(r *Rates, from, to string, at time.Time, want Rate, reason NoBidReason) {
		t.Helper()
		if got, why := r.Rate(cur(from), cur(to), at); got != want || why != reason {
			t.Errorf("%s to %s: got %d, %q; want %d, %q", from, to, got, why, want, reason)
		}
	}
	f(r, "EUR", "USD", now, Rate{100, 86}, NoBidNone)
	f(r, "USD", "EUR", now, Rate{86, 100}, NoBidNone)
	f(r, "EUR", "JPY", now, Rate{15000, 86}, NoBidNone)
	f(r, "JPY", "USD", now, Rate{1, 150}, NoBidNone)
	f(r, "VND", "USD", now, Rate{1, 26300}, NoBidNone)
	f(r, "VND", "EUR", now, Rate{86, 2630000}, NoBidNone)
	f(r, "USD", "XAU", now, Rate{243902439024, 1e15}, NoBidNone)
	f(r, "XAU", "IRR", now, Rate{12500005e11, 243902439}, NoBidNone)
	f(r, "GBP", "USD", now, Rate{}, NoBidCurrency)
	f(r, "XXX", "USD", now, Rate{}, NoBidCurrency)
	f(r, "USD", "XXX", now, Rate{}, NoBidCurrency)
	f(r, "EUR", "USD", now.Add(time.Hour), Rate{100, 86}, NoBidNone)
	f(r, "EUR", "USD", now.Add(time.Hour+1), Rate{}, NoBidRateStale)
	f(r, "EUR", "EUR", now.Add(time.Hour+1), RateOne, NoBidNone)
	f(nil, "USD", "USD", now, RateOne, NoBidNone)
	f(nil, "EUR", "USD", now, Rate{}, NoBidCurrency)
	if n := testing.AllocsPerRun(100, func() { r.Rate(USD, cur("EUR"), now) }); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
}
