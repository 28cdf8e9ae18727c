package loadtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"syscall"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// openConn is one connection of the sender poll. It has at most one request at a time.
type openConn struct {
	fd      int // -1: to be opened when it is needed
	busy    bool
	seq     uint64 // of the request
	request int
	sent    time.Time
	unsent  []byte // rest of the request
	got     []byte // an incomplete response
}

// openLoop sends the requests of an attack from one thread.
type openLoop struct {
	*Attack
	at       netip.AddrPort
	requests []rendered
	run      *tally
	watch    *watch
	epoll    int
	conns    []*openConn
	byFD     []*openConn
	free     []*openConn
	inFlight int
	began    time.Time // of the schedule
	next     uint64    // request
	last     uint64    // the schedule ends before it
	unique   uint64    // offset of the ids of this attack
	abandon  bool      // do not wait for responses any more
	buf      []byte
	events   []syscall.EpollEvent
	res      vegeta.Result // of the response that is being counted
	answered *openConn     // its connection
}

// poll runs the attack with the sender Poll.
func (a *Attack) poll(ctx context.Context) (*Report, error) {
	u, err := url.Parse(a.Target)
	if err != nil || u.Scheme != "http" {
		return nil, fmt.Errorf("cannot attack: got the target %q; the sender %s wants an http URL", Redact(a.Target), Poll)
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	to, err := (&net.Resolver{}).LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("cannot attack: %w", err)
	}
	_, port, _ := net.SplitHostPort(host)
	at, err := netip.ParseAddrPort(net.JoinHostPort(to[0].Unmap().String(), port))
	if err != nil {
		return nil, fmt.Errorf("cannot attack: got the port %q of the target; want a number", port)
	}
	o := &openLoop{Attack: a, at: at, run: newTally(a), last: uint64(a.requests()), buf: make([]byte, 64<<10), events: make([]syscall.EpollEvent, maxBurst)}
	o.unique = uint64(a.Now().UnixNano()) >> 8
	o.watch = &watch{attack: a, halt: func() { o.last = o.next }, cancel: func() { o.abandon = true }}
	o.run.request = o.requestAnswered
	for _, body := range a.Bodies {
		o.requests = append(o.requests, render(u.Host, u.RequestURI(), a.Secret, body))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if o.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot poll connections: %w", err)
	}
	defer o.close()
	o.open()
	return o.send(ctx)
}

// open opens the connections, until one cannot be opened; the others follow when they
// are needed.
func (o *openLoop) open() {
	for range o.connections() {
		c := &openConn{fd: -1}
		o.conns, o.free = append(o.conns, c), append(o.free, c)
	}
	for _, c := range o.conns {
		if o.connect(c, true) != nil {
			return
		}
	}
}

// connections returns how many connections to open.
func (o *openLoop) connections() int {
	limit := syscall.Rlimit{Cur: maxConns}
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	most := min(maxConns, max(int(min(limit.Cur, 1<<30))-64, 1))
	if o.Conns > 0 {
		return min(o.Conns, most)
	}
	perSecond := float64(o.last) / o.Duration.Seconds()
	return min(max(int(perSecond*2*o.Deadline.Seconds()), 64), most)
}

func (o *openLoop) close() {
	for _, c := range o.conns {
		o.drop(c)
	}
	_ = syscall.Close(o.epoll)
}

// connect opens a connection. If wait is false, it does not wait until the connection is
// established.
func (o *openLoop) connect(c *openConn, wait bool) error {
	family, to := sockaddr(o.at)
	kind := syscall.SOCK_STREAM | syscall.SOCK_CLOEXEC
	if !wait {
		kind |= syscall.SOCK_NONBLOCK
	}
	fd, err := syscall.Socket(family, kind, 0)
	if err != nil {
		return fmt.Errorf("cannot open connection: %w", err)
	}
	patience := syscall.NsecToTimeval(int64(minTimeout))
	_ = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience)
	if err = syscall.Connect(fd, to); err == nil || !wait && errors.Is(err, syscall.EINPROGRESS) {
		const edges = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | 1<<31 // EPOLLET is negative
		err = errors.Join(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), syscall.SetNonblock(fd, true),
			syscall.EpollCtl(o.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: edges, Fd: int32(fd)}))
	}
	if err != nil {
		_ = syscall.Close(fd)
		return fmt.Errorf("cannot connect to %s: %w", o.at, err)
	}
	for fd >= len(o.byFD) {
		o.byFD = append(o.byFD, make([]*openConn, max(64, len(o.byFD)))...)
	}
	o.byFD[fd], c.fd = c, fd
	return nil
}

// drop closes a connection, which is opened again when it is needed.
func (o *openLoop) drop(c *openConn) {
	if c.fd >= 0 {
		_ = syscall.Close(c.fd)
		o.byFD[c.fd] = nil
	}
	c.fd, c.unsent, c.got = -1, nil, nil
}

// maxBurst is how many requests are sent before responses are read again, and reverse.
const maxBurst = 256

