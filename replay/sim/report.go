package sim

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"rebound/internal/chart"
)

// Report is the result of a simulation.
type Report struct {
	Scenarios []ScenarioReport `json:"scenarios"`
}

// ScenarioReport is the result of one scenario.
type ScenarioReport struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Policies []PolicyReport `json:"policies"`
}

// PolicyReport is the result of one policy in one scenario: the medians over the seeds,
// unless the name says otherwise. Shares are percentages.
type PolicyReport struct {
	Policy         string  `json:"policy"`
	OfOracle       float64 `json:"of_oracle_pct"`       // value, against the best single multiplier in hindsight
	OfClairvoyant  float64 `json:"of_clairvoyant_pct"`  // value, against the best selection at the competing prices
	Worst          float64 `json:"worst_of_oracle_pct"` // of the seeds
	Utilisation    float64 `json:"utilisation_pct"`     // true spend, against the budget
	MaxOverspend   float64 `json:"max_overspend_pct"`   // of the true spend beyond the budget, of the seeds
	RMSE           float64 `json:"rmse_pct"`            // of the share of spend against the share of traffic
	ExhaustedHours float64 `json:"exhausted_at_h,omitempty"`
	Seeds          []Score `json:"seeds"`
}

// Score is the result of one policy with one seed. Shares are percentages.
type Score struct {
	Seed          uint64  `json:"seed"`
	OfOracle      float64 `json:"of_oracle_pct"`
	OfClairvoyant float64 `json:"of_clairvoyant_pct"`
	Utilisation   float64 `json:"utilisation_pct"`
	Overspend     float64 `json:"overspend_pct"`
	RMSE          float64 `json:"rmse_pct"`
	Exhausted     float64 `json:"exhausted_at_h,omitempty"`
	Bids          int     `json:"bids"`
	Wins          int     `json:"wins"`
	Cost          float64 `json:"cost_per_win"` // in units of the market's prices
	Curve         []Point `json:"curve"`        // of the first campaign on the first day that counts
}

// Point is one point of a curve, at the end of a quarter of an hour.
type Point struct {
	At           string  `json:"at"`
	SpendShare   float64 `json:"spend_share"`
	TrafficShare float64 `json:"traffic_share"`
	Multiplier   float64 `json:"multiplier,omitempty"`
}

// score adds up the days and campaigns of one seed.
func score(results []result, seed uint64, best, static float64) Score {
	s := Score{Seed: seed}
	value, spend, budget := 0.0, 0.0, 0.0
	for i := range results {
		r := &results[i]
		value, spend, budget = value+r.value, spend+r.spend, budget+r.budget
		s.Bids, s.Wins = s.Bids+r.bids, s.Wins+r.wins
		s.RMSE += 100 * r.rmse() / float64(len(results))
		s.Overspend = max(s.Overspend, 100*(r.spend-r.budget)/r.budget)
	}
	s.OfOracle, s.OfClairvoyant, s.Utilisation = 100*value/static, 100*value/best, 100*spend/budget
	if s.Wins > 0 {
		s.Cost = spend / float64(s.Wins)
	}
	s.Exhausted = results[0].exhausted
	total, passed := 0.0, 0.0
	for _, n := range results[0].traffic {
		total += n
	}
	for w, n := range results[0].traffic {
		passed += n
		end := (w + 1) * dayMinutes / windows
		s.Curve = append(s.Curve, Point{
			At: fmt.Sprintf("%02d:%02d", end/60, end%60), SpendShare: results[0].spendCurve[w] / results[0].budget,
			TrafficShare: passed / total, Multiplier: results[0].multipliers[w],
		})
	}
	return s
}

// add adds the score of one seed.
func (r *ScenarioReport) add(policy string, s Score) {
	i := slices.IndexFunc(r.Policies, func(p PolicyReport) bool { return p.Policy == policy })
	if i < 0 {
		i = len(r.Policies)
		r.Policies = append(r.Policies, PolicyReport{Policy: policy})
	}
	r.Policies[i].Seeds = append(r.Policies[i].Seeds, s)
}

