package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rebound/examples"
	"rebound/rtb"
)

// demoFlags are the flags of the command demo.
type demoFlags struct {
	duration time.Duration
	rate     float64
	seed     uint64
	flight   time.Duration
	budget   float64 // of the flight, in major units
	html     string
}

// check returns an error if the flags do not fit together.
func (f *demoFlags) check() error {
	switch {
	case f.duration < 0 || !(f.rate >= 1 && f.rate <= 1000):
		return fmt.Errorf("got a duration of %s and a rate of %g; want 0 or more, and 1 to 1000", f.duration, f.rate)
	case f.flight != 0 && f.flight < time.Minute || f.flight > 24*time.Hour:
		return fmt.Errorf("got a flight of %s; want 1m to 24h", f.flight)
	case !(f.budget >= 0.01 && f.budget <= 1e6):
		return fmt.Errorf("got a budget of %g; want 0.01 to 1000000", f.budget)
	}
	if f.flight != 0 && f.duration == 0 {
		f.duration = f.flight + demoAfter
	}
	return nil
}

// demoStart and demoAfter are how long a demo with a flight runs before its flight begins
// and after it has ended, so that visitors are known at its beginning.
const (
	demoStart = 10 * time.Second
	demoAfter = demoStart + 5*time.Second
)

// What a flight replaces in the sample shop: the budget of its campaign, and the profile of
// its exchanges, whose auctions are over at once in a demo. A bid that is reserved for the
// usual five minutes would hold its money for half of a flight of ten.
const (
	sampleBudget  = "budget: {daily: 500000.00, total: 20000000.00, pacing: even}"
	sampleProfile = "include: builtin:generic"
	demoProfile   = sampleProfile + "\n    auction_ttl: 30s\n    exp: {banner: 30s}\n    bill_window: {banner: 1m}"
)

// flightConfig writes the sample shop with a flight that begins soon into a folder, and
// returns the path of the configuration.
func flightConfig(dir string, f *demoFlags, now time.Time) (string, error) {
	if err := os.CopyFS(dir, examples.FS); err != nil {
		return "", fmt.Errorf("cannot write the configuration of the demo: %w", err)
	}
	path := filepath.Join(dir, filepath.FromSlash(examples.Shop))
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the configuration of the demo: %w", err)
	}
	start := now.Add(demoStart).UTC().Truncate(time.Second)
	flight := fmt.Sprintf("start: %s\n    end: %s\n    budget: {flight: %s, pacing: even}",
		start.Format(time.RFC3339), start.Add(f.flight).Format(time.RFC3339), rtb.Micros(f.budget*1e6+0.5))
	if !strings.Contains(string(text), sampleBudget) || !strings.Contains(string(text), sampleProfile) {
		return "", fmt.Errorf("cannot give the sample shop a flight: want %q and %q in %s", sampleBudget, sampleProfile, path)
	}
	changed := strings.NewReplacer(sampleBudget, flight, sampleProfile, demoProfile).Replace(string(text))
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		return "", fmt.Errorf("cannot write the configuration of the demo: %w", err)
	}
	return path, nil
}
