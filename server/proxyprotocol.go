package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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
	peer, ok := addrOf(p.Conn.RemoteAddr())
	if len(p.trusted) > 0 && (!ok || !within(p.trusted, peer)) {
		return nil, errProxyHeader
	}
	var head [16]byte
	if _, err := io.ReadFull(p.Conn, head[:1]); err != nil { // nothing was sent: a probe
		return nil, err
	}
	if _, err := io.ReadFull(p.Conn, head[1:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	n := int(binary.BigEndian.Uint16(head[14:]))
	if string(head[:12]) != proxySignature || head[12]>>4 != 2 || n > maxProxyHeader {
		return nil, errProxyHeader
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.Conn, body); err != nil {
		return nil, fmt.Errorf("%w: %w", errProxyHeader, err)
	}
	switch head[12] & 15 {
	case 0: // LOCAL: the proxy itself, such as a health check
		return nil, nil
	case 1:
		return proxyClient(head[13], body)
	}
	return nil, errProxyHeader
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
	return &net.TCPAddr{IP: net.IP(body[:size]), Port: int(binary.BigEndian.Uint16(body[2*size:]))}, nil
}
