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
)

// TestLoopShedsWhatWaitedTooLong keeps a loop busy until more requests wait than it can
// answer in time: those behind the limit get an immediate answer without the handler.
func TestLoopShedsWhatWaitedTooLong(t *testing.T) {
	const waiting = 20
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one loop
	var clock atomic.Int64                          // goes on by 10 ms with each request that the handler gets
	var armed atomic.Bool
	busy, release := make(chan struct{}), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	l := Serve(Spec{
		Name: "bid", Loop: true, Shed: respond(fasthttp.StatusNoContent),
		Now: func() time.Time { return base.Add(time.Duration(clock.Load())) },
		Handler: func(*fasthttp.RequestCtx) {
			if armed.CompareAndSwap(true, false) {
				close(busy)
				<-release
			}
			clock.Add(int64(10 * time.Millisecond))
		},
	}, ln)
	defer l.Drain(context.Background()) //nolint:errcheck // what counts was checked before

	conns := make([]net.Conn, waiting+1)
	send := func(c net.Conn) {
		if _, err := io.WriteString(c, plainPost); err != nil {
			t.Fatal(err)
		}
	}
	status := func(c net.Conn) int {
		rs, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		rs.Body.Close()
		return rs.StatusCode
	}
	for i := range conns { // so that the loop has all of them
		if conns[i], err = net.Dial("tcp", l.Addr()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
		send(conns[i])
		if got := status(conns[i]); got != fasthttp.StatusOK {
			t.Fatalf("got %d; want 200", got)
		}
	}
	armed.Store(true)
	send(conns[0])
	<-busy
	for _, c := range conns[1:] {
		send(c)
	}
	close(release)
	got := map[int]int{}
	for _, c := range conns {
		got[status(c)]++
	}
	// Those that the handler gets 0, 10, 20 and 30 ms after the loop found them, and the first.
	if got[fasthttp.StatusOK] != 5 || got[fasthttp.StatusNoContent] != waiting-4 || l.Stats().Shed != waiting-4 {
		t.Errorf("got %v and %d shed; want 5 answers and %d shed", got, l.Stats().Shed, waiting-4)
	}
}
