package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebound/internal/cli"
)

const (
	sample = "../../examples/shop/rebound.yaml"
	bare   = `{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"user":{"buyeruid":"x"}}`
)

func recordOf(exchange string) string {
	return `{"v":1,"ts":"2026-10-01T08:00:00Z","exchange":"` + exchange + `","request":` + bare + `}`
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bids.ndjson")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func call(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = verb(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

// Flags that make no sense are refused with a sentence, before anything is written.
func TestFlagsAreRefused(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ flags, want string }{
		{"--spacing -1s", "spacing"}, {"--spacing 2h", "spacing"}, {"--notice-delay -1ms", "notice delay"}, {"--notice-delay 9000h", "notice delay"},
		{"--lost-notices -1", "notices"}, {"--lost-notices 100.5", "notices"}, {"--lost-notices NaN", "notices"}, {"--lost-notices Inf", "notices"},
		{"--from 2026-10-02T00:00:00Z --to 2026-10-01T00:00:00Z", "after the beginning"}, {"--from yesterday", "--from"}, {"--at 25:00", "--at"},
		{"--only other", "demo, demo-first"}, {"--exchange other", "demo, demo-first"}, {"--diff " + dir + "/d", "--against"},
		{"extra", "extra"},
	} {
		args := append([]string{"run", "--bids", file(t, bare), "--config", sample}, strings.Fields(c.flags)...)
		if status, _, errs := call(t.Context(), args...); status != cli.ExitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("run %s: got status %d and %q; want %d and %q", c.flags, status, errs, cli.ExitUsage, c.want)
		}
	}
	for _, c := range []struct{ flags, want string }{
		{"--requests -1", "--requests"}, {"--requests 0", "--requests"}, {"--requests 999999999", "--requests"},
		{"--price -1", "--price"}, {"--price 0", "--price"}, {"--price NaN", "--price"}, {"--price Inf", "--price"}, {"--price 1e30", "--price"},
		{"--date tomorrow", "--date"}, {"--exchange other", "demo, demo-first"}, {"extra", "extra"},
	} {
		args := append([]string{"generate", "--config", sample, "--out", filepath.Join(dir, "day")}, strings.Fields(c.flags)...)
		if status, _, errs := call(t.Context(), args...); status != cli.ExitUsage || !strings.Contains(errs, c.want) {
			t.Errorf("generate %s: got status %d and %q; want %d and %q", c.flags, status, errs, cli.ExitUsage, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v; want no file", left, err)
	}
}

// The report says which exchanges the files have, and a run without a record to replay
// says why.
func TestReplayNamesExchanges(t *testing.T) {
	mixed := recordOf("demo") + "\n" + recordOf("index") + "\n" + recordOf("index") + "\n" + bare + "\nnonsense\n"
	status, out, errs := call(t.Context(), "--bids", file(t, mixed), "--config", sample, "--max-broken", "20")
	for _, want := range []string{"exchange demo: 2 records\n", "exchange index: 2 records; 2 skipped", "1 lines skipped: they could not be read"} {
		if status != cli.ExitDone || !strings.Contains(out, want) {
			t.Errorf("got status %d, %s%s; want %q", status, out, errs, want)
		}
	}
	for _, c := range []struct {
		text, flags string
		want        []string
	}{
		{recordOf("index") + "\n" + recordOf("openx"), "", []string{"index (1 records), openx (1 records)", "demo, demo-first"}},
		{"", "", []string{"empty"}},
		{"\n\n", "", []string{"empty"}},
		{"nonsense\nmore\n", "", []string{"none of the 2 lines"}},
		{`{"v":1,"ts":"2026-10-01T08:00:00Z","exchange":"demo","request":null,"decision":{"nobid":"paused"}}`, "", []string{"none of the 1 lines has a request"}},
		{recordOf("demo"), "--only demo-first", []string{"--only", "demo (1 records)"}},
		{recordOf("demo"), "--from 2027-01-01T00:00:00Z", []string{"--from", "demo (1 records)"}},
	} {
		args := append([]string{"--bids", file(t, c.text), "--config", sample}, strings.Fields(c.flags)...)
		status, out, errs := call(t.Context(), args...)
		for _, want := range c.want {
			if status != cli.ExitFailed || !strings.Contains(errs, want) {
				t.Errorf("%q %s: got status %d, %s%s; want %q", c.text, c.flags, status, out, errs, want)
			}
		}
	}
}

// A byte-order mark before the first record, or before a bare request, does not hide it.
func TestByteOrderMark(t *testing.T) {
	for _, text := range []string{"\ufeff" + recordOf("demo"), "\ufeff" + bare + "\r\n", "\ufeff\n" + recordOf("demo")} {
		status, out, errs := call(t.Context(), "--bids", file(t, text), "--config", sample)
		if status != cli.ExitDone || !strings.Contains(out, "1 requests") || errs != "" {
			t.Errorf("%q: got status %d, %s%s; want one request", text, status, out, errs)
		}
	}
}

// A record with a time far ahead, or before the others, does not stop the replay.
func TestWrongTimes(t *testing.T) {
	for _, ts := range []string{"9999-12-31T23:59:59Z", "2031-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:01Z"} {
		wrong := strings.Replace(recordOf("demo"), "2026-10-01T08:00:00Z", ts, 1)
		for _, text := range []string{recordOf("demo") + "\n" + wrong, wrong + "\n" + recordOf("demo")} {
			status, out, errs := call(t.Context(), "--bids", file(t, text), "--config", sample)
			if status != cli.ExitDone || !strings.Contains(out, "2 requests") {
				t.Errorf("%s: got status %d, %s%s; want two requests", ts, status, out, errs)
			}
		}
	}
}

// Files that cannot be written are named before the run, and inputs are never
// overwritten.
func TestOutputsAreChecked(t *testing.T) {
	bids, dir := file(t, recordOf("demo")), t.TempDir()
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--report", dir}, "--report"}, {[]string{"--html", dir + "/none/x"}, "--html"},
		{[]string{"--diff", dir + "/none/x", "--against", sample}, "--diff"},
		{[]string{"--report", bids}, "input"}, {[]string{"--html", sample}, "input"},
		{[]string{"--report", dir + "/a", "--html", dir + "/a"}, "--html"},
	} {
		status, out, errs := call(t.Context(), append([]string{"--bids", bids, "--config", sample}, c.flags...)...)
		if status != cli.ExitFailed || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: got status %d, %q, %q; want %q and no report", c.flags, status, out, errs, c.want)
		}
	}
	if status, _, errs := call(t.Context(), "generate", "--config", sample, "--out", dir+"/none/day"); status != cli.ExitFailed || !strings.Contains(errs, "--out") {
		t.Errorf("generate: got status %d, %q; want --out", status, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v; want no file", left, err)
	}
}

