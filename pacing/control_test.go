package pacing

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

func evenPlan(limit rtb.Micros) LinePlan {
	l := dayPlan(limit)
	l.Mode = Even
	return l
}

// MaxCPM limits the price, not the value: as the multiplier rises, the bid for
// a more valuable visitor stays at MaxCPM longer.
func TestMaxCPMLimitsThePrice(t *testing.T) {
	w := newWorld(t)
	plan := evenPlan(50 * unit) // at most 2.00
	p := w.start("r1", "", plan)
	p.accounts[rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", rtb.DayOf(w.now, time.UTC))].control.LnLambda = math.Log(2)
	p.publishLambda()
	for _, tt := range []struct{ value, floor, price rtb.CPM }{
		{1_000_000, 0, 500_000}, {2_000_000, 0, 1_000_000}, {4_000_000, 0, 2_000_000}, {8_000_000, 2_000_000, 2_000_000}, {3_000_000, 0, 1_500_000},
	} {
		q, reason := p.quote(cartLine, tt.value, tt.floor, rtb.AuctionSecondPrice)
		if reason != rtb.NoBidNone || q.Price != tt.price || q.Expected > q.Price.Cost() {
			t.Errorf("value %d, floor %d: got %+v, %q; want the price %d", tt.value, tt.floor, q, reason, tt.price)
		}
	}
	if _, reason := p.quote(cartLine, 8_000_000, 2_000_001, rtb.AuctionSecondPrice); reason != rtb.NoBidFloor {
		t.Errorf("a floor above MaxCPM: got %q; want floor", reason)
	}
}

// One visitor and a budget that is not a constraint: every bid is at its full price,
// from the first request on, also when nothing is ever won.
func TestDemoBidsItsFullPrice(t *testing.T) {
	w := newWorld(t)
	plan := evenPlan(50 * unit)
	plan.MaxCPM = 5_000_000
	p := w.start("r1", "", plan)
	for i := range 200 {
		q, reason := p.quote(cartLine, 3_500_000, 500_000, rtb.AuctionSecondPrice)
		wantReason(t, reason, rtb.NoBidNone)
		if q.Multiplier != 1 || q.Price != 3_500_000 || q.Shading != 1 {
			t.Fatalf("request %d: %+v; want the full price", i, q)
		}
		if q.Expected <= 0 || q.Expected > q.Price.Cost() {
			t.Fatalf("request %d: expected cost %d of %d", i, q.Expected, q.Price.Cost())
		}
		c := w.bid(q.Price)
		c.Expected = q.Expected
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		p.observe(cartLine, q.Expected)
		if i%2 == 0 {
			w.must(w.notice(events.KindBill, c))
		}
		w.pass(time.Second)
	}
}

func TestQuoteReasons(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", evenPlan(unit))
	_, reason := p.quote(viewLine, 1_000_000, 0, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidNoCampaign)
	_, reason = p.quote(cartLine, 1_000_000, 1_000_001, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidFloor)
	_, reason = p.quote(cartLine, 0, 0, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidFloor)
	q, reason := p.quote(cartLine, 1_000_000, 1_000_000, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidNone)
	if q.Price != 1_000_000 {
		t.Fatalf("price %s", q.Price)
	}
	p.lines[cartLine].terms.multiplier.set(2)
	q, reason = p.quote(cartLine, 1_000_001, 500_000, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidNone)
	if q.Price != 500_000 || q.Multiplier != 2 {
		t.Fatalf("got %+v", q)
	}
	_, reason = p.quote(cartLine, 1_000_001, 500_001, rtb.AuctionFirstPrice)
	wantReason(t, reason, rtb.NoBidPaced)
}

// drive simulates n requests per second of a value for a given time. They are
// quoted and observed; there are no bids.
func drive(w *world, p *Pacer, seconds, n int, value rtb.CPM) {
	for range seconds {
		for range n {
			q, _ := p.quote(cartLine, value, 0, rtb.AuctionSecondPrice)
			p.observe(cartLine, q.Expected)
		}
		w.now = w.now.Add(time.Second)
		p.Step(context.Background(), w.now)
	}
}

// Traffic that would spend the day's budget many times lifts the multiplier;
// when it costs next to nothing the price returns to the full value, and stays
// there. asap never changes.
func TestMultiplierFollowsTheBudget(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", evenPlan(10*unit))
	drive(w, p, 600, 10, 1_000_000) // about 330 micros x 432,000 requests to midnight
	if m := p.Stats().Lines[0].Multiplier; m < 2 {
		t.Fatalf("multiplier %.2f; want it well above 1", m)
	}
	drive(w, p, 3600, 10, 1000)
	for range 100 {
		if m := p.Stats().Lines[0].Multiplier; m != 1 {
			t.Fatalf("multiplier %.4f; want 1", m)
		}
		drive(w, p, 1, 10, 1000)
	}
	a := w.start("r2", "", dayPlan(10*unit))
	drive(w, a, 600, 10, 1_000_000)
	if m := a.Stats().Lines[0].Multiplier; m != 1 {
		t.Fatalf("asap: multiplier %.2f; want 1", m)
	}
}

// A short attack lifts the multiplier; an hour later the few requests of a quiet
// day are bid for at their full price again.
func TestBurstIsForgotten(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", evenPlan(50*unit))
	drive(w, p, 15, 2000, 3_500_000)
	if m := p.Stats().Lines[0].Multiplier; m < 2 {
		t.Fatalf("multiplier %.2f in the burst", m)
	}
	w.pass(time.Hour)
	drive(w, p, 20, 1, 3_500_000)
	if m := p.Stats().Lines[0].Multiplier; m != 1 {
		t.Fatalf("multiplier %.2f an hour after it; want 1", m)
	}
}

// Bids that a cap refuses are demand: they must not lower the multiplier as cheap
// traffic does.
func TestRefusedBidsAreDemand(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", evenPlan(10*unit))
	drive(w, p, 600, 10, 1_000_000)
	before := p.Stats().Lines[0].Multiplier
	p.SetPlan([]LinePlan{evenPlan(0)}) // nothing left
	p.lines[cartLine].drain()
	for range 1000 {
		c := w.bid(1000)
		c.Expected = 300
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidBudget)
		p.observe(cartLine, 0)
	}
	if o := p.lines[cartLine].drain(); o.requests != 1000 || o.expected != 300*1000 || o.asks.sum() <= 0 || o.held <= 0 {
		t.Fatalf("counted %+v; want all of it", o)
	}
	w.pass(time.Minute)
	if m := p.Stats().Lines[0].Multiplier; m < before {
		t.Fatalf("multiplier %.3f; want at least %.3f", m, before)
	}
}

