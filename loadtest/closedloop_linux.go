package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"syscall"
	"time"
)

// loopConn is one connection of a closed loop.
type loopConn struct {
	fd      int
	request int    // in flight
	unsent  []byte // rest of the request
	got     []byte // of the response, reused
}

// Run sends requests until the duration has passed or ctx ends. It returns an error,
// with what it saw until then, if the server cannot be reached, hangs, or breaks more
// connections than can be put down to a restart.
func (l *ClosedLoop) Run(ctx context.Context) (*ClosedLoopResult, error) {
	at, err := l.validate()
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if l.CPU >= 0 {
		restore, err := pinThread(l.CPU)
		if err != nil {
			return nil, err
		}
		defer restore()
	}
	s := &poller{loopState: loopState{ClosedLoop: l, requests: l.render(), next: l.First, res: ClosedLoopResult{Statuses: map[int]int{}}}, at: at}
	s.unique = uint64(l.Now().UnixNano()) >> 8 // request ids differ between runs too
	if s.epoll, err = syscall.EpollCreate1(0); err != nil {
		return nil, fmt.Errorf("cannot poll connections: %w", err)
	}
	defer s.close()
	err = s.run(ctx)
	s.res.Next = s.next % len(s.requests)
	return &s.res, err
}

// poller drives the connections of a closed loop from one thread.
type poller struct {
	loopState
	at    netip.AddrPort
	epoll int
	conns map[int]*loopConn
}

func (p *poller) close() {
	for fd := range p.conns {
		syscall.Close(fd)
	}
	syscall.Close(p.epoll)
}

func (p *poller) run(ctx context.Context) error {
	n := p.Conns
	if n == 0 {
		n = 32
	}
	p.conns = make(map[int]*loopConn, n)
	for range n {
		if err := p.connect(); err != nil {
			return err
		}
	}
	began := p.Now()
	last := began // response
	for _, c := range p.conns {
		if err := p.send(c); err != nil {
			return err
		}
	}
	events := make([]syscall.EpollEvent, 256)
	for {
		now := p.Now()
		if now.Sub(began) >= p.Duration || ctx.Err() != nil {
			p.res.Elapsed = last.Sub(began)
			return nil
		}
		ready, err := syscall.EpollWait(p.epoll, events, 0)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("cannot poll connections: %w", err)
		}
		if ready <= 0 {
			if now.Sub(last) > hangTime {
				p.res.Elapsed = last.Sub(began)
				return fmt.Errorf("cannot go on: no response for %s: the target accepts connections but does not answer", hangTime)
			}
			continue
		}
		last = now
		for _, e := range events[:ready] {
			if c := p.conns[int(e.Fd)]; c != nil {
				if err := p.serve(c); err != nil {
					return err
				}
			}
		}
	}
}

// connect opens a connection.
func (p *poller) connect() error {
	family, to := sockaddr(p.at)
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open connection: %w", err)
	}
	err = syscall.Connect(fd, to)
	if err == nil {
		err = errors.Join(syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1), syscall.SetNonblock(fd, true),
			syscall.EpollCtl(p.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}))
	}
	if err != nil {
		syscall.Close(fd)
		return fmt.Errorf("cannot connect to %s: %w", p.at, err)
	}
	p.conns[fd] = &loopConn{fd: fd, got: make([]byte, 0, 8<<10)}
	return nil
}

// sockaddr returns an address as system calls expect it.
func sockaddr(at netip.AddrPort) (family int, to syscall.Sockaddr) {
	if ip := at.Addr().Unmap(); ip.Is4() {
		return syscall.AF_INET, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: ip.As4()}
	}
	return syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
}

// send starts the next request on a connection.
func (p *poller) send(c *loopConn) error {
	c.request = p.nextRequest()
	c.unsent = p.requests[c.request].bytes
	return p.write(c)
}

// write writes what the socket takes of the request. Requests are far smaller than the
// buffer of a loopback socket, so a full buffer means that the server does not read:
// the rest waits for the next readiness.
func (p *poller) write(c *loopConn) error {
	for len(c.unsent) > 0 {
		n, err := syscall.Write(c.fd, c.unsent)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			time.Sleep(time.Millisecond)
			return nil
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return p.replace(c, err)
		default:
			c.unsent = c.unsent[n:]
		}
	}
	return nil
}

// replace closes a broken connection and opens another one.
func (p *poller) replace(c *loopConn, why error) error {
	syscall.Close(c.fd)
	delete(p.conns, c.fd)
	if err := p.broke(why); err != nil {
		return err
	}
	if err := p.connect(); err != nil {
		return err
	}
	for _, fresh := range p.conns {
		if fresh.unsent == nil {
			return p.send(fresh)
		}
	}
	return nil
}

// serve reads what arrived on a connection, and sends the next request once the
// response is complete.
func (p *poller) serve(c *loopConn) error {
	if len(c.got) == cap(c.got) {
		c.got = append(c.got, make([]byte, len(c.got))...)[:len(c.got)]
	}
	n, err := syscall.Read(c.fd, c.got[len(c.got):cap(c.got)])
	switch {
	case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		return p.write(c)
	case err != nil:
		return p.replace(c, err)
	case n <= 0:
		return p.replace(c, io.ErrUnexpectedEOF)
	}
	c.got = c.got[:len(c.got)+n]
	size, body, status, err := parseResponse(c.got)
	switch {
	case err != nil:
		return p.replace(c, err)
	case size == 0:
		return p.write(c)
	case size != len(c.got):
		return p.replace(c, errNotHTTP)
	}
	p.record(c.request, status, c.got, c.got[body:])
	c.got = c.got[:0]
	return p.send(c)
}
