package mock

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"rebound/internal/chart"
	"rebound/rtb"
)

// BudgetCurve is how one of the bidder's caps was spent during the run. Amounts are micros,
// or millionths of an impression.
type BudgetCurve struct {
	Advertiser string        `json:"advertiser"`
	Campaign   string        `json:"campaign,omitempty"`
	Line       string        `json:"line,omitempty"`
	Window     string        `json:"window"`
	Day        string        `json:"day,omitempty"`
	Unit       string        `json:"unit,omitempty"` // impressions, or empty for money
	Currency   string        `json:"currency,omitempty"`
	Points     []BudgetPoint `json:"points"`
}

// BudgetPoint is the state of a cap at one moment.
type BudgetPoint struct {
	At         time.Time  `json:"at"`
	Cap        rtb.Micros `json:"cap_micros"`
	Spent      rtb.Micros `json:"spent_micros"`
	Reserved   rtb.Micros `json:"reserved_micros"`
	Doubted    rtb.Micros `json:"doubted_micros"`
	Planned    rtb.Micros `json:"plan_micros"` // 0 if the cap is not spread over time
	Multiplier float64    `json:"multiplier"`
}

// mostPoints is how many points a curve keeps. Beyond it, every second one is left out and
// half as many are added.
const mostPoints = 1200

// watch reads the bidder's budgets once per second until the returned function is called,
// which returns the curves.
func (e *Exchange) watch(ctx context.Context) (stop func() []*BudgetCurve) {
	if e.o.Bidder.Admin == "" {
		return func() []*BudgetCurve { return nil }
	}
	var curves []*BudgetCurve
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		every := 1
		for n := 0; ; n++ {
			if n%every == 0 {
				curves = e.sample(ctx, curves)
				if thin(curves) {
					every *= 2
				}
			}
			select {
			case <-quit:
				return
			case <-tick.C:
			}
		}
	}()
	return func() []*BudgetCurve { close(quit); <-ended; return e.sample(ctx, curves) }
}

// sample adds the present state of every cap to its curve. A bidder that does not answer
// leaves a gap.
func (e *Exchange) sample(ctx context.Context, curves []*BudgetCurve) []*BudgetCurve {
	limited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	text, err := e.get(limited, e.o.Bidder.Admin+"/admin/budgets")
	if err != nil {
		return curves
	}
	var answer struct {
		At      time.Time
		Budgets []struct {
			BudgetCurve
			BudgetPoint
		}
	}
	if json.Unmarshal(text, &answer) != nil {
		return curves
	}
	for i := range answer.Budgets {
		row := &answer.Budgets[i]
		at := slices.IndexFunc(curves, func(c *BudgetCurve) bool { return c.Title() == row.BudgetCurve.Title() })
		if at < 0 {
			at = len(curves)
			curves = append(curves, &row.BudgetCurve)
		}
		row.BudgetPoint.At = answer.At
		curves[at].Points = append(curves[at].Points, row.BudgetPoint)
	}
	return curves
}

// thin leaves every second point out of curves that have too many, and reports whether it did.
func thin(curves []*BudgetCurve) (thinned bool) {
	for _, c := range curves {
		if len(c.Points) < mostPoints {
			continue
		}
		kept := c.Points[:0]
		for i := 0; i < len(c.Points); i += 2 {
			kept = append(kept, c.Points[i])
		}
		c.Points, thinned = kept, true
	}
	return thinned
}

// Title names the cap.
func (c *BudgetCurve) Title() string {
	owner := c.Advertiser
	for _, part := range []string{c.Campaign, c.Line} {
		if part != "" {
			owner += " / " + part
		}
	}
	text := owner + ", " + c.Window
	if c.Unit != "" {
		text += " in " + c.Unit
	}
	if c.Day != "" {
		text += " of " + c.Day
	}
	return text
}

// Deviation is the difference between the shares of the cap that were spent and planned, as
// the root of its mean square over the points with a plan; NaN if there are none.
func (c *BudgetCurve) Deviation() float64 {
	sum, n := 0.0, 0.0
	for i := range c.Points {
		if p := &c.Points[i]; p.Planned > 0 && p.Cap > 0 {
			d := float64(p.Spent-p.Planned) / float64(p.Cap)
			sum, n = sum+d*d, n+1
		}
	}
	return math.Sqrt(sum / n)
}

// used returns the share of the cap that was spent in the end.
func (c *BudgetCurve) used() float64 {
	p := c.Points[len(c.Points)-1]
	return float64(p.Spent) / float64(max(p.Cap, 1))
}

// The page shows the most used caps; those below leastUsed are left out.
const (
	mostCurves = 12
	leastUsed  = 0.02 // share of the cap
)

// shown returns the curves of caps with a plan, those first that were spent most of.
func shown(curves []*BudgetCurve) (list []*BudgetCurve) {
	for _, c := range curves {
		if !math.IsNaN(c.Deviation()) && c.used() >= leastUsed {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *BudgetCurve) int { return cmp.Compare(b.used(), a.used()) })
	return list[:min(len(list), mostCurves)]
}

// section returns the charts of a cap: what was spent and planned, and below it the
// multiplier, over the minutes since began.
func (c *BudgetCurve) section(began time.Time) chart.Section {
	n := len(c.Points)
	x, spent, held, planned := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	limit, multiplier := make([]float64, n), make([]float64, n)
	for i := range c.Points {
		p := &c.Points[i]
		x[i] = p.At.Sub(began).Minutes()
		spent[i], held[i] = units(p.Spent), units(p.Spent+p.Reserved+p.Doubted)
		planned[i], limit[i], multiplier[i] = units(p.Planned), units(p.Cap), p.Multiplier
		if p.Planned == 0 {
			planned[i] = math.NaN()
		}
	}
	last := &c.Points[n-1]
	unit := c.Currency
	if c.Unit != "" {
		unit = c.Unit
	}
	from, to := x[0], x[n-1]
	number := func(v float64) string { return fmt.Sprintf("%.10g", v) }
	return chart.Section{
		Title: c.Title(),
		Text: fmt.Sprintf("%.4g of %.4g %s spent, %.1f %%; planned by then %.4g. Spend and plan differed by %.1f %% of the cap (root mean square).",
			units(last.Spent), units(last.Cap), unit, 100*c.used(), units(last.Planned), 100*c.Deviation()),
		Charts: []*chart.Line{
			{Title: "Spend and plan", YLabel: unit, YText: number, X0: from, X1: to, Series: []chart.Series{
				{Name: "plan", X: x, Y: planned}, {Name: "spent", X: x, Y: spent}, {Name: "spent and reserved by bids", X: x, Y: held}, {Name: "cap", X: x, Y: limit}}},
			{Title: "Multiplier", XLabel: "minutes", X0: from, X1: to, Height: 180, Series: []chart.Series{{Name: "multiplier", X: x, Y: multiplier}}},
		},
	}
}
