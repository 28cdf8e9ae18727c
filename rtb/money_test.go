package rtb

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestParseMicros(t *testing.T) {
	ok := func(in string, down, up Micros) {
		t.Helper()
		got, err := ParseMicros(in, RoundDown)
		if err != nil || got != down {
			t.Errorf("ParseMicros(%q, down) = %d, %v; want %d", in, got, err, down)
		}
		got, err = ParseMicros([]byte(in), RoundUp)
		if err != nil || got != up {
			t.Errorf("ParseMicros(%q, up) = %d, %v; want %d", in, got, err, up)
		}
	}
	ok("0", 0, 0)
	ok("-0.0", 0, 0)
	ok("1", 1_000_000, 1_000_000)
	ok("2.31", 2_310_000, 2_310_000)
	ok("0.0000001", 0, 1)
	ok("1e-7", 0, 1)
	ok("5e-324", 0, 1)
	ok("1.0000005", 1_000_000, 1_000_001)
	ok("1E3", 1_000_000_000, 1_000_000_000)
	ok("12.5e-1", 1_250_000, 1_250_000)
	ok("-1.5", -1_500_000, -1_500_000)
	ok("9223372036854.775807", 9223372036854775807, 9223372036854775807)
	ok("0.00000000000000000000000000000000001", 0, 1)
	ok("1.00000000000000000000000000000000000", 1_000_000, 1_000_000)
	ok("000012", 12_000_000, 12_000_000)

	for _, in := range []string{"", "-", ".", "1.", ".5", "+1", "1e", "1e+", "NaN", "Inf", "1e400", "1e99999999999", "9223372036854.775808", "1 ", " 1", "1,5", "0x10", "1.2.3", "99999999999999999999999999"} {
		if v, err := ParseMicros(in, RoundUp); err == nil {
			t.Errorf("ParseMicros(%q) = %d; want an error", in, v)
		}
	}
}

// Whatever is written can be read back to the same amount, without a detour
// through floating point.
func TestMicrosRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		m := Micros(r.Int64() >> uint(r.IntN(63)))
		if r.IntN(2) == 0 {
			m = -m
		}
		got, err := ParseMicros(m.String(), RoundUp)
		if err != nil || got != m {
			t.Fatalf("ParseMicros(%q) = %d, %v; want %d", m.String(), got, err, m)
		}
	}
}

// ParseMicros agrees with exact rational arithmetic, both ways of rounding.
func TestParseMicrosAgainstRationals(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	million := big.NewRat(1_000_000, 1)
	for range 50_000 {
		text := strconv.FormatUint(r.Uint64()>>uint(r.IntN(64)), 10)
		if r.IntN(2) == 0 {
			text += "." + strconv.FormatUint(r.Uint64()>>uint(r.IntN(64)), 10)
		}
		if r.IntN(3) == 0 {
			text += "e" + strconv.Itoa(r.IntN(16)-10)
		}
		exact, _ := new(big.Rat).SetString(text)
		exact.Mul(exact, million)
		down := new(big.Int).Quo(exact.Num(), exact.Denom())
		up := new(big.Int).Set(down)
		if !exact.IsInt() {
			up.Add(up, big.NewInt(1))
		}
		check := func(round Rounding, want *big.Int) {
			got, err := ParseMicros(text, round)
			if !want.IsInt64() {
				if err == nil {
					t.Fatalf("ParseMicros(%q) = %d; want an error: %s does not fit", text, got, want)
				}
				return
			}
			// An exponent can push a mantissa of more than 18 digits past what
			// is read exactly; it may then be refused, never misread.
			if err == nil && big.NewInt(int64(got)).Cmp(want) != 0 && len(text) < 19 {
				t.Fatalf("ParseMicros(%q, %d) = %d; want %s", text, round, got, want)
			}
			if err != nil && len(text) < 12 {
				t.Fatalf("ParseMicros(%q): %v; want %s", text, err, want)
			}
		}
		check(RoundDown, down)
		check(RoundUp, up)
	}
}

// A clearing price at or below the bid never costs more than the bid does.
func TestCostIsMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		bid := CPM(r.Int64N(int64(MaxCPM)))
		paid := CPM(r.Int64N(int64(bid) + 1))
		if paid.Cost() > bid.Cost() {
			t.Fatalf("cost of %s is %d, above %d of the bid %s", paid, paid.Cost(), bid.Cost(), bid)
		}
		if c := bid.Cost(); int64(c)*1000 < int64(bid) || int64(c)*1000 >= int64(bid)+1000 {
			t.Fatalf("Cost(%d) = %d; want the thousandth, rounded up", bid, c)
		}
	}
	if got := CPM(-5).Cost(); got != 0 {
		t.Errorf("cost of a negative price = %d; want 0", got)
	}
}

func TestScale(t *testing.T) {
	f := func(p CPM, factor float64, want CPM) {
		t.Helper()
		if got := p.Scale(factor); got != want {
			t.Errorf("Scale(%d, %g) = %d; want %d", p, factor, got, want)
		}
	}
	f(1_000_000, 1.5, 1_500_000)
	f(1, 0.9, 0)
	f(3_500_000, 1.15, 4_025_000)
	f(2_000_000, 0.7*1.1, 1_540_000)
	f(5, -1, 0)
	nan := 0.0
	f(5, nan/nan, 0)
	f(MaxCPM, 10, MaxCPM)
}

func TestCPMInJSON(t *testing.T) {
	b, err := json.Marshal(struct{ P CPM }{1})
	if err != nil || string(b) != `{"P":0.000001}` {
		t.Fatalf("got %s, %v; want no exponent", b, err)
	}
	var v struct{ P CPM }
	if err := json.Unmarshal([]byte(`{"P":1.9}`), &v); err != nil || v.P != 1_900_000 {
		t.Fatalf("got %d, %v; want 1900000", v.P, err)
	}
}

func FuzzParseMicros(f *testing.F) {
	for _, s := range []string{"0", "1.5", "-2e3", "1e400", "NaN", "1e99999999999", "0.0000000000000001", "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		down, err := ParseMicros(s, RoundDown)
		up, err2 := ParseMicros(s, RoundUp)
		if err == nil && err2 == nil && up != down && up != down+1 {
			t.Fatalf("%q: rounded down %d, up %d", s, down, up)
		}
		if err == nil {
			x, bad := strconv.ParseFloat(s, 64)
			if diff := math.Abs(x*1e6 - float64(down)); bad == nil && diff > 1+math.Abs(x)*1e-3 {
				t.Fatalf("%q is %g; got %d micros", s, x, down)
			}
		}
	})
}
