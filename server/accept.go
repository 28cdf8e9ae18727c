package server

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

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

// Accept implements net.Listener.
func (a *acceptor) Accept() (net.Conn, error) {
	for pause := acceptPause; ; pause = min(2*pause, maxAcceptPause) {
		c, err := a.Listener.Accept()
		if err == nil {
			return a.l.wrap(c), nil
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
