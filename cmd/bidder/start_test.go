package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/config"
	"rebound/internal/cli"
)

// A failed start reports the cause and the remedy, and not that anything stopped.
func TestFailedStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, name := range []string{"bid", "edge", "admin"} {
		data := filepath.Join(t.TempDir(), "data")
		args := []string{"serve", "--config", shop, "--data", data, "--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
		status, _, errs := run(t, append(args, "--"+name, taken.Addr().String())...)
		if status != 1 || !strings.Contains(errs, "address already in use; stop the other process, or choose another address with --"+name) {
			t.Errorf("%s: got %d %s; want the remedy", name, status, errs)
		}
		if strings.Contains(errs, "stopping") || strings.Contains(errs, "stopped") {
			t.Errorf("%s: what never ran is said to stop: %s", name, errs)
		}
		if _, err := os.Stat(filepath.Join(data, "log", "facts")); err == nil {
			t.Errorf("%s: the log was opened although the port was taken", name)
		}
	}
}

// Without a terminal everything on standard error is JSON, including errors of
// the configuration.
func TestBadConfigurationIsLogged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nlisten: {bid: nowhere}\nadvertisers:\n  - id: shop\n    domain: [shop.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, errs := run(t, "serve", "--config", path)
	var problems []int
	for line := range strings.Lines(errs) {
		var x struct {
			Level, Msg, File string
			Line             int
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil || x.Level != "error" && x.Msg != readingConfig {
			t.Errorf("got line %s; want an error as JSON, after what the bidder begins with", line)
		}
		if x.Line > 0 {
			problems = append(problems, x.Line)
		}
	}
	if status != 1 || !slices.Contains(problems, 2) || !slices.Contains(problems, 5) {
		t.Errorf("got %d, problems of lines %v; want 1, and 2 and 5 among them:\n%s", status, problems, errs)
	}
}

func TestWarningsOfThisMachine(t *testing.T) {
	s, err := config.Load(shop, config.Options{Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Warnings) <= len(warningsOf(s)) {
		t.Errorf("got %d of %d warnings at the start; want fewer: the sample's exchanges are open to this machine only", len(warningsOf(s)), len(s.Warnings))
	}
}

func TestBuild(t *testing.T) {
	with := func(version string, settings ...debug.BuildSetting) string {
		return cli.BuildOf(&debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings})
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	for _, tt := range []struct{ got, want string }{
		{with("(devel)"), "devel"}, {with(""), "devel"}, {with("v1.2.3"), "v1.2.3"}, {with("(devel)", revision), "0123456789ab"},
		{with("(devel)", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "0123456789ab+changed"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q; want %q", tt.got, tt.want)
		}
	}
}

// The greeting stays short, however many caps there are.
func TestGreetingIsShort(t *testing.T) {
	r := startProgram(t, shop, filepath.Join(t.TempDir(), "data"))
	var b strings.Builder
	r.app.greetBudgets(&b)
	if n := strings.Count(b.String(), "\n"); n == 0 || n > greetCaps+1 {
		t.Errorf("got %d lines:\n%s", n, b.String())
	}
	plans := r.app.snapshot.Load().LinePlans()
	for i := range 20 {
		x := plans[0]
		x.Line.Line = fmt.Sprintf("line%d", i)
		plans = append(plans, x)
	}
	r.app.money.SetPlan(plans)
	b.Reset()
	r.app.greetBudgets(&b)
	if n := strings.Count(b.String(), "\n"); n != greetCaps+1 || !strings.Contains(b.String(), " more, see /admin/budgets") {
		t.Errorf("got %d lines; want %d and what is left out:\n%s", n, greetCaps+1, b.String())
	}
}

// A data folder that lost its keys does not get new ones without a flag,
// because all its visitors would become unknown.
func TestMissingKeysAreNotMadeAnew(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "data")
	startProgram(t, shop, whole).stop()
	for _, left := range []string{"views", "log/facts"} { // each of them alone is enough
		data := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(filepath.Join(data, left), os.DirFS(filepath.Join(whole, left))); err != nil {
			t.Fatal(err)
		}
		args := []string{"serve", "--config", shop, "--data", data, "--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
		status, _, errs := run(t, args...)
		if status != 1 || !strings.Contains(errs, "restore keys.json from a backup, or start with --new-keys") || !strings.Contains(errs, filepath.Join(data, left)) {
			t.Errorf("%s: got %d %s; want it refused and the remedy", left, status, errs)
		}
		if _, err := os.Stat(filepath.Join(data, "keys.json")); err == nil {
			t.Errorf("%s: keys were made", left)
		}
	}
	if err := os.Remove(filepath.Join(whole, "keys.json")); err != nil {
		t.Fatal(err)
	}
	startProgram(t, shop, whole, "--new-keys")
	if _, err := os.Stat(filepath.Join(whole, "keys.json")); err != nil {
		t.Errorf("--new-keys: %v", err)
	}
}
