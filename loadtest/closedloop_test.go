package loadtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The loop counts every response, sends each request once and checks a sample.
func TestClosedLoop(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the loop polls sockets through Linux system calls")
	}
	var mu sync.Mutex
	ids, n := map[string]int{}, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		ids[string(body[:30])]++
		if n++; n%3 == 0 {
			io.WriteString(w, `{"seatbid":[]}`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	perRequest := func() time.Time { // a millisecond passes with each request, however fast the machine is
		mu.Lock()
		defer mu.Unlock()
		return time.Unix(0, 0).Add(time.Duration(n) * time.Millisecond)
	}
	l := ClosedLoop{Target: s.URL, Bodies: Traffic{}.Bodies(20), Conns: 4, Duration: 300 * time.Millisecond, CPU: -1, Now: perRequest, CheckEvery: 1,
		Check: CheckResponse}
	r, err := l.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	// The requests in flight at the end are not counted.
	if r.Requests < 300-l.Conns || n < r.Requests || n > r.Requests+l.Conns || r.Statuses[200] == 0 || r.Statuses[204] == 0 || r.Bids != r.Statuses[200] {
		t.Errorf("%d requests arrived; the loop counts %+v", n, r)
	}
	for id, times := range ids {
		if times != 1 {
			t.Errorf("request %q was sent %d times", id, times)
		}
	}
	if r.Checked != r.Requests || len(r.Invalid) == 0 || r.Broken != 0 || r.BytesRead == 0 {
		t.Errorf("checked %d, invalid %v, broken %d", r.Checked, r.Invalid, r.Broken)
	}
}

// A server that hangs, closes connections or answers something else than HTTP ends the
// loop with a message that says so.
func TestClosedLoopBadServers(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the loop polls sockets through Linux system calls")
	}
	for _, c := range []struct {
		name, want string
		serve      func(net.Conn)
	}{
		{"hangs", "does not answer", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"closes", "connections broke", func(c net.Conn) { bufio.NewReader(c).ReadString('\n') }},
		{"nonsense", errNotHTTP.Error(), func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "ICY 200 OK\r\n\r\n")
			io.Copy(io.Discard, c)
		}},
		{"half a response", "connections broke", func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		}},
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { defer conn.Close(); c.serve(conn) }()
			}
		}()
		now := time.Unix(0, 0)
		l := ClosedLoop{Target: "http://" + ln.Addr().String() + "/", Bodies: Traffic{}.Bodies(3), Conns: 2, Duration: 24 * time.Hour, CPU: -1,
			Now: func() time.Time { // a minute passes in some thousand looks at the clock
				if c.name == "hangs" {
					now = now.Add(10 * time.Millisecond)
				}
				return now
			}}
		r, err := l.Run(context.Background())
		if err == nil || !strings.Contains(err.Error(), c.want) || r == nil || r.Requests != 0 {
			t.Errorf("%s: got %v, %+v; want %q", c.name, err, r, c.want)
		}
		ln.Close()
	}
	l := ClosedLoop{Target: "http://127.0.0.1:1/", Bodies: [][]byte{{}}, Duration: time.Second, CPU: -1, Now: time.Now}
	if _, err := l.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "cannot connect") {
		t.Errorf("nothing listens: got %v", err)
	}
}

func TestParseResponse(t *testing.T) {
	for _, c := range []struct {
		text               string
		size, body, status int
		bad                bool
	}{
		{"", 0, 0, 0, false},
		{"HTTP/1.1 204 No Content\r\n", 0, 0, 0, false},
		{"HTTP/1.1 204 No Content\r\n\r\n", 27, 27, 204, false},
		{"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\n{}", 40, 38, 200, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", 0, 38, 200, false},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, 0, 0, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, 0, 0, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", 0, 0, 0, true},
		{"HTTP/1.1 xyz OK\r\n\r\n", 0, 0, 0, true},
		{"SSH-2.0-something", 0, 0, 0, true},
	} {
		size, body, status, err := parseResponse([]byte(c.text))
		if (err != nil) != c.bad || err == nil && (size != c.size || size > 0 && (body != c.body || status != c.status)) {
			t.Errorf("%q: got %d, %d, %d, %v", c.text, size, body, status, err)
		}
	}
}

func FuzzParseResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, body, status, err := parseResponse(b)
		if err != nil {
			return
		}
		if size > len(b) || size > 0 && (body > size || status < 200) {
			t.Errorf("%q: got size %d, body at %d, status %d", b, size, body, status)
		}
	})
}

