//go:build linux

package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

const plainPost = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok"

// startLoop is start with event loops, whatever the other tests use.
func startLoop(t testing.TB, spec Spec) *Listener {
	t.Helper()
	ln, err := Bind("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	spec.Loop = true
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

// client is a connection to a listener.
type client struct {
	t testing.TB
	*net.TCPConn
	in *bufio.Reader
}

func dialTo(t testing.TB, l *Listener) *client {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return &client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads a response and checks its status; it returns the body.
func (c *client) answer(status int) string {
	c.t.Helper()
	rs, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("got %v; want status %d", err, status)
	}
	b, err := io.ReadAll(rs.Body)
	if err != nil || rs.StatusCode != status {
		c.t.Fatalf("got status %d, %v; want %d", rs.StatusCode, err, status)
	}
	return string(b)
}

// ask sends a plain request and reads its answer.
func (c *client) ask() {
	c.t.Helper()
	c.send(plainPost)
	if got := c.answer(200); got != "ok" {
		c.t.Fatalf("got %q; want ok", got)
	}
}

func (c *client) ended() {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err == nil {
		c.t.Fatalf("got %q; want the connection closed", b)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		c.t.Fatal("the connection is still open")
	}
}

// The loops serve plain requests, and the library those of connections that sent another.
func TestLoopsServePlainRequests(t *testing.T) {
	l := startLoop(t, Spec{Name: "bid", Handler: echo})
	c := dialTo(t, l)
	c.ask()
	if n := l.loops.count(); n != 1 || l.http.GetOpenConnectionsCount() != 0 {
		t.Errorf("got %d connections in the loops, %d in the library; want 1, 0", n, l.http.GetOpenConnectionsCount())
	}
	c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.answer(200)
	c.ask()
	if n := l.loops.count(); n != 0 || l.http.GetOpenConnectionsCount() != 1 {
		t.Errorf("got %d connections in the loops, %d in the library; want 0, 1", n, l.http.GetOpenConnectionsCount())
	}
}

// A handler that blocks delays neither other connections nor changes the order on its own.
func TestBlockedHandlersDelayNobody(t *testing.T) {
	release := make(chan struct{})
	l := startLoop(t, Spec{Name: "bid", Now: standing(), Handler: func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/block" {
			block(ctx)
			<-release
		}
		ctx.SetBody(ctx.PostBody())
	}})
	var blocked []*client
	for i := range 20 {
		c := dialTo(t, l)
		c.send(strings.Replace(plainPost, "/", "/block", 1))
		c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02d", i))
		blocked = append(blocked, c)
	}
	other := dialTo(t, l)
	for l.Stats().InFlight < 20 {
		other.ask()
	}
	close(release)
	for i, c := range blocked {
		if got := c.answer(200); got != "ok" {
			t.Errorf("got %q first; want ok", got)
		}
		if got := c.answer(200); got != fmt.Sprintf("%02d", i) {
			t.Errorf("got %q second; want %02d", got, i)
		}
	}
}

// Half a request is answered with 408 when its time is over; an unused connection is closed,
// and so is one whose client does not read.
func TestSlowClientsAreClosed(t *testing.T) {
	var mu sync.Mutex
	late := time.Duration(0)
	now := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(late) }
	large := bytes.Repeat([]byte("large "), 2_000_000)
	l := startLoop(t, Spec{Name: "bid", Now: now, Handler: func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/large" {
			ctx.Response.SetBodyRaw(large)
			return
		}
		echo(ctx)
	}})
	half, head, unused, used, deaf := dialTo(t, l), dialTo(t, l), dialTo(t, l), dialTo(t, l), dialTo(t, l)
	half.send(plainPost[:len(plainPost)-1])
	head.send(plainPost + plainPost[:20])
	head.answer(200)
	deaf.send(strings.Replace(plainPost, "/", "/large", 1))
	used.ask()
	for _, c := range []*client{half, head, deaf} {
		l.awaitRead(c.LocalAddr().String(), nil)
	}
	used.ask()
	mu.Lock()
	late = 11 * time.Second
	mu.Unlock()
	half.answer(408)
	half.ended()
	head.answer(408)
	head.ended()
	l.awaitClosed(deaf.LocalAddr().String())
	used.ask()
	mu.Lock()
	late = 200 * time.Second
	mu.Unlock()
	unused.ended()
	used.ended()
	if n := l.Stats().Refused["malformed_http"]; n != 2 {
		t.Errorf("got %d requests refused; want the two halves", n)
	}
}

