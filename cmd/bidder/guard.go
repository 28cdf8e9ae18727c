package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/valyala/fasthttp"

	"rebound/collect"
)

// adminTokenEnv is the environment variable that holds the token of the admin listener,
// and adminAddrEnv that of its address, where no flag gives one.
const (
	adminTokenEnv = "REBOUND_ADMIN_TOKEN"
	adminAddrEnv  = "REBOUND_ADMIN"
)

// minAdminToken is the least length of the token, in bytes.
const minAdminToken = 16

// checkAdmin refuses an admin listener that others can reach without a token: it can
// stop bidding and shows profiles.
func (p *program) checkAdmin(addr string) error {
	token, _ := p.getenv(adminTokenEnv)
	host, _, err := net.SplitHostPort(addr)
	switch {
	case err != nil || token == "" && isLoopback(host):
		return nil // a bad address is refused when it is bound
	case token == "":
		return fmt.Errorf("cannot open admin listener on %s: other machines can reach it, and %s is not set; want a token of at least %d characters there, or a loopback address", addr, adminTokenEnv, minAdminToken)
	case len(token) < minAdminToken:
		return fmt.Errorf("cannot open admin listener on %s: got a token of %d characters in %s; want at least %d", addr, len(token), adminTokenEnv, minAdminToken)
	}
	return nil
}

// guard protects the admin listener. Where a token is set, every request needs it but
// those of health checks and for the page of explain. Without one the listener is on loopback, and a request must
// name this machine as its host: a page in an operator's browser could otherwise reach
// it under a name of its own (DNS rebinding). A request that a page of another origin
// sends is refused in both cases.
func (a *app) guard(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	token, _ := a.prog.getenv(adminTokenEnv)
	want := sha256.Sum256([]byte(token))
	return func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Request.Header
		switch {
		case foreignOrigin(h):
			sendError(ctx, fasthttp.StatusForbidden, "foreign_origin", "got the Origin of another site; want a request from this listener's own pages, or none")
		case token == "" && !ownHost(string(h.Host())):
			sendError(ctx, fasthttp.StatusForbidden, "foreign_host", "got a Host that is not this machine; want localhost or a loopback address")
		case token != "" && !open(ctx) && !hasToken(h, &want):
			ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
			sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <the value of "+adminTokenEnv+">")
		default:
			next(ctx)
		}
	}
}

// open reports whether a request needs no token: it asks only whether the bidder runs, or
// for a page that holds nothing of it.
func open(ctx *fasthttp.RequestCtx) bool {
	switch string(ctx.Path()) {
	case "/healthz", "/readyz":
		return true
	case explainPath:
		return ctx.IsGet() || ctx.IsHead()
	}
	return false
}

func hasToken(h *fasthttp.RequestHeader, want *[sha256.Size]byte) bool {
	token := collect.BearerToken(h.Peek(fasthttp.HeaderAuthorization))
	got := sha256.Sum256(token)
	return len(token) > 0 && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// foreignOrigin reports whether a browser sends the request for a page of another host.
func foreignOrigin(h *fasthttp.RequestHeader) bool {
	for _, origin := range h.PeekAll(fasthttp.HeaderOrigin) {
		u, err := url.Parse(string(origin))
		if err != nil || u.Host == "" || !strings.EqualFold(u.Host, string(h.Host())) {
			return true
		}
	}
	return false
}

// ownHost reports whether a Host header names this machine. Clients of HTTP/1.0 send
// none, browsers always do.
func ownHost(host string) bool {
	if host == "" {
		return true
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return isLoopback(strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), ".")))
}
