package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// loops are the event loops of a listener, one for each processor that Go may use. They
// serve plain requests (see [scan]) over system calls of their own; a connection that
// sends anything else is handed over to the HTTP library with the bytes already read, so
// that its answers are the library's.
type loops struct {
	l        *Listener
	list     []*loop
	draining atomic.Bool
	last     atomic.Bool // no connection is added any more; a loop without connections ends
	blocking atomic.Int64
	running  sync.WaitGroup
}

// maxBlocking bounds how many handlers of a listener may block at the same time. A handler
// beyond it blocks its loop.
const maxBlocking = 256

const (
	// minReady and maxReady are how many connections that are ready one wait returns, at
	// first and at most. What waits is seen only then, so it should be all of them.
	minReady, maxReady = 1024, 1 << 16
	// maxWait is how long a request may have waited for those before it. After that it is
	// shed, because exchanges allow about 100 ms and a longer queue only makes every
	// answer too late. A pass over the connections that are ready takes about as long,
	// since the clock is read for each request.
	maxWait = 30 * time.Millisecond
	// yieldAfter is how long a loop that always finds requests goes on before it lets other
	// goroutines run.
	yieldAfter = 100 * time.Microsecond
	// minServe is the part of each pass in which new requests are answered in any case, so
	// that a loop does not shed everything once shedding alone fills its passes. It is half
	// of the pass after more than overloadedPasses consecutive passes that left connections
	// unhandled. At first it is less, so that the queue after a pause is shed soon.
	minServe         = 5 * time.Millisecond
	overloadedPasses = 16
)

// loop serves its connections on one goroutine at a time: its fields are not shared, except
// for what mu guards. It waits on its epoll descriptor, which belongs to Go's own poller,
// so that no thread blocks.
type loop struct {
	set   *loops
	epoll *os.File
	raw   syscall.RawConn
	fd    int // of epoll
	wake  int // eventfd: something is in the inbox, or draining began
	timer int // timerfd: the sweep is due

	conns   []*loopConn // by descriptor
	open    atomic.Int64
	work    *worker
	spare   [][]byte  // buffers for incomplete requests
	idle    []*worker // workers of handlers that blocked
	now     int64     // time of the last wait, nanoseconds since 1970
	yielded int64     // the time at which other goroutines could run last
	since   int64     // what the last wait found was not ready before this time
	clock   int64     // time of the last request
	stale   bool      // the event that is being handled was found by an earlier wait, too
	first   bool      // no request has been handled since the last wait
	events  []unix.EpollEvent
	n       int         // events not yet handled, which are the first ones
	later   []*loopConn // found ready by earlier waits, and not handled; see [loop.prune]
	behind  int         // consecutive passes, up to the last, that left something to the next
	full    bool        // the last wait may not have found everything
	slept   bool        // nothing was ready before the last wait
	poll    func(uintptr) bool
	pollErr error

	mu       sync.Mutex // guards inbox
	inbox    []delivery
	notified atomic.Bool
}

// delivery is a new connection, or the finished worker of a connection's request.
type delivery struct {
	conn *loopConn
	done *worker
}

// startLoops starts the event loops of a listener.
func startLoops(l *Listener) (*loops, error) {
	set := &loops{l: l}
	for range runtime.GOMAXPROCS(0) {
		lp, err := newLoop(set)
		if err != nil {
			for _, lp := range set.list {
				lp.release()
			}
			return nil, fmt.Errorf("cannot start event loop: %w", err)
		}
		set.list = append(set.list, lp)
	}
	set.running.Add(len(set.list))
	for _, lp := range set.list {
		go lp.run()
	}
	return set, nil
}

func newLoop(set *loops) (*loop, error) {
	lp := &loop{set: set, wake: -1, timer: -1, events: make([]unix.EpollEvent, minReady)}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // Go polls descriptors that do not block
		_ = unix.Close(fd)
		return nil, err
	}
	lp.fd, lp.epoll = fd, os.NewFile(uintptr(fd), "epoll")
	if lp.raw, err = lp.epoll.SyscallConn(); err == nil {
		err = lp.openSignals()
	}
	if err != nil {
		lp.release()
		return nil, err
	}
	lp.poll = lp.tryWait
	lp.work = newWorker(lp)
	return lp, nil
}

