package loadtest

import (
	"fmt"
	"io"

	"rebound/internal/chart"
)

// WriteHTML writes the report as an HTML page with charts.
func (r *Report) WriteHTML(w io.Writer) error {
	q := func(name string, v Quantiles) []string {
		f := func(x float64) string { return fmt.Sprintf("%.2f", x) }
		return []string{name, f(v.Mean), f(v.P50), f(v.P90), f(v.P99), f(v.P999), f(v.Max)}
	}
	x := make([]float64, len(r.PerSecond))
	var p50, p99, sent, bids []float64
	for i, s := range r.PerSecond {
		x[i] = float64(i)
		p50, p99 = append(p50, s.P50), append(p99, s.P99)
		sent, bids = append(sent, float64(s.Sent)), append(bids, float64(s.Bids))
	}
	stopped := ""
	if r.Stopped != "" {
		stopped = " Stopped early: " + r.Stopped + "."
	}
	return chart.WritePage(w, "Load test of "+r.Target, []chart.Section{
		{Text: fmt.Sprintf("%d of %d scheduled requests sent, %.1f per second; statuses %s; %.1f %% bids; %.3f %% answered within %.0f ms of their scheduled time.",
			r.Sent, r.Scheduled, r.RateAchieved, statusText(r.Statuses), r.BidPct, r.InsideDeadline, r.DeadlineMS) + stopped},
		{Title: "Milliseconds", Table: &chart.Table{Head: []string{"", "mean", "p50", "p90", "p99", "p99.9", "max"},
			Rows: [][]string{q("latency from schedule", r.Latency), q("latency from send", r.ServiceLatency), q("schedule lag", r.ScheduleLag)}}},
		{Charts: []*chart.Line{
			{Title: "Latency from the scheduled send", XLabel: "second", YLabel: "ms", Series: []chart.Series{{Name: "p50", X: x, Y: p50}, {Name: "p99", X: x, Y: p99}}},
			{Title: "Requests and bids per second", XLabel: "second", YLabel: "per second", Series: []chart.Series{{Name: "sent", X: x, Y: sent}, {Name: "bids", X: x, Y: bids}}},
		}},
	})
}