// Resets at every point of a request have no effect on others.
func TestResetsHarmNobody(t *testing.T) {
	l := startLoop(t, Spec{Name: "bid", Now: standing(), Handler: describe})
	other := dialTo(t, l)
	for i := range len(plainPost) {
		c := dialTo(t, l)
		c.send(strings.Replace(plainPost, "/", []string{"/block", "/large", "/"}[i%3], 1)[:i+1])
		if i%2 == 0 {
			l.awaitRead(c.LocalAddr().String(), nil)
		}
		_ = c.SetLinger(0)
		_ = c.Close()
		other.send(plainPost)
		other.answer(200)
		l.awaitClosed(c.LocalAddr().String())
	}
	if n := l.loops.count(); n != 1 {
		t.Errorf("got %d connections; want 1", n)
	}
}

// Idle connections have no buffers, and do not slow the others down.
func TestManyIdleConnections(t *testing.T) {
	n := min(10_000, descriptorLimit()/2-200)
	l := startLoop(t, Spec{Name: "bid", Handler: echo})
	measure := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what finalizers and pools of earlier tests held is free now
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := measure()
	answer := make([]byte, 512)
	for range n {
		c, err := net.Dial("tcp", l.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, plainPost); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(answer); err != nil {
			t.Fatal(err)
		}
	}
	if per := (measure() - before) / int64(n); per > 4096 {
		t.Errorf("got %d bytes of heap for each idle connection and its client; want at most 4096", per)
	}
	dialTo(t, l).ask()
	if got := l.loops.count(); got != int64(n)+1 {
		t.Errorf("got %d connections in the loops; want %d", got, n+1)
	}
}

// Connections above the limit get the library's answer.
func TestTooManyConnections(t *testing.T) {
	var answers [2]string
	for i, loop := range []bool{true, false} {
		ln, err := Bind("test", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := Serve(Spec{Name: "bid", Handler: echo, Loop: loop, Limits: Limits{Conns: 2}}, ln)
		a, b := dialTo(t, l), dialTo(t, l)
		a.ask()
		b.ask()
		c := dialTo(t, l)
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		answers[i] = string(dateLine.ReplaceAll(answer, nil))
		a.ask()
		if err := l.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if answers[0] != answers[1] || !strings.Contains(answers[0], "503") {
		t.Errorf("got %q; want %q", answers[0], answers[1])
	}
}

// Draining ends at once although clients hold unused connections, and completes requests
// that have begun.
func TestDrainWithUnusedConnections(t *testing.T) {
	for _, loop := range []bool{true, false} {
		ln, err := Bind("test", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := Serve(Spec{Name: "bid", Handler: echo, Loop: loop}, ln)
		var unused []*client
		for range 10 {
			unused = append(unused, dialTo(t, l))
		}
		used, half := dialTo(t, l), dialTo(t, l)
		used.ask()
		half.send(plainPost[:30])
		l.awaitRead(half.LocalAddr().String(), nil)
		drained := make(chan error)
		go func() { drained <- l.Drain(context.Background()) }()
		for _, c := range append(unused, used) {
			c.ended()
		}
		select {
		case <-drained:
			t.Error("drained during a request")
		default:
		}
		half.send(plainPost[30:])
		rs, err := http.ReadResponse(half.in, nil)
		if err != nil || rs.StatusCode != 200 || !rs.Close {
			t.Errorf("loop %v: got %v, %v; want 200 and Connection: close", loop, rs, err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	}
}

// A request in the loop must not allocate.
func TestLoopDoesNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	l := startLoop(t, Spec{Name: "bid", Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(204) }})
	c := dialTo(t, l)
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, request, answer := int(f.Fd()), []byte(plainPost), make([]byte, 512)
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(2000, func() {
		if _, errno := writeSocket(fd, request); errno != 0 {
			t.Fatal(errno)
		}
		for {
			if n, _ := readSocket(fd, answer); n > 0 {
				return
			}
			runtime.Gosched()
		}
	}); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
}