// openSignals opens the descriptors that wake the loop.
func (lp *loop) openSignals() (err error) {
	if lp.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return err
	}
	if lp.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return err
	}
	second := unix.Timespec{Sec: 1}
	if err := unix.TimerfdSettime(lp.timer, 0, &unix.ItimerSpec{Interval: second, Value: second}, nil); err != nil {
		return err
	}
	for _, fd := range []int{lp.wake, lp.timer} {
		if err := unix.EpollCtl(lp.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			return err
		}
	}
	return nil
}

func (lp *loop) release() {
	for _, fd := range []int{lp.wake, lp.timer} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	_ = lp.epoll.Close()
}

// run handles events until the loop ends, or until a handler blocks and another goroutine
// continues.
func (lp *loop) run() {
	for {
		if !lp.pass() {
			return
		}
		if lp.set.last.Load() && lp.open.Load() == 0 {
			break
		}
		if lp.now-lp.yielded >= int64(yieldAfter) {
			lp.yielded = lp.now
			runtime.Gosched()
		}
		if err := lp.wait(); err != nil {
			lp.set.l.spec.Logger.Error("event loop ended: " + err.Error())
			break
		}
	}
	lp.release()
	lp.set.running.Done()
}

// pass handles what is ready, the newest first: when a loop cannot keep up, these are the
// requests that can still be answered in time. What it does not get to within maxWait is
// left to the next pass. It returns false if another goroutine has continued the loop.
func (lp *loop) pass() bool {
	for lp.n > 0 {
		lp.n--
		e := &lp.events[lp.n]
		if lp.over() && lp.leave(int(e.Fd), e.Events) {
			continue
		}
		if !lp.dispatch(int(e.Fd), e.Events) {
			return false
		}
	}
	for n := len(lp.later); n > 0 && !lp.over(); n = len(lp.later) {
		c := lp.later[n-1]
		lp.later = lp.later[:n-1]
		if c.left != 0 && lp.conn(c.fd) == c && !lp.handle(c, 0) {
			return false
		}
	}
	return true
}

// over reports whether the pass has taken too long.
func (lp *loop) over() bool { return lp.clock-lp.now > int64(maxWait) }

// leave leaves a connection that is ready to the next pass. It returns false if fd is
// something that cannot wait.
func (lp *loop) leave(fd int, events uint32) bool {
	c := lp.conn(fd)
	if c == nil {
		return false
	}
	if c.left == 0 {
		lp.later = append(lp.later, c)
	}
	c.left |= events
	return true
}

// prune removes from later what was handled or closed meanwhile, so that it holds each open
// connection once at most.
func (lp *loop) prune() {
	lp.later = slices.DeleteFunc(lp.later, func(c *loopConn) bool { return c.left == 0 || lp.conn(c.fd) != c })
}

// wait waits for events.
func (lp *loop) wait() error {
	lp.prune()
	lp.n, lp.slept, lp.pollErr = 0, false, nil
	if err := lp.raw.Read(lp.poll); err != nil {
		return fmt.Errorf("cannot wait for events: %w", err)
	}
	if lp.behind++; len(lp.later) == 0 {
		lp.behind = 0
	}
	before := lp.now
	lp.now = lp.set.l.now().UnixNano()
	lp.clock, lp.first = lp.now, true
	switch {
	case lp.slept:
		lp.since = lp.now
	case !lp.full:
		lp.since = before
	}
	if lp.full = lp.n == len(lp.events); lp.full && lp.n < maxReady {
		lp.events = append(lp.events, make([]unix.EpollEvent, lp.n)...)
	}
	return lp.pollErr
}

// overdue reports whether the request that is being handled has waited for too long. It
// waited since the pass before this one at most, unless it was left over by that one. The
// first request of a pass is not overdue: no other request of the pass came before it, so
// that it is late only if the process was paused.
func (lp *loop) overdue() bool {
	first := lp.first
	lp.first = false
	lp.clock = lp.set.l.now().UnixNano()
	serve := minServe
	if lp.behind > overloadedPasses {
		serve = maxWait / 2
	}
	return lp.stale || !first && lp.clock-lp.since > int64(maxWait) && lp.clock-lp.now > int64(serve)
}

