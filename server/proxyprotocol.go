package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// proxied is a connection that begins with a header of the PROXY protocol, version 2
// (HAProxy, proxy-protocol.txt §2.2), which names the client behind a load balancer.
// Without one, or from a peer that is not trusted, begin fails.
type proxied struct {
	net.Conn
	trusted []netip.Prefix // empty: any peer
	once    sync.Once
	client  net.Addr // nil before the header, and where it names none
	err     error
}

// proxySignature begins each header.
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxyHeader bounds the addresses and extensions of a header, in bytes.
const maxProxyHeader = 4096

var errProxyHeader = errors.New("cannot read PROXY header: want version 2 of the protocol from a trusted proxy")

// begin reads the header; it must be called before the first Read.
func (p *proxied) begin() error {
	p.once.Do(func() { p.client, p.err = p.header() })
	return p.err
}

// RemoteAddr returns the address of the client, once the header has been read.
func (p *proxied) RemoteAddr() net.Addr {
	if p.client != nil {
		return p.client
	}
	return p.Conn.RemoteAddr()
}

func (p *proxied) header() (net.Addr, error) {
	var b [proxyFixed + maxProxyHeader]byte
	for have, want := 0, 1; ; {
		if _, err := io.ReadFull(p.Conn, b[have:want]); err != nil {
			if have == 0 { // nothing was sent: a probe
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
		}
		n, client, err := parseProxy(b[:want], p.Conn.RemoteAddr(), p.trusted)
		if n > 0 || err != nil {
			return client, err
		}
		have = want
		want = max(proxyFixed, proxyLen(b[:have]))
	}
}

// proxyFixed is the length of the part of a header that tells the length of the rest.
const proxyFixed = 16

// proxyLen returns the length of the header at the beginning of b, or 0 if b is too short.
func proxyLen(b []byte) int {
	if len(b) < proxyFixed {
		return 0
	}
	return proxyFixed + int(binary.BigEndian.Uint16(b[14:]))
}

// parseProxy returns the length of the header at the beginning of b, and the client that it
// names: nil for one that names none. The length is 0 as long as the header is incomplete.
func parseProxy(b []byte, from net.Addr, trusted []netip.Prefix) (int, net.Addr, error) {
	peer, ok := addrOf(from)
	if len(trusted) > 0 && (!ok || !within(trusted, peer)) {
		return 0, nil, errProxyHeader
	}
	n := proxyLen(b)
	switch {
	case n == 0:
		return 0, nil, nil
	case string(b[:12]) != proxySignature || b[12]>>4 != 2 || n > proxyFixed+maxProxyHeader:
		return 0, nil, errProxyHeader
	case len(b) < n:
		return 0, nil, nil
	}
	switch b[12] & 15 {
	case 0: // LOCAL: the proxy itself, such as a health check
		return n, nil, nil
	case 1:
		client, err := proxyClient(b[13], b[proxyFixed:n])
		return n, client, err
	}
	return 0, nil, errProxyHeader
}

// proxyClient returns the source address of a PROXY command, or nil for one without an
// internet address.
func proxyClient(family byte, body []byte) (net.Addr, error) {
	size := 0
	switch family >> 4 {
	case 1:
		size = 4
	case 2:
		size = 16
	default:
		return nil, nil
	}
	if len(body) < 2*size+4 {
		return nil, errProxyHeader
	}
	return &net.TCPAddr{IP: slices.Clone(net.IP(body[:size])), Port: int(binary.BigEndian.Uint16(body[2*size:]))}, nil
}
