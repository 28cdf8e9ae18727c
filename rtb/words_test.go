package rtb

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 168 * time.Hour,
		"4w": 672 * time.Hour, "1w2d3h": 219 * time.Hour, "1h30m": 90 * time.Minute, "0": 0, "0s": 0, "40ms": 40 * time.Millisecond, "1.5h": 90 * time.Minute} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7", "-1h", "-1d", "1d-1h", "1.5d", "2d1w", "99999d", "65535w", "1y", "7 d", strings.Repeat("9", 100) + "h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: got %v; want an error", text, got)
		}
	}
}

func TestFormatDurationReadsBack(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 168 * time.Hour: "7d", 36 * time.Hour: "36h", 90 * time.Minute: "90m", 90 * time.Second: "1m30s", 1500 * time.Millisecond: "1.5s"} {
		got := FormatDuration(d)
		if back, err := ParseDuration(got); got != want || err != nil || back != d {
			t.Errorf("%v: got %q, which reads as %v, %v; want %q", d, got, back, err, want)
		}
	}
}

func TestNearest(t *testing.T) {
	fields := []string{"bid", "edge", "admin", "public_url", "unknown_country"}
	for word, want := range map[string]string{"bdi": "bid", "edgge": "edge", "admin": "admin", "public-url": "public_url", "unknown_countries": "unknown_country",
		"x": "", "": "", "completely": "", strings.Repeat("a", 65): ""} {
		if got := Nearest(word, fields); got != want {
			t.Errorf("%q: got %q; want %q", word, got, want)
		}
	}
	if got := DidYouMean("edg", fields); got != "did you mean edge?" {
		t.Errorf("got %q", got)
	}
	if got := DidYouMean("zzz", fields); got != "" {
		t.Errorf("got %q; want nothing", got)
	}
}

func TestEditDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}} {
		if got := editDistance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: got %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{"a": true, "0-_9": true, strings.Repeat("a", 64): true, "": false, "A": false, "-a": false, "_a": false, "a b": false, "a/b": false,
		"\u00e4": false, strings.Repeat("a", 65): false} {
		if ValidID(id) != want {
			t.Errorf("%q: got %v; want %v", id, !want, want)
		}
	}
}

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
