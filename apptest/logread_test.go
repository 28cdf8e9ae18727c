package apptest

import (
	"strings"
	"testing"
)

// TestReadLogs: log cat, tail and stats of a running bidder's folder, with filters.
func TestReadLogs(t *testing.T) {
	b := startBidder(t)
	uid, _ := b.loop()
	within(t, patience, "the bid in the log", func() bool { // its writer buffers for a second
		_, out := tool(t, "bidder", "log", "cat", "--data", b.dir, "--kind", "bid")
		return out != ""
	})
	log := func(verb string, args ...string) string {
		t.Helper()
		status, out := tool(t, "bidder", append([]string{"log", verb, "--data", b.dir}, args...)...)
		if status != 0 {
			t.Errorf("log %s %v: status %d\n%s", verb, args, status, out)
		}
		return out
	}
	cat := log("cat")
	last := ""
	for _, line := range strings.Split(strings.TrimSpace(cat), "\n") {
		if at, _, _ := strings.Cut(line, " "); at < last {
			t.Errorf("%q comes after %q", at, last)
		} else {
			last = at
		}
	}
	for _, want := range []string{" event      -", " view_item sku1", " bill       demo", " at 1 USD, charged 0.001 USD", " bid        demo         shop/autumn/viewed"} {
		if !strings.Contains(cat, want) {
			t.Errorf("log cat: want %q in\n%s", want, cat)
		}
	}
	for _, c := range []struct {
		args []string
		want int // lines
	}{
		{[]string{"--kind", "bill", "--exchange", "demo", "--line", "viewed"}, 1},
		{[]string{"--kind", "bill", "--exchange", "other"}, 0},
		{[]string{"--kind", "event,bid", "--visitor", "uid:" + uid}, 2},
		{[]string{"--kind", "event,bid", "--visitor", "uid:nobody"}, 0},
		{[]string{"--kind", "bill", "--from", "1h"}, 1},
		{[]string{"--kind", "bill", "--to", "1h"}, 0},
		{[]string{"--kind", "bill", "--what", "bids"}, 0},
		{[]string{"--limit", "2"}, 2},
	} {
		if out := log("cat", c.args...); strings.Count(out, "\n") != c.want {
			t.Errorf("log cat %v: want %d lines; got\n%s", c.args, c.want, out)
		}
	}
	if x := parse(t, []byte(log("cat", "--kind", "bill", "--json"))); x["kind"] != "bill" || x["price_micros"] != 1000.0 {
		t.Errorf("log cat --json: got %v", x)
	}
	if out := log("tail", "--once", "-n", "1", "--kind", "bill"); !strings.Contains(out, "charged 0.001 USD") || strings.Count(out, "\n") != 1 {
		t.Errorf("log tail --once: got\n%s", out)
	}
	stats := parse(t, []byte(log("stats", "--json")))
	line := obj(obj(stats["lines"])["shop/autumn/viewed"])
	if line["bills"] != 1.0 || obj(line["charged_micros"])["USD"] != 1000.0 || obj(obj(stats["exchanges"])["demo"])["bids"] == 0.0 {
		t.Errorf("log stats --json: got %v", stats)
	}
	if out := log("stats"); !strings.Contains(out, "shop/autumn/viewed") || !strings.Contains(out, "requests (estimate)") {
		t.Errorf("log stats: got\n%s", out)
	}
	for _, args := range [][]string{{"--what", "nothing"}, {"--from", "yesterday"}, {"--visitor", "nobody"}} {
		if status, out := tool(t, "bidder", append([]string{"log", "cat", "--data", b.dir}, args...)...); status != 2 || !strings.Contains(out, args[0]) {
			t.Errorf("log cat %v: status %d\n%s", args, status, out)
		}
	}
}