// The largest multiplier of a line's caps is its own; a total without an end,
// or in addition to a day cap, is not spread.
func TestLargestMultiplierBinds(t *testing.T) {
	w := newWorld(t)
	l := evenPlan(1000 * unit)
	l.Caps, l.CampaignTotal, l.CampaignMode = rtb.CapLineDay|rtb.CapCampaignTotal, 10*unit, Even
	p := w.start("r1", "", l)
	drive(w, p, 600, 10, 1_000_000)
	if m := p.Stats().Lines[0].Multiplier; m != 1 {
		t.Fatalf("multiplier %.2f without an end; want 1", m)
	}
	l.End = w.now.Add(12 * time.Hour)
	p.SetPlan([]LinePlan{l})
	drive(w, p, 600, 10, 1_000_000)
	rows := p.Budgets(w.now)
	day, total := row(t, rows, "cart", "day").Multiplier, row(t, rows, "", "total").Multiplier
	if day != 1 || total < 2 || p.Stats().Lines[0].Multiplier != total {
		t.Fatalf("day %.2f, total %.2f, line %.2f", day, total, p.Stats().Lines[0].Multiplier)
	}
}

// The multiplier, and what was learned, survive a restart.
func TestControllersAreStored(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "money")
	p := w.start("r1", dir, evenPlan(10*unit))
	p.quote(cartLine, 2_000_000, 0, rtb.AuctionSecondPrice)
	drive(w, p, 600, 10, 1_000_000)
	before := p.Stats().Lines[0].Multiplier
	(*p.places.Load())[placeKey{"demo", usd, rtb.SlotOther}].learn(&reservation{cost: 1000, value: 2000, issued: 1})
	w.kill(p)
	q := w.start("r2", dir, evenPlan(10*unit))
	if m := q.Stats().Lines[0].Multiplier; math.Abs(m/before-1) > 0.2 {
		t.Fatalf("multiplier %.2f; want about %.2f", m, before)
	}
	key := placeKey{"demo", usd, rtb.SlotOther}
	if pl := (*q.places.Load())[key]; pl == nil || pl.land != (*p.places.Load())[key].land {
		t.Fatal("the landscape was lost")
	}
}

