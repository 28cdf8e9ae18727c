package sim

import (
	"fmt"
	"strings"
)

// Scenario describes a market, what happens in it, and what its exchange reports. Zero
// fields mean that the feature is absent. Times are seconds since midnight.
type Scenario struct {
	ID   string
	Name string

	FirstPrice bool
	MinToWin   bool    // the exchange reports the price that had to be beaten, of wins and losses
	Requests   float64 // expected matched requests of a day
	Budget     float64 // share of what yesterday would have cost at bids of the full value
	DayDrift   float64 // standard deviation of ln traffic against yesterday

	VolumeStep      float64 // traffic is multiplied by it from StepAt on
	PriceStep       float64 // prices are multiplied by it from StepAt to StepEnd
	StepAt, StepEnd float64
	Bursts          int // of a minute each
	BurstTimes      float64

	DelayMean float64 // mean delay of notices; 0.3 s are added
	SlowShare float64 // of the notices with an additional delay
	SlowMean  float64
	LostShare float64 // of the notices that never arrive
	BidLife   float64 // seconds until an unreported bid counts as lost; 0: 300
	LossAll   bool    // every bid is reported lost within seconds, those that are billed later included

	RestartAt      float64 // the bidder loses what it has in memory
	BudgetAt       float64 // the budget is multiplied by BudgetTimes
	BudgetTimes    float64
	DayFrom, DayTo float64 // hours in which there is traffic
	Cold           bool    // there was no yesterday; baselines get a flat forecast
	Guess          float64 // and this multiple of its traffic
	VolumeToday    float64 // traffic against yesterday, all day
	PricesToday    float64 // the same for prices
	PriceDrift     float64 // of ln price over a day
	ValueNoise     float64 // standard deviation of the error of ln value
	SegmentBias    float64 // by which the value of segment 2 is overestimated
	TailIndex      float64 // values are multiplied by a Pareto variable of this index
	Campaigns      int     // that bid on every request; 0 means 1
	Nodes          int     // of the bidder; 0 means 1
	KillAt         float64 // one node is killed
	Weekly         bool    // two weeks with a weekday shape, of which the second counts
	// PathFees are what the supply paths that offer every impression add to its price, as
	// factors. Without them there is one path.
	PathFees []float64
}

// bidLife returns how long a bid can be billed, in seconds.
func (s *Scenario) bidLife() float64 {
	if s.BidLife > 0 {
		return s.BidLife
	}
	return 300
}

// Scenarios returns all scenarios in order.
func Scenarios() []Scenario {
	base := Scenario{Requests: 300000, Budget: 0.125, DayDrift: 0.10, DelayMean: 2, SlowShare: 0.05, SlowMean: 60}
	var list []Scenario
	add := func(id, name string, change func(*Scenario)) {
		s := base
		s.ID, s.Name = id, name
		change(&s)
		list = append(list, s)
	}
	add("S1", "second price", func(*Scenario) {})
	add("S2", "first price, only wins are reported", func(s *Scenario) { s.FirstPrice = true })
	add("S3", "first price, minimum to win is reported", func(s *Scenario) { s.FirstPrice, s.MinToWin = true, true })
	add("S4", "traffic x 0.6 and prices x 1.5 after 13 h", func(s *Scenario) {
		s.VolumeStep, s.PriceStep, s.StepAt, s.StepEnd = 0.6, 1.5, 13*3600, 18*3600
	})
	add("S5", "20 bursts x 20, slow notices, 3 % lost", func(s *Scenario) {
		s.Bursts, s.BurstTimes, s.DelayMean, s.SlowShare, s.SlowMean, s.LostShare = 20, 20, 20, 0.15, 120, 0.03
	})
	add("S6", "small budget: about 100 impressions", func(s *Scenario) { s.Requests, s.Budget = 20000, 0.01 })
	add("S7", "ample budget", func(s *Scenario) { s.Budget = 1.2 })
	add("S8", "first price, restart at 13 h, budget x 1.5 at 15 h, only 8-23 h", func(s *Scenario) {
		s.FirstPrice = true
		s.RestartAt, s.BudgetAt, s.BudgetTimes, s.DayFrom, s.DayTo = 13*3600, 15*3600, 1.5, 8, 23
	})
	add("S9", "cold start", func(s *Scenario) { s.Cold, s.Guess = true, 2 })
	add("S10", "noisy values, one segment overestimated by 1.6", func(s *Scenario) { s.ValueNoise, s.SegmentBias = 0.3, 1.6 })
	add("S11", "two campaigns on one stream", func(s *Scenario) { s.Campaigns = 2 })
	add("S12", "three nodes, one killed at 13 h", func(s *Scenario) { s.Nodes, s.KillAt = 3, 13*3600 })
	add("S13", "a week with a weekday shape", func(s *Scenario) { s.Weekly, s.Requests = true, 60000 })
	add("S14", "every impression over four paths, three of them dearer", func(s *Scenario) {
		s.Requests, s.PathFees = 75000, []float64{1, 1.05, 1.1, 1.25}
	})
	add("S16", "first price, prices rise by 0.7 (ln) over the day", func(s *Scenario) { s.FirstPrice, s.PriceDrift = true, 0.7 })
	add("S17", "first price, heavy-tailed values, no max_cpm", func(s *Scenario) { s.FirstPrice, s.TailIndex = true, 1.5 })
	add("S18", "bids open 30 min, bills late, no win notices", func(s *Scenario) {
		s.BidLife, s.DelayMean, s.SlowShare, s.SlowMean = 1800, 240, 0.15, 240
	})
	add("S19", "every bid is reported lost, those won are billed", func(s *Scenario) { s.LossAll, s.DelayMean = true, 20 })
	add("S20", "three times the traffic of yesterday, prices x 1.4", func(s *Scenario) { s.VolumeToday, s.PricesToday = 3, 1.4 })
	return list
}

// Select returns the scenarios of a list of ids separated by commas, or all of them.
func Select(ids string) ([]Scenario, error) {
	list := Scenarios()
	if ids == "all" {
		return list, nil
	}
	var chosen []Scenario
	for id := range strings.SplitSeq(ids, ",") {
		n := len(chosen)
		for _, s := range list {
			if strings.EqualFold(s.ID, strings.TrimSpace(id)) {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("cannot simulate scenario: got %q; want all, or S1 to S14 and S16 to S20, separated by commas", id)
		}
	}
	return chosen, nil
}
