package apptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proofTime is the duration of a long proof, from an environment variable such as
// PROVE_SOAK=30m.
func proofTime(t *testing.T, variable string, otherwise time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s: got %q; want a duration such as 30m", variable, text)
	}
	return d
}

// footprint is what a running bidder occupies.
type footprint struct {
	resident          int64 // bytes
	files, goroutines int
}

func (f footprint) String() string {
	return fmt.Sprintf("%d MB, %d goroutines, %d descriptors", f.resident>>20, f.goroutines, f.files)
}

var goroutineTotal = regexp.MustCompile(`goroutine profile: total (\d+)`)

// footprint reads the process table and the profile of goroutines.
func (b *bidder) footprint() (f footprint) {
	b.t.Helper()
	dir := "/proc/" + strconv.Itoa(b.cmd.Process.Pid)
	text, err := os.ReadFile(dir + "/statm")
	if err != nil {
		b.t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	f.resident = pages * int64(os.Getpagesize())
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		b.t.Fatal(err)
	}
	f.files = len(files)
	_, profile := b.get("http://" + b.Admin + "/debug/pprof/goroutine?debug=1")
	if m := goroutineTotal.FindStringSubmatch(profile); m != nil {
		f.goroutines, _ = strconv.Atoi(m[1])
	}
	return f
}

// TestProveSoak lets the mock exchange run at half of what both can do with a core each, for
// PROVE_SOAK (30m): memory, goroutines and descriptors stay level, the books agree to the last
// micro, and every bid record is written or counted as dropped.
func TestProveSoak(t *testing.T) {
	proving(t)
	soak(t, proofTime(t, "PROVE_SOAK", 30*time.Minute))
}

