package rtb

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Rates is a table of exchange rates with an age limit. It must not change once
// it is in use. A nil table knows no rate except that of a currency to itself.
type Rates struct {
	Base   Currency
	AsOf   time.Time
	MaxAge time.Duration // 0: no limit

	perBase map[Currency]decimal
}

// decimal is digits*10^exp with at most twelve digits, none of them a trailing
// zero.
type decimal struct {
	digits int64
	exp    int
}

// rateDigits is how many significant digits of a rate are kept.
const rateDigits = 12

// Set records how much of a currency one unit of Base is worth; twelve
// significant digits are kept. It reports false, and records nothing, for a
// number that is not positive and finite.
func (r *Rates) Set(c Currency, perBase float64) bool {
	if !(perBase > 0) || math.IsInf(perBase, 1) {
		return false
	}
	text := strconv.FormatFloat(perBase, 'e', rateDigits-1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	fraction = strings.TrimRight(fraction, "0")
	digits, err := strconv.ParseInt(whole+fraction, 10, 64)
	exp, err2 := strconv.Atoi(exponent)
	if err != nil || err2 != nil {
		return false
	}
	if r.perBase == nil {
		r.perBase = map[Currency]decimal{}
	}
	r.perBase[c] = decimal{digits, exp - len(fraction)}
	return true
}

// Rate returns the rate from one currency to another. A currency always has the
// rate [RateOne] to itself. Otherwise the reason is NoBidCurrency if the table
// lacks one of the two, and NoBidRateStale if the table is older than MaxAge. It
// does not allocate.
func (r *Rates) Rate(from, to Currency, now time.Time) (Rate, NoBidReason) {
	if from == to {
		return RateOne, NoBidNone
	}
	if r == nil {
		return Rate{}, NoBidCurrency
	}
	f, okFrom := r.of(from)
	t, okTo := r.of(to)
	if !okFrom || !okTo {
		return Rate{}, NoBidCurrency
	}
	if r.MaxAge > 0 && now.Sub(r.AsOf) > r.MaxAge {
		return Rate{}, NoBidRateStale
	}
	rate := Rate{t.digits, f.digits}
	rate.Num, rate.Den = scale(rate.Num, rate.Den, t.exp-f.exp)
	rate.Den, rate.Num = scale(rate.Den, rate.Num, f.exp-t.exp)
	if !rate.valid() {
		return Rate{}, NoBidCurrency
	}
	return rate, NoBidNone
}

func (r *Rates) of(c Currency) (decimal, bool) {
	if c == r.Base {
		return decimal{digits: 1}, true
	}
	d, ok := r.perBase[c]
	return d, ok
}

// scale multiplies the ratio a/b by 10^by, for by above 0: it multiplies a as
// long as that fits, and then divides b, which loses digits only of rates beyond
// a million.
func scale(a, b int64, by int) (int64, int64) {
	for ; by > 0 && b > 0; by-- {
		if a <= math.MaxInt64/10 {
			a *= 10
		} else {
			b = (b + 5) / 10
		}
	}
	return a, b
}
