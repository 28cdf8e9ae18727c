package rtb

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

func randomRate(r *rand.Rand) Rate {
	return Rate{r.Int64()>>r.IntN(60) + 1, r.Int64()>>r.IntN(60) + 1}
}

func TestConvertAgreesWithBigIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := CPM(r.Int64N(int64(MaxCPM)) >> r.IntN(40))
		rate := randomRate(r)
		exact := new(big.Int).Mul(big.NewInt(int64(p)), big.NewInt(rate.Num))
		q, m := new(big.Int).QuoRem(exact, big.NewInt(rate.Den), new(big.Int))
		up := new(big.Int).Set(q)
		if m.Sign() > 0 {
			up.Add(up, big.NewInt(1))
		}
		limit := big.NewInt(int64(MaxCPM))
		for _, c := range []struct {
			round Rounding
			want  *big.Int
		}{{RoundDown, q}, {RoundUp, up}} {
			want := c.want
			if want.Cmp(limit) > 0 {
				want = limit
			}
			if got := p.Convert(rate, c.round); int64(got) != want.Int64() {
				t.Fatalf("%d at %d, rounding %d: got %d; want %s", p, rate, c.round, got, want)
			}
		}
	}
}

func TestConvertAtTheEdges(t *testing.T) {
	for _, c := range []struct {
		p    CPM
		rate Rate
		want CPM
	}{{0, RateOne, 0}, {-1, RateOne, 0}, {1, Rate{}, 1}, {7, Rate{0, 5}, 7}, {7, Rate{5, 0}, 7}, {7, Rate{-5, 5}, 7},
		{MaxCPM, Rate{math.MaxInt64, 1}, MaxCPM}, {MaxCPM + 1, RateOne, MaxCPM}, {1, Rate{1, math.MaxInt64}, 1}} {
		if got := c.p.Convert(c.rate, RoundUp); got != c.want {
			t.Errorf("%d at %d: got %d; want %d", c.p, c.rate, got, c.want)
		}
	}
}

func TestALowerPriceNeverCostsMoreThanTheReservation(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		c := Claims{Rate: randomRate(r)}
		bid := CPM(r.Int64N(50_000_000) + 1)
		told := CPM(r.Int64N(int64(bid)) + 1)
		if c.Charge(told) > c.Charge(bid) {
			t.Fatalf("rate %d: %d costs %d; the bid %d reserved %d", c.Rate, told, c.Charge(told), bid, c.Charge(bid))
		}
	}
	if c := (Claims{}); c.Charge(1_500_000) != 1500 {
		t.Errorf("without a rate: got %d; want 1500", c.Charge(1_500_000))
	}
}

func TestTheWayBackNeverCostsMoreAndKeepsFloors(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		rate := randomRate(r)
		p := CPM(r.Int64N(50_000_000) + 1)
		b := p.Convert(rate.Inverse(), RoundDown)
		if b < MaxCPM && b.Convert(rate, RoundUp) > p {
			t.Fatalf("rate %d: %d became %d, which is %d again", rate, p, b, b.Convert(rate, RoundUp))
		}
		if b < MaxCPM && (b+1).Convert(rate, RoundUp) <= p {
			t.Fatalf("rate %d: %d became %d; one more would fit", rate, p, b)
		}
		floor := CPM(r.Int64N(50_000_000) + 1)
		if floor.Convert(rate, RoundUp) <= p && b < floor {
			t.Fatalf("rate %d: %d reaches floor %d after conversion, but became %d", rate, p, floor, b)
		}
	}
}

// Prices that a person would compute in decimals come out as that person expects,
// in every currency: nothing is lost beyond a micro.
func TestPricesInRealCurrencies(t *testing.T) {
	cur := func(s string) Currency { c, _ := ParseCurrency(s); return c }
	table := &Rates{Base: USD}
	for code, x := range map[string]float64{"EUR": 0.86, "VND": 26300, "IDR": 16500, "LBP": 89500, "JPY": 152, "KWD": 0.305, "BTC": 0.0000107} {
		table.Set(cur(code), x)
	}
	for _, c := range []struct {
		price    string
		from, to string
		want     string
	}{
		{"2.15", "EUR", "USD", "2.5"},
		{"2.5", "USD", "EUR", "2.15"},
		{"2.6", "USD", "VND", "68380"},
		{"68380", "VND", "USD", "2.6"},
		{"2", "USD", "LBP", "179000"},
		{"179000", "LBP", "USD", "2"},
		{"3.05", "KWD", "USD", "10"},
		{"33000", "IDR", "JPY", "304"},
		{"0.000107", "BTC", "USD", "10"},
	} {
		rate, _ := table.Rate(cur(c.from), cur(c.to), time.Time{})
		p, err := ParseMicros(c.price, RoundDown)
		if err != nil {
			t.Fatal(err)
		}
		for _, round := range []Rounding{RoundDown, RoundUp} {
			if got := CPM(p).Convert(rate, round); got.String() != c.want {
				t.Errorf("%s %s in %s, rounding %d: got %s; want %s", c.price, c.from, c.to, round, got, c.want)
			}
		}
	}
	if got := CPM(3_500_000).Scale(1.15); got != 4_025_000 {
		t.Errorf("3.50 x 1.15: got %s; want 4.025", got)
	}
}
