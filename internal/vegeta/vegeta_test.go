package vegeta

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestReadmeCommands runs the commands of README.md for vegeta as they are written,
// except for ports and durations, and compares what vegeta and loadtest measured.
func TestReadmeCommands(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash on this machine")
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "<!-- vegeta -->")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(after)
	if !ok || block == nil {
		t.Fatal("README.md has no commands after its marker for vegeta")
	}
	dir := t.TempDir()
	at := startBidder(t, dir)
	script := strings.NewReplacer("127.0.0.1:8080", at["bid"], "127.0.0.1:8081", at["edge"], "go run ./cmd/loadtest", filepath.Join(dir, "loadtest"),
		"> targets.ndjson", "> "+filepath.Join(dir, "targets.ndjson"), "=targets.ndjson", "="+filepath.Join(dir, "targets.ndjson"),
		"results.bin", filepath.Join(dir, "results.bin"), "ours.bin", filepath.Join(dir, "ours.bin"), "../../bin/vegeta", filepath.Join(dir, "vegeta"), "bin/vegeta", filepath.Join(dir, "vegeta"),
		"duration=10s", "duration=2s", "--duration 10s", "--duration 2s", "1000", "200", "--deadline 100ms", "--deadline 10s").Replace(block[1])
	out := shell(t, "set -eu\n"+script)
	if got := strings.Count(out, "Success"); got != 2 {
		t.Fatalf("got %d reports of vegeta; want 2:\n%s", got, out)
	}
	theirs, ours := report(t, dir, "results.bin"), report(t, dir, "ours.bin")
	for name, r := range map[string]*measured{"vegeta": theirs, "loadtest": ours} {
		for code := range r.Codes {
			if code != "200" && code != "204" {
				t.Errorf("%s: got %d responses with status %s", name, r.Codes[code], code)
			}
		}
		// The last requests of a schedule may be skipped on a busy machine.
		if r.Requests < 390 || r.Requests > 400 || r.Rate < 150 || r.Rate > 210 {
			t.Errorf("%s: %d requests at %.1f per second; want 400 at 200", name, r.Requests, r.Rate)
		}
		if bids := float64(r.Codes["200"]) / float64(max(r.Requests, 1)); bids < 0.3 || bids > 0.5 {
			t.Errorf("%s: %.0f %% bids; want about 40", name, 100*bids)
		}
	}
}

// measured is what vegeta's JSON report says.
type measured struct {
	Requests int
	Rate     float64
	Codes    map[string]int `json:"status_codes"`
}

// report lets vegeta read a file of results.
func report(t *testing.T, dir, file string) *measured {
	t.Helper()
	out, err := exec.Command(filepath.Join(dir, "vegeta"), "report", "-type=json", filepath.Join(dir, file)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var m measured
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return &m
}

// shell runs a script in the repository's folder and returns its output.
func shell(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = "../.."
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s\n%s", err, script, out.String(), errs.String())
	}
	return out.String()
}

// startBidder builds the programs into a folder and starts the sample shop on free
// ports. It returns the addresses.
func startBidder(t *testing.T, dir string) map[string]string {
	t.Helper()
	shell(t, "go build -o '"+dir+"/' ./cmd/bidder ./cmd/loadtest")
	cmd := exec.Command(filepath.Join(dir, "bidder"), "serve", "--data", filepath.Join(dir, "data"), "--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Dir = "../.."
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, ended := make(chan map[string]string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			var m map[string]any
			if json.Unmarshal(in.Bytes(), &m) == nil && m["msg"] == "ready" {
				at := map[string]string{}
				for _, k := range []string{"bid", "edge", "admin"} {
					at[k], _ = m[k].(string)
				}
				found <- at
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	})
	select {
	case at := <-found:
		return at
	case <-ended:
		t.Fatal("the bidder ended before it was ready")
	case <-time.After(time.Minute):
		t.Fatal("the bidder was not ready within a minute")
	}
	return nil
}
