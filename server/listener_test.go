package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/internal/conformance"
)

func TestMain(m *testing.M) {
	if variant := os.Getenv(benchServer); variant != "" {
		serveBenchmark(variant)
		return
	}
	// fasthttp runs a goroutine for its clock, and one for each listener that stops
	// idle workers every 10 s.
	goleak.VerifyTestMain(bothWays{m}, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// bothWays runs the tests with event loops and without them.
type bothWays struct{ m *testing.M }

// withLoops makes the listeners of the tests use event loops.
var withLoops = runtime.GOOS == "linux"

// Run implements goleak.TestingM.
func (b bothWays) Run() int {
	flag.Parse()
	for _, name := range []string{"test.fuzz", "test.bench"} {
		if flag.Lookup(name).Value.String() != "" {
			return b.m.Run()
		}
	}
	code := b.m.Run()
	if code == 0 && withLoops {
		withLoops = false
		code = b.m.Run()
	}
	return code
}

// start serves spec on a free port and drains it when the test ends.
func start(t *testing.T, spec Spec) *Listener {
	t.Helper()
	ln, err := Bind("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spec.Loop = withLoops
	l := Serve(spec, ln)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return l
}

// standing returns a clock that stands still, so that nothing waits too long on a busy machine.
func standing() func() time.Time {
	at := time.Now()
	return func() time.Time { return at }
}

func echo(ctx *fasthttp.RequestCtx) { ctx.SetBody(ctx.PostBody()) }

// talk writes raw bytes and reads up to n responses, or until the server closes.
func talk(t *testing.T, l *Listener, raw string, n int) []*http.Response {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	var list []*http.Response
	for len(list) < n {
		rs, err := http.ReadResponse(br, nil)
		if err != nil {
			break
		}
		b, err := io.ReadAll(rs.Body)
		if err != nil {
			t.Fatal(err)
		}
		rs.Body = io.NopCloser(bytes.NewReader(b))
		list = append(list, rs)
	}
	if len(list) < n {
		return list
	}
	_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := br.ReadByte(); err == io.EOF {
		list[len(list)-1].Close = true // the peer closed
	}
	return list
}

func TestRawRequests(t *testing.T) {
	l := start(t, Spec{Name: "bid", Handler: echo, Limits: Limits{Body: 64, Header: 1024}})
	tests := []struct {
		name, raw string
		status    int
		closes    bool
		refused   string
	}{
		{"plain", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok", 200, false, ""},
		{"chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, false, ""},
		{"http 1.0", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"http 1.0 kept alive", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, false, ""},
		{"both lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 400, true, "ambiguous_length"},
		{"both lengths, other order and case", "POST / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-LENGTH: 4\r\n\r\n2\r\nok\r\n0\r\n\r\n", 400, true, "ambiguous_length"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 400, true, "malformed_http"},
		{"two codings", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true, "malformed_http"},
		{"unknown coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, true, "malformed_http"},
		{"negative length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400, true, "malformed_http"},
		{"no HTTP", "\x16\x03\x01 hello there\r\n\r\n", 400, true, "malformed_http"},
		{"too large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n" + strings.Repeat("x", 65), 413, true, "too_large"},
		{"too large in chunks", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n" + strings.Repeat("x", 65) + "\r\n0\r\n\r\n", 413, true, "too_large"},
		{"folded header", "POST / HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 400, true, "malformed_http"},
		{"folded by a tab", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n", 400, true, "malformed_http"},
		{"folded first line", "POST / HTTP/1.1\r\n X: x\r\nHost: x\r\nContent-Length: 2\r\n\r\nok", 400, true, "malformed_http"},
		{"one content coding", "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", 200, false, ""},
		{"two content codings", "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: identity\r\ncontent-encoding: gzip\r\nContent-Length: 2\r\n\r\nok", 415, false, "malformed_http"},
		{"announced and too large", "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 65\r\n\r\n", 413, true, "too_large"},
		{"closed in another case", "POST / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"closed in a list", "POST / HTTP/1.1\r\nHost: x\r\nConnection: TE, CLOSE\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"closed in the first line", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nConnection: te\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"closed without a blank", "POST / HTTP/1.1\r\nHost: x\r\nconnection:close\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"not closed", "POST / HTTP/1.1\r\nHost: x\r\nConnection: closed, not-close\r\nContent-Length: 2\r\n\r\nok", 200, false, ""},
		{"http 1.0 kept alive in another case", "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", 200, false, ""},
		{"http 1.0 expects", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok", 200, true, ""},
		{"blank before the colon", "POST / HTTP/1.1\r\nHost: x\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok", 400, true, "malformed_http"},
		{"tab before the colon", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length\t: 2\r\n\r\nok", 400, true, "malformed_http"},
		{"blank in a name", "POST / HTTP/1.1\r\nHost: x\r\nX A: b\r\nContent-Length: 2\r\n\r\nok", 400, true, "malformed_http"},
		{"blank before the colon of a coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 400, true, "malformed_http"},
		{"headers too large", "GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 2048) + "\r\n\r\n", 431, true, "too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := l.Stats().Refused[tt.refused]
			list := talk(t, l, tt.raw, 1)
			if len(list) != 1 || list[0].StatusCode != tt.status {
				t.Fatalf("got %d responses, first %v; want status %d", len(list), list, tt.status)
			}
			if list[0].Close != tt.closes {
				t.Errorf("connection closed: got %v; want %v", list[0].Close, tt.closes)
			}
			if tt.refused != "" && l.Stats().Refused[tt.refused] != before+1 {
				t.Errorf("refused %s: got %d; want %d", tt.refused, l.Stats().Refused[tt.refused], before+1)
			}
		})
	}
}

// A smuggled second request must not be answered.
func TestSmuggledRequestIsNotServed(t *testing.T) {
	l := start(t, Spec{Name: "bid", Handler: echo})
	raw := "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
	if list := talk(t, l, raw, 2); len(list) != 1 || list[0].StatusCode != 400 {
		for _, rs := range list {
			t.Errorf("got %d %v", rs.StatusCode, rs.Header)
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	l := start(t, Spec{Name: "bid", Handler: echo, Now: standing()})
	var raw strings.Builder
	for i := range 5 {
		fmt.Fprintf(&raw, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d", i)
	}
	list := talk(t, l, raw.String(), 5)
	if len(list) != 5 {
		t.Fatalf("got %d responses; want 5", len(list))
	}
	for i, rs := range list {
		if b, _ := io.ReadAll(rs.Body); string(b) != fmt.Sprint(i) {
			t.Errorf("response %d: got %q", i, b)
		}
	}
}

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	conformance.Covers(t, "T4")
	boom := func(ctx *fasthttp.RequestCtx) {
		ctx.Response.Header.Set("X-Half", "done")
		panic("boom")
	}
	l := start(t, Spec{Name: "bid", Handler: boom, Panicked: respond(204)})
	list := talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 2)
	if len(list) != 2 {
		t.Fatalf("got %d responses; want 2 on one connection", len(list))
	}
	for _, rs := range list {
		if rs.StatusCode != 204 || rs.Header.Get("X-Half") != "" {
			t.Errorf("got %d with %v; want a clean 204", rs.StatusCode, rs.Header)
		}
	}
	if s := l.Stats(); s.Panics != 2 || s.InFlight != 0 {
		t.Errorf("got %d panics, %d in flight; want 2, 0", s.Panics, s.InFlight)
	}
	def := start(t, Spec{Name: "edge", Handler: boom})
	if list := talk(t, def, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1); len(list) != 1 || list[0].StatusCode != 500 {
		t.Errorf("got %v; want 500 by default", list)
	}
}

func TestTooManyInFlightAreShed(t *testing.T) {
	conformance.Covers(t, "T19")
	hold, inside := make(chan struct{}), make(chan struct{}, 2)
	l := start(t, Spec{
		Name: "bid", Limits: Limits{InFlight: 1}, Shed: respond(204),
		Handler: func(ctx *fasthttp.RequestCtx) { inside <- struct{}{}; <-hold; ctx.SetBodyString("held") },
	})
	first := make(chan []*http.Response)
	go func() { first <- talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1) }()
	<-inside
	list := talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1)
	if len(list) != 1 || list[0].StatusCode != 204 || list[0].Close {
		t.Errorf("got %v; want 204 and the connection kept", list)
	}
	if s := l.Stats(); s.Shed != 1 || s.InFlight != 1 {
		t.Errorf("got %d shed, %d in flight; want 1, 1", s.Shed, s.InFlight)
	}
	close(hold)
	if list := <-first; len(list) != 1 || list[0].StatusCode != 200 {
		t.Errorf("got %v; want the held request answered", list)
	}
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	hold, inside := make(chan struct{}), make(chan struct{})
	ln, err := Bind("bid", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Serve(Spec{Name: "bid", Loop: withLoops, Handler: func(ctx *fasthttp.RequestCtx) { close(inside); <-hold; ctx.SetBodyString("done") }}, ln)
	answered := make(chan []*http.Response)
	go func() { answered <- talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1) }()
	<-inside
	drained := make(chan error)
	go func() { drained <- l.Drain(context.Background()) }()
	for { // the address is released when draining starts
		c, err := net.Dial("tcp", l.Addr())
		if err != nil {
			break
		}
		c.Close()
	}
	select {
	case <-drained:
		t.Fatal("drained while a request was in flight")
	default:
	}
	close(hold)
	rs := <-answered
	if len(rs) != 1 || rs[0].StatusCode != 200 || !rs[0].Close {
		t.Errorf("got %v; want 200 and Connection: close", rs)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

func TestDrainGivesUpInTime(t *testing.T) {
	hold, inside := make(chan struct{}), make(chan struct{})
	ln, err := Bind("bid", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Serve(Spec{Name: "bid", Loop: withLoops, Handler: func(*fasthttp.RequestCtx) { close(inside); <-hold }}, ln)
	done := make(chan struct{})
	go func() { defer close(done); talk(t, l, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1) }()
	<-inside
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := l.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 requests in flight") {
		t.Errorf("got %v; want an error that names what is in flight", err)
	}
	close(hold)
	<-done
}

func TestBindSaysWhereItFailed(t *testing.T) {
	l := start(t, Spec{Name: "bid", Handler: echo})
	_, err := Bind("bid", l.Addr())
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || strings.Count(err.Error(), l.Addr()) != 1 ||
		!strings.Contains(err.Error(), "cannot open bid listener on "+l.Addr()) {
		t.Errorf("got %v; want an error with the address, once", err)
	}
}

// A path may contain the secret of an exchange, so the log names the route instead.
func TestPanicIsLoggedByRoute(t *testing.T) {
	core, said := observer.New(zap.ErrorLevel)
	var r Routes
	r.Handle("GET", "/openrtb2/*", func(*fasthttp.RequestCtx) { panic("boom") })
	l := start(t, Spec{Name: "bid", Handler: r.Serve, Route: r.Name, Panicked: respond(204), Logger: zap.New(core)})
	talk(t, l, "GET /openrtb2/demo/s3cr3t HTTP/1.1\r\nHost: x\r\n\r\n", 1)
	all := said.All()
	if len(all) != 1 || all[0].ContextMap()["route"] != "/openrtb2/*" || strings.Contains(fmt.Sprint(all[0].ContextMap()), "s3cr3t") {
		t.Errorf("got %v; want one line with the route and without the path", all)
	}
}
