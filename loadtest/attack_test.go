package loadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// The server bids on every third request; the report must count those bids and every
// scheduled request.
func TestAttackCountsResponses(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		switch i := n.Add(1); {
		case i%3 == 0:
			io.WriteString(w, `{"id":"1","seatbid":[{"bid":[{"impid":"1","price":1}]}]}`)
		case i == 1:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer s.Close()
	var results bytes.Buffer
	a := &Attack{Target: s.URL, Rate: 300, Duration: time.Second, Deadline: time.Minute, Bodies: Traffic{Seed: 1}.Bodies(10), Results: &results}
	r, err := a.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine vegeta may skip the last few when its time is over.
	if r.Scheduled != 300 || r.Sent > 300 || r.Sent != int(n.Load()) {
		t.Errorf("scheduled %d, sent %d, arrived %d", r.Scheduled, r.Sent, n.Load())
	}
	if r.Bids != r.Sent/3 || r.Statuses["500"] != 1 || r.ErrorStatuses != 1 || r.Statuses["204"] != r.Sent-r.Sent/3-1 {
		t.Errorf("bids %d of %d, statuses %v, errors %v", r.Bids, r.Sent, r.Statuses, r.Errors)
	}
	if want := pct(r.Sent-1, r.Sent); r.InsideDeadline != want {
		t.Errorf("in time %.3f %%; want all but the error, %.3f", r.InsideDeadline, want)
	}
	decode := vegeta.NewDecoder(&results)
	for i := range r.Sent {
		var res vegeta.Result
		if err := decode.Decode(&res); err != nil {
			t.Fatalf("result %d: %v", i, err)
		}
	}
	var text, page strings.Builder
	if r.WriteText(&text) != nil || r.WriteHTML(&page) != nil || !strings.Contains(text.String(), "500: 1") || !strings.Contains(page.String(), "<svg") {
		t.Errorf("reports: %s\n%s", text.String(), page.String())
	}
}

// Latency counts from the schedule of vegeta itself: at a low rate, a request sent on
// time has a lag of far less than an interval.
func TestLagIsNotAnInterval(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer s.Close()
	a := &Attack{Target: s.URL, Rate: 5, Duration: time.Second, Deadline: time.Minute, Bodies: Traffic{}.Bodies(1)}
	best := math.Inf(1)
	for n := 0; n < 5 && best > 100; n++ { // a busy machine may delay one run
		r, err := a.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		best = min(best, r.ScheduleLag.P50)
	}
	if best > 100 {
		t.Errorf("the median lag is %.1f ms at best with one request per 200 ms", best)
	}
}

// Latency counts from the schedule: a request that was sent late is late, however fast
// the response was.
func TestLatencyCountsFromTheSchedule(t *testing.T) {
	a := &Attack{Rate: 10, Duration: time.Second, Deadline: 100 * time.Millisecond}
	run := newTally(a)
	due := time.Unix(1000, 0)
	run.add(&vegeta.Result{Seq: 0, Code: 204, Timestamp: due, Latency: 50 * time.Millisecond}, due)
	run.add(&vegeta.Result{Seq: 1, Code: 204, Timestamp: due.Add(80 * time.Millisecond), Latency: 50 * time.Millisecond}, due)
	r := run.report("")
	if r.Latency.Max != 130 || r.ServiceLatency.Max != 50 || r.ScheduleLag.Max != 80 {
		t.Errorf("latency %v, service %v, lag %v", r.Latency, r.ServiceLatency, r.ScheduleLag)
	}
	if r.InsideDeadline != 50 || r.OnSchedulePct != 10 {
		t.Errorf("in time %g %%, on schedule %g %%", r.InsideDeadline, r.OnSchedulePct)
	}
}

func TestTrafficIsRepeatableAndValid(t *testing.T) {
	tr := Traffic{KnownPct: 40, Seed: 7, Visitors: 50}
	a, b := tr.Bodies(2000), tr.Bodies(2000)
	known := 0
	ids := map[string]bool{}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			t.Fatalf("request %d differs between two runs of one seed", i)
		}
		var q struct {
			ID  string
			Imp []struct {
				Banner struct{ Format []struct{ W, H int } }
			}
			User struct{ BuyerUID string }
		}
		if err := json.Unmarshal(a[i], &q); err != nil || len(q.Imp) == 0 || len(q.Imp[0].Banner.Format) != 1 {
			t.Fatalf("request %d: %v: %s", i, err, a[i])
		}
		if strings.HasPrefix(q.User.BuyerUID, "lt-7-") {
			known++
		}
		ids[q.ID] = true
	}
	if known < 720 || known > 880 || len(ids) != 2000 {
		t.Errorf("%d of 2000 known, %d ids; want about 800 and 2000", known, len(ids))
	}
}

