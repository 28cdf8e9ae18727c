package apptest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// bin is the folder with the built programs; empty when they could not be built.
var bin string

func TestMain(m *testing.M) {
	os.Exit(runMain(m))
}

func runMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rebound-apptest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/...")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot build the programs: %v\n%s", err, out)
		return 1
	}
	bin = dir
	return m.Run()
}

// program runs a built program to its end, in the repository's folder.
func program(t *testing.T, name string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return pinnedProgram(t, -1, name, args...)
}

// pinnedProgram is like program, but confines the program to one core; negative: any.
func pinnedProgram(t *testing.T, core int, name string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	args = append([]string{filepath.Join(bin, name)}, args...)
	if core >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(core)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = ".."
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// bidder is a running bidder.
type bidder struct {
	t    *testing.T
	dir  string   // data folder
	args []string // in addition to data folder and addresses
	env  []string
	// shell is a command such as ulimit that a shell runs before it executes the process.
	shell   string
	logPipe io.Closer // the end of standard error that is read

	Bid, Edge, Admin string // host:port
	cmd              *exec.Cmd
	log              *logLines
	ended            chan struct{} // closed when the process has exited
}

// startBidder starts a bidder with the sample shop or other args, on free
// ports, and waits until it is ready.
func startBidder(t *testing.T, args ...string) *bidder {
	t.Helper()
	b := newBidder(t, args...)
	b.start()
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("log of the bidder:\n%s", b.log.tail(60))
		}
	})
	return b
}

// newBidder returns a bidder that is not started yet, on free ports.
func newBidder(t *testing.T, args ...string) *bidder {
	t.Helper()
	return &bidder{t: t, dir: filepath.Join(t.TempDir(), "data"), args: args, Bid: freeAddress(t), Edge: freeAddress(t), Admin: freeAddress(t)}
}

// start restarts the process on its previous addresses, because the links that
// it signed contain them.
func (b *bidder) start() {
	b.t.Helper()
	b.launch()
	ready := b.log.wait(b.t, "ready|started, but blind", 2*time.Minute, b.ended)
	b.Bid, b.Edge, b.Admin = ready["bid"].(string), ready["edge"].(string), ready["admin"].(string)
}

func (b *bidder) launch() {
	b.t.Helper()
	args := append([]string{"serve", "--data", b.dir, "--bid", b.Bid, "--edge", b.Edge, "--admin", b.Admin}, b.args...)
	b.cmd = exec.Command(filepath.Join(bin, "bidder"), args...)
	if b.shell != "" {
		b.cmd = exec.Command("sh", append([]string{"-c", b.shell + ` && exec "$0" "$@"`, filepath.Join(bin, "bidder")}, args...)...)
	}
	b.cmd.Dir, b.cmd.Env = "..", append(os.Environ(), b.env...)
	stderr, out, err := os.Pipe()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd.Stderr = out
	b.log, b.logPipe = &logLines{}, stderr
	b.ended = make(chan struct{})
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	out.Close()
	go func(cmd *exec.Cmd, log *logLines, ended chan struct{}) {
		defer close(ended)
		defer stderr.Close()
		log.read(stderr)
		_ = cmd.Wait() // the exit status is read from ProcessState
	}(b.cmd, b.log, b.ended)
}

// kill ends the process without warning, as a crash does.
func (b *bidder) kill() {
	_ = b.cmd.Process.Kill()
	<-b.ended
}

// terminate asks the process to end and gives its exit status.
func (b *bidder) terminate() int {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	select {
	case <-b.ended:
	case <-time.After(patience):
		b.t.Fatalf("bidder did not stop within %s of SIGTERM", patience)
	}
	return b.cmd.ProcessState.ExitCode()
}

// call makes one request and reads the whole response.
func call(t *testing.T, c *http.Client, method, url, contentType string, body []byte, header ...string) (*http.Response, []byte) {
	t.Helper()
	rq, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		rq.Header.Set("Content-Type", contentType)
	}
	rq.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0") // Go's own is a robot's
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	if c == nil {
		c = noRedirect
	}
	rs, err := c.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer rs.Body.Close()
	b, err := io.ReadAll(rs.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rs, b
}

