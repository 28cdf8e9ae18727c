package server

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/internal/conformance"
)

func TestRoutes(t *testing.T) {
	var r Routes
	say := func(s string) fasthttp.RequestHandler {
		return func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(s + string(Tail(ctx, "/openrtb2/"))) }
	}
	r.Handle("POST", "/openrtb2/*", say("bid "))
	r.Handle("GET", "/v1/px", say("px"))
	r.Read("/v1/read", say("read"))
	r.Handle("GET", "/v1/*", say("v1"))
	r.Handle("POST", "/v1/*", say("v1 post"))
	tests := []struct {
		method, path string
		status       int
		body, allow  string
	}{
		{"POST", "/openrtb2/demo", 200, "bid demo", ""},
		{"POST", "/openrtb2/demo/secret", 200, "bid demo/secret", ""},
		{"POST", "/openrtb2/", 404, "", ""},
		{"GET", "/openrtb2/demo", 405, "", "POST"},
		{"GET", "/v1/px", 200, "px", ""},
		{"HEAD", "/v1/px", 405, "", "GET"}, // it would record an event
		{"HEAD", "/v1/vast/start", 405, "", "GET, POST"},
		{"HEAD", "/v1/read", 200, "read", ""},
		{"GET", "/v1/read", 200, "read", ""},
		{"POST", "/v1/read", 405, "", "GET, HEAD"},
		{"POST", "/v1/px", 405, "", "GET"},
		{"GET", "/v1/vast/start", 200, "v1", ""},
		{"PUT", "/v1/vast/start", 405, "", "GET, POST"},
		{"get", "/v1/px", 405, "", "GET"},
		{"PRI", "/v1/px", 405, "", "GET"},
		{"GET", "/nothing", 404, "", ""},
	}
	for _, tt := range tests {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod(tt.method)
		ctx.Request.SetRequestURI(tt.path)
		r.Serve(&ctx)
		body := string(ctx.Response.Body())
		if strings.HasPrefix(tt.path, "/v1/") && tt.status == 200 {
			body = strings.TrimSpace(body)
			if i := strings.Index(body, "/"); i >= 0 {
				body = body[:i]
			}
		}
		if ctx.Response.StatusCode() != tt.status || !strings.HasPrefix(body, tt.body) {
			t.Errorf("%s %s: got %d %q; want %d %q", tt.method, tt.path, ctx.Response.StatusCode(), body, tt.status, tt.body)
		}
		if got := string(ctx.Response.Header.Peek("Allow")); got != tt.allow {
			t.Errorf("%s %s: got Allow %q; want %q", tt.method, tt.path, got, tt.allow)
		}
	}
}

func TestHealth(t *testing.T) {
	conformance.Covers(t, "T21", "T26")
	var h Health
	var r Routes
	r.Handle("GET", "/readyz", h.Readyz)
	r.Handle("GET", "/healthz", h.Live)
	l := start(t, Spec{Name: "bid", Handler: r.Serve})
	get := func(path string) (int, string) {
		t.Helper()
		rs, err := http.Get("http://" + l.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer rs.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		b, _ := io.ReadAll(rs.Body)
		return rs.StatusCode, strings.TrimSpace(string(b))
	}
	expect := func(status int, text string) {
		t.Helper()
		if s, b := get("/readyz"); s != status || b != text {
			t.Errorf("got %d %q; want %d %q", s, b, status, text)
		}
	}
	expect(503, "starting")
	h.Ready()
	expect(200, "ready")
	h.Blind("log is not writable")
	expect(503, "blind: log is not writable")
	h.Blind("")
	expect(200, "ready")
	h.Blind("log is not writable")
	h.NotReady("draining")
	expect(503, "draining")
	if s, b := get("/healthz"); s != 200 || b != "ok" {
		t.Errorf("got %d %q; want 200 ok throughout", s, b)
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	m.Counter("rebound_test_things_total", "things", []string{"kind"}, func(emit Emit) { emit(3, "a"); emit(4, `b"\`) })
	m.Gauge("rebound_test_level", "level", nil, func(emit Emit) { emit(-1.5) })
	lat := NewLatency(0.001, 0.01)
	for _, d := range []time.Duration{-time.Second, 500 * time.Microsecond, 5 * time.Millisecond, time.Second} {
		lat.Observe(d)
	}
	m.Histogram("rebound_test_seconds", "time", lat.Buckets)
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("GET")
	ctx.Request.SetRequestURI("/metrics")
	m.Handler()(&ctx)
	body := string(ctx.Response.Body())
	for _, want := range []string{
		`rebound_test_things_total{kind="a"} 3`, `rebound_test_things_total{kind="b\"\\"} 4`, "rebound_test_level -1.5",
		`rebound_test_seconds_bucket{le="0.001"} 2`, `rebound_test_seconds_bucket{le="0.01"} 3`,
		`rebound_test_seconds_bucket{le="+Inf"} 4`, "rebound_test_seconds_count 4", "rebound_test_seconds_sum 1.0055",
		"go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("want %s in:\n%s", want, body)
		}
	}
}

// The values of a page are read once, before the page is rendered, however many
// metrics use them.
func TestMetricsOfOneMoment(t *testing.T) {
	m := NewMetrics()
	now, read, reads := 0, 0, 0
	m.Before(func() { now++; read = now; reads++ })
	for _, name := range []string{"rebound_test_a", "rebound_test_b"} {
		m.Gauge(name, name, nil, func(emit Emit) { emit(float64(read)) })
	}
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod("GET")
	ctx.Request.SetRequestURI("/metrics")
	for i := 1; i <= 2; i++ {
		ctx.Response.Reset()
		m.Handler()(&ctx)
		body := string(ctx.Response.Body())
		for _, name := range []string{"rebound_test_a", "rebound_test_b"} {
			if want := name + " " + strconv.Itoa(i) + "\n"; !strings.Contains(body, want) {
				t.Errorf("page %d: want %s in:\n%s", i, want, body)
			}
		}
		if reads != i {
			t.Errorf("page %d: got %d reads in total; want one for each page", i, reads)
		}
	}
}

func TestProfiles(t *testing.T) {
	for path, want := range map[string]int{"/debug/pprof": 302, "/debug/pprof/": 200, "/debug/pprof/cmdline": 200} {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("GET")
		ctx.Request.SetRequestURI(path)
		Profiles(&ctx)
		if got := ctx.Response.StatusCode(); got != want {
			t.Errorf("%s: got %d; want %d", path, got, want)
		}
		if to := string(ctx.Response.Header.Peek("Location")); want == 302 && to != "/debug/pprof/" {
			t.Errorf("%s: got Location %q", path, to)
		}
	}
}

// A metric with the wrong number of labels fails the scrape and does not crash the
// bidder.
func TestMetricWithWrongLabels(t *testing.T) {
	m := NewMetrics()
	m.Counter("rebound_test_total", "t", []string{"kind"}, func(emit Emit) { emit(1) })
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/metrics")
	m.Handler()(&ctx)
	if ctx.Response.StatusCode() != 500 {
		t.Errorf("got %d; want 500", ctx.Response.StatusCode())
	}
}