// The controllers of many budgets are stored less often than those of a few.
func TestManyControllersAreStoredLessOften(t *testing.T) {
	for _, c := range []struct {
		budgets int
		want    time.Duration
	}{{1, 10 * time.Second}, {1000, 30 * time.Second}, {2500, time.Minute}} {
		w := newWorld(t)
		p := w.start("r1", filepath.Join(t.TempDir(), "money"), evenPlan(10*unit))
		for i := len(p.controls); i < c.budgets; i++ {
			p.controls[controlID{line: strconv.Itoa(i)}] = &capControl{}
		}
		stored := p.savedControls
		for p.savedControls.Equal(stored) {
			w.now = w.now.Add(5 * time.Second)
			p.Step(context.Background(), w.now)
		}
		if got := p.savedControls.Sub(stored); got != c.want {
			t.Errorf("%d budgets: stored again after %s; want %s", c.budgets, got, c.want)
		}
	}
}

// Fed with its own market, the landscape finds its mean and spread, from exact
// prices and from who won alone.
func TestLandscapeLearns(t *testing.T) {
	for _, exact := range []bool{true, false} {
		r := rand.New(rand.NewPCG(1, 2))
		var l landscape
		l.begin(8)
		for range 40_000 {
			lnValue := 8 + 0.5*r.NormFloat64()
			price := 7 + 0.2*(lnValue-8) + 0.6*r.NormFloat64()
			var x [features]float64
			l.fill(&x, lnValue, rtb.Second(r.IntN(86400)))
			bid := 7 + 0.8*r.NormFloat64()
			switch {
			case exact:
				l.exact(&x, price)
			case bid > price:
				l.won(&x, bid)
			default:
				l.lost(&x, bid)
			}
		}
		s := math.Exp(l.LnSigma)
		if math.Abs(l.W[featConst]-7) > 0.1 || math.Abs(l.W[featValue]-0.2) > 0.15 || math.Abs(s-0.6) > 0.1 {
			t.Errorf("exact %v: mean %.2f, slope %.2f, sigma %.2f; want 7, 0.2, 0.6", exact, l.W[featConst], l.W[featValue], s)
		}
	}
}

// The expected cost against a plain simulation, with and without a floor.
func TestExpectedCost(t *testing.T) {
	c := &curve{base: 7, slope: 0, ref: 8, sigma: 0.6, lift: math.Exp(0.18)}
	r := rand.New(rand.NewPCG(3, 4))
	for _, tt := range []struct{ bid, floor float64 }{{1500, 0}, {1500, 900}, {400, 0}, {6000, 1200}} {
		first, second := 0.0, 0.0
		const n = 400_000
		for range n {
			p := max(math.Exp(7+0.6*r.NormFloat64()), tt.floor)
			if p <= tt.bid {
				first += tt.bid
				second += p
			}
		}
		for _, x := range []struct {
			got, want float64
			name      string
		}{
			{c.cost(3000, tt.bid, tt.floor), second / n, "second"},
			{tt.bid * c.chance(3000, tt.bid), first / n, "first"},
		} {
			if math.Abs(x.got/x.want-1) > 0.02 {
				t.Errorf("bid %v, floor %v, %s price: expected %.1f; simulated %.1f", tt.bid, tt.floor, x.name, x.got, x.want)
			}
		}
	}
	for _, bad := range []float64{0, -1, math.NaN()} {
		if got := c.cost(bad, 10, 0) + c.cost(10, bad, 0) + c.chance(10, bad); got != 0 {
			t.Errorf("cost of %v: %v", bad, got)
		}
	}
}
