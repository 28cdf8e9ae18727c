package server

import (
	"bytes"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// forward applies a proxy's statements about its client. A trusted proxy is accepted: the
// remote address becomes the last of X-Forwarded-For that is not a trusted proxy's, and
// the header keeps what that client sent itself. Of everybody else X-Forwarded-Proto is
// removed, so that handlers may rely on it; X-Forwarded-For stays as the client sent it.
func (l *Listener) forward(ctx *fasthttp.RequestCtx) {
	h := &ctx.Request.Header
	ctx.SetRemoteAddr(nil)
	peer, ok := addrOf(ctx.RemoteAddr())
	if !ok || len(l.spec.TrustedProxies) == 0 || !within(l.spec.TrustedProxies, peer) {
		if len(h.Peek(fasthttp.HeaderXForwardedProto)) > 0 {
			h.Del(fasthttp.HeaderXForwardedProto)
		}
		return
	}
	if proto := h.PeekAll(fasthttp.HeaderXForwardedProto); len(proto) > 0 {
		last := proto[len(proto)-1]
		last = bytes.TrimSpace(last[bytes.LastIndexByte(last, ',')+1:])
		h.Set(fasthttp.HeaderXForwardedProto, strings.ToLower(string(last)))
	}
	lines := h.PeekAll(fasthttp.HeaderXForwardedFor)
	if len(lines) == 0 {
		return
	}
	client, rest := l.lastUntrusted(string(bytes.Join(lines, []byte(","))))
	if client.IsValid() {
		ctx.SetRemoteAddr(&net.TCPAddr{IP: client.AsSlice()})
	}
	h.Del(fasthttp.HeaderXForwardedFor)
	if rest != "" {
		h.Set(fasthttp.HeaderXForwardedFor, rest)
	}
}

// lastUntrusted returns the last address of a list that is not a trusted proxy's, and
// the list before it. An entry that is not an address ends the search at the proxy that
// passed it on, whose address is returned then.
func (l *Listener) lastUntrusted(list string) (client netip.Addr, rest string) {
	for list != "" {
		i := strings.LastIndexByte(list, ',')
		entry := list[i+1:]
		list = list[:max(i, 0)]
		a, ok := parsePeer(entry)
		if !ok {
			return client, ""
		}
		client = a
		if !within(l.spec.TrustedProxies, a) {
			return client, strings.TrimSpace(list)
		}
	}
	return client, ""
}

// parsePeer parses an address with or without brackets and a port.
func parsePeer(s string) (netip.Addr, bool) {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap(), err == nil
}