// summarise computes the medians and extremes over the seeds.
func (r *ScenarioReport) summarise() {
	for i := range r.Policies {
		p := &r.Policies[i]
		column := func(of func(*Score) float64) []float64 {
			var list []float64
			for k := range p.Seeds {
				list = append(list, of(&p.Seeds[k]))
			}
			slices.Sort(list)
			return list
		}
		oracle := column(func(s *Score) float64 { return s.OfOracle })
		p.OfOracle, p.Worst = median(oracle), oracle[0]
		p.OfClairvoyant = median(column(func(s *Score) float64 { return s.OfClairvoyant }))
		p.Utilisation = median(column(func(s *Score) float64 { return s.Utilisation }))
		p.MaxOverspend = slices.Max(column(func(s *Score) float64 { return s.Overspend }))
		p.RMSE = median(column(func(s *Score) float64 { return s.RMSE }))
		p.ExhaustedHours = median(column(func(s *Score) float64 { return s.Exhausted }))
	}
}

// median of a sorted list.
func median(list []float64) float64 {
	n := len(list)
	if n%2 == 1 {
		return list[n/2]
	}
	return (list[n/2-1] + list[n/2]) / 2
}

var head = []string{"policy", "% of oracle", "worst", "% of clairvoyant", "used %", "overspent %", "RMSE %", "exhausted at"}

func (p *PolicyReport) cells() []string {
	number := func(x float64, digits int) string { return strconv.FormatFloat(x, 'f', digits, 64) }
	exhausted := "-"
	if p.ExhaustedHours > 0 {
		exhausted = number(p.ExhaustedHours, 2) + " h"
	}
	return []string{p.Policy, number(p.OfOracle, 1), number(p.Worst, 1), number(p.OfClairvoyant, 1), number(p.Utilisation, 1),
		number(p.MaxOverspend, 2), number(p.RMSE, 1), exhausted}
}

// WriteText writes a table for each scenario.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		if len(s.Policies) == 0 {
			continue
		}
		fmt.Fprintf(t, "%s  %s (%d seeds)\n", s.ID, s.Name, len(s.Policies[0].Seeds))
		for _, cell := range head {
			fmt.Fprintf(t, "%s\t", cell)
		}
		fmt.Fprintln(t)
		for k := range s.Policies {
			for _, cell := range s.Policies[k].cells() {
				fmt.Fprintf(t, "%s\t", cell)
			}
			fmt.Fprintln(t)
		}
		fmt.Fprintln(t)
		if err := t.Flush(); err != nil {
			return fmt.Errorf("cannot write report: %w", err)
		}
	}
	return nil
}

// WriteJSON writes the report with every seed's score.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}

// WriteHTML writes the report as a page with the curves of every scenario's first seed.
func (r *Report) WriteHTML(w io.Writer) error {
	sections := []chart.Section{{Text: "Value is compared with the best single multiplier in hindsight (oracle), and with the best selection of impressions at the competing prices (clairvoyant), which cannot be reached in first price. Policies never see the competing price. Spend is the true bill, lost notices included."}}
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		table := &chart.Table{Head: head}
		spend := &chart.Line{Title: s.ID + ": spend over the day", XLabel: "quarter of an hour", YLabel: "share of the budget"}
		multiplier := &chart.Line{Title: s.ID + ": multiplier", XLabel: "quarter of an hour", YLabel: "multiplier"}
		for k := range s.Policies {
			p := &s.Policies[k]
			table.Rows = append(table.Rows, p.cells())
			p.curves(spend, multiplier)
		}
		charts := []*chart.Line{spend}
		if len(multiplier.Series) > 0 {
			charts = append(charts, multiplier)
		}
		sections = append(sections, chart.Section{Title: s.ID + ": " + s.Name, Table: table, Charts: charts})
	}
	return chart.WritePage(w, "Pacing benchmark", sections)
}

// charted are the policies whose curves are drawn; the others would hide them.
var charted = []string{"asap", "pid", "dual-resolved", Rebound}

// curves adds the curves of the first seed.
func (p *PolicyReport) curves(spend, multiplier *chart.Line) {
	if !slices.Contains(charted, p.Policy) || len(p.Seeds) == 0 {
		return
	}
	var x, s, t, m []float64
	for i, point := range p.Seeds[0].Curve {
		x = append(x, float64(i+1))
		s, t, m = append(s, point.SpendShare), append(t, point.TrafficShare), append(m, point.Multiplier)
	}
	if len(spend.Series) == 0 {
		spend.Series = append(spend.Series, chart.Series{Name: "traffic", X: x, Y: t})
	}
	spend.Series = append(spend.Series, chart.Series{Name: p.Policy, X: x, Y: s})
	if p.Policy == Rebound {
		multiplier.Series = append(multiplier.Series, chart.Series{Name: p.Policy, X: x, Y: m})
	}
}
