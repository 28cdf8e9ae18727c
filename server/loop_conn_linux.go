package server

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loopConn is a connection of an event loop. It is in one of four states: idle, with an
// incomplete request (pending), with an unsent response (out), or busy while another
// goroutine handles its request. It has no buffers while it is idle.
type loopConn struct {
	loop   *loop
	fd     int
	peer   net.Addr
	client net.Addr // as the PROXY header names it; nil: the peer

	introduced bool   // the PROXY header was read
	busy       bool   // a handler that blocks has a request of it
	closing    bool   // to be closed once out is sent
	left       uint32 // events of a pass that did not get to it
	watched    uint32 // epoll events
	since      int64  // begin of the state, nanoseconds since 1970
	need       int    // least length of pending that may be a complete request
	pending    []byte // received and not handled
	out        []byte // not yet sent

	idleSince atomic.Int64 // 0: not idle
	mu        sync.Mutex   // guards gone, which ends the use of fd
	gone      bool
}

func (c *loopConn) addr() net.Addr {
	if c.client != nil {
		return c.client
	}
	return c.peer
}

// idle implements tracked.
func (c *loopConn) idle() int64 { return c.idleSince.Load() }

// owner implements tracked.
func (c *loopConn) owner() *Listener { return c.loop.set.l }

// Close ends the connection from any goroutine: its loop then finds it at its end.
func (c *loopConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return net.ErrClosed
	}
	return unix.Shutdown(c.fd, unix.SHUT_RDWR)
}

// register begins to serve a new connection.
func (lp *loop) register(c *loopConn) {
	for c.fd >= len(lp.conns) {
		lp.conns = append(lp.conns, make([]*loopConn, max(64, len(lp.conns)))...)
	}
	lp.conns[c.fd] = c
	lp.watch(c, readEvents)
	if lp.set.draining.Load() {
		lp.close(c)
	}
}

// readEvents are the events of a connection that is read: one for everything that arrives,
// so that the system need not look at the connection again before that.
const readEvents = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

// watch selects the events of a connection; 0 means none, not even errors.
func (lp *loop) watch(c *loopConn, events uint32) {
	if c.watched != events {
		lp.control(c, events)
	}
}

// control is watch, and makes the system report again what is ready.
func (lp *loop) control(c *loopConn, events uint32) {
	op := unix.EPOLL_CTL_MOD
	switch {
	case c.watched == 0:
		op = unix.EPOLL_CTL_ADD
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	}
	c.watched = events
	if err := unix.EpollCtl(lp.fd, op, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)}); err != nil {
		lp.close(c)
	}
}

// forget removes a connection from the loop; its descriptor stays open.
func (lp *loop) forget(c *loopConn) {
	lp.conns[c.fd] = nil
	lp.open.Add(-1)
	lp.set.l.spec.Conns.remove(c)
	lp.releaseBuffers(c)
}

func (lp *loop) close(c *loopConn) {
	if lp.conn(c.fd) != c {
		return // closed already
	}
	lp.forget(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	_ = unix.Close(c.fd)
}

// closeIdle closes the connections that have no request. One that a pass did not get to
// may have sent one.
func (lp *loop) closeIdle() {
	for _, c := range lp.conns {
		if c != nil && !c.busy && c.left == 0 && len(c.out) == 0 && len(c.pending) == 0 {
			lp.close(c)
		}
	}
}

// readable reads from a connection and serves what is complete. events are those that were
// reported.
func (lp *loop) readable(c *loopConn, events uint32) bool {
	w := lp.work
	n := copy(w.buf, c.pending)
	m, errno := readSocket(c.fd, w.buf[n:])
	if errno == unix.EINTR || m == len(w.buf)-n || m > 0 && events&^unix.EPOLLIN != 0 {
		lp.control(c, c.watched) // there may be more: further bytes, the end or an error
	}
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR || lp.conn(c.fd) != c:
		return true
	case errno != 0 || m == 0:
		if n > 0 { // the library says what is wrong with half a request
			lp.handOver(c, w.buf[:n])
		} else {
			lp.close(c)
		}
		return true
	}
	if n == 0 {
		c.since = lp.now
		c.idleSince.Store(0)
	}
	if n+m < c.need {
		c.pending = append(c.pending, w.buf[n:n+m]...)
		return true
	}
	c.pending = c.pending[:0]
	return lp.process(c, w.buf[:n+m])
}

