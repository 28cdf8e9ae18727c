//go:build linux

package loadtest

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func polling(url string, rate int) *Attack {
	return &Attack{Target: url, Sender: Poll, Rate: rate, Duration: time.Second, Deadline: time.Minute, Conns: 8, Now: time.Now, Bodies: Traffic{Seed: 1}.Bodies(20)}
}

// The sender poll sends each scheduled request once, with ids and a secret, and reports
// what came back.
func TestPollCountsResponses(t *testing.T) {
	var mu sync.Mutex
	ids, secrets := map[string]bool{}, map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		ids[string(body[:len(requestIDPrefix)+requestIDDigits])] = true
		secrets[r.Header.Get(SecretHeader)]++
		n := len(ids)
		mu.Unlock()
		switch {
		case n%3 == 0:
			_, _ = io.WriteString(w, `{"id":"1","seatbid":[{"bid":[{"impid":"1","price":1}]}]}`)
		case n == 1:
			w.WriteHeader(http.StatusInternalServerError)
			w.(http.Flusher).Flush()
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer s.Close()
	a := polling(s.URL, 300)
	a.Secret, a.Conns = "s3cret", 300
	r, err := a.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// The response with status 500 is chunked, which bidders never send: the connection breaks.
	if r.Scheduled != 300 || r.Sent != 300 || len(ids) != 300 || secrets["s3cret"] != 300 {
		t.Errorf("scheduled %d, sent %d, arrived %d, secrets %v", r.Scheduled, r.Sent, len(ids), secrets)
	}
	if r.Bids != 100 || r.Statuses["200"] != 100 || r.Statuses["204"] != 199 || r.Statuses["0"] != 1 || r.Sender != Poll {
		t.Errorf("bids %d, statuses %v, errors %v, sender %s", r.Bids, r.Statuses, r.Errors, r.Sender)
	}
	if r.AnsweredInTime != 100 || r.InsideDeadline != pct(299, 300) || r.Checked != 2 || len(r.Invalid) != 2 {
		t.Errorf("in time %g and %g, checked %d, invalid %v", r.AnsweredInTime, r.InsideDeadline, r.Checked, r.Invalid)
	}
}

// Requests that are due while no connection is free are not sent.
func TestPollWithoutFreeConnections(t *testing.T) {
	var n atomic.Int64
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			<-release
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	a := polling(s.URL, 100)
	a.Conns, a.Deadline = 1, 100*time.Millisecond
	checks := 0
	a.Progress = func(int, int) {
		if checks++; checks == 3 { // after 0.6 s
			close(release)
		}
	}
	r, err := a.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != int(n.Load()) || r.Sent > 61 || r.Sent+r.NoConnection != 100 || r.Statuses["204"] != r.Sent || r.Latency.Max < 500 || r.InsideDeadline == 100 || r.Stopped != "" {
		t.Errorf("sent %d of %d, no connection for %d, statuses %v, latency %v, stopped %q", r.Sent, n.Load(), r.NoConnection, r.Statuses, r.Latency, r.Stopped)
	}
}

// Responses may come in pieces.
func TestPollPieces(t *testing.T) {
	body := strings.Repeat("x", 100_000) // more than one read returns
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, body)
	}))
	defer s.Close()
	a := polling(s.URL, 50)
	a.Conns = 50 // when the machine is busy, many are due at once
	r, err := a.Run(context.Background())
	if err != nil || r.Statuses["200"] != 50 || r.Sent != 50 {
		t.Errorf("got %v, statuses %v, errors %v", err, r.Statuses, r.Errors)
	}
}

// acceptEach calls serve for each connection to a new listener, and returns its URL.
func acceptEach(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return "http://" + ln.Addr().String()
}

// largeBody is more than sockets take at once. It has ids at its beginning and at its end.
func largeBody() []byte {
	const zeros = "000000000000"
	return []byte(requestIDPrefix + zeros + `","x":"` + strings.Repeat("x", 24<<20) + `",` + placementPrefix + zeros + `"}`)
}