// A signal during the run still gives a report, of what was replayed by then.
func TestInterruptedReplayReports(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pipe := &cancelling{after: 1, cancel: cancel}
	var text strings.Builder
	for i := range 60 {
		text.WriteString(strings.Replace(recordOf("demo"), "08:00", fmt.Sprintf("08:%02d", i), 1) + "\n")
		if i == 40 {
			text.WriteString("nonsense\n")
		}
	}
	bids, report := file(t, text.String()), filepath.Join(dir, "report.json")
	var out bytes.Buffer
	status := verb(ctx, []string{"--bids", bids, "--config", sample, "--report", report}, &out, pipe)
	var r struct {
		Run struct {
			Requests    int
			Interrupted bool
		}
	}
	b, err := os.ReadFile(report)
	if err != nil || json.Unmarshal(b, &r) != nil {
		t.Fatalf("report: %v, %s", err, b)
	}
	if status != cli.ExitFailed || !r.Run.Interrupted || r.Run.Requests < 30 || r.Run.Requests > 41 || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("got status %d, %+v, %s; want about 40 requests and a report that says so", status, r.Run, out.String())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if status, _, errs := call(ended, "--bids", bids, "--config", sample); status != cli.ExitFailed || !strings.Contains(errs, "before the first record") {
		t.Errorf("got status %d, %q", status, errs)
	}
	if status, _, errs := call(ended, "generate", "--config", sample, "--out", filepath.Join(dir, "day")); status != cli.ExitFailed || !strings.Contains(errs, "beginning of the day") {
		t.Errorf("got status %d, %q", status, errs)
	}
}

