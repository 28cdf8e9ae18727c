package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rebound/config"
	"rebound/rtb"
)

const shop = "../../examples/shop/rebound.yaml"

// run runs the program to its end.
func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	p := program{stdout: &out, stderr: &errs, now: time.Now, getenv: os.LookupEnv}
	return p.run(t.Context(), args), out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		status int
		out    string // in standard output
		errs   string // in standard error
	}{
		{[]string{"-h"}, 0, "usage: bidder [verb] [flags]", ""},
		{[]string{"help"}, 0, "health", ""},
		{[]string{"dance"}, 2, "", `unknown verb "dance"`},
		{[]string{"serve", "-h"}, 0, "", "example:\n  bidder serve"},
		{[]string{"check", "-h"}, 0, "", "example:\n  bidder check"},
		{[]string{"health", "-h"}, 0, "", "example:\n  bidder health"},
		{[]string{"check", "--colour", "red"}, 2, "", "flag provided but not defined"},
		{[]string{"check", "extra"}, 1, "extra", ""},
		{[]string{"check", "one.yaml", "two.yaml"}, 2, "", "want one"},
		{[]string{"report"}, 2, "", "want the name of a report, or --metrics; bidder report -h lists them"},
		{[]string{"report", "delivery", "--format", "pdf"}, 2, "", "got --format pdf; want one of table, csv, json, html"},
		{[]string{"--version"}, 0, "bidder devel go1.", ""},
		{[]string{"check", "--config", shop}, 0, "good (2 exchanges, 1 advertiser", ""},
		{[]string{"check", "--config", "nowhere.yaml"}, 1, "nowhere.yaml", ""},
		{[]string{"serve", "--config", "nowhere.yaml"}, 1, "", "nowhere.yaml"},
		{[]string{"version"}, 0, "bidder devel go1.", ""},
		{[]string{"health", "--admin", "127.0.0.1:1"}, 1, "", "not ready"},
	} {
		status, out, errs := run(t, tt.args...)
		if status != tt.status || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.errs) {
			t.Errorf("%v: got %d\n%s\n%s\nwant %d, %q, %q", tt.args, status, out, errs, tt.status, tt.out, tt.errs)
		}
	}
}

func TestCheckTellsFileAndLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nadvertisers:\n  - id: shop\n    domain: [shop.example]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, _ := run(t, "check", "--config", path)
	if status != 1 || !strings.Contains(out, "bad.yaml:4") || !strings.Contains(out, "domains") {
		t.Errorf("got %d\n%s\nwant 1, the line and the nearest field", status, out)
	}
}

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is part of io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// running is a bidder in this process.
type running struct {
	t    *testing.T
	app  *app
	at   addresses
	hup  chan os.Signal
	log  *lines
	stop func() int
}

func startProgram(t *testing.T, configFile, data string, flags ...string) *running {
	t.Helper()
	return startProgramAt(t, time.Now, configFile, data, flags...)
}

