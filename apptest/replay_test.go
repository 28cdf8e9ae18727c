package apptest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// liveBooks are the books of the mock exchange, by line.
type liveBooks struct {
	Totals struct {
		Wins, Failures int
		Spend          int64 `json:"spend_micros"`
	}
}

// replayReport is a part of the report of replay.
type replayReport struct {
	Run struct {
		Market struct{ Bids, Won, Exact, Above, Unknown, Orphans int } // by their names in lower case
	}
	Lines []struct {
		Wins     int
		Spend    int64 `json:"spend_micros"`
		Value    int64 `json:"value_micros"`
		Interval struct {
			Wins  [2]int64
			Spend [2]int64 `json:"spend_micros"`
		}
	}
	Recorded []struct {
		Wins  int
		Spend int64 `json:"spend_micros"`
		Value int64 `json:"value_micros"`
	}
}

// live runs a bidder against the mock exchange and stops it.
func live(t *testing.T, pages string, seed uint64, args ...string) (dir string, books liveBooks) {
	t.Helper()
	b := startBidder(t, args...)
	file := filepath.Join(t.TempDir(), "books.json")
	status, out, errs := program(t, "loadtest", b.exchangeArgs("--pages", pages, "--duration", "0", "--rate", "0", "--visitors", "150", "--tmax", "10s", "--seed", fmt.Sprint(seed), "--report", file)...)
	if status != 0 {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	readJSON(t, file, &books)
	if books.Totals.Wins == 0 || books.Totals.Failures != 0 {
		t.Fatalf("nothing was won, or requests failed: %+v", books)
	}
	b.terminate()
	return b.dir, books
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// replayData replays a data folder and returns the report.
func replayData(t *testing.T, args ...string) (r replayReport, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	status, out, errs := program(t, "replay", append(args, "--report", file)...)
	if status != 0 {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	readJSON(t, file, &r)
	return r, out
}

func within1Percent(a, b int64) bool { return a*100 >= b*99 && a*100 <= b*101 }

// A bidder's own folder tells its market: without any other option, replay spends, wins
// and values what the run did, by the books of the exchange.
func TestReplayOfALiveLog(t *testing.T) {
	dir, books := live(t, "1500", 7)
	r, out := replayData(t, "--data", dir)
	var wins, spend, value, recorded int64
	for _, l := range r.Lines {
		wins, spend, value = wins+int64(l.Wins), spend+l.Spend, value+l.Value
	}
	for _, l := range r.Recorded {
		recorded += l.Value
	}
	if !within1Percent(wins, int64(books.Totals.Wins)) || !within1Percent(spend, books.Totals.Spend) || !within1Percent(value, recorded) || value == 0 {
		t.Errorf("replayed %d wins, %d micros, value %d; the exchange has %d wins and %d micros, the notices have the value %d\n%s",
			wins, spend, value, books.Totals.Wins, books.Totals.Spend, recorded, out)
	}
	if again, _ := replayData(t, "--data", dir); fmt.Sprint(again) != fmt.Sprint(r) {
		t.Error("two replays differ")
	}
}

// What replay forecasts for bids that are 20 % higher holds when the exchange runs again
// with those bids: in 18 of 20 seeds, in each kind of auction, with and without a minimum
// to win in the notices.
func TestProveReplayForecasts(t *testing.T) {
	proving(t)
	base, err := os.ReadFile("../examples/shop/rebound.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-r", "../examples/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write := func(name string, pairs ...string) string {
		path := filepath.Join(dir, "shop", name)
		text := strings.NewReplacer(pairs...).Replace(string(base))
		if text == string(base) {
			t.Fatalf("%s: the sample shop does not have %q", name, pairs[0])
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	silent := []string{"include: builtin:generic", "include: builtin:generic\n    mintowin_macro: \"-\""}
	higher := []string{"max_cpm: 8.00", "max_cpm: 9.60", "max_cpm: 10.00", "max_cpm: 12.00", "max_cpm: 4.00", "max_cpm: 4.80", "cpm: 2.00", "cpm: 2.40", "cpm: 3.50", "cpm: 4.20", "cpm: 1.50", "cpm: 1.80"}
	for _, auction := range []string{"second", "first"} {
		inside := 0
		for seed := range uint64(20) {
			before, after := write("old.yaml", silent...), write("new.yaml", append(silent, higher...)...)
			if seed%2 == 1 { // with a minimum to win
				before, after = filepath.Join(dir, "shop", "rebound.yaml"), write("new.yaml", higher...)
			}
			target := func(config string) (string, liveBooks) { return liveAuction(t, auction, seed, config) }
			folder, _ := target(before)
			r, _ := replayData(t, "--data", folder, "--config", after)
			_, really := target(after)
			var low, high, lowWins, highWins int64
			for _, l := range r.Lines {
				low, high = low+l.Interval.Spend[0], high+l.Interval.Spend[1]
				lowWins, highWins = lowWins+l.Interval.Wins[0], highWins+l.Interval.Wins[1]
			}
			ok := low <= really.Totals.Spend && really.Totals.Spend <= high && lowWins <= int64(really.Totals.Wins) && int64(really.Totals.Wins) <= highWins
			t.Logf("%s price, seed %d: spend %d to %d, wins %d to %d; really %d and %d: %v", auction, seed, low, high, lowWins, highWins, really.Totals.Spend, really.Totals.Wins, ok)
			if ok {
				inside++
			}
		}
		if inside < 18 {
			t.Errorf("%s price: inside in %d of 20 seeds; want 18", auction, inside)
		}
	}
}

// liveAuction is live with one kind of auction.
func liveAuction(t *testing.T, auction string, seed uint64, config string) (string, liveBooks) {
	t.Helper()
	b := startBidder(t, "--config", config)
	defer b.kill()
	file := filepath.Join(t.TempDir(), "books.json")
	target := "http://" + b.Bid + "/openrtb2/demo"
	args := []string{"exchange", "--target", target, "--edge", "http://" + b.Edge, "--admin", "http://" + b.Admin, "--data", b.dir, "--quiet"}
	if auction == "first" {
		args = []string{"exchange", "--target", "", "--first-target", target + "-first", "--edge", "http://" + b.Edge, "--admin", "http://" + b.Admin, "--data", b.dir, "--quiet"}
	}
	status, out, errs := program(t, "loadtest", append(args, "--pages", "3000", "--duration", "0", "--rate", "0", "--visitors", "150", "--tmax", "10s", "--seed", fmt.Sprint(seed+1), "--report", file)...)
	if status != 0 {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	var books liveBooks
	readJSON(t, file, &books)
	b.terminate()
	return b.dir, books
}

// TestReplayDocument runs the commands of docs/replay.md.
func TestReplayDocument(t *testing.T) {
	text, blocks := script(t, "docs/replay.md")
	if blocks == 0 {
		t.Fatal("docs/replay.md has no commands that the test runs")
	}
	cmd := exec.Command("bash", "-c", "set -eu\n"+text)
	cmd.Dir = t.TempDir()
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(examples, filepath.Join(cmd.Dir, "examples")); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "report.json")); err != nil {
		t.Error(err)
	}
}
