package main

import (
	"testing"
	"time"

	"rebound/config"
	"rebound/internal/cli"
)

// The flight of a demo is a configuration without problems whose campaign ends when it should.
func TestDemoFlight(t *testing.T) {
	now := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	f := &demoFlags{rate: 40, flight: 10 * time.Minute, budget: 2.5}
	if err := f.check(); err != nil || f.duration != f.flight+demoAfter {
		t.Fatalf("got a duration of %s, %v; want %s", f.duration, err, f.flight+demoAfter)
	}
	path, err := flightConfig(t.TempDir(), f, now)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cli.LoadConfig(path, config.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	start, lines := now.Add(demoStart), s.LinePlans()
	for i := range lines {
		if l := &lines[i]; !l.Start.Equal(start) || !l.End.Equal(start.Add(f.flight)) {
			t.Errorf("line %s runs from %s to %s; want ten minutes from %s", l.Line, l.Start, l.End, start)
		}
	}
	if len(lines) == 0 {
		t.Error("there are no lines")
	}
	for _, bad := range []demoFlags{{rate: 0, budget: 1}, {rate: 40, budget: 0}, {rate: 40, budget: 1, flight: time.Second}, {rate: 40, budget: 1, duration: -1}} {
		if bad.check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