func TestOnlyLocal(t *testing.T) {
	for _, ok := range []string{"http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:1/", "http://127.9.9.9/", "http://10.0.0.1/", "http://192.168.7.7:8080/x", "http://[fd00::1]/"} {
		if err := OnlyLocal(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{"http://11.0.0.1/", "http://172.32.0.1/", "https://bidder.example/", "http://127.0.0.1.example/", "::"} {
		if OnlyLocal(bad) == nil {
			t.Errorf("%s: got no error; want one for a host that is not this machine", bad)
		}
	}
}

func TestAttackRefusesInvalidInput(t *testing.T) {
	good := Attack{Target: "http://127.0.0.1:1/", Rate: 10, Duration: time.Second, Deadline: time.Second, Bodies: [][]byte{{}}}
	for _, c := range []struct {
		want   string // in the error
		change func(a *Attack)
	}{
		{"rate", func(a *Attack) { a.Rate = 0 }},
		{"rate", func(a *Attack) { a.Rate = -1 }},
		{"rate", func(a *Attack) { a.Rate = MaxRate + 1 }},
		{"duration", func(a *Attack) { a.Duration = 0 }},
		{"duration", func(a *Attack) { a.Duration = -time.Second }},
		{"duration", func(a *Attack) { a.Duration = MaxDuration + 1 }},
		{"deadline", func(a *Attack) { a.Deadline = -time.Second }},
		{"deadline", func(a *Attack) { a.Deadline = 0 }},
		{"deadline", func(a *Attack) { a.Deadline = time.Hour }},
		{"at most", func(a *Attack) { a.Rate, a.Duration = MaxRate, time.Hour }},
		{"less than one", func(a *Attack) { a.Rate, a.Duration = 1, time.Millisecond }},
		{"URL", func(a *Attack) { a.Target = "127.0.0.1:8080" }},
		{"URL", func(a *Attack) { a.Target = "ftp://127.0.0.1/" }},
		{"no requests", func(a *Attack) { a.Bodies = nil }},
	} {
		a := good
		c.change(&a)
		if _, err := a.Run(context.Background()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("rate %d, duration %s, deadline %s, target %s: got %v; want an error with %q", a.Rate, a.Duration, a.Deadline, a.Target, err, c.want)
		}
	}
}

func TestTrafficRefusesInvalidInput(t *testing.T) {
	for _, tr := range []Traffic{{Visitors: -1}, {Visitors: MaxVisitors + 1}, {KnownPct: -5}, {KnownPct: 150}, {KnownPct: math.NaN()}, {KnownPct: math.Inf(1)}, {TMaxMS: -1}} {
		if tr.Validate() == nil {
			t.Errorf("%+v: got no error", tr)
		}
	}
	if err := (Traffic{Visitors: 1, KnownPct: 100}).Validate(); err != nil {
		t.Error(err)
	}
}

// An attack on a target that gives nothing but errors stops with the cause, and one
// that the user interrupts still has a report.
func TestAttackStopsEarly(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) })
	}
	hang := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not notice that the client has disconnected
		<-r.Context().Done()
	})
	var seen atomic.Int64
	breaks := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) > 20 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	for _, c := range []struct {
		name string
		h    http.Handler
		want string
	}{
		{"not found", status(404), "404"}, {"no secret", status(403), "--secret-env"}, {"server error", status(500), "500"},
		{"unreadable", status(415), "--requests"}, {"redirect", status(302), "redirects"}, {"limited", status(429), "--rate"},
		{"refused", nil, "connection refused"}, {"hang", hang, "does not answer"}, {"breaks", breaks, "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			target := closed.URL
			if c.h != nil {
				s := httptest.NewServer(c.h)
				defer s.Close()
				target = s.URL
			}
			a := &Attack{Target: target, Rate: 20, Duration: time.Hour, Deadline: 50 * time.Millisecond, Bodies: [][]byte{[]byte("{}")}}
			r, err := a.Run(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.Stopped, c.want) {
				t.Errorf("stopped by %q; want %q in it", r.Stopped, c.want)
			}
			var text strings.Builder
			if r.WriteText(&text) != nil || !strings.Contains(text.String(), r.Stopped) {
				t.Errorf("the report does not say why it ended:\n%s", text.String())
			}
		})
	}
}