// A request that is sent in pieces keeps its ids, although the same body is sent again
// meanwhile.
func TestPollKeepsTheIDsOfUnsentRequests(t *testing.T) {
	const requests = 3
	var started sync.WaitGroup
	started.Add(requests)
	size := len(largeBody())
	url := acceptEach(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		r := bufio.NewReaderSize(c, 1024)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return // an unused connection
			}
		}
		started.Done()
		started.Wait()
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			t.Error(err)
		}
		first, last := string(body[len(requestIDPrefix):][:requestIDDigits]), string(body[size-2-requestIDDigits:size-2])
		if first != last {
			t.Errorf("got the ids %s and %s in one request", first, last)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	a := polling(url, requests)
	a.Bodies = [][]byte{largeBody()}
	r, err := a.Run(context.Background())
	if err != nil || r.Statuses["204"] != requests {
		t.Errorf("got %v, statuses %v, errors %v", err, r.Statuses, r.Errors)
	}
}

// A connection whose request was answered before all of it was sent is not used again.
func TestPollDropsConnectionsWithUnsentRequests(t *testing.T) {
	const requests = 20
	over := make(chan struct{})
	url := acceptEach(t, func(c net.Conn) {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		b := make([]byte, 1024)
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if !strings.HasPrefix(string(b[:n]), "POST ") {
			t.Errorf("got %q; want a request", b[:n])
		}
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		<-over // the rest stays unsent
	})
	a := polling(url, requests)
	a.Conns, a.Bodies = 1, [][]byte{largeBody()}
	r, err := a.Run(context.Background())
	close(over)
	// Those that are due while the machine is busy find the connection in use.
	if err != nil || r.Sent < 2 || r.Sent+r.NoConnection != requests || r.Statuses["204"] != r.Sent {
		t.Errorf("got %v, %d sent, no connection for %d, statuses %v, errors %v", err, r.Sent, r.NoConnection, r.Statuses, r.Errors)
	}
}

// The reasons to stop are those of the other sender.
func TestPollStopsEarly(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nothing listens
	a := polling("http://"+ln.Addr().String(), 100)
	a.Duration = time.Minute
	r, err := a.Run(context.Background())
	if err != nil || !strings.Contains(r.Stopped, "nothing listens") || r.ErrorStatuses != r.Sent {
		t.Errorf("got %v, %+v; want it stopped", err, r)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent); cancel() }))
	defer s.Close()
	a.Target = s.URL
	if r, err = a.Run(ctx); err != nil || r.Stopped != Interrupted || r.ErrorStatuses != 0 {
		t.Errorf("got %v, %+v; want it interrupted", err, r)
	}
	for _, bad := range []*Attack{{Target: "https://127.0.0.1:1/", Sender: Poll}, {Target: s.URL, Sender: Poll, Results: io.Discard}, {Target: s.URL, Sender: "both"}} {
		bad.Rate, bad.Duration, bad.Deadline, bad.Bodies, bad.Now = 1, time.Second, time.Second, a.Bodies, time.Now
		if _, err := bad.Run(context.Background()); err == nil {
			t.Errorf("%+v: got no error", bad)
		}
	}
}

// The quantiles of a histogram are those of the exact list or up to 1/64 higher.
func TestHistogram(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var e exact
	if h.quantiles() != (Quantiles{}) {
		t.Errorf("got %+v for no durations", h.quantiles())
	}
	for range 20_000 {
		d := time.Duration(r.ExpFloat64() * float64(time.Duration(1)<<r.IntN(34)))
		h.add(d)
		e.add(d)
	}
	got, want := h.quantiles(), e.quantiles()
	for _, q := range [][2]float64{{got.P50, want.P50}, {got.P90, want.P90}, {got.P99, want.P99}, {got.P999, want.P999}} {
		if q[0] < q[1] || q[0] > q[1]*(1+1.0/histogramSub)+0.002 {
			t.Errorf("got %g; want %g or a little more", q[0], q[1])
		}
	}
	if got.Mean != want.Mean || got.Max != want.Max {
		t.Errorf("got %+v; want %+v", got, want)
	}
	h.add(time.Hour)
	if h.quantiles().Max != 3.6e6 {
		t.Errorf("got %g", h.quantiles().Max)
	}
}
