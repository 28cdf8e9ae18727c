package pacing

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// flightRun is a flight in a market of log-normal prices, with ten requests a second.
type flightRun struct {
	w         *world
	p         *Pacer
	line      LinePlan
	deviation float64 // root mean square of the difference of the shares spent and planned
	spent     rtb.Micros
}

// newFlightRun starts a run some time before its flight, which lasts for length.
func newFlightRun(t *testing.T, before, length time.Duration, limit rtb.Micros, mode Mode) *flightRun {
	w := newKeptWorld(t)
	l := dayPlan(0)
	l.Mode, l.CampaignMode, l.Caps, l.MaxCPM = mode, mode, rtb.CapLineFlight, 20_000_000
	l.Start, l.End = w.now.Add(before), w.now.Add(before+length)
	l.Flights[rtb.OwnLine] = rtb.DayOf(l.Start, l.Zone)
	l.Limits.Set(rtb.CapLineFlight, limit)
	p := w.start("r1", "", l)
	for w.now.Before(l.Start) {
		w.pass(min(time.Minute, l.Start.Sub(w.now)))
	}
	return &flightRun{w: w, p: p, line: l}
}

// run sells impressions until the flight ends: a bid wins if it beats the market, and is
// billed at the market's price after a second; losses are reported.
func (x *flightRun) run(t *testing.T) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	n, sum := 0, 0.0
	const value, life = 8_000_000, 30 * time.Second
	for x.w.now.Before(x.line.End) {
		var notices []events.Fact
		for range 10 {
			q, reason := x.p.quote(x.line.Line, value, 0, rtb.AuctionSecondPrice)
			x.p.observe(x.line.Line, q.Expected)
			if reason != rtb.NoBidNone {
				continue
			}
			c := x.w.bid(q.Price)
			c.Flights, c.Expected = x.line.Flights, q.Expected
			c.WinExpiry, c.BillExpiry = c.Issued.Add(life), c.Issued.Add(2*life)
			if x.p.Reserve(c, nil, nil) != rtb.NoBidNone {
				continue
			}
			market := rtb.CPM(2_500_000 * math.Exp(0.6*r.NormFloat64()))
			if q.Price < market {
				notices = append(notices, x.w.notice(events.KindLoss, c))
				continue
			}
			f := x.w.notice(events.KindBill, c)
			f.Notice.Price, f.Notice.Charge = market, market.Cost()
			notices = append(notices, f)
		}
		for range 4 {
			x.w.now = x.w.now.Add(time.Second / 4)
			x.p.Step(context.Background(), x.w.now)
		}
		x.w.must(notices...)
		at := row(t, x.p.Budgets(x.w.now), "cart", "flight")
		x.spent = at.Spent
		d := float64(at.Spent-at.Planned) / float64(at.Cap)
		n, sum = n+1, sum+d*d
	}
	x.deviation = math.Sqrt(sum / float64(n))
}

// A flight of minutes is paced within its window, whether the bidder starts with it or has
// run for hours before.
func TestFlightOfMinutes(t *testing.T) {
	for _, c := range []struct {
		name          string
		before        time.Duration
		length        time.Duration
		limit         rtb.Micros
		leastPct, dev float64
	}{
		{"ten minutes, at once", 0, 10 * time.Minute, 5 * unit, 95, 0.1},
		{"ten minutes, after five hours", 5 * time.Hour, 10 * time.Minute, 5 * unit, 95, 0.1},
		{"half an hour, after an hour", time.Hour, 30 * time.Minute, 15 * unit, 97, 0.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newFlightRun(t, c.before, c.length, c.limit, Even)
			x.run(t)
			used := 100 * float64(x.spent) / float64(c.limit)
			t.Logf("%.1f %% used, deviation %.3f", used, x.deviation)
			if used < c.leastPct || used > 100 || x.deviation > c.dev {
				t.Errorf("used %.1f %%, deviation %.3f; want at least %.0f %% and at most %.3f", used, x.deviation, c.leastPct, c.dev)
			}
		})
	}
}

// Looking at budgets does not change what the controllers see.
func TestLookingAtBudgetsChangesNothing(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(50 * unit)
	l.Mode, l.CampaignMode = Even, Even
	p := w.start("r1", "", l)
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidNone)
	a := p.accounts[rtb.BudgetIn(rtb.CapLineDay, cartLine, &rtb.Periods{Day: rtb.DayOf(w.now, time.UTC)})]
	before := a.unticked + a.taken.Load()
	p.Budgets(w.now)
	p.LineBudgets(cartLine, w.now)
	if after := a.unticked + a.taken.Load(); before == 0 || after != before {
		t.Errorf("%d micros are to be told to the controller, before it %d", after, before)
	}
}