var noRedirect = &http.Client{
	Timeout:       patience,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// get is a GET of any URL: status and body.
func (b *bidder) get(url string) (int, string) {
	b.t.Helper()
	rs, body := call(b.t, nil, http.MethodGet, url, "", nil)
	return rs.StatusCode, string(body)
}

// ask posts a bid request to an exchange's endpoint.
func (b *bidder) ask(exchange string, request []byte) (int, []byte) {
	b.t.Helper()
	rs, body := call(b.t, nil, http.MethodPost, "http://"+b.Bid+"/openrtb2/"+exchange, "application/json", request)
	return rs.StatusCode, body
}

// events posts server events under the sample shop's key.
func (b *bidder) events(body string) map[string]any {
	b.t.Helper()
	rs, answer := call(b.t, nil, http.MethodPost, "http://"+b.Edge+"/v1/events", "application/json", []byte(body),
		"Authorization", "Bearer demo-shop-key")
	if rs.StatusCode != http.StatusOK {
		b.t.Fatalf("events: got %d %s", rs.StatusCode, answer)
	}
	return parse(b.t, answer)
}

// browser is a browser that keeps cookies.
type browser struct {
	b *bidder
	c *http.Client
}

func (b *bidder) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return &browser{b, &http.Client{Jar: jar, Timeout: patience}}
}

// pixel loads the shop's pixel and returns the visitor's id, as the cookie has it.
func (w *browser) pixel(query string) string {
	w.b.t.Helper()
	rs, body := call(w.b.t, w.c, http.MethodGet, "http://"+w.b.Edge+"/v1/px?"+query, "", nil)
	if rs.StatusCode != http.StatusOK || len(body) != 43 {
		w.b.t.Fatalf("pixel: got %d and %d bytes; want 200 and a GIF of 43", rs.StatusCode, len(body))
	}
	for _, c := range w.c.Jar.Cookies(rs.Request.URL) {
		if c.Name == "rt_uid" {
			return c.Value
		}
	}
	return ""
}

// metric is the sum of a metric's series whose labels include those given as
// name, value pairs.
func (b *bidder) metric(name string, labels ...string) float64 {
	b.t.Helper()
	_, text := b.get("http://" + b.Admin + "/metrics")
	sum := 0.0
lines:
	for line := range strings.Lines(text) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") || (series != name && !strings.HasPrefix(series, name+"{")) {
			continue
		}
		for i := 0; i+1 < len(labels); i += 2 {
			if !strings.Contains(series, labels[i]+"="+strconv.Quote(labels[i+1])) {
				continue lines
			}
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			b.t.Fatalf("metric %s: got %q; want a number", series, value)
		}
		sum += v
	}
	return sum
}

// budget is the row of GET /admin/budgets of a campaign's or a line's cap.
func (b *bidder) budget(campaign, line, window string) map[string]any {
	b.t.Helper()
	_, body := b.get("http://" + b.Admin + "/admin/budgets")
	for _, r := range list(parse(b.t, []byte(body))["budgets"]) {
		row := obj(r)
		if row["campaign"] == campaign && row["line"] == line && row["window"] == window {
			return row
		}
	}
	b.t.Fatalf("budgets: no row for campaign %s, line %q, window %s in %s", campaign, line, window, body)
	return nil
}

// patience bounds every wait for what must happen; it is not an expectation of speed.
const patience = time.Minute

// within retries a condition until it holds, and fails if it does not hold in
// time. The wait between attempts only saves CPU time; no result depends on it.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not so within %s", what, limit)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

func parse(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("got %q; want a JSON object: %v", b, err)
	}
	return m
}

// logLines are the lines of a program's log, in order of arrival.
type logLines struct {
	mu      sync.Mutex
	lines   []string
	stopped bool
}

// stop makes the reader stop reading and keep the pipe open.
func (l *logLines) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
}

func (l *logLines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 1<<20)
	for s.Scan() {
		l.mu.Lock()
		l.lines = append(l.lines, s.Text())
		stopped := l.stopped
		l.mu.Unlock()
		if stopped {
			return
		}
	}
}

func (l *logLines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// find is the first line from a place on whose message begins with msg, or with one of
// several texts that msg separates by bars.
func (l *logLines) find(from int, msg string) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines[min(from, len(l.lines)):] {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) != nil {
			continue
		}
		for text := range strings.SplitSeq(msg, "|") {
			if strings.HasPrefix(str(m["msg"]), text) {
				return m
			}
		}
	}
	return nil
}

func (l *logLines) wait(t *testing.T, msg string, limit time.Duration, ended <-chan struct{}) map[string]any {
	t.Helper()
	var found map[string]any
	within(t, limit, "log line "+msg, func() bool {
		if found = l.find(0, msg); found != nil {
			return true
		}
		select {
		case <-ended:
			if found = l.find(0, msg); found == nil {
				t.Fatalf("program ended before it logged %q:\n%s", msg, l.tail(40))
			}
			return true
		default:
			return false
		}
	})
	return found
}