// startProgramAt is startProgram with a clock of its own.
func startProgramAt(t *testing.T, now func() time.Time, configFile, data string, flags ...string) *running {
	t.Helper()
	r := &running{t: t, hup: make(chan os.Signal), log: &lines{}}
	started, ended := make(chan *app, 1), make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	p := program{stdout: io.Discard, stderr: r.log, now: now, getenv: os.LookupEnv, hup: r.hup, started: func(a *app) { started <- a }}
	go func() {
		ended <- p.run(ctx, append([]string{"serve", "--config", configFile, "--data", data,
			"--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, flags...))
	}()
	r.stop = sync.OnceValue(func() int { cancel(); return <-ended })
	t.Cleanup(func() { r.stop() })
	select {
	case r.app = <-started:
		r.at = r.app.addresses()
	case status := <-ended:
		t.Fatalf("ended with %d:\n%s", status, r.log)
	}
	return r
}

func (r *running) do(method, url, body string) (int, string) {
	r.t.Helper()
	rq, err := http.NewRequestWithContext(r.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	rq.Close = true
	rq.Header.Set("Content-Type", "application/json")
	rq.Header.Set("Authorization", "Bearer demo-shop-key")
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return rs.StatusCode, string(b)
}

// says waits until the log holds texts: a goroutine writes its lines.
func (r *running) says(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		for end := time.Now().Add(time.Minute); !strings.Contains(r.log.String(), text); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				r.t.Errorf("the log does not say %q:\n%s", text, r.log)
				return
			}
		}
	}
}

// reload sends SIGHUP and waits until it was read: the channel has no room.
func (r *running) reload() {
	r.hup <- syscall.SIGHUP
	r.hup <- syscall.SIGHUP // taken only when the first is done
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	r := startProgram(t, shop, data)

	if info, err := os.Stat(filepath.Join(data, "keys.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("keys.json: got %v, %v; want mode 0600", info, err)
	}
	for _, sub := range []string{"log/facts", "views/segments", "views/money", "log/bids"} {
		if _, err := os.Stat(filepath.Join(data, sub)); err != nil {
			t.Errorf("data folder: %v", err)
		}
	}
	if status, out, _ := run(t, "health", "--admin", r.at.Admin); status != 0 || out != "ready\n" {
		t.Errorf("health: got %d %q; want 0, ready", status, out)
	}
	if status, _, errs := run(t, "serve", "--config", shop, "--data", data, "--bid", "127.0.0.1:0", "--edge", "127.0.0.1:0", "--admin", "127.0.0.1:0"); status != 1 ||
		!strings.Contains(errs, fmt.Sprintf("another bidder (process %d) is running on it", os.Getpid())) {
		t.Errorf("a second bidder on the same data: got %d %s; want it refused", status, errs)
	}
	for _, path := range []string{"/metrics", "/debug/pprof", "/debug/pprof/", "/readyz", "/admin/budgets", "/admin/head"} {
		for _, method := range []string{"GET", "HEAD"} {
			if status, _ := r.do(method, "http://"+r.at.Admin+path, ""); status != 200 {
				t.Errorf("%s %s: got %d", method, path, status)
			}
		}
	}
	if status, _ := r.do("HEAD", "http://"+r.at.Edge+"/v1/px?a=shop&e=view_item&id=SKU1", ""); status != 405 {
		t.Errorf("HEAD of the pixel: got %d; want 405 and no event", status)
	}
	if n := len(r.app.edge.Stats().Events); n != 0 {
		t.Errorf("HEAD of the pixel: got %d kinds of events taken", n)
	}
	if status, _ := r.do("GET", "http://"+r.at.Edge+"/metrics", ""); status != 404 {
		t.Errorf("metrics on the edge: got %d; want 404", status)
	}
	if status := r.stop(); status != 0 || !strings.Contains(r.log.String(), `"msg":"stopped"`) {
		t.Errorf("got status %d; want 0 after a clean stop:\n%s", status, r.log)
	}
	if unlock, err := lockFolder(data); err != nil {
		t.Errorf("after the stop: %v", err)
	} else {
		unlock()
	}
}

func TestPause(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := startProgram(t, shop, data)
	pause := func(body string) int {
		status, answer := r.do("POST", "http://"+r.at.Admin+"/admin/pause", body)
		for _, leak := range []string{"pauseOrder", "Go ", "bool", `\u00`} {
			if strings.Contains(answer, leak) {
				t.Errorf("%s: the answer shows %q: %s", body, leak, answer)
			}
		}
		return status
	}
	for body, want := range map[string]int{
		`{"scope":"exchange:demo","on":true,"by":"test"}`:        200,
		`{"scope":"campaign:shop/autumn","on":true,"by":"test"}`: 200,
		`{"scope":"campaign:shop/spring","on":true,"by":"test"}`: 400,
		`{"scope":"exchange:nobody","on":true,"by":"test"}`:      400,
		`{"scope":"everything","on":true,"by":"test"}`:           400,
		`{"scope":"campaign:shop/autumn","on":true}`:             200, // by is the operator
		`{"scope":"all","by":"test"}`:                            400,
		`{"scope":"all","on":true,"by":7}`:                       400,
		`{"scope":"all","on":true} {"scope":"all","on":false}`:   400,
		`{"scope":"all","on":true}]`:                             400,
		``:                                                       400,
		`{"scope":"all"`:                                         400,
		`{"scope":"all","on":true,"by":"test","for":"1h"}`:       400,
		`stop!`: 400,
	} {
		if got := pause(body); got != want {
			t.Errorf("%s: got %d; want %d", body, got, want)
		}
	}
	paused := func() (n int) {
		_, body := r.do("GET", "http://"+r.at.Admin+"/admin/budgets", "")
		var report struct{ Budgets []struct{ Paused bool } }
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			t.Fatal(err)
		}
		for _, b := range report.Budgets {
			if b.Paused {
				n++
			}
		}
		return n
	}
	if paused() == 0 {
		t.Error("no budget shows that its campaign is paused")
	}
	r.stop()
	r = startProgram(t, shop, data)
	if paused() == 0 {
		t.Error("the pause did not survive the restart")
	}
	r.says(`"msg":"bidding is paused","scope":"campaign:shop/autumn"`, `"msg":"bidding is paused","scope":"exchange:demo","by":"test"`)
	if _, page := r.do("GET", "http://"+r.at.Admin+"/metrics", ""); !strings.Contains(page, `rebound_pacing_paused{kind="exchange"} 1`) ||
		!strings.Contains(page, `rebound_pacing_paused{kind="campaign"} 1`) || !strings.Contains(page, `rebound_pacing_paused{kind="all"} 0`) {
		t.Error("metrics do not show what is paused")
	}
	if got := pause(`{"scope":"campaign:shop/autumn","on":false,"by":"test"}`); got != 200 {
		t.Errorf("resume: got %d", got)
	}
	if paused() != 0 {
		t.Error("still paused")
	}
}

// refused sends a request and reports whether a reason was ever counted.
func (r *running) refused(reason string) bool {
	r.t.Helper()
	_, _ = r.do("POST", "http://"+r.at.Bid+"/openrtb2/demo", `{"id":"1","imp":[{"id":"1","banner":{"w":300,"h":250}}],"user":{"buyeruid":"u"}}`)
	for _, s := range r.app.bidder.Stats() {
		for x, n := range s.NoBids {
			if n > 0 && rtb.NoBidReason(x).String() == reason {
				return true
			}
		}
	}
	return false
}

// eventually retries a condition until it holds; the wait between attempts only saves CPU time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not so within a minute", what)
		}
	}
}

