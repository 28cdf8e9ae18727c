package rtb

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func TestConvertAgreesWithBigIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		p := CPM(r.Int64N(int64(MaxCPM)) >> r.IntN(40))
		rate := r.Int64N(1<<40)>>r.IntN(40) + 1
		exact := new(big.Int).Mul(big.NewInt(int64(p)), big.NewInt(rate))
		q, m := new(big.Int).QuoRem(exact, big.NewInt(RateOne), new(big.Int))
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

func TestConvertRefusesWhatIsNotPositive(t *testing.T) {
	for _, c := range []struct {
		p    CPM
		rate int64
	}{{0, RateOne}, {-1, RateOne}, {1, 0}, {1, -5}} {
		if got := c.p.Convert(c.rate, RoundUp); got != 0 {
			t.Errorf("%d at %d: got %d; want 0", c.p, c.rate, got)
		}
	}
	if got := MaxCPM.Convert(1<<62, RoundUp); got != MaxCPM {
		t.Errorf("overflow: got %d; want %d", got, MaxCPM)
	}
}

func TestALowerPriceNeverCostsMoreThanTheReservation(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		c := Claims{Rate: r.Int64N(5_000_000) + 1}
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

func TestConvertBackNeverCostsMoreAndKeepsFloors(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		rate := r.Int64N(1<<34)>>r.IntN(30) + 1
		p := CPM(r.Int64N(50_000_000) + 1)
		b := p.ConvertBack(rate)
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