// tryWait takes the events that are ready and reports whether there are any.
func (lp *loop) tryWait(uintptr) bool {
	n, errno := epollWait(lp.fd, lp.events)
	if errno != 0 && errno != unix.EINTR {
		lp.pollErr = errno
		return true
	}
	lp.n, lp.slept = n, lp.slept || n == 0
	return n > 0 || len(lp.later) > 0
}

// dispatch handles one event. It returns false if another goroutine has continued the
// loop, which the caller must then leave alone.
func (lp *loop) dispatch(fd int, events uint32) bool {
	lp.stale = false
	switch fd {
	case lp.wake:
		return lp.receive()
	case lp.timer:
		drainCounter(fd)
		lp.sweep()
		return true
	}
	if c := lp.conn(fd); c != nil {
		return lp.handle(c, events)
	}
	return true
}

// handle handles a connection that is ready, now or since an earlier pass.
func (lp *loop) handle(c *loopConn, events uint32) bool {
	lp.stale = c.left != 0
	events, c.left = events|c.left, 0
	switch {
	case c.busy:
		lp.watch(c, 0)
		return true
	case len(c.out) > 0:
		return lp.resume(c)
	}
	return lp.readable(c, events)
}

func (lp *loop) conn(fd int) *loopConn {
	if fd < len(lp.conns) {
		return lp.conns[fd]
	}
	return nil
}

// receive handles what others have put into the inbox.
func (lp *loop) receive() bool {
	drainCounter(lp.wake)
	lp.notified.Store(false)
	if lp.set.draining.Load() {
		lp.closeIdle()
	}
	for {
		lp.mu.Lock()
		if len(lp.inbox) == 0 {
			lp.inbox = nil
			lp.mu.Unlock()
			return true
		}
		d := lp.inbox[0]
		lp.inbox = lp.inbox[1:]
		again := len(lp.inbox) > 0
		lp.mu.Unlock()
		if d.done == nil {
			lp.register(d.conn)
			continue
		}
		if !lp.finish(d.conn, d.done) {
			if again { // for the goroutine that has continued the loop
				lp.notify()
			}
			return false
		}
	}
}

// deliver puts d into the inbox. It may be called from any goroutine.
func (lp *loop) deliver(d delivery) {
	lp.mu.Lock()
	lp.inbox = append(lp.inbox, d)
	lp.mu.Unlock()
	lp.notify()
}

func (lp *loop) notify() {
	if !lp.notified.Swap(true) {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(lp.wake, one[:])
	}
}

// take passes an accepted connection to the loop with the fewest connections. It returns
// false if nc is not TCP or no descriptor is left; nc is unchanged then.
func (s *loops) take(nc net.Conn) bool {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	// A descriptor of our own: Go's poller would wake for each request otherwise.
	fd := -1
	ctl := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, ctl); err != nil {
		return false
	}
	peer := tcp.RemoteAddr()
	_ = tcp.Close()
	best := s.list[0]
	for _, lp := range s.list[1:] {
		if lp.open.Load() < best.open.Load() {
			best = lp
		}
	}
	c := &loopConn{loop: best, fd: fd, peer: peer}
	now := s.l.now().UnixNano()
	c.since = now
	c.idleSince.Store(now)
	best.open.Add(1)
	s.l.spec.Conns.add(c)
	best.deliver(delivery{conn: c})
	return true
}

// count returns how many connections the loops have.
func (s *loops) count() (n int64) {
	for _, lp := range s.list {
		n += lp.open.Load()
	}
	return n
}

// drain makes every response the last one of its connection, and closes idle connections.
func (s *loops) drain() {
	s.draining.Store(true)
	for _, lp := range s.list {
		lp.notify()
	}
}

// end lets the loops end once their connections are closed, and returns a channel that is
// closed then. It is called when no connection is accepted any more.
func (s *loops) end() <-chan struct{} {
	s.last.Store(true)
	for _, lp := range s.list {
		lp.notify()
	}
	ended := make(chan struct{})
	go func() { defer close(ended); s.running.Wait() }()
	return ended
}
