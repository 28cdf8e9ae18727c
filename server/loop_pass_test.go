//go:build linux

package server

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// stepped is an event loop whose passes the test runs itself, with a clock of its own.
type stepped struct {
	t *testing.T
	*loop
	clock time.Time
}

func newStepped(t *testing.T, handler func(*stepped)) *stepped {
	t.Helper()
	s := &stepped{t: t, clock: time.Now()}
	answer := func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent); handler(s) }
	ln, err := Bind("test", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Serve(Spec{Name: "bid", Handler: answer, Shed: answer, Now: func() time.Time { return s.clock }}, ln)
	if s.loop, err = newLoop(&loops{l: l}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range s.conns {
			if c != nil {
				s.close(c)
			}
		}
		s.release()
		if err := l.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// connect returns the client's end of a new connection of the loop, and the loop's.
func (s *stepped) connect() (*os.File, *loopConn) {
	s.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20); err != nil {
			s.t.Fatal(err)
		}
	}
	client := os.NewFile(uintptr(fds[0]), "client")
	s.t.Cleanup(func() { _ = client.Close() })
	_ = client.SetDeadline(time.Now().Add(time.Minute))
	now := s.clock.UnixNano()
	c := &loopConn{loop: s.loop, fd: fds[1], peer: &net.TCPAddr{}, since: now}
	c.idleSince.Store(now)
	s.open.Add(1)
	s.set.l.spec.Conns.add(c)
	s.register(c)
	return client, c
}

func (s *stepped) send(to *os.File, text string) {
	s.t.Helper()
	if _, err := to.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// await waits for events. It reports a failure if there are none for a long time.
func (s *stepped) await() {
	s.t.Helper()
	_ = s.epoll.SetReadDeadline(time.Now().Add(time.Minute))
	if err := s.wait(); err != nil {
		s.t.Fatal(err)
	}
}

// While a loop has more requests than it can answer, whatever clients do in the meantime,
// it remembers each open connection once at most.
func TestLoopRemembersWhatItLeavesOnce(t *testing.T) {
	const clients, passes = 20, 200
	s := newStepped(t, func(s *stepped) { s.clock = s.clock.Add(10 * time.Millisecond) })
	var conns [clients]*os.File
	for i := range conns {
		conns[i], _ = s.connect()
	}
	left := 0
	for n := range passes {
		if n%3 == 0 { // one connection goes and another comes
			i := n / 3 % clients
			_ = conns[i].Close()
			conns[i], _ = s.connect()
		}
		for i := range conns { // the last one, which the loop handles first, is another each time
			s.send(conns[(i+7*n)%clients], plainPost)
		}
		s.await()
		if got, open := len(s.later), s.open.Load(); int64(got) > open {
			t.Fatalf("pass %d: the loop remembers %d connections of %d", n, got, open)
		}
		s.pass()
		left = max(left, len(s.later))
	}
	if left < clients/2 {
		t.Errorf("the loop left %d connections at most; want most of %d", left, clients)
	}
	for _, c := range conns { // what they left does not count any more
		_ = c.Close()
	}
	for s.open.Load() > 0 {
		s.await()
		s.pass()
	}
	client, _ := s.connect()
	s.send(client, plainPost)
	if s.await(); len(s.later) > 0 || s.behind > 0 {
		t.Errorf("got %d connections left and %d passes behind; want none", len(s.later), s.behind)
	}
}

// More requests at once than the loop reads at once are all answered, although the system
// reports their arrival only once.
func TestLoopReadsAllThatArrivedAtOnce(t *testing.T) {
	const requests = 200_000 / len(plainPost)
	s := newStepped(t, func(*stepped) {})
	client, _ := s.connect()
	s.send(client, strings.Repeat(plainPost, requests))
	got, b := 0, make([]byte, 1<<20)
	for got < requests {
		s.await()
		s.pass()
		n, err := client.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got += bytes.Count(b[:n], []byte("HTTP/1.1 204"))
	}
	if got != requests {
		t.Errorf("got %d answers; want %d", got, requests)
	}
}

// A request that had to wait for no other is answered although the process was paused after
// the loop had found it; those behind it are shed.
func TestPauseShedsOnlyTheQueue(t *testing.T) {
	s := newStepped(t, func(*stepped) {})
	for waiting := range 3 {
		for range waiting + 1 {
			client, _ := s.connect()
			s.send(client, plainPost)
		}
		before := s.set.l.Stats().Waited
		s.await()
		s.clock = s.clock.Add(time.Second)
		for s.pass(); len(s.later) > 0; s.pass() {
			s.await()
		}
		if got := s.set.l.Stats().Waited - before; got != uint64(waiting) {
			t.Errorf("%d requests after a pause: got %d shed; want all but the first", waiting+1, got)
		}
	}
}

// A connection that a pass did not get to is not idle: draining lets its request be
// answered, and no limit of an idle connection ends it.
func TestLeftConnectionIsNotIdle(t *testing.T) {
	s := newStepped(t, func(*stepped) {})
	client, c := s.connect()
	s.send(client, plainPost)
	s.await()
	s.leave(c.fd, unix.EPOLLIN)
	s.n = 0
	s.now += int64(time.Hour)
	s.sweep()
	s.set.draining.Store(true)
	s.set.l.draining.Store(true)
	s.closeIdle()
	if s.conn(c.fd) != c {
		t.Fatal("the connection was closed; want its request answered")
	}
	s.pass()
	b := make([]byte, 4096)
	n, err := client.Read(b)
	if err != nil || !bytes.Contains(b[:n], []byte("HTTP/1.1 204")) || !bytes.Contains(b[:n], []byte("Connection: close")) {
		t.Errorf("got %q, %v; want status 204 and Connection: close", b[:n], err)
	}
	if s.open.Load() != 0 {
		t.Error("the connection is open; want it closed after the answer")
	}
}