// send sends the requests when they are due, until each has been answered or has failed,
// and returns the report.
func (o *openLoop) send(ctx context.Context) (*Report, error) {
	o.began = o.Now()
	checked := o.began
	for !o.abandon && (o.next < o.last || o.inFlight > 0) {
		now := o.Now()
		for range maxBurst {
			if o.next >= o.last || !o.sendNext(now) {
				break
			}
		}
		if err := o.receive(); err != nil {
			return nil, err
		}
		if now.Sub(checked) >= watchEvery {
			checked = now
			o.check(ctx, now)
		}
	}
	return o.run.report(o.watch.stopped), nil
}

// sendNext sends the next request, or counts it if no connection is free. It returns false
// if the request is not due.
func (o *openLoop) sendNext(now time.Time) bool {
	if now.Sub(o.began) < o.due(o.next) {
		return false
	}
	n := len(o.free)
	if n == 0 {
		o.run.unsent++
		o.next++
		return true
	}
	c := o.free[n-1]
	o.free = o.free[:n-1]
	c.busy, c.seq, c.sent = true, o.next, now
	c.request = int(o.next % uint64(len(o.requests)))
	o.next++
	o.inFlight++
	if c.fd < 0 {
		if err := o.connect(c, false); err != nil {
			o.failed(c, err)
			return true
		}
	}
	r := &o.requests[c.request]
	r.stamp(o.unique + c.seq)
	c.unsent = r.bytes
	o.write(c)
	c.unsent = bytes.Clone(c.unsent) // the next use of r gets other ids
	return true
}

// write writes what the socket takes of the request; an event announces when it takes
// more.
func (o *openLoop) write(c *openConn) {
	for len(c.unsent) > 0 {
		n, err := syscall.Write(c.fd, c.unsent)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			o.failed(c, err)
			return
		default:
			c.unsent = c.unsent[n:]
		}
	}
}

// receive handles what is ready.
func (o *openLoop) receive() error {
	n, err := syscall.EpollWait(o.epoll, o.events, 0)
	if err != nil && !errors.Is(err, syscall.EINTR) {
		return fmt.Errorf("cannot poll connections: %w", err)
	}
	for _, e := range o.events[:max(n, 0)] {
		c := o.byFD[e.Fd]
		if c == nil {
			continue
		}
		if e.Events&syscall.EPOLLOUT != 0 && len(c.unsent) > 0 {
			o.write(c)
		}
		if e.Events&^uint32(syscall.EPOLLOUT) != 0 && c.fd >= 0 {
			o.read(c)
		}
		if e.Events&syscall.EPOLLRDHUP != 0 && !c.busy { // closed after the response
			o.drop(c)
		}
	}
	return nil
}

// read reads a response, or a part of one.
func (o *openLoop) read(c *openConn) {
	for {
		n, err := syscall.Read(c.fd, o.buf)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return
		case errors.Is(err, syscall.EINTR):
			continue
		case err == nil && n <= 0:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			o.failed(c, err)
			return
		}
		b := o.buf[:n]
		if len(c.got) > 0 {
			c.got = append(c.got, b...)
			b = c.got
		}
		size, body, status, err := parseResponse(b)
		switch {
		case err != nil:
		case size == 0 && n == len(o.buf):
			c.got = append(c.got[:0], b...)
			continue
		case size == 0:
			c.got = append(c.got[:0], b...)
			return
		case size != len(b) || !c.busy:
			err = errNotHTTP
		}
		if err != nil {
			o.failed(c, err)
			return
		}
		o.count(c, status, b[body:], "")
		c.got = c.got[:0]
		return
	}
}

// failed counts the request of a connection that broke.
func (o *openLoop) failed(c *openConn, why error) {
	o.drop(c)
	if c.busy {
		o.count(c, 0, nil, why.Error())
	}
}

// count counts the result of a connection's request, after which the connection is free.
func (o *openLoop) count(c *openConn, status int, body []byte, failure string) {
	o.res = vegeta.Result{Seq: c.seq, Code: uint16(status), Timestamp: c.sent, Latency: o.Now().Sub(c.sent), Body: body, Error: failure}
	o.answered = c
	if o.watch.see(&o.res) {
		o.run.add(&o.res, o.began.Add(o.due(c.seq)))
	}
	if len(c.unsent) > 0 { // the server would take the next request for the rest of this one
		o.drop(c)
	}
	c.busy = false
	o.inFlight--
	o.free = append(o.free, c)
}

// requestAnswered returns the request whose response is being counted.
func (o *openLoop) requestAnswered(*vegeta.Result) []byte {
	r := &o.requests[o.answered.request]
	r.stamp(o.unique + o.answered.seq)
	return r.bytes[r.body:]
}

// check ends requests without a response, and the attack if there is a reason.
func (o *openLoop) check(ctx context.Context, now time.Time) {
	timeout := max(minTimeout, o.Deadline)
	for _, c := range o.conns {
		if c.busy && now.Sub(c.sent) >= timeout {
			o.failed(c, context.DeadlineExceeded)
		}
	}
	if reason := o.watch.check(now); reason != "" {
		o.watch.stop(reason)
	}
	if ctx.Err() != nil {
		o.watch.stop(Interrupted)
	}
	if o.Progress != nil {
		o.Progress(o.run.sent, o.run.scheduled)
	}
}
