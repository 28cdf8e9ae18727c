package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	rebound "rebound/config"
	"rebound/loadtest/scale"
)

// TestConfig writes a configuration and loads it.
func TestConfig(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "large")
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"config", "--out", dir, "--lines", "321", "--advertisers", "3"}, &out, &errs); code != exitDone {
		t.Fatalf("got status %d: %s", code, errs.String())
	}
	s, err := rebound.Load(filepath.Join(dir, scale.Main), rebound.Options{Getenv: os.LookupEnv})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Index.Lines()); n != 321 || len(s.Advertisers) != 3 || len(s.Audiences) != 64 {
		t.Errorf("got %d lines, %d advertisers, %d audiences; want 321, 3, 64", n, len(s.Advertisers), len(s.Audiences))
	}
	for name, args := range map[string][]string{
		"the folder is not empty": {"config", "--out", dir},
		"no folder":               {"config"},
		"too many lines":          {"config", "--out", filepath.Join(dir, "a"), "--lines", "1000000"},
		"too many audiences":      {"config", "--out", filepath.Join(dir, "b"), "--lines", "2000", "--audiences", "1500"},
	} {
		if code := run(t.Context(), args, &out, &errs); code != exitUsage {
			t.Errorf("%s: got status %d; want %d", name, code, exitUsage)
		}
	}
}