// A signal ends the attack; the report covers what was sent, at the rate at which it
// was sent, and requests that were abandoned in flight are not errors.
func TestInterruptedAttackReports(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var n atomic.Int64
	results := &countedResults{enough: 20, done: make(chan struct{})}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		i := n.Add(1)
		if i == 30 {
			<-results.done // the first ones have arrived
			cancel()
		}
		if i >= 30 {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	a := &Attack{Target: s.URL, Rate: 100, Duration: time.Hour, Deadline: 50 * time.Millisecond, Bodies: [][]byte{[]byte("{}")}, Results: results}
	r, err := a.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if r.Stopped != Interrupted || r.Sent < 20 || r.Sent > 29 || r.ErrorStatuses != 0 || r.RateAchieved < 1 {
		t.Errorf("got %q, %d sent, %d errors, %.1f per second; want an interrupted attack without errors", r.Stopped, r.Sent, r.ErrorStatuses, r.RateAchieved)
	}
}

// countedResults closes done when enough results were written.
type countedResults struct {
	enough int
	done   chan struct{}
	buf    bytes.Buffer
}

func (c *countedResults) Write(p []byte) (int, error) {
	c.buf.Write(p)
	n, decode := 0, vegeta.NewDecoder(bytes.NewReader(c.buf.Bytes()))
	for r := (vegeta.Result{}); decode.Decode(&r) == nil; n++ {
	}
	if c.enough > 0 && n >= c.enough {
		close(c.done)
		c.enough = 0
	}
	return len(p), nil
}

// A secret reaches the target and appears in nothing that is written.
func TestSecretStaysOutOfReports(t *testing.T) {
	const secret = "open-sesame"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(SecretHeader) != secret && !strings.Contains(r.URL.String(), secret) {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	defer s.Close()
	for _, c := range []struct {
		name, target, header string
		errors               bool
	}{
		{"header", s.URL + "/openrtb2/demo", secret, false}, {"path", s.URL + "/openrtb2/demo/" + secret, "", false},
		{"query", s.URL + "/openrtb2/demo?secret=" + secret, "", false},
		{"refused, path", gone.URL + "/openrtb2/demo/" + secret, "", true},
		{"refused, query", gone.URL + "/openrtb2/demo?secret=" + secret, secret, true},
		{"refused, user", strings.Replace(gone.URL, "//", "//u:"+secret+"@", 1), "", true},
	} {
		var results bytes.Buffer
		a := &Attack{Target: c.target, Secret: c.header, Rate: 20, Duration: 200 * time.Millisecond, Deadline: time.Second, Bodies: [][]byte{[]byte("{}")}, Results: &results}
		r, err := a.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if c.errors != (r.ErrorStatuses > 0) {
			t.Errorf("%s: %d errors: %v", c.name, r.ErrorStatuses, r.Errors)
		}
		var text, page strings.Builder
		b, err := json.Marshal(r)
		if err != nil || r.WriteText(&text) != nil || r.WriteHTML(&page) != nil {
			t.Fatal(err)
		}
		probe := a.Probe(context.Background(), []byte("{}"))
		for where, got := range map[string]string{"JSON": string(b), "text": text.String(), "page": page.String(), "results": results.String(), "message": fmt.Sprint(probe)} {
			if strings.Contains(got, secret) {
				t.Errorf("%s: the %s contains the secret: %s", c.name, where, got)
			}
		}
	}
}

// Introduce sends the visitors to the shop and then waits for a bid.
func TestIntroduce(t *testing.T) {
	var events, probes atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/events", func(w http.ResponseWriter, r *http.Request) {
		var batch []struct{ Event string }
		if r.Header.Get("Authorization") != "Bearer k" || json.NewDecoder(r.Body).Decode(&batch) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		events.Add(int64(len(batch)))
		json.NewEncoder(w).Encode(map[string]int{"accepted": len(batch)})
	})
	mux.HandleFunc("/bid", func(w http.ResponseWriter, r *http.Request) {
		if probes.Add(1) < 3 {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	tr := Traffic{Visitors: 1200}
	shop := Shop{EdgeURL: s.URL, Key: "k", Products: []string{"SKU1", "SKU2"}}
	if err := tr.Introduce(context.Background(), shop, &Attack{Target: s.URL + "/bid"}, nil); err != nil {
		t.Fatal(err)
	}
	if events.Load() != 1200 || probes.Load() != 3 {
		t.Errorf("%d events, %d probes; want 1200 and 3", events.Load(), probes.Load())
	}
	shop.Key = "wrong"
	if err := tr.Introduce(context.Background(), shop, &Attack{Target: s.URL + "/bid"}, nil); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a wrong key: got %v; want an error with status 401", err)
	}
}

// No two impressions are on the same placement.
func TestPlacementsAreUnique(t *testing.T) {
	gpid := regexp.MustCompile(`"gpid":"[^"]+"`)
	seen := map[string]bool{}
	several := 0
	for _, body := range (Traffic{Seed: 1}).Bodies(500) {
		list := gpid.FindAllString(string(body), -1)
		if len(list) > 1 {
			several++
		}
		for _, id := range list {
			if seen[id] {
				t.Errorf("got %s twice", id)
			}
			seen[id] = true
		}
	}
	if several == 0 {
		t.Error("no request has several impressions")
	}
}