// A bidder whose view cannot fold, or whose log accepts no facts, stops bidding
// and logs the reason.
func TestBlind(t *testing.T) {
	r := startProgram(t, shop, filepath.Join(t.TempDir(), "data"))
	if !r.refused("unknown_visitor") {
		t.Fatal("an ordinary request was not answered by an ordinary no-bid")
	}
	why := "view segments failed"
	r.app.faults.set("segments", errors.New("damaged"))
	eventually(t, "no-bids for blindness", func() bool { return r.refused("blind") })
	r.says("blind: bidding stops", why)
	if status, body := r.do("GET", "http://"+r.at.Admin+"/readyz", ""); status != 503 || !strings.Contains(body, "blind: "+why) {
		t.Errorf("/readyz: got %d %q; want 503 and why", status, body)
	}
	r.app.faults.set("money", errors.New("damaged")) // each view has its own fault
	r.app.faults.set("money", nil)
	if got := r.app.faults.first(); got != why {
		t.Errorf("got %q after the other view folds again; want %q", got, why)
	}
	r.app.faults.set("segments", nil)
	r.says("no longer blind")
	eventually(t, "bids are judged again", func() bool { return r.app.money.Paused("demo", "", "") == rtb.NoBidNone })
	if status, _ := r.do("GET", "http://"+r.at.Admin+"/readyz", ""); status != 200 {
		t.Errorf("/readyz: got %d; want 200", status)
	}
}

// copyShop puts the sample shop where a test may change it.
func copyShop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../examples")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "shop", "rebound.yaml")
}

