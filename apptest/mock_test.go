package apptest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// exchangeArgs are the flags of loadtest exchange for a bidder with the sample shop.
func (b *bidder) exchangeArgs(more ...string) []string {
	return append([]string{"exchange", "--target", "http://" + b.Bid + "/openrtb2/demo", "--first-target", "http://" + b.Bid + "/openrtb2/demo-first",
		"--edge", "http://" + b.Edge, "--admin", "http://" + b.Admin, "--data", b.dir, "--quiet"}, more...)
}

// The mock exchange and the bidder agree on every bill, whatever happens to notices.
func TestExchangeBooksAgree(t *testing.T) {
	b := startBidder(t)
	report, page := filepath.Join(t.TempDir(), "r.json"), filepath.Join(t.TempDir(), "r.html")
	status, out, errs := program(t, "loadtest", b.exchangeArgs("--pages", "1200", "--duration", "0", "--rate", "0", "--visitors", "120", "--tmax", "10s", "--click-pct", "30", "--convert-pct", "50",
		"--lost-pct", "5", "--late-pct", "5", "--late-delay", "200ms", "--duplicate-pct", "5", "--reordered-pct", "20", "--billed-loss-pct", "30",
		"--report", report, "--html", page)...)
	if status != 0 || !strings.Contains(out, "agree to the last micro") {
		t.Fatalf("status %d:\n%s%s", status, out, errs)
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Totals struct {
			Wins, Clicks, Orders, Failures int
			Spend                          int64 `json:"spend_micros"`
			Notices                        struct {
				Lost, Late, Duplicated, Reordered int
				BilledLosses                      int `json:"billed_losses"`
			}
		}
		Rows []struct {
			Line, Day string
			Wins      int
			Spend     int64 `json:"spend_micros"`
		}
		Comparison struct{ Log struct{ Bills int } }
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	n := r.Totals.Notices
	if r.Totals.Failures != 0 || min(r.Totals.Wins, r.Totals.Clicks, r.Totals.Orders, n.Lost, n.Late, n.Duplicated, n.Reordered, n.BilledLosses, r.Comparison.Log.Bills) == 0 {
		t.Errorf("something did not happen, or failed: %+v", r)
	}
	sum, lines := int64(0), 0
	for _, row := range r.Rows {
		sum += row.Spend
		if row.Line != "" {
			lines++
		}
	}
	if sum != r.Totals.Spend || lines == 0 {
		t.Errorf("rows add up to %d, with %d of known lines; want %d", sum, lines, r.Totals.Spend)
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("<svg")) {
		t.Errorf("page: %v, %d bytes", err, len(html))
	}
}

// A newcomer sees visits, bids and spend, and Ctrl-C ends the demo with a summary.
func TestDemo(t *testing.T) {
	cmd := exec.Command(filepath.Join(bin, "bidder"), "demo", "--rate", "200")
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "TMPDIR="+t.TempDir())
	out, errs := &sharedText{}, &sharedText{}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer cmd.Process.Kill()
	within(t, patience, "the first bill and three lines of totals", func() bool {
		text := out.text()
		return strings.Contains(text, "* The ad is shown and billed") && strings.Count(text, "CPM ") > 5
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v; want exit status 0: %s", err, errs.text())
		}
	case <-time.After(time.Minute):
		t.Fatal("the demo did not end within a minute of SIGINT")
	}
	for _, want := range []string{"* A visitor looks at SKU", "agree to the last micro", "Next:"} {
		if !strings.Contains(out.text(), want) {
			t.Errorf("no %q in:\n%s", want, out.text())
		}
	}
	if strings.Contains(out.text(), "\r") || strings.Contains(out.text(), "\x1b") || errs.text() != "" {
		t.Errorf("control characters on standard output, or messages: %q", errs.text())
	}
}

// sharedText is a buffer that two goroutines use.
type sharedText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedText) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
