package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Rebound is the name of the product's own policy.
const Rebound = "rebound"

// baseline makes one of the baselines.
type baseline struct {
	name        string
	uncapped    bool
	firstPrice  bool // only for first-price auctions
	makeForSeed func(s *Scenario, seed uint64, yesterday float64) policy
}

// baselines returns the baselines in the order of the report.
func baselines() []baseline {
	source := func(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }
	dual := func(s *Scenario, resolve bool) *mirror {
		return &mirror{lnMultiplier: 1.5, resolve: resolve, firstPrice: s.FirstPrice}
	}
	return []baseline{
		{name: "asap-uncapped", uncapped: true, makeForSeed: func(*Scenario, uint64, float64) policy { return &constant{multiplier: 1} }},
		{name: "asap", makeForSeed: func(*Scenario, uint64, float64) policy { return &constant{multiplier: 1} }},
		{name: "yesterday", makeForSeed: func(_ *Scenario, _ uint64, m float64) policy { return &constant{multiplier: m} }},
		{name: "throttle", makeForSeed: func(_ *Scenario, seed uint64, _ float64) policy { return &throttle{share: 0.1, r: source(seed)} }},
		{name: "pid", makeForSeed: func(*Scenario, uint64, float64) policy { return &pid{lnShare: -1} }},
		{name: "stepwise", makeForSeed: func(*Scenario, uint64, float64) policy { return &stepwise{share: 0.5} }},
		{name: "adaptive", makeForSeed: func(*Scenario, uint64, float64) policy { return &adaptive{mu: 1} }},
		{name: "dual", makeForSeed: func(s *Scenario, _ uint64, _ float64) policy { return dual(s, false) }},
		{name: "dual-resolved", makeForSeed: func(s *Scenario, _ uint64, _ float64) policy { return dual(s, true) }},
		{name: "dual-resolved-shaded", firstPrice: true, makeForSeed: func(s *Scenario, _ uint64, _ float64) policy {
			d := dual(s, true)
			d.land = newLandscape()
			return d
		}},
	}
}

// Policies returns the names of all policies.
func Policies() []string {
	var names []string
	for _, b := range baselines() {
		names = append(names, b.name)
	}
	return append(names, Rebound)
}

// Options select what is simulated.
type Options struct {
	Scenarios []Scenario
	Seeds     []uint64
	// Policies are names of [Policies]; empty means all of them.
	Policies []string
	// Progress is called before each seed of a scenario, with their number; it may be nil.
	Progress func(scenario string, seed uint64, done, total int)
}

// SelectPolicies reads a list of names separated by commas; "all" selects all of them.
func SelectPolicies(names string) ([]string, error) {
	if names == "all" {
		return Policies(), nil
	}
	var list []string
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(Policies(), name) {
			return nil, fmt.Errorf("cannot simulate policy: got %q; want all, or some of %s", name, strings.Join(Policies(), ", "))
		}
		list = append(list, name)
	}
	return list, nil
}

// Run simulates every scenario with every seed. It ends early with ctx.
func Run(ctx context.Context, o Options) (*Report, error) {
	if len(o.Policies) == 0 {
		o.Policies = Policies()
	}
	report := &Report{}
	done := 0
	for i := range o.Scenarios {
		s := &o.Scenarios[i]
		sr := ScenarioReport{ID: s.ID, Name: s.Name}
		for _, seed := range o.Seeds {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("cannot finish the simulation: %w", err)
			}
			if o.Progress != nil {
				o.Progress(s.ID, seed, done, len(o.Scenarios)*len(o.Seeds))
			}
			done++
			if err := s.runSeed(seed, o.Policies, &sr); err != nil {
				return nil, fmt.Errorf("cannot simulate %s with seed %d: %w", s.ID, seed, err)
			}
		}
		sr.summarise()
		report.Scenarios = append(report.Scenarios, sr)
	}
	return report, nil
}

// stream is what one campaign is offered over the days of a run.
type stream struct {
	days    [][]Request // the warm-up and then the days that count
	budget  float64     // of each day, in the morning
	scored  int         // number of the days that count, at the end
	initial *history    // the forecast of the first day
	// yesterday is the best multiplier of the last day before those that count, in
	// hindsight.
	yesterday float64
}

// warm returns the number of days before those that count.
func (x *stream) warm() int { return len(x.days) - x.scored }

// streams draws the days of a run, one stream for each campaign.
func (s *Scenario) streams(seed uint64) []*stream {
	x := &stream{scored: 1}
	if s.Weekly {
		x.scored = 7
		for d := range 14 {
			x.days = append(x.days, s.day(seed*100+uint64(d), false, d))
		}
	} else {
		x.days = [][]Request{s.day(seed*2+1, true, 0), s.day(seed*2+2, false, 1)}
	}
	list := []*stream{x}
	if s.Campaigns > 1 {
		y := *x
		y.days = nil
		for _, day := range x.days {
			other := slices.Clone(day)
			for i := range other {
				other[i].Value, other[i].Seen = other[i].Other, other[i].Other
			}
			y.days = append(y.days, other)
		}
		list = append(list, &y)
	}
	for _, y := range list {
		y.prepare(s)
	}
	return list
}

