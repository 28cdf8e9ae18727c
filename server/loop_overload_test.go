//go:build linux

package server

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// crowd is a listener with one loop and an injected clock, and connections to it.
type crowd struct {
	t     *testing.T
	l     *Listener
	conns []net.Conn
	from  []*bufio.Reader // of conns
	clock atomic.Int64    // goes on by 10 ms with each request that the handler gets
	armed atomic.Bool     // the handler's next request waits for release
	busy  chan struct{}
	free  chan struct{}
}

// crowded starts a listener and opens connections that have been answered once, so that
// the loop has all of them. shed answers what is shed.
func crowded(t *testing.T, conns int, shed func(*crowd)) *crowd {
	t.Helper()
	procs := runtime.GOMAXPROCS(1)
	t.Cleanup(func() { runtime.GOMAXPROCS(procs) })
	c := &crowd{t: t, conns: make([]net.Conn, conns), from: make([]*bufio.Reader, conns), busy: make(chan struct{}), free: make(chan struct{})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	c.l = Serve(Spec{
		Name: "bid", Loop: true,
		Shed: func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent); shed(c) },
		Now:  func() time.Time { return base.Add(time.Duration(c.clock.Load())) },
		Handler: func(*fasthttp.RequestCtx) {
			if c.armed.CompareAndSwap(true, false) {
				close(c.busy)
				<-c.free
			}
			c.clock.Add(int64(10 * time.Millisecond))
		},
	}, ln)
	t.Cleanup(func() {
		for _, nc := range c.conns {
			nc.Close()
		}
		_ = c.l.Drain(context.Background())
	})
	for i := range c.conns {
		if c.conns[i], err = net.Dial("tcp", c.l.Addr()); err != nil {
			t.Fatal(err)
		}
		c.from[i] = bufio.NewReader(c.conns[i])
		c.send(i)
		if got := c.status(i); got != fasthttp.StatusOK {
			t.Fatalf("got %d; want 200", got)
		}
	}
	return c
}

func (c *crowd) send(i int) {
	if _, err := io.WriteString(c.conns[i], plainPost); err != nil {
		c.t.Error(err)
	}
}

// arrived waits until the system has delivered what was sent on a connection: the peer has
// acknowledged it.
func (c *crowd) arrived(i int) {
	raw, err := c.conns[i].(*net.TCPConn).SyscallConn()
	if err != nil {
		c.t.Error(err)
		return
	}
	for unsent := 1; unsent > 0 && err == nil; runtime.Gosched() {
		if failed := raw.Control(func(fd uintptr) { unsent, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) }); failed != nil {
			err = failed
		}
	}
	if err != nil {
		c.t.Error(err)
	}
}

func (c *crowd) status(i int) int {
	c.t.Helper()
	rs, err := http.ReadResponse(c.from[i], nil)
	if err != nil {
		c.t.Fatal(err)
	}
	rs.Body.Close()
	return rs.StatusCode
}

// flood makes the loop handle a request on the first connection until one waits on each
// of the others.
func (c *crowd) flood() {
	c.armed.Store(true)
	c.send(0)
	<-c.busy
	for i := range c.conns[1:] {
		c.send(i + 1)
	}
	for i := range c.conns[1:] {
		c.arrived(i + 1)
	}
	close(c.free)
}

// A loop is busy until more requests wait than it can answer in time: those behind the
// limit get an immediate answer without the handler.
func TestLoopShedsWhatWaitedTooLong(t *testing.T) {
	const waiting = 20
	c := crowded(t, waiting+1, func(*crowd) {})
	c.flood()
	got := map[int]int{}
	for i := range c.conns {
		got[c.status(i)]++
	}
	// Those that the handler gets 10, 20 and 30 ms after the loop looked before, and the first.
	if got[fasthttp.StatusOK] != 4 || got[fasthttp.StatusNoContent] != waiting-3 || c.l.Stats().Waited != waiting-3 {
		t.Errorf("got %v and %d shed; want 4 answers and %d shed", got, c.l.Stats().Waited, waiting-3)
	}
}

// When even shedding takes longer than requests may wait, the loop still answers new
// requests, before those that it could not get to.
func TestLoopAnswersNewRequestsFirst(t *testing.T) {
	const waiting = 20
	sent := false
	c := crowded(t, waiting+1, func(c *crowd) {
		if !sent { // a new request arrives while the others are shed
			sent = true
			c.send(0)
			c.arrived(0)
		}
		c.clock.Add(int64(10 * time.Millisecond))
	})
	c.flood()
	if got := c.status(0); got != fasthttp.StatusOK {
		t.Fatalf("the request in progress: got %d; want 200", got)
	}
	if got := c.status(0); got != fasthttp.StatusOK {
		t.Errorf("the new request: got %d; want 200", got)
	}
	got := map[int]int{}
	for i := range waiting {
		got[c.status(i+1)]++
	}
	if got[fasthttp.StatusOK] != 3 || got[fasthttp.StatusNoContent] != waiting-3 {
		t.Errorf("those that waited: got %v; want 3 answers", got)
	}
}