// The floor answers with the size that the path asks for, and otherwise with the
// configured share of bids.
func TestFloor(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Floor{BidPct: 25, BidBytes: 700}
	done := make(chan error, 1)
	go func() { done <- f.Serve(ln) }()
	ask := func(path string) (int, int) {
		rs, err := http.Post("http://"+ln.Addr().String()+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Body.Close()
		b, _ := io.ReadAll(rs.Body)
		return rs.StatusCode, len(b)
	}
	for _, c := range []struct{ n, status int }{{0, 204}, {70, 200}, {3000, 200}} {
		path := FloorPath(len("/openrtb2/demo"), c.n)
		if status, size := ask(path); len(path) != len("/openrtb2/demo") || status != c.status || size != c.n {
			t.Errorf("%s: got status %d and %d bytes; want %d and %d", path, status, size, c.status, c.n)
		}
	}
	bids := 0
	for range 40 {
		if status, size := ask("/openrtb2/demo"); status == 200 && size == 700 {
			bids++
		}
	}
	if bids != 10 {
		t.Errorf("%d of 40 responses are bids; want 10", bids)
	}
	if err := f.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A comparison alternates, measures both, and fails with the side and round that failed.
func TestCompare(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("CPU time of processes is available on Linux only")
	}
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	perRequest := func() time.Time { return time.Unix(0, 0).Add(time.Duration(n.Load()) * time.Millisecond) }
	var order []string
	side := func(name string) Side {
		return Side{Name: name, PID: os.Getpid(), Loop: ClosedLoop{Target: s.URL, Bodies: Traffic{}.Bodies(5), Conns: 2, CPU: -1, Now: perRequest}}
	}
	c := Comparison{Subject: side("a"), Control: side("b"), Rounds: 3, Duration: 100 * time.Millisecond, Progress: func(_ int, of string) { order = append(order, of) }}
	r, err := c.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ""); got != "baabba" {
		t.Errorf("order %s; want baabba", got)
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || len(r.Subject.Rounds) != 3 || r.SubjectRate.Median <= 0 || r.SubjectRate.Min > r.SubjectRate.Max || !slices.Equal(r.Subject.Statuses, []int{204}) {
		t.Errorf("got %+v, %v: %s", r, err, text.String())
	}
	c.Control.PID = -1
	if _, err := c.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "b in round 1") {
		t.Errorf("a missing process: got %v", err)
	}
	if _, err := (&Comparison{}).Run(context.Background()); !errors.Is(err, errNoRounds) {
		t.Errorf("no rounds: got %v", err)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want Spread
	}{{nil, Spread{}}, {[]float64{3}, Spread{3, 3, 3}}, {[]float64{9, 1, 2}, Spread{2, 1, 9}}, {[]float64{4, 1, 2, 9}, Spread{3, 1, 9}}} {
		if got := spreadOf(c.in); got != c.want {
			t.Errorf("%v: got %v; want %v", c.in, got, c.want)
		}
	}
}

// The usage of this process is what the operating system says.
func TestReadUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("CPU time of processes is available on Linux only")
	}
	before, err := ReadUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for x := 0; ; x++ { // until a tick of the process table has passed
		after, err := ReadUsage(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after.CPU() > before.CPU() {
			break
		}
	}
	if before.Resident < 1<<20 {
		t.Errorf("got %+v", before)
	}
	if _, err := ReadUsage(-1); err == nil {
		t.Error("a process that does not exist has usage")
	}
}

func TestCheckResponse(t *testing.T) {
	request := []byte(`{"id":"r","imp":[{"id":"1","bidfloor":1.5,"banner":{"format":[{"w":300,"h":250}]}}],"badv":["bad.example"]}`)
	good := `{"id":"b","impid":"1","price":2,"adm":"x","crid":"c","adomain":["shop.example"],"burl":"http://x/","w":300,"h":250}`
	wrap := func(bid string) string { return `{"id":"r","cur":"USD","seatbid":[{"bid":[` + bid + `]}]}` }
	change := func(old, new string) string { return wrap(strings.Replace(good, old, new, 1)) }
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   string // in the error; empty: valid
	}{
		{"no bid", 204, "", ""}, {"bid", 200, wrap(good), ""},
		{"204 with a body", 204, "x", "has a body"}, {"status", 500, "", "status 500"}, {"not JSON", 200, "<html>", "not JSON"},
		{"other id", 200, strings.Replace(wrap(good), `"r"`, `"s"`, 1), "the id"}, {"empty", 200, `{"id":"r"}`, "without a bid"},
		{"below the floor", 200, change(`"price":2`, `"price":1`), "floor"}, {"no markup", 200, change(`"x"`, `""`), "adm"},
		{"no notice", 200, change(`"burl"`, `"x"`), "neither nurl nor burl"}, {"blocked", 200, change("shop.example", "bad.example"), "blocked"},
		{"size", 200, change(`"w":300`, `"w":301`), "size"}, {"impression", 200, change(`"impid":"1"`, `"impid":"2"`), "impression"},
	} {
		err := CheckResponse(request, c.status, []byte(c.body))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", c.name, err, c.want)
		}
	}
}

