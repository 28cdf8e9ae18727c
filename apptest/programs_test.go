package apptest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplayProgram generates a short day, replays it under two configurations,
// twice, and checks that the outputs are the same except for the timings.
func TestReplayProgram(t *testing.T) {
	dir := t.TempDir()
	day := filepath.Join(dir, "day.ndjson")
	if status, _, errs := program(t, "replay", "generate", "--config", "examples/day/even.yaml", "--requests", "12000", "--out", day); status != 0 {
		t.Fatalf("generate: status %d: %s", status, errs)
	}
	report := func(name string) string {
		file := filepath.Join(dir, name)
		status, out, errs := program(t, "replay", "--bids", day, "--config", "examples/day/even.yaml", "--against", "examples/day/asap.yaml",
			"--report", file+".json", "--html", file+".html", "--diff", file+".ndjson")
		if status != 0 || !strings.Contains(out, "shop/day/viewed") || !strings.Contains(out, "against, the old configuration:") {
			t.Fatalf("status %d: %s%s", status, out, errs)
		}
		b, err := os.ReadFile(file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for line := range strings.Lines(string(b)) {
			if !strings.Contains(line, `"seconds"`) && !strings.Contains(line, `"per_second"`) {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	first := report("first")
	if first != report("second") {
		t.Error("two replays of one file and seed differ")
	}
	if !strings.Contains(first, `"compared":`) || !strings.Contains(first, `"multiplier":`) {
		t.Errorf("the report has no differences or no curve:\n%.500s", first)
	}
	page, err := os.ReadFile(filepath.Join(dir, "first.html"))
	if err != nil || strings.Count(string(page), "<svg") != 2 {
		t.Errorf("page: %v, %d drawings; want two", err, strings.Count(string(page), "<svg"))
	}
	diff, err := os.ReadFile(filepath.Join(dir, "first.ndjson"))
	if err != nil || !strings.Contains(string(diff), `"kind":"price_down"`) {
		t.Errorf("differences: %v, %.200s", err, diff)
	}
	if status, _, errs := program(t, "replay", "--bids", filepath.Join(dir, "none")); status != 1 || !strings.Contains(errs, "none") {
		t.Errorf("a file that is not there: status %d, %q; want 1 and its name", status, errs)
	}
	if status, _, _ := program(t, "replay", "--nonsense"); status != 2 {
		t.Errorf("a wrong flag: status %d; want 2", status)
	}
}

// TestLoadtestProgram introduces visitors to a running bidder and attacks it.
func TestLoadtestProgram(t *testing.T) {
	b := startBidder(t)
	file := filepath.Join(t.TempDir(), "report.json")
	status, out, errs := program(t, "loadtest", "attack", "--target", "http://"+b.Bid+"/openrtb2/demo", "--edge", "http://"+b.Edge,
		"--rate", "100", "--duration", "2s", "--visitors", "50", "--deadline", "1s", "--report", file)
	if status != 0 || !strings.Contains(out, "latency from schedule") {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := parse(t, text)
	sent, _ := num(r["sent"])
	bids, _ := num(r["bid_pct"])
	bad, _ := num(r["error_statuses"])
	if sent < 150 || bids < 20 || bids > 60 || bad != 0 {
		t.Errorf("sent %g, %g %% bids, %g errors; want about 200, about 40 and none", sent, bids, bad)
	}
	if got := b.metric("rebound_bidder_requests_total", "exchange", "demo"); got < sent {
		t.Errorf("the bidder counted %g requests; the report says %g were sent", got, sent)
	}
	if status, _, errs := program(t, "loadtest", "attack", "--target", "http://203.0.113.1/openrtb2/demo"); status != 2 || !strings.Contains(errs, "--remote") {
		t.Errorf("a target elsewhere: status %d, %q; want 2 and the remedy", status, errs)
	}
}