func replace(t *testing.T, path, old, new string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), old, new, 1)
	if changed == string(b) {
		t.Fatalf("%s: no %q in it", path, old)
	}
	if err := os.WriteFile(path+".new", []byte(changed), 0o600); err != nil { // a reload must not see half of it
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	file := copyShop(t)
	r := startProgram(t, file, filepath.Join(t.TempDir(), "data"))
	capOf := func() string {
		_, body := r.do("GET", "http://"+r.at.Admin+"/admin/budgets", "")
		_, rest, found := strings.Cut(body, `"cap_micros":`)
		if !found {
			return body
		}
		v, _, _ := strings.Cut(rest, ",")
		return v
	}
	if got := capOf(); got != "500000000000" {
		t.Fatalf("cap: got %s", got)
	}

	replace(t, file, "daily: 500000.00", "daily: 400000.00")
	r.reload()
	if got := capOf(); got != "400000000000" {
		t.Errorf("cap after the reload: got %s; want the new one", got)
	}
	r.says("configuration reloaded", "400000")

	replace(t, file, "known_nobid_pct: 1,", "known_nobid_pct: 100,")
	replace(t, file, "notice_ttl: 48h", "notice_ttl: 24h")
	replace(t, file, "max_bytes: 10GiB", "max_bytes: 9GiB")
	warnings := func() int { return strings.Count(r.log.String(), "privacy.unknown_country") }
	before := warnings()
	r.reload()
	for _, want := range []string{"privacy.notice_ttl: 2d -> 1d", "logs.bids.max_bytes: 10GiB -> 9GiB"} {
		r.says(`"setting stays as it was at the start; restart to change it","setting":"` + want)
	}
	r.says(`"changes":["logs.bids.known_nobid_pct: 1 -> 100"]`)
	if before == 0 {
		t.Error("got no warning before the reload")
	}
	eventually(t, "warnings also after the start", func() bool { return warnings() > before })

	replace(t, file, "daily: 400000.00", "dayly: 300000.00")
	r.reload()
	if got := capOf(); got != "400000000000" {
		t.Errorf("cap after a bad reload: got %s; want the last good one", got)
	}
	r.says("configuration refused", "dayly")
	_, metrics := r.do("GET", "http://"+r.at.Admin+"/metrics", "")
	for _, code := range []string{"done", "refused"} {
		if never := `rebound_config_reloads_total{code="` + code + `"} 0`; strings.Contains(metrics, never) {
			t.Errorf("metrics: got %s", never)
		}
	}
}

func TestPublicURL(t *testing.T) {
	edge := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4711}
	for _, tt := range []struct{ public, configuredEdge, want string }{
		{"http://127.0.0.1:8081", ":8081", "http://127.0.0.1:4711"},
		{"http://localhost:0", "127.0.0.1:0", "http://localhost:4711"},
		{"http://127.0.0.1:9000", ":8081", "http://127.0.0.1:9000"}, // a proxy in front
		{"https://edge.example", ":8081", "https://edge.example"},
		{"https://127.0.0.1:8081", ":8081", "https://127.0.0.1:8081"},
	} {
		if got := publicURL(config.Listen{PublicURL: tt.public}, tt.configuredEdge, edge); got != tt.want {
			t.Errorf("%s, edge %s: got %s; want %s", tt.public, tt.configuredEdge, got, tt.want)
		}
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	a, err := loadKeys(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := loadKeys(dir, nil)
	if err != nil || !bytes.Equal(a.Keyring, b.Keyring) || !bytes.Equal(a.Tokens[0].Secret, b.Tokens[0].Secret) {
		t.Errorf("got other keys on the second start: %v", err)
	}
	if bytes.Equal(a.Keyring, a.Cookies) || bytes.Equal(a.Keyring, make([]byte, 32)) {
		t.Error("keys are not random")
	}
	other, err := loadKeys(t.TempDir(), nil)
	if err != nil || bytes.Equal(a.Keyring, other.Keyring) {
		t.Errorf("two folders share keys: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "keys.json")); err != nil || !strings.Contains(string(b), `"hash": "siphash128"`) {
		t.Errorf("got %s, %v; want the hash named", b, err)
	}
	old := *a // of a folder from before the hash was named
	if old.Hash, old.Sum = "", ""; old.fingerprint() == a.fingerprint() {
		t.Error("the fingerprint does not tell the hash")
	}
	keyOf := func(k *keyFile) rtb.Key {
		r, err := k.keyring()
		if err != nil {
			t.Fatal(err)
		}
		return r.Key(rtb.IDVisitor, "", []byte("v"))
	}
	before := rtb.NewKeyring([32]byte(a.Keyring)).Key(rtb.IDVisitor, "", []byte("v"))
	if keyOf(&old) != before || keyOf(a) == before {
		t.Error("a folder changed its hash")
	}
	unknown, _ := json.Marshal(keyFile{Keyring: a.Keyring, Hash: "md5", Cookies: a.Cookies, Tokens: a.Tokens})
	for _, bad := range []string{"", "{", "{}", `{"keyring":"AAAA","cookies":"AAAA","tokens":[]}`, string(unknown)} {
		if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadKeys(dir, nil); err == nil || !strings.Contains(err.Error(), "keys.json") {
			t.Errorf("%q: got %v; want the file named", bad, err)
		}
	}
}