// The ramp doubles, then halves the interval, and ends.
func TestRampSearch(t *testing.T) {
	for _, c := range []struct{ capacity, from, to, want int }{
		{1000, 100, 100_000, 1000}, {100_000, 100, 5000, 5000}, {7, 100, 1000, 0}, {90, 100, 1000, 90}, {1, 1, 1000, 1}, {0, 8, 1000, 0},
	} {
		r := Ramp{From: c.from, To: c.to, Precision: 0.05}
		low, high, rate, steps := 0, 0, c.from, 0
		for {
			if steps++; steps > 60 {
				t.Fatalf("%+v: no end", c)
			}
			if rate <= c.capacity {
				low = rate
			} else {
				high = rate
			}
			next, more := r.next(low, high)
			if !more {
				break
			}
			rate = next
		}
		if low > c.want || float64(low) < float64(c.want)*0.94 {
			t.Errorf("%+v: got %d after %d steps", c, low, steps)
		}
	}
}

// A ramp against a server that answers everything in time reaches the highest rate.
func TestRamp(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer s.Close()
	a := Attack{Target: s.URL, Deadline: time.Minute, Bodies: Traffic{}.Bodies(10)}
	r := Ramp{Attack: a, From: 40, To: 80, Step: 500 * time.Millisecond, InTimePct: 80}
	out, err := r.Run(context.Background())
	for n := 0; n < 5 && err == nil && out.Highest != 80; n++ { // a busy machine may send too few once
		out, err = r.Run(context.Background())
	}
	if err != nil || out.Highest != 80 || len(out.Steps) != 2 {
		t.Fatalf("got %+v, %v; want 80", out, err)
	}
	r.From = 0
	if _, err := r.Run(context.Background()); err == nil {
		t.Error("a ramp from 0 is accepted")
	}
	for _, step := range out.Steps {
		if !strings.Contains(step.Line(), "held") {
			t.Error(step.Line())
		}
	}
}

// Bid records keep their times, at any speed; bare requests have none.
func TestParseRecorded(t *testing.T) {
	records := `{"v":1,"ts":"2026-10-01T10:00:00Z","request":{"id":"1"}}
{"v":1,"ts":"2026-10-01T10:00:01Z"}

{"v":1,"ts":"2026-10-01T10:00:02Z","request":{"id":"2"}}
{"v":1,"ts":"2026-10-01T10:00:01.9Z","request":{"id":"3"}}
`
	r, err := ParseRecorded([]byte(records))
	if err != nil || len(r.Bodies) != 3 || string(r.Bodies[2]) != `{"id":"3"}` {
		t.Fatalf("got %+v, %v", r, err)
	}
	if got, err := r.AtSpeed(4); err != nil || fmt.Sprint(got) != "[0s 500ms 500ms]" {
		t.Errorf("at speed 4: got %v, %v", got, err)
	}
	if _, err := r.AtSpeed(0); err == nil {
		t.Error("a speed of 0 is accepted")
	}
	if r, err = ParseRecorded([]byte("\ufeff{\"id\":\"1\"}\n")); err != nil || len(r.Bodies) != 1 || r.Offsets != nil || r.Bodies[0][0] != '{' {
		t.Errorf("a bare request: got %+v, %v", r, err)
	}
	if _, err = r.AtSpeed(1); err == nil {
		t.Error("requests without times have a speed")
	}
	if _, err = ParseRecorded([]byte("\n")); err == nil {
		t.Error("an empty file is accepted")
	}
}

// Recorded requests are sent once each, at their times.
func TestAttackRecorded(t *testing.T) {
	var mu sync.Mutex
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, string(b))
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	a := &Attack{Target: s.URL, Deadline: time.Minute, Duration: time.Minute, Bodies: [][]byte{[]byte("a"), []byte("b"), []byte("c")},
		Offsets: []time.Duration{0, 50 * time.Millisecond, 120 * time.Millisecond}}
	r, err := a.Run(context.Background())
	if err != nil || r.Sent != 3 || r.Scheduled != 3 || r.Stopped != "" {
		t.Fatalf("got %+v, %v", r, err)
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(got)
	if strings.Join(got, "") != "abc" {
		t.Errorf("got %q", got)
	}
	a.Offsets = a.Offsets[:2]
	if a.Validate() == nil {
		t.Error("two times for three requests are accepted")
	}
}
