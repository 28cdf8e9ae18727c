package pacing

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// conversionTruth adds purchases to a world of clicks: after clicks over 30 days and after
// impressions over a day, at rates that depend on more than the model is given.
type conversionTruth struct {
	*clickTruth
	buys  []float64 // by line
	bids  uint64
	facts []timed
}

// timed is a fact of the world, with the impression that it begins.
type timed struct {
	f events.Fact
	i *shown
	p float64 // the impression's true probability of a conversion
}

func newConversionTruth(seed uint64, lines, domains int, days float64) *conversionTruth {
	c := &conversionTruth{clickTruth: newClickTruth(seed, lines, domains, days)}
	for range lines {
		c.buys = append(c.buys, 0.4*c.r.NormFloat64())
	}
	return c
}

// fact appends a fact about a bid.
func (c *conversionTruth) fact(kind events.Kind, visitor uint64, s *rtb.Showing, at time.Time) *timed {
	f := factOf(kind, s)
	n := *f.Notice
	f.Notice, f.TS, f.At, f.Currency = &n, at, at, usd
	binary.BigEndian.PutUint64(f.Visitor[:], visitor)
	binary.BigEndian.PutUint64(n.BidID[:], visitor)
	if n.Bills = kind == events.KindBill; n.Bills {
		n.Charge, n.WinExpiry, n.BillExpiry = 2000, at.Add(time.Hour), at.Add(time.Hour)
	}
	f.ID = fmt.Sprint(kind, visitor)
	c.facts = append(c.facts, timed{f: *f})
	return &c.facts[len(c.facts)-1]
}

func (c *conversionTruth) buy(visitor uint64, trust events.Trust, at time.Time) {
	f := events.Fact{Kind: events.KindEvent, ID: fmt.Sprint("buy", visitor), Advertiser: "shop", TS: at, At: at, Currency: usd,
		Event: &events.Event{Name: purchase, OrderID: fmt.Sprint("o", visitor), Value: 50 * unit, Trust: trust}}
	binary.BigEndian.PutUint64(f.Visitor[:], visitor)
	c.facts = append(c.facts, timed{f: f})
}

// show adds an impression with its outcomes. Each has a visitor of its own.
func (c *conversionTruth) show(step time.Duration) {
	i := c.next(step)
	c.bids++
	s := i.showing()
	day := c.now.Sub(noon).Hours() / 24
	hidden := c.buys[i.line] + 0.3*c.r.NormFloat64() + 0.3*math.Sin(2*math.Pi*day/c.days)
	buy := sigmoid(logit(0.3) + hidden - 0.2*float64(i.device))
	view := sigmoid(logit(0.015) + hidden - 0.2*float64(i.recency))
	x := c.fact(events.KindBill, c.bids, &s, c.now)
	x.i, x.p = &i, i.p*buy+(1-i.p)*view
	if i.clicked {
		at := c.now.Add(time.Minute)
		c.fact(events.KindClick, c.bids, &s, at)
		if c.r.Float64() < buy {
			mean := 20 * time.Minute
			if c.r.Float64() > 0.35 {
				mean = 4 * 24 * time.Hour
			}
			c.buy(c.bids, events.TrustServer, at.Add(c.delay(mean, 30*24*time.Hour)))
		}
	} else if c.r.Float64() < view {
		c.buy(c.bids, events.TrustServer, c.now.Add(c.delay(5*time.Hour, 24*time.Hour)))
	}
}

// delay draws from an exponential distribution up to most.
func (c *conversionTruth) delay(mean, most time.Duration) time.Duration {
	for {
		if d := time.Duration(c.r.ExpFloat64() * float64(mean)); d < most {
			return max(d, time.Second)
		}
	}
}

// conversionTally is a tally of the impressions of a segment.
type conversionTally struct{ predicted, truth, loss, entropy float64 }

func (t *conversionTally) add(p, truth float64) {
	t.predicted += p
	t.truth += truth
	// The expected loss: outcomes of the last days are not known yet.
	t.loss -= truth*math.Log(p) + (1-truth)*math.Log(1-p)
	t.entropy -= truth*math.Log(truth) + (1-truth)*math.Log(1-truth)
}

// run folds the facts and returns the tallies of the last three quarters by segment.
func (c *conversionTruth) run(t *testing.T, p *Pacer, n int) map[string]*conversionTally {
	step := time.Duration(c.days * 24 * float64(time.Hour) / float64(n))
	for range n {
		c.show(step)
	}
	end := c.now
	slices.SortStableFunc(c.facts, func(a, b timed) int { return a.f.TS.Compare(b.f.TS) })
	tallies := map[string]*conversionTally{}
	goal, e := rtb.Goal{Kind: rtb.GoalCPA, Target: 10 * unit}, rtb.Estimate{}
	var batch []events.Fact
	for k := range c.facts {
		x := &c.facts[k]
		if x.f.TS.After(end) {
			break
		}
		if x.i != nil {
			s := x.i.showing()
			p.Estimate(&e, &goal, &s)
			if x.i.at.Sub(noon).Hours()/24 > c.days/4 {
				for _, name := range []string{"all", fmt.Sprint("line ", x.i.line), fmt.Sprint("device ", x.i.device), fmt.Sprint("domain ", x.i.domain),
					fmt.Sprint("recency ", x.i.recency), fmt.Sprint("week ", int(x.i.at.Sub(noon).Hours()/24/7))} {
					if tallies[name] == nil {
						tallies[name] = &conversionTally{}
					}
					tallies[name].add(e.Conversion, x.p)
				}
			}
		}
		x.f.Seq = uint64(k + 1)
		if batch = append(batch, x.f); len(batch) == 100 {
			if err := p.Apply(batch); err != nil {
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	return tallies
}

// Conversion estimates are calibrated overall and per segment while conversions are late:
// the truth has features and drift that the model is not given, and a third of the
// conversions after clicks come more than three days later.
func TestConversionCalibration(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, and one goroutine")
	}
	n := 80_000
	if raceOn {
		n = 8_000
	}
	p := newWorld(t).start("r1", "")
	tallies := newConversionTruth(1, 6, 20, 60).run(t, p, n)
	all, worst := tallies["all"], 0.0
	for name, x := range tallies {
		if x.truth < 200 {
			continue
		}
		r := x.predicted / x.truth
		worst = max(worst, math.Abs(r-1))
		if !raceOn && (r < 0.9 || r > 1.1) {
			t.Errorf("%s: %.0f conversions, calibration ratio %.3f; want 0.9 to 1.1", name, x.truth, r)
		}
	}
	t.Logf("%.0f conversions, ratio %.3f, worst segment off by %.3f, log-loss %.4f of entropy; shares %v",
		all.truth, all.predicted/all.truth, worst, all.loss/all.entropy, sharesOf(p, buyModel))
	if r := all.predicted / all.truth; !raceOn && (r < 0.95 || r > 1.05) {
		t.Errorf("calibration ratio %.3f; want 0.95 to 1.05", r)
	}
	if r := all.loss / all.entropy; !raceOn && r > 1.03 {
		t.Errorf("log-loss %.4f of the truth's entropy; want at most 1.03", r)
	}
}

func sharesOf(p *Pacer, m model) (shares []string) {
	for i := range ages[m] {
		shares = append(shares, fmt.Sprintf("%.2f", p.values.delays[m].share(m, i)))
	}
	return shares
}
