package server

import (
	"net"
	"time"
)

// replay is a connection that an event loop has handed over to the HTTP library. It begins
// with the bytes that the loop has read and not handled.
type replay struct {
	net.Conn
	peer  net.Addr // also after the peer has closed
	rest  []byte
	until time.Time // the first request must be complete by then; zero after it
}

// Read implements net.Conn.
func (r *replay) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(b)
	}
	n := copy(b, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

// RemoteAddr implements net.Conn.
func (r *replay) RemoteAddr() net.Addr { return r.peer }

// SetReadDeadline implements net.Conn.
func (r *replay) SetReadDeadline(t time.Time) error {
	if !r.until.IsZero() && (t.IsZero() || t.After(r.until)) {
		t = r.until
	}
	return r.Conn.SetReadDeadline(t)
}

// adopt serves a connection that was handed over. client is the client that the PROXY
// header named, if it was read.
func (l *Listener) adopt(first *replay, client net.Addr, introduced bool) {
	c := &conn{listener: l, first: first}
	inner := net.Conn(first)
	if l.spec.ProxyProtocol {
		c.proxied = l.introduction(first)
		inner, c.before = c.proxied, c.proxied.begin
		if introduced {
			c.proxied.once.Do(func() { c.proxied.client = client })
		}
	}
	l.admit(c, inner)
	l.adopted.Add(1)
	go func() {
		defer l.adopted.Done()
		_ = l.http.ServeConn(c) // it closes the connection
	}()
}
