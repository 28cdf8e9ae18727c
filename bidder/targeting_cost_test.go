package bidder

import (
	"testing"
	"time"

	"rebound/campaigns"
	"rebound/exchange"
	"rebound/rtb"
)

// openBudgets refuses nothing.
type openBudgets struct{ Budgets }

func (openBudgets) Paused(string, string, string) rtb.NoBidReason { return rtb.NoBidNone }

// gateBefore is what every line was asked before lines could ask for anything.
func (out *Outcome) gateBefore(in *Input, l *campaigns.Line) (campaigns.Match, rtb.NoBidReason) {
	if !l.Live(in.Now) {
		return campaigns.Match{}, rtb.NoBidNoCampaign
	}
	if !l.On(in.Exchange.ID) {
		return campaigns.Match{}, rtb.NoBidInventory
	}
	m := l.Audience.Match(in.Visitor, in.Now)
	if m.Reason != rtb.NoBidNone {
		return m, m.Reason
	}
	if r := in.Budgets.Paused(in.Exchange.ID, l.ID.Advertiser, l.ID.Campaign); r != rtb.NoBidNone {
		return m, r
	}
	if out.advertiserBlocked(in, l.Advertiser) {
		return m, rtb.NoBidAdvertiserBlocked
	}
	return m, rtb.NoBidNone
}

func gated() (*Input, []*campaigns.Line, *Outcome) {
	in := &Input{Opportunity: &rtb.Opportunity{}, Visitor: &rtb.Visitor{}, Exchange: &exchange.Profile{ID: "demo"}, Catalog: &Catalog{},
		Budgets: openBudgets{}, Now: time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)}
	lines := make([]*campaigns.Line, 1000)
	for i := range lines {
		lines[i] = &campaigns.Line{Advertiser: &campaigns.Advertiser{}, Campaign: &campaigns.Campaign{}}
	}
	return in, lines, &Outcome{}
}

// BenchmarkLineWithoutTargeting measures the gates of a thousand lines that ask for
// nothing, now and before, in one run; ratio is now to before.
func BenchmarkLineWithoutTargeting(b *testing.B) {
	in, lines, out := gated()
	run := func(gate func(*Input, *campaigns.Line) (campaigns.Match, rtb.NoBidReason)) time.Duration {
		start := time.Now()
		for _, l := range lines {
			if _, r := gate(in, l); r != rtb.NoBidNone {
				b.Fatal(r)
			}
		}
		return time.Since(start)
	}
	least := [2]time.Duration{time.Hour, time.Hour}
	for b.Loop() {
		least[0] = min(least[0], run(out.gateBefore))
		least[1] = min(least[1], run(out.gateLine))
	}
	b.ReportMetric(float64(least[0].Nanoseconds())/float64(len(lines)), "ns-before/line")
	b.ReportMetric(float64(least[1].Nanoseconds())/float64(len(lines)), "ns-now/line")
	b.ReportMetric(float64(least[1])/float64(least[0]), "ratio")
}
