package server

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// acceptor accepts connections for the HTTP library, which would end for good at the
// first error. The system refuses connections while descriptors or memory are short; the
// acceptor makes room where it can, waits, and tries again until it is closed.
type acceptor struct {
	net.Listener
	l      *Listener
	once   sync.Once
	closed chan struct{}
}

// Pauses between attempts to accept.
const (
	acceptPause    = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Accept implements net.Listener. It returns the connections that no event loop takes.
func (a *acceptor) Accept() (net.Conn, error) {
	for {
		c, err := a.accept()
		switch {
		case err != nil:
			return nil, err
		case a.l.loops == nil:
			return a.l.wrap(c), nil
		case a.l.full():
			a.l.refuseConn(c)
		case !a.l.loops.take(c):
			return a.l.wrap(c), nil
		}
	}
}

func (a *acceptor) accept() (net.Conn, error) {
	for pause := acceptPause; ; pause = min(2*pause, maxAcceptPause) {
		c, err := a.Listener.Accept()
		if err == nil {
			return c, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		a.l.acceptErrors.Add(1)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			a.l.spec.Conns.shrink(1)
		}
		if a.l.acceptLog.due(a.l.now()) {
			a.l.spec.Logger.Error("cannot accept connections; trying again", zap.String("listener", a.l.spec.Name), zap.Error(err))
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-a.closed:
			again.Stop()
			return nil, net.ErrClosed
		}
	}
}

// full reports whether the listener has all the connections that it may have.
func (l *Listener) full() bool {
	return l.loops.count()+int64(l.http.GetOpenConnectionsCount()) >= int64(l.spec.Limits.Conns)
}

// refuseConn closes a connection above the limit, with the answer of the HTTP library.
func (l *Listener) refuseConn(c net.Conn) {
	const why = "The connection cannot be served because Server.Concurrency limit exceeded"
	var b []byte
	b = append(b, "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nDate: "...)
	b = fasthttp.AppendHTTPDate(b, l.now())
	b = fmt.Appendf(b, "\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(why), why)
	_ = c.SetWriteDeadline(l.now().Add(time.Second))
	_, _ = c.Write(b)
	_ = c.Close()
}

// Close implements net.Listener.
func (a *acceptor) Close() error {
	a.once.Do(func() { close(a.closed) })
	return a.Listener.Close()
}

// sparse lets one of many equal log lines through every 10 s. It belongs to one
// goroutine.
type sparse struct{ next time.Time }

func (s *sparse) due(now time.Time) bool {
	if now.Before(s.next) {
		return false
	}
	s.next = now.Add(10 * time.Second)
	return true
}
