package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/journal"
	"rebound/rtb"
)

// TestProveSize fills a data folder with ten million facts of one million visitors
// and measures what an operator waits for: a verification of the whole log, and a
// start. It asserts no times; the figures are in its output.
func TestProveSize(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("ten million facts take minutes; set PROVE=1")
	}
	const visitors, facts, step = 1_000_000, 10_000_000, 1000
	data := filepath.Join(t.TempDir(), "data")
	r := startProgram(t, shop, data)
	began := time.Now()
	batch := make([]events.Fact, step)
	for i := 0; i < facts; i += step {
		for j := range batch {
			batch[j] = visit(i+j, visitors)
		}
		for r.app.append(context.Background(), batch...) != nil { // the views are behind
			time.Sleep(10 * time.Millisecond)
		}
	}
	t.Logf("appended %d facts in %.1f s", facts, time.Since(began).Seconds())
	eventuallyWithin(t, 10*time.Minute, "folded", func() bool {
		last := r.app.journal.Last().Seq
		return r.app.visitors.Position().Seq >= last && r.app.money.Position().Seq >= last
	})
	t.Logf("folded after %.1f s; %d visitors", time.Since(began).Seconds(), r.app.visitors.Stats().Visitors)
	if status := r.stop(); status != 0 {
		t.Fatalf("stopped with status %d", status)
	}
	began = time.Now()
	report, err := journal.Verify(journal.FactsDir(data), events.Position{}, nil)
	if err != nil || !report.OK() || report.Facts < facts {
		t.Fatalf("verify: %+v, %v", report, err)
	}
	t.Logf("verified %d facts in %d files in %.1f s", report.Facts, report.Files, time.Since(began).Seconds())
	began = time.Now()
	again := startProgram(t, shop, data)
	t.Logf("ready %.2f s after the start", time.Since(began).Seconds())
	runtime.GC()
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmRSS") {
				t.Logf("resident, the test included: %s", strings.TrimSpace(line[6:]))
			}
		}
	}
	again.stop()
}

// visit is the nth fact of a population whose visitors look at products.
func visit(n, visitors int) events.Fact {
	now := time.Now().UTC()
	return events.Fact{
		ID: fmt.Sprint("v:", n), At: now, Kind: events.KindEvent, Advertiser: "shop", Visitor: rtb.Key{1, byte(n % visitors), byte(n % visitors >> 8), byte(n % visitors >> 16)},
		Event: &events.Event{Name: "view_item", EventID: fmt.Sprint("e", n), Items: []events.Item{{ID: fmt.Sprint("sku", n%40), Price: 19_990_000, Quantity: 1, Category: "shoes > running", Brand: "Fleet"}},
			URL: &events.URL{Host: "shop.example", Path: "/p/running-shoes-for-long-distances"}, RefHost: "search.example", Trust: events.TrustBrowser},
	}
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if so() {
			return
		}
	}
	t.Fatalf("%s: not so within %v", what, limit)
}
