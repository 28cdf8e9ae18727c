package sim

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// reference is what the reference simulator computed for one scenario and seed. The
// values of the baselines are known for the first seed only.
type reference struct {
	Scenario    string  `json:"scenario"`
	Seed        uint64  `json:"seed"`
	Requests    int     `json:"requests"`
	Budget      float64 `json:"budget"`
	Clairvoyant float64 `json:"clairvoyant"`
	Multiplier  float64 `json:"multiplier"`
	LogNormal   float64 `json:"log_normal"`
	Empirical   float64 `json:"empirical"`
	PID         float64 `json:"pid"`
	Dual        float64 `json:"dual_resolved"`
	DualShaded  float64 `json:"dual_resolved_shaded"`
}

func readReference(t *testing.T) []reference {
	t.Helper()
	text, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []reference
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func same(got, want float64) bool { return math.Abs(got-want) <= 1e-9*math.Abs(want) }

// The market and the oracles equal those of the reference simulator. The ordinary run
// compares the small scenarios, with a few seeds.
func TestOraclesEqualTheReference(t *testing.T) { oraclesEqual(t, false) }

// Every scenario of the reference simulator with every seed.
func TestProveOraclesEqualTheReference(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("takes minutes: set PROVE=1")
	}
	oraclesEqual(t, true)
}

func oraclesEqual(t *testing.T, full bool) {
	list := readReference(t)
	if len(list) != 9*13 {
		t.Fatalf("got %d references; want 9 scenarios with 13 seeds", len(list))
	}
	for _, want := range list {
		chosen, err := Select(want.Scenario)
		if err != nil {
			t.Fatal(err)
		}
		s := &chosen[0]
		if small := s.Requests <= 20000 && want.Seed < 1050 || want.Seed == 1000 && s.ID == "S1"; !full && !small {
			continue
		}
		x := s.streams(want.Seed)[0]
		today := x.days[len(x.days)-1]
		budget := x.budget
		if s.BudgetAt > 0 {
			budget *= s.BudgetTimes
		}
		value, multiplier := clairvoyant(today, budget)
		if len(today) != want.Requests || !same(x.budget, want.Budget) || !same(value, want.Clairvoyant) || !same(multiplier, want.Multiplier) {
			t.Errorf("%s, seed %d: got %d requests, budget %v, clairvoyant %v at %v; want %+v", s.ID, want.Seed, len(today), x.budget, value, multiplier, want)
		}
		if want.LogNormal == 0 || !full && (testing.Short() || s.Requests > 20000) {
			continue
		}
		if got := logNormalOracle(today, budget); !same(got, want.LogNormal) {
			t.Errorf("%s, seed %d: log-normal oracle %v; want %v", s.ID, want.Seed, got, want.LogNormal)
		}
		if got := empiricalOracle(today, budget); !same(got, want.Empirical) {
			t.Errorf("%s, seed %d: empirical oracle %v; want %v", s.ID, want.Seed, got, want.Empirical)
		}
	}
}

// Baselines win what they win in the reference simulator, to the last impression.
func TestBaselinesEqualTheReference(t *testing.T) {
	for _, want := range readReference(t) {
		if want.Seed != 1000 || !slices.Contains([]string{"S6", "S8", "S9"}, want.Scenario) {
			continue
		}
		if testing.Short() && want.Scenario != "S6" {
			continue
		}
		chosen, _ := Select(want.Scenario)
		s := &chosen[0]
		streams := s.streams(want.Seed)
		for _, b := range baselines() {
			value := map[string]float64{"pid": want.PID, "dual-resolved": want.Dual, "dual-resolved-shaded": want.DualShaded}[b.name]
			if value == 0 {
				continue
			}
			results, err := s.runBaseline(&b, streams, want.Seed)
			if err != nil {
				t.Fatal(err)
			}
			if got := results[0].value; !same(got, value) {
				t.Errorf("%s: %s wins %v; want %v", s.ID, b.name, got, value)
			}
		}
	}
}

// The product's own policy, on the smallest scenarios: it never spends more than the
// budget on the true bill, and beats what needs no control.
func TestRebound(t *testing.T) {
	chosen, err := Select("S6,S13")
	if err != nil {
		t.Fatal(err)
	}
	if chosen[1].Requests = 5000; testing.Short() {
		chosen = chosen[:1]
	}
	report, err := Run(context.Background(), Options{Scenarios: chosen, Seeds: []uint64{1000}, Policies: []string{"asap", Rebound}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Scenarios {
		asap, own := s.Policies[0], s.Policies[1]
		if own.MaxOverspend > 0 || own.OfOracle < 2*asap.OfOracle || own.Utilisation < 85 {
			t.Errorf("%s: %+v against asap %+v", s.ID, own.cells(), asap.cells())
		}
	}
	var text, page strings.Builder
	if err := report.WriteText(&text); err != nil || !strings.Contains(text.String(), Rebound) {
		t.Errorf("table: %v\n%s", err, text.String())
	}
	if err := report.WriteHTML(&page); err != nil || !strings.Contains(page.String(), "<svg") {
		t.Errorf("page: %v", err)
	}
}

// The same seed gives the same report, to the last digit.
func TestSimulationIsDeterministic(t *testing.T) {
	chosen, _ := Select("S6")
	chosen[0].Requests = 5000
	var first string
	for range 3 {
		report, err := Run(context.Background(), Options{Scenarios: chosen, Seeds: []uint64{7}, Policies: []string{"throttle", Rebound}})
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := report.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = text.String()
		}
		if text.String() != first {
			t.Fatal("two runs differ")
		}
	}
}

func TestSelect(t *testing.T) {
	for _, bad := range []string{"", "S15", "S0", "S1,"} {
		if _, err := Select(bad); err == nil {
			t.Errorf("scenario %q: no error", bad)
		}
	}
	if _, err := SelectPolicies("pid,guess"); err == nil {
		t.Error("policy guess: no error")
	}
	if list, err := Select("all"); err != nil || len(list) != len(Scenarios()) {
		t.Errorf("all: %d, %v", len(list), err)
	}
}

// Of an impression that four paths offer, one is bid on, and it costs about what the
// cheapest path takes.
func TestPathsCostLittleMoreThanTheCheapest(t *testing.T) {
	chosen, err := Select("S14")
	if err != nil {
		t.Fatal(err)
	}
	one := chosen[0]
	one.PathFees = nil
	report, err := Run(context.Background(), Options{Scenarios: []Scenario{chosen[0], one}, Seeds: []uint64{1000}, Policies: []string{"pid", Rebound}})
	if err != nil {
		t.Fatal(err)
	}
	four, single := report.Scenarios[0].Policies[1].Seeds[0], report.Scenarios[1].Policies[1].Seeds[0]
	if four.Cost > 1.02*single.Cost || four.Overspend > 0 {
		t.Errorf("four paths: %.3f a win, overspent %.2f %%; want at most 1.02 times %.3f", four.Cost, four.Overspend, single.Cost)
	}
	first := report.Scenarios[0].Policies[0].Seeds[0]
	if four.OfOracle <= first.OfOracle {
		t.Errorf("%.1f %% of the oracle; want more than %.1f %%, which the first path of every impression gives", four.OfOracle, first.OfOracle)
	}
	t.Logf("cost per win %.3f and %.3f, of the oracle %.1f %% and %.1f %%", four.Cost, single.Cost, four.OfOracle, single.OfOracle)
}
