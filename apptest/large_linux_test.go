package apptest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// largeConfig writes a configuration of realistic lines and returns its main file.
func largeConfig(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config")
	if status, out, errs := program(t, "loadtest", append([]string{"config", "--out", dir}, args...)...); status != 0 {
		t.Fatalf("config: %s%s", out, errs)
	}
	return filepath.Join(dir, "rebound.yaml")
}

// reload sends SIGHUP and waits until the configuration is active. It returns how long
// that took.
func (b *bidder) reload() time.Duration {
	b.t.Helper()
	b.log.mu.Lock()
	from := len(b.log.lines)
	b.log.mu.Unlock()
	if err := b.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		b.t.Fatal(err)
	}
	return within(b.t, 5*time.Minute, "the configuration is reloaded", func() bool {
		return b.log.find(from, "configuration reloaded") != nil
	})
}

// reloads reloads the configuration n times and returns the memory after the first and
// the last time.
func (b *bidder) reloads(n int) (first, last footprint, slowest time.Duration) {
	b.t.Helper()
	for i := range n {
		slowest = max(slowest, b.reload())
		if last = b.footprint(); i == 0 {
			first = last
		}
	}
	return first, last, slowest
}

// TestLargeConfiguration runs 2,000 realistic lines whose audiences have more rules than
// one fact of the log holds: visitors are remembered and bid for, before and after
// reloads under load, a kill and a clean restart, and reloads give their memory back.
func TestLargeConfiguration(t *testing.T) {
	config := largeConfig(t, "--lines", "2000", "--audiences", "900", "--products", "1000", "--candidates", "350")
	b := newBidder(t, "--config", config)
	b.startLarge()
	t.Cleanup(b.kill)
	load := []string{"--visitors", "300", "--products", "1000", "--known-pct", "50", "--rate", "50", "--duration", "5s", "--deadline", "5s"}
	bids := func(what string, r *attackReport) {
		t.Helper()
		if r.Statuses["200"] == 0 || len(r.Statuses) > 2 || r.Statuses["200"]+r.Statuses["204"] != r.Sent {
			t.Errorf("%s: got statuses %v of %d; want bids, and 200 and 204 only", what, r.Statuses, r.Sent)
		}
	}
	bids("after the start", b.attack(t, load...))
	facts, err := filepath.Glob(filepath.Join(b.dir, "log", "facts", "*.ndjson"))
	if err != nil || len(facts) == 0 {
		t.Fatalf("no files of facts: %v", err)
	}
	text, err := os.ReadFile(facts[0])
	if err != nil || !strings.Contains(string(text), `"part":2,"parts":`) {
		t.Errorf("the configuration is not in several facts (%v)", err)
	}
	reloading := make(chan struct{})
	go func() {
		defer close(reloading)
		if first, last, _ := b.reloads(5); last.resident > first.resident*3/2 {
			t.Errorf("after the first reload %s; after five %s: want no growth", first, last)
		}
	}()
	bids("during reloads", b.attack(t, load...))
	<-reloading
	b.kill()
	b.startLarge()
	bids("after a kill", b.attack(t, append(load, "--requests", oneRequest(t))...))
	if status := b.terminate(); status != 0 {
		t.Errorf("a clean stop: got status %d; want 0", status)
	}
	b.startLarge()
	bids("after a restart", b.attack(t, append(load, "--requests", oneRequest(t))...))
}

// reloadUnderLoad measures bids alone, then during reloads, and describes both.
func (b *bidder) reloadUnderLoad(t *testing.T, load []string) string {
	t.Helper()
	alone := b.attack(t, load...)
	type result struct {
		first, last footprint
		slowest     time.Duration
	}
	done := make(chan result, 1)
	go func() {
		defer close(done)
		var r result
		r.first, r.last, r.slowest = b.reloads(2)
		done <- r
	}()
	during := b.attack(t, load...)
	r := <-done
	if during.Statuses["200"] == 0 || len(during.Statuses) > 2 {
		t.Errorf("during reloads: %s; want bids, and 200 and 204 only", during)
	}
	return fmt.Sprintf("reloads took at most %s; after the first %s; after the second %s\nload alone: %s\nduring reloads: %s\n",
		r.slowest.Round(time.Millisecond), r.first, r.last, alone, during)
}
