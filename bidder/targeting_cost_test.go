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

func (openBudgets) CampaignPaused(string, string) bool { return false }

// BenchmarkLineWithoutTargeting measures the filter of a thousand lines without
// targeting.
func BenchmarkLineWithoutTargeting(b *testing.B) {
	d := &Decision{profile: &exchange.Profile{ID: "demo"}, catalog: &Catalog{}, budgets: openBudgets{}, now: time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)}
	lines := make([]*campaigns.Line, 1000)
	for i := range lines {
		lines[i] = &campaigns.Line{Advertiser: &campaigns.Advertiser{}, Campaign: &campaigns.Campaign{}}
	}
	for b.Loop() {
		for _, l := range lines {
			if _, r := d.filterLine(l); r != rtb.NoBidNone {
				b.Fatal(r)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(lines)), "ns/line")
}
