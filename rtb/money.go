package rtb

import (
	"errors"
	"fmt"
	"math"
)

// Micros is an amount of money in millionths of a currency's major unit: 1.50
// USD is 1,500,000. The currency is known from the context.
type Micros int64

// CPM is the price of a thousand impressions, in micros of the currency's major
// unit. One impression at that price costs [CPM.Cost].
type CPM int64

// MaxCPM is the highest price that Rebound accepts anywhere: a million major
// units per thousand impressions. It leaves room to multiply by factors without
// overflow.
const MaxCPM CPM = 1_000_000_000_000

// Cost returns the cost of one impression at price p: p/1000, rounded up to a
// whole micro, so that a clearing price at or below the bid never costs more
// than the bid reserved.
func (p CPM) Cost() Micros {
	if p <= 0 {
		return 0
	}
	return Micros((p + 999) / 1000)
}

// scaleError exceeds the rounding error of a few multiplications of floating-point
// numbers up to MaxCPM, in micros: 3.50 x 1.15 is 4.025, not 4.024999.
const scaleError = 1e-3

// Scale returns p times factor, rounded down to a micro and clamped to
// [0, MaxCPM]. A negative factor and NaN give 0.
func (p CPM) Scale(factor float64) CPM {
	x := float64(p) * factor
	if !(x > 0) {
		return 0
	}
	if x >= float64(MaxCPM) {
		return MaxCPM
	}
	return CPM(x + scaleError)
}

// Units returns the price in major units, for reports and statistics. Do not use
// it to compute amounts of money.
func (p CPM) Units() float64 { return float64(p) / 1e6 }

// AppendDecimal appends the amount as a plain decimal with at most six
// fraction digits and no exponent: 2.31, 0.000001, -5.
func (m Micros) AppendDecimal(dst []byte) []byte {
	u := uint64(m)
	if m < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = AppendUint(dst, u/1e6)
	frac := uint32(u % 1e6)
	if frac == 0 {
		return dst
	}
	p, q, r := &digitPairs[frac/1e4], &digitPairs[frac/100%100], &digitPairs[frac%100]
	dst = append(dst, '.', p[0], p[1], q[0], q[1], r[0], r[1])
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// String returns the amount as a plain decimal in major units.
func (m Micros) String() string { return string(m.AppendDecimal(nil)) }

// AppendDecimal appends the price in the format of [Micros.AppendDecimal].
func (p CPM) AppendDecimal(dst []byte) []byte { return Micros(p).AppendDecimal(dst) }

// String returns the price as a plain decimal in major units per thousand
// impressions.
func (p CPM) String() string { return Micros(p).String() }

// MarshalJSON returns the price as a JSON number in major units.
func (p CPM) MarshalJSON() ([]byte, error) { return p.AppendDecimal(nil), nil }

// UnmarshalJSON parses a JSON number in major units, rounded down to a micro.
func (p *CPM) UnmarshalJSON(b []byte) error {
	m, err := ParseMicros(b, RoundDown)
	if err != nil {
		return err
	}
	*p = CPM(m)
	return nil
}

// Rounding is how fractions of a micro are rounded.
type Rounding uint8

const (
	// RoundDown truncates: for our own prices.
	RoundDown Rounding = iota
	// RoundUp rounds up to the next micro: for floors that we must reach.
	RoundUp
)

var errAmount = errors.New("not an amount")

// ParseMicros parses a decimal number in JSON's syntax, exponents included,
// without floating-point arithmetic. An amount beyond 9.2e12 major units, and
// anything that is not a number, is an error.
func ParseMicros[T ~[]byte | ~string](s T, round Rounding) (Micros, error) {
	fail := func() (Micros, error) {
		text := string(s)
		if len(text) > 40 {
			text = text[:40] + "..."
		}
		return 0, fmt.Errorf("cannot read amount: got %q; want a decimal number such as 1.25: %w", text, errAmount)
	}
	i, n := 0, len(s)
	neg := false
	if i < n && s[i] == '-' {
		neg = true
		i++
	}
	var mant uint64
	digits, scale := 0, 0 // value = mant * 10^-scale
	inexact, point := false, false
	start := i
	for ; i < n; i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		digits++
		if mant <= (math.MaxUint64-9)/10 {
			mant = mant*10 + uint64(c-'0')
			if point {
				scale++
			}
			continue
		}
		if c != '0' {
			inexact = true
		}
		if !point {
			scale--
		}
	}
	if digits == 0 || (point && (s[i-1] == '.' || s[start] == '.')) {
		return fail()
	}
	if i < n && (s[i] == 'e' || s[i] == 'E') {
		exp, ok := parseExponent(string(s[i+1:]))
		if !ok {
			return fail()
		}
		scale -= exp
		i = n
	}
	if i != n {
		return fail()
	}
	v, exact, ok := shiftDecimal(mant, 6-scale)
	if !ok {
		return fail()
	}
	if round == RoundUp && !neg && (inexact || !exact) {
		v++
	}
	if v > math.MaxInt64 {
		return fail()
	}
	if neg {
		return -Micros(v), nil
	}
	return Micros(v), nil
}

// parseExponent parses the digits after an e. It clamps the exponent to +-9999,
// far beyond the range of any amount.
func parseExponent(s string) (int, bool) {
	neg := false
	if len(s) > 0 && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if len(s) == 0 {
		return 0, false
	}
	exp := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if exp < 9999 {
			exp = exp*10 + int(s[i]-'0')
		}
	}
	exp = min(exp, 9999)
	if neg {
		exp = -exp
	}
	return exp, true
}

// shiftDecimal returns mant*10^by. exact reports that no digit was cut off, ok
// that the result fits.
func shiftDecimal(mant uint64, by int) (v uint64, exact, ok bool) {
	if mant == 0 {
		return 0, true, true
	}
	for ; by > 0; by-- {
		if mant > math.MaxInt64/10 {
			return 0, false, false
		}
		mant *= 10
	}
	exact = true
	for ; by < 0 && mant > 0; by++ {
		if mant%10 != 0 {
			exact = false
		}
		mant /= 10
	}
	return mant, exact, true
}

// Currency is an ISO 4217 code; the zero value means absent.
type Currency [3]byte

// USD is the currency that OpenRTB assumes where none is named
// (OpenRTB 2.6 §3.2.4, §4.2.1).
var USD = Currency{'U', 'S', 'D'}

// ParseCurrency parses a three-letter code in any letter case; ok is false for
// anything else.
func ParseCurrency[T ~[]byte | ~string](s T) (c Currency, ok bool) {
	if len(s) != 3 {
		return Currency{}, false
	}
	for i := range 3 {
		b := s[i] &^ 0x20
		if b < 'A' || b > 'Z' {
			return Currency{}, false
		}
		c[i] = b
	}
	return c, true
}

// IsZero reports whether c is absent.
func (c Currency) IsZero() bool { return c == Currency{} }

// String returns the code in upper case, and an empty string for the zero value.
func (c Currency) String() string {
	if c.IsZero() {
		return ""
	}
	return string(c[:])
}

// MarshalText returns the code.
func (c Currency) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses a code; empty text is the zero value.
func (c *Currency) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*c = Currency{}
		return nil
	}
	v, ok := ParseCurrency(b)
	if !ok {
		return fmt.Errorf("cannot read currency: got %q; want a code of ISO 4217 such as USD", b)
	}
	*c = v
	return nil
}