// prepare sets the budget and the forecast.
func (x *stream) prepare(s *Scenario) {
	warm := x.days[:x.warm()]
	for _, day := range warm {
		x.budget += s.Budget * unlimited(day) / float64(len(warm))
	}
	last := warm[len(warm)-1]
	_, x.yesterday = clairvoyant(last, x.budget)
	x.yesterday = math.Max(1, x.yesterday)
	x.initial = historyOf(warm[0])
	if s.Cold {
		x.initial, x.yesterday = flatHistory(float64(len(last))*s.Guess), 1
		x.days = x.days[x.warm():]
	}
}

// oracles returns the values of the days that count for someone who knows them.
func (x *stream) oracles(s *Scenario) (best, static float64) {
	budget := x.budget
	if s.BudgetAt > 0 {
		budget *= s.BudgetTimes
	}
	for _, day := range x.days[x.warm():] {
		v, _ := clairvoyant(day, budget)
		best += v
		if s.FirstPrice {
			v = logNormalOracle(day, budget)
		}
		static += v
	}
	return best, static
}

// runSeed adds the results of one seed.
func (s *Scenario) runSeed(seed uint64, policies []string, report *ScenarioReport) error {
	streams := s.streams(seed)
	best, static := 0.0, 0.0
	for _, x := range streams {
		b, st := x.oracles(s)
		best, static = best+b, static+st
	}
	for _, name := range policies {
		var results []result
		var err error
		if name == Rebound {
			results, err = s.runRebound(streams, seed)
		} else {
			b := baselines()[slices.IndexFunc(baselines(), func(b baseline) bool { return b.name == name })]
			if b.firstPrice && !s.FirstPrice {
				continue
			}
			results, err = s.runBaseline(&b, streams, seed)
		}
		if err != nil {
			return fmt.Errorf("policy %s: %w", name, err)
		}
		report.add(name, score(results, seed, best, static))
	}
	return nil
}

// Offsets that keep the generators of notices of the warm-up and of the scored day
// apart, as in the reference.
const (
	warmSeed   = 5
	scoredSeed = 9
)

func noticeSeed(seed uint64, day, warm int) uint64 {
	if day < warm {
		return seed + warmSeed + uint64(day)<<16
	}
	return seed + scoredSeed + uint64(day-warm)<<16
}

// runBaseline returns the results of the days that count, of every campaign.
func (s *Scenario) runBaseline(b *baseline, streams []*stream, seed uint64) (results []result, err error) {
	players := make([]policy, len(streams))
	for i, x := range streams {
		players[i] = b.makeForSeed(s, seed, x.yesterday)
	}
	warm := streams[0].warm()
	for d := range streams[0].days {
		var entrants []*entrant
		for i, x := range streams {
			forecast := x.initial
			if d > 0 {
				forecast = historyOf(x.days[d-1])
			} else if !s.Cold && warm == 1 {
				forecast = historyOf(x.days[0]) // the reference knows the warm-up's traffic
			}
			players[i].newDay(forecast)
			day := s.firstPath(x.days[d])
			seat := newSeat(s, players[i], day, x.budget, 1)
			seat.ledger.uncapped = b.uncapped
			entrants = append(entrants, &entrant{bidder: seat, day: day, budget: x.budget})
		}
		if err := s.auctions(entrants, d >= warm, noticeSeed(seed, d, warm)); err != nil {
			return nil, err
		}
		if d >= warm {
			for _, e := range entrants {
				results = append(results, e.result)
			}
		}
	}
	return results, nil
}

// runRebound is runBaseline for the product.
func (s *Scenario) runRebound(streams []*stream, seed uint64) (results []result, err error) {
	var budgets []float64
	for _, x := range streams {
		budgets = append(budgets, x.budget)
	}
	r, err := newRebound(s, budgets, seed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	warm := streams[0].warm()
	for d := range streams[0].days {
		r.scored = d >= warm
		var entrants []*entrant
		for i, x := range streams {
			day := s.ownDay(x.days[d])
			entrants = append(entrants, &entrant{bidder: r.campaign(i, day), day: day, budget: x.budget})
		}
		if err := s.auctions(entrants, r.scored, noticeSeed(seed, d, warm)); err != nil {
			return nil, err
		}
		r.nextDay()
		for i, e := range entrants {
			r.reconcile(i, e.result.lost)
			if r.scored {
				results = append(results, e.result)
			}
		}
	}
	return results, r.check()
}