// cancelling is a standard error that behaves as if the user pressed Ctrl-C at a line.
type cancelling struct {
	after  int
	cancel func()
}

func (c *cancelling) Write(b []byte) (int, error) {
	if c.after--; c.after == 0 {
		c.cancel()
	}
	return len(b), nil
}

// The new configuration is --config and the old one --against: a bid is gained when only
// the new one bids.
func TestGainedMeansNew(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	off := filepath.Join(dir, "shop", "off.yaml")
	if err := os.WriteFile(off, bytes.ReplaceAll(text, []byte("status: active"), []byte("status: paused")), 0o644); err != nil {
		t.Fatal(err)
	}
	day := filepath.Join(dir, "day.ndjson")
	if status, _, errs := call(t.Context(), "generate", "--config", sample, "--requests", "300", "--out", day); status != cli.ExitDone {
		t.Fatal(errs)
	}
	for _, c := range []struct{ now, old, kind string }{{sample, off, "bid_gained"}, {off, sample, "bid_lost"}} {
		diff, report := filepath.Join(dir, c.kind), filepath.Join(dir, c.kind+".json")
		status, out, errs := call(t.Context(), "--bids", day, "--config", c.now, "--against", c.old, "--diff", diff, "--report", report)
		if status != cli.ExitDone {
			t.Fatalf("status %d: %s%s", status, out, errs)
		}
		b, err := os.ReadFile(diff)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(b), "\n")
		var d struct {
			Kind     string
			Old, New struct {
				Bids  []any
				NoBid string
			}
		}
		if err := json.Unmarshal([]byte(first), &d); err != nil || d.Kind != c.kind {
			t.Fatalf("%v: got %s; want the kind %s", err, first, c.kind)
		}
		if gained := c.kind == "bid_gained"; gained != (len(d.New.Bids) > 0) || gained == (len(d.Old.Bids) > 0) {
			t.Errorf("%s: got %s", c.kind, first)
		}
		if full, err := os.ReadFile(report); err != nil || !strings.Contains(string(full), `"`+c.kind+`": 2`) && !strings.Contains(string(full), `"`+c.kind+`": 3`) {
			t.Errorf("%s: the report does not count about 300 of them: %v", c.kind, err)
		}
	}
}

// simulate prints a table and writes the report, and refuses what it does not know.
func TestSimulate(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.json")
	status, out, errs := call(context.Background(), "simulate", "--scenario", "S6", "--seeds", "1000", "--policy", "asap,pid", "--report", report)
	if status != cli.ExitDone || !strings.Contains(out, "pid") {
		t.Fatalf("status %d: %s%s", status, out, errs)
	}
	text, err := os.ReadFile(report)
	var parsed struct {
		Scenarios []struct{ Policies []struct{ Policy string } }
	}
	if err != nil || json.Unmarshal(text, &parsed) != nil || len(parsed.Scenarios) != 1 || len(parsed.Scenarios[0].Policies) != 2 {
		t.Errorf("report: %v %.200s", err, text)
	}
	for _, flags := range []string{"--scenario S15", "--seeds x", "--policy guess", "word"} {
		if status, _, errs := call(context.Background(), append([]string{"simulate"}, strings.Fields(flags)...)...); status != cli.ExitUsage || errs == "" {
			t.Errorf("%s: status %d, %q", flags, status, errs)
		}
	}
}