// keep stores the bytes that cannot be handled yet. b may be in the buffer of a worker.
func (lp *loop) keep(c *loopConn, b []byte) {
	if cap(c.pending) < max(len(b), c.need) {
		lp.recycle(c.pending)
		c.pending = nil
		if n := len(lp.spare); n > 0 && cap(lp.spare[n-1]) >= max(len(b), c.need) {
			c.pending, lp.spare = lp.spare[n-1], lp.spare[:n-1]
		} else {
			c.pending = make([]byte, 0, max(len(b), c.need, 4096))
		}
	}
	c.pending = append(c.pending[:0], b...)
}

// recycle takes back the buffer of a connection.
func (lp *loop) recycle(b []byte) {
	if cap(b) > 0 && cap(b) <= readBuffer && len(lp.spare) < 64 {
		lp.spare = append(lp.spare, b[:0])
	}
}

// releaseBuffers takes back the buffers of a connection that needs none.
func (lp *loop) releaseBuffers(c *loopConn) {
	lp.recycle(c.pending)
	lp.recycle(c.out)
	c.pending, c.out, c.need = nil, nil, 0
}

// rest makes a connection wait for its next request.
func (lp *loop) rest(c *loopConn) {
	if lp.set.draining.Load() {
		lp.close(c)
		return
	}
	if c.pending != nil || c.out != nil {
		lp.releaseBuffers(c)
	}
	c.need, c.since = 0, lp.now
	c.idleSince.Store(lp.now)
}

// send writes the responses of a worker. It returns false if the connection cannot go on:
// it was closed, or has to wait until the client reads.
func (lp *loop) send(c *loopConn, w *worker) bool {
	for len(w.out) > 0 {
		n, errno := writeSocket(c.fd, w.out)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 && errno != unix.EAGAIN {
			lp.close(c)
			return false
		}
		if n == len(w.out) {
			break
		}
		c.out = append(c.out[:0], w.out[n:]...)
		w.out = w.out[:0]
		c.since = lp.now
		lp.watch(c, unix.EPOLLOUT)
		return false
	}
	w.out = w.out[:0]
	if c.closing {
		lp.close(c)
		return false
	}
	return true
}

// resume sends what a client did not read before, and continues with its next request.
func (lp *loop) resume(c *loopConn) bool {
	n, errno := writeSocket(c.fd, c.out)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return true
	case errno != 0:
		lp.close(c)
		return true
	case n < len(c.out):
		c.out = c.out[:copy(c.out, c.out[n:])]
		return true
	case c.closing:
		lp.close(c)
		return true
	}
	c.out = c.out[:0]
	return lp.again(c)
}

// again continues with what a connection has sent meanwhile.
func (lp *loop) again(c *loopConn) bool {
	lp.watch(c, readEvents)
	if lp.conn(c.fd) != c {
		return true
	}
	c.since = lp.now
	b := lp.work.buf[:copy(lp.work.buf, c.pending)]
	c.pending, c.need = c.pending[:0], 0
	return lp.process(c, b)
}

// finish sends the response that a blocking handler has made.
func (lp *loop) finish(c *loopConn, w *worker) bool {
	c.busy, c.closing = false, w.closing
	lp.set.blocking.Add(-1)
	sent := lp.send(c, w)
	if w.broken {
		lp.close(c)
		sent = false
	}
	w.blocked, w.conn, w.rest, w.out = false, nil, nil, w.out[:0]
	if len(lp.idle) < maxIdleWorkers {
		lp.idle = append(lp.idle, w)
	}
	if !sent {
		return true
	}
	return lp.again(c)
}

// handOver passes a connection with b, the bytes not yet handled, to the HTTP library.
func (lp *loop) handOver(c *loopConn, b []byte) {
	l := lp.set.l
	first := replay{peer: c.peer, rest: append([]byte(nil), b...), until: time.Unix(0, c.since).Add(l.spec.Limits.Read)}
	lp.watch(c, 0)
	if lp.conn(c.fd) != c {
		return
	}
	lp.forget(c)
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	f := os.NewFile(uintptr(c.fd), "connection")
	nc, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		l.acceptErrors.Add(1)
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.spec.Conns.shrink(1)
		}
		return
	}
	first.Conn = nc
	l.adopt(&first, c.client, c.introduced)
}

// sweep closes the connections whose time is over. The library answers for a request that
// was not complete in time.
func (lp *loop) sweep() {
	lim := &lp.set.l.spec.Limits
	for _, c := range lp.conns {
		if c == nil || c.busy || c.left != 0 { // left: what it is waited for may be there
			continue
		}
		age := time.Duration(lp.now - c.since)
		switch {
		case len(c.out) > 0:
			if age > lim.Write {
				lp.close(c)
			}
		case len(c.pending) > 0:
			if age > lim.Read {
				lp.handOver(c, c.pending)
			}
		case age > lim.Idle:
			lp.close(c)
		}
	}
}