func soak(t *testing.T, d time.Duration) {
	t.Helper()
	b := &bidder{t: t, dir: filepath.Join(t.TempDir(), "data"), env: []string{"GOMAXPROCS=1"}, shell: firstCore, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.start()
	t.Cleanup(b.kill)
	capacity := b.exchangeRate(t, "--duration", "10s", "--rate", "0", "--seed", "7")
	rate := max(capacity/2, 1)
	done := make(chan string, 1)
	go func() {
		status, out, errs := pinnedProgram(t, runtime.NumCPU()-1, "loadtest", b.exchangeArgs("--duration", d.String(), "--rate", fmt.Sprintf("%.0f", rate), "--visitors", "20000", "--seed", "8",
			"--lost-pct", "1", "--late-pct", "2", "--duplicate-pct", "2", "--reordered-pct", "5", "--billed-loss-pct", "0.1")...)
		done <- fmt.Sprintf("exit status %d\n%s%s", status, out, errs)
	}()
	var seen []footprint
	every := max(d/60, time.Second)
	out := ""
	for out == "" {
		select {
		case out = <-done:
		case <-time.After(every):
			seen = append(seen, b.footprint())
		}
	}
	text := fmt.Sprintf("capacity %.0f pages/s, soak at %.0f for %s\n%s", capacity, rate, d, out)
	for i := 0; i < len(seen); i += max(len(seen)/10, 1) {
		text += fmt.Sprintf("after %s: %s\n", time.Duration(i+1)*every, seen[i])
	}
	bids, written := b.metric("rebound_bidder_bids_total"), b.metric("rebound_events_bid_records_written_total")
	dropped, lost := b.metric("rebound_events_bid_records_dropped_total"), b.metric("rebound_events_bid_records_lost_total")
	text += fmt.Sprintf("requests with bids %.0f; records written %.0f, dropped %.0f, lost %.0f; late spend %.0f micros\n", bids, written, dropped, lost,
		b.metric("rebound_pacing_late_spend_micros_total"))
	report(t, text)
	if !strings.HasPrefix(out, "exit status 0") || !strings.Contains(out, "agree to the last micro") {
		t.Error("the books do not agree")
	}
	if written+dropped+lost < bids {
		t.Errorf("%.0f requests with bids have no record, and no drop was counted", bids-written-dropped-lost)
	}
	level(t, seen)
}

// level fails unless the last quarter of the measurements is like the second: the first
// is the time in which caches fill.
func level(t *testing.T, seen []footprint) {
	t.Helper()
	n := len(seen)
	if n < 8 {
		t.Logf("only %d measurements; not compared", n)
		return
	}
	greatest := func(from, to int) (f footprint) {
		for _, x := range seen[from:to] {
			f.resident, f.files, f.goroutines = max(f.resident, x.resident), max(f.files, x.files), max(f.goroutines, x.goroutines)
		}
		return f
	}
	early, late := greatest(n/4, n/2), greatest(3*n/4, n)
	if late.resident > early.resident*5/4+64<<20 || late.files > early.files+32 || late.goroutines > early.goroutines+64 {
		t.Errorf("grows: in the second quarter at most %s; in the last %s", early, late)
	}
}

// exchangeRate runs the mock exchange and returns the page views per second.
func (b *bidder) exchangeRate(t *testing.T, more ...string) float64 {
	t.Helper()
	status, out, errs := pinnedProgram(t, runtime.NumCPU()-1, "loadtest", b.exchangeArgs(more...)...)
	m := regexp.MustCompile(`page views +(\d+), .* in ([0-9.]+) s`).FindStringSubmatch(out)
	if status != 0 || m == nil {
		t.Fatalf("exchange: status %d\n%s%s", status, out, errs)
	}
	pages, _ := strconv.ParseFloat(m[1], 64)
	seconds, _ := strconv.ParseFloat(m[2], 64)
	return pages / max(seconds, 1)
}

// attackReport is what the proofs read of loadtest's report.
type attackReport struct {
	Sent     int
	Rate     float64        `json:"rate_achieved"`
	Statuses map[string]int `json:"statuses"`
	InTime   float64        `json:"in_time_pct"`
	BidPct   float64        `json:"bid_pct"`
	Stopped  string

	OnSchedule     float64 `json:"on_schedule_pct"`
	AnsweredInTime float64 `json:"answered_in_time_pct"`
	NoConnection   int     `json:"no_connection"`
	Service        struct {
		P50  float64 `json:"p50"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p99_9"`
		Max  float64 `json:"max"`
	} `json:"service_ms"`
}

func (r *attackReport) String() string {
	text := fmt.Sprintf("%.0f/s sent, %.2f %% on schedule, statuses %v, %.1f %% bids, in time from the schedule %.2f %%, of 200 and 204 %.2f %%; from the send p50 %.2f, p99 %.2f, p99.9 %.2f, max %.1f ms",
		r.Rate, r.OnSchedule, r.Statuses, r.BidPct, r.InTime, r.AnsweredInTime, r.Service.P50, r.Service.P99, r.Service.P999, r.Service.Max)
	if r.NoConnection > 0 {
		text += fmt.Sprintf("; %d not sent because no connection was free", r.NoConnection)
	}
	return text
}

// attack runs loadtest attack and returns its report. The load comes from the second core
// if the bidder is confined to the first.
func (b *bidder) attack(t *testing.T, args ...string) *attackReport {
	t.Helper()
	core := -1
	if b.shell == firstCore {
		core = 1
	}
	name := filepath.Join(t.TempDir(), "attack.json")
	status, out, errs := pinnedProgram(t, core, "loadtest", append([]string{"attack", "--target", "http://" + b.Bid + "/openrtb2/demo", "--edge", "http://" + b.Edge, "--report", name}, args...)...)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("status %d: %v\n%s%s", status, err, out, errs)
	}
	var r attackReport
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// TestProveOverload sends twice and five times what the bidder holds, for
// PROVE_OVERLOAD (1m) each, from another core: what is answered is 200 or 204 and in
// time, memory does not grow with the load, and afterwards everything is as before.
func TestProveOverload(t *testing.T) {
	proving(t)
	if runtime.NumCPU() < 2 {
		t.Fatal("want two cores: one for the bidder and one for the sender")
	}
	d := proofTime(t, "PROVE_OVERLOAD", time.Minute)
	for _, known := range []string{"100", "10"} {
		t.Run(known+" % known visitors", func(t *testing.T) { overload(t, d, known) })
	}
}

// firstCore confines a bidder to the first core.
const firstCore = "taskset -pc 0 $$ >/dev/null"

func overload(t *testing.T, d time.Duration, known string) {
	t.Helper()
	config := largeConfig(t, "--lines", "1000")
	f, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("\ndata: {bids_in_flight: 8000000}\n") // nothing settles the bids for minutes
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b := &bidder{t: t, dir: filepath.Join(t.TempDir(), "data"), args: []string{"--config", config}, env: []string{"GOMAXPROCS=1"}, shell: firstCore,
		Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.startLarge()
	t.Cleanup(b.kill)
	traffic := []string{"--sender", "poll", "--connections", "1000", "--known-pct", known, "--visitors", "20000", "--products", "200"}
	status, out, errs := pinnedProgram(t, 1, "loadtest", append([]string{"ramp", "--target", "http://" + b.Bid + "/openrtb2/demo", "--edge", "http://" + b.Edge, "--from", "2000", "--step", "3s"}, traffic...)...)
	m := regexp.MustCompile(`highest rate that held +(\d+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ramp: status %d\n%s%s", status, out, errs)
	}
	capacity, _ := strconv.Atoi(m[1])
	capacity = max(capacity, 200) // on a machine that is too busy to hold any rate
	before := b.footprint()
	text := fmt.Sprintf("%scapacity: %d/s with 99.9 %% in time\nbefore: %s\n", out, capacity, before)
	for _, times := range []int{2, 5} {
		shed := b.metric("rebound_server_shed_total")
		r := b.attack(t, append(traffic, "--rate", strconv.Itoa(times*capacity), "--duration", d.String(), "--keep-going", "--seed", strconv.Itoa(times))...)
		shed = b.metric("rebound_server_shed_total") - shed
		text += fmt.Sprintf("%d times: %s; %.1f %% shed; %s\n", times, r, 100*shed/float64(max(r.Sent, 1)), b.footprint())
		for code := range r.Statuses {
			if code != "200" && code != "204" && (times == 2 || code != "0") {
				t.Errorf("%d times: got %d responses with status %s", times, r.Statuses[code], code)
			}
		}
		if r.Statuses["200"] == 0 {
			t.Errorf("%d times: got no bids", times)
		}
		if times == 2 && r.AnsweredInTime < 99 {
			t.Errorf("got %.2f %% of the responses in time; want 99 %% (%.2f %% were sent on schedule)", r.AnsweredInTime, r.OnSchedule)
		}
	}
	r := b.attack(t, append(traffic, "--rate", "500", "--duration", "5s", "--seed", "9")...)
	after := b.footprint()
	within(t, patience, "the connections are closed", func() bool { after = b.footprint(); return after.files <= before.files+64 })
	bids := b.metric("rebound_pacing_reservations")
	text += fmt.Sprintf("bids in flight: %.0f\n", bids)
	report(t, text+fmt.Sprintf("afterwards: %s; %s\n", r, after))
	if len(r.Statuses) > 2 || r.Statuses["200"] == 0 || r.InTime < 99 {
		t.Errorf("afterwards: got statuses %v, %.2f %% in time; want 200 and 204 in time", r.Statuses, r.InTime)
	}
	if after.resident > before.resident+256<<20+int64(bids)*3000 || after.goroutines > before.goroutines+64 {
		t.Errorf("grows: %s before, %s after", before, after)
	}
}

// TestProveIdleConnections holds PROVE_CONNECTIONS (10,000) silent connections, and
// others that send half a request or break off in the middle of a body, while a load
// runs: it is not affected.
func TestProveIdleConnections(t *testing.T) {
	proving(t)
	n := 10_000
	if text := os.Getenv("PROVE_CONNECTIONS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	idleConnections(t, n)
}

// TestIdleConnectionsUnderLoad is the short form of the proof.
func TestIdleConnectionsUnderLoad(t *testing.T) { idleConnections(t, 300) }

func idleConnections(t *testing.T, n int) {
	t.Helper()
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < uint64(n+500) {
		limit.Cur, limit.Max = uint64(n+2000), max(limit.Max, uint64(n+2000))
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Skipf("cannot open %d descriptors here: %v", n, err)
		}
	}
	b := startBidder(t)
	args := []string{"--rate", "200", "--duration", "5s", "--deadline", "5s"}
	alone := b.attack(t, args...)
	before := b.footprint()
	for i := range n {
		c, err := net.Dial("tcp", b.Bid)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		switch i % 10 {
		case 1: // half a request
			fmt.Fprintf(c, "POST /openrtb2/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Le")
		case 2: // breaks off in the middle of a body
			fmt.Fprintf(c, "POST /openrtb2/demo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"id\":")
			if tcp, ok := c.(*net.TCPConn); ok && i%20 == 2 {
				_ = tcp.SetLinger(0) // a reset
				tcp.Close()
			}
		}
	}
	during := b.attack(t, append(args, "--seed", "2")...)
	after := b.footprint()
	report(t, fmt.Sprintf("alone: %s\nwith %d idle, halved and broken connections: %s\nbefore %s; with them %s: %.1f KB each\n", alone, n, during, before, after,
		float64(after.resident-before.resident)/1024/float64(n)))
	if len(during.Statuses) != 2 || during.Statuses["200"] == 0 || during.Statuses["204"] == 0 || during.Sent < alone.Sent*9/10 {
		t.Errorf("got statuses %v of %d; want 200 and 204 only, of about %d", during.Statuses, during.Sent, alone.Sent)
	}
}

// TestProveMillion loads 10,000 lines and PROVE_VISITORS (1,000,000) visitors, measures,
// kills the bidder, and starts it again: everybody is still known.
func TestProveMillion(t *testing.T) {
	proving(t)
	visitors := 1_000_000
	if text := os.Getenv("PROVE_VISITORS"); text != "" {
		visitors, _ = strconv.Atoi(text)
	}
	dir := filepath.Join(t.TempDir(), "config")
	if status, out, errs := program(t, "loadtest", "config", "--out", dir, "--lines", "10000"); status != 0 {
		t.Fatalf("config: %s%s", out, errs)
	}
	began := time.Now()
	b := &bidder{t: t, dir: filepath.Join(t.TempDir(), "data"), args: []string{"--config", filepath.Join(dir, "rebound.yaml")}, Bid: "127.0.0.1:0", Edge: "127.0.0.1:0", Admin: "127.0.0.1:0"}
	b.startLarge()
	t.Cleanup(b.kill)
	text := fmt.Sprintf("10,000 lines: ready after %s; %s\n", time.Since(began).Round(time.Millisecond), b.footprint())
	began = time.Now()
	known := []string{"--visitors", strconv.Itoa(visitors), "--products", "500", "--known-pct", "10", "--rate", "100", "--duration", "10s", "--deadline", "5s"}
	first := b.attack(t, known...) // sends one event per visitor first
	took := time.Since(began) - 10*time.Second
	text += fmt.Sprintf("%d visitors introduced in %s (%.0f per second); %s\nload: %s\n", visitors, took.Round(time.Second), float64(visitors)/took.Seconds(), b.footprint(), first)
	text += b.reloadUnderLoad(t, append(known, "--requests", oneRequest(t)))
	b.kill()
	began = time.Now()
	b.startLarge()
	text += fmt.Sprintf("killed and ready again after %s; %s\n", time.Since(began).Round(time.Millisecond), b.footprint())
	second := b.attack(t, append(known, "--requests", oneRequest(t))...)
	text += fmt.Sprintf("load: %s\n", second)
	got := int(b.metric("rebound_segments_visitors"))
	report(t, text+fmt.Sprintf("visitors known: %d\n", got))
	if got < visitors {
		t.Errorf("got %d visitors after the restart; want %d", got, visitors)
	}
	if first.Statuses["200"] == 0 || second.Statuses["200"] == 0 {
		t.Errorf("no bids: %s; %s", first, second)
	}
}

// startLarge starts the process like start, but gives it minutes.
func (b *bidder) startLarge() {
	b.t.Helper()
	b.launch()
	ready := b.log.wait(b.t, "ready|started, but blind", 5*time.Minute, b.ended)
	b.Bid, b.Edge, b.Admin = ready["bid"].(string), ready["edge"].(string), ready["admin"].(string)
}

// oneRequest writes a file with a request of the first known visitor of the load test.
func oneRequest(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "request.ndjson")
	const request = `{"id":"p","tmax":5000,"imp":[{"id":"1","secure":1,"banner":{"format":[{"w":300,"h":250}]}}],"site":{"id":"s","domain":"site1.example","page":"https://site1.example/"},"device":{"ua":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36","ip":"198.51.100.7","devicetype":2,"language":"en","geo":{"country":"CAN","region":"ON","zip":"M5V"}},"user":{"buyeruid":"lt-1-0"},"regs":{"gdpr":0}}`
	if err := os.WriteFile(name, []byte(request+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
