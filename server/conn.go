package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// patient is a connection whose first byte may come late: exchanges open connections
// before they need them. Once it is there, the rest of what it begins must follow within
// the ordinary time. Before that, deadlines for reading that the HTTP library sets are
// ignored.
type patient struct {
	net.Conn
	limits  *Limits
	now     func() time.Time
	before  func() error // called before the first byte is awaited, if not nil
	started atomic.Bool
}

// Read implements net.Conn.
func (p *patient) Read(b []byte) (int, error) {
	if p.started.Load() {
		return p.Conn.Read(b)
	}
	if p.before != nil {
		if err := p.before(); err != nil {
			return 0, err
		}
	}
	if err := p.Conn.SetReadDeadline(p.now().Add(p.limits.Idle)); err != nil {
		return 0, err
	}
	n, err := p.Conn.Read(b)
	if n > 0 {
		p.started.Store(true)
		now := p.now()
		err = errors.Join(err, p.Conn.SetReadDeadline(now.Add(p.limits.Read)), p.Conn.SetWriteDeadline(now.Add(p.limits.Write)))
	}
	return n, err
}

// SetReadDeadline implements net.Conn.
func (p *patient) SetReadDeadline(t time.Time) error {
	if !p.started.Load() {
		return nil
	}
	return p.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (p *patient) SetDeadline(t time.Time) error {
	if !p.started.Load() {
		return p.Conn.SetWriteDeadline(t)
	}
	return p.Conn.SetDeadline(t)
}

// conn is a connection as the HTTP library sees it, after the PROXY header and TLS.
type conn struct {
	patient
	listener  *Listener
	tls       *tls.Conn // nil on a plain connection
	proxied   *proxied  // nil without the PROXY protocol
	first     *replay   // nil if no event loop had it before
	idleSince atomic.Int64
	gone      atomic.Bool
}

// secureConn is a conn over TLS; the HTTP library recognizes it by its methods.
type secureConn struct{ *conn }

// Handshake is called by the HTTP library before it reads.
func (c secureConn) Handshake() error { return c.tls.Handshake() }

// ConnectionState returns the state of TLS.
func (c secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// wrap returns an accepted connection as the HTTP library must see it.
func (l *Listener) wrap(raw net.Conn) net.Conn {
	c := &conn{listener: l}
	inner := raw
	if l.spec.ProxyProtocol {
		c.proxied = l.introduction(inner)
		inner, c.before = c.proxied, c.proxied.begin
	}
	if l.spec.TLS != nil {
		silent := l.patient(inner)
		silent.before, c.before = c.before, nil
		c.tls = tls.Server(silent, l.spec.TLS)
		inner = c.tls
	}
	l.admit(c, inner)
	if c.tls != nil {
		return secureConn{c}
	}
	return c
}

// admit completes c, which reads from inner, and counts it.
func (l *Listener) admit(c *conn, inner net.Conn) {
	c.patient.Conn, c.limits, c.now = inner, &l.spec.Limits, l.now
	c.idleSince.Store(l.now().UnixNano())
	l.spec.Conns.add(c)
	if l.draining.Load() && c.first == nil { // accepted while draining began
		_ = c.Close()
	}
}

// introduction returns the connection that begins with a PROXY header.
func (l *Listener) introduction(c net.Conn) *proxied {
	return &proxied{Conn: l.patient(c), trusted: l.spec.TrustedProxies}
}

func (l *Listener) patient(c net.Conn) *patient {
	return &patient{Conn: c, limits: &l.spec.Limits, now: l.now}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.patient.Read(b)
	if n > 0 && c.idleSince.Load() != 0 {
		c.idleSince.Store(0)
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.gone.Swap(true) {
		return nil
	}
	c.listener.spec.Conns.remove(c)
	if c.tls != nil { // a peer that does not read must not delay the close
		_ = c.tls.NetConn().SetWriteDeadline(c.now().Add(time.Second))
	}
	return c.Conn.Close()
}

// idle implements tracked.
func (c *conn) idle() int64 { return c.idleSince.Load() }

// owner implements tracked.
func (c *conn) owner() *Listener { return c.listener }

// RemoteAddr returns the address of the client, as the PROXY header names it.
func (c *conn) RemoteAddr() net.Addr {
	if c.proxied != nil {
		return c.proxied.RemoteAddr()
	}
	return c.Conn.RemoteAddr()
}

// observe follows the states of a connection in the HTTP library: after a response it is
// idle until the next request begins.
func (l *Listener) observe(nc net.Conn, state fasthttp.ConnState) {
	c, ok := nc.(*conn)
	if s, secure := nc.(secureConn); secure {
		c, ok = s.conn, true
	}
	if ok && state == fasthttp.StateIdle {
		c.idleSince.Store(l.now().UnixNano())
		if c.first != nil {
			c.first.until = time.Time{}
		}
	}
}

// addrOf returns the IP address of a peer.
func addrOf(a net.Addr) (netip.Addr, bool) {
	if t, ok := a.(*net.TCPAddr); ok {
		ip, ok := netip.AddrFromSlice(t.IP)
		return ip.Unmap(), ok
	}
	return netip.Addr{}, false
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
