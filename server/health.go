package server

import (
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// Health answers /healthz and /readyz. The zero Health is not ready: "starting".
type Health struct {
	state atomic.Pointer[readiness]
	blind atomic.Pointer[string]
}

type readiness struct {
	ready bool
	why   string
}

// Ready makes /readyz answer 200.
func (h *Health) Ready() { h.state.Store(&readiness{ready: true, why: "ready"}) }

// NotReady makes /readyz answer 503 with the reason.
func (h *Health) NotReady(why string) { h.state.Store(&readiness{why: why}) }

// Blind says why no bids are made although requests are answered; empty when they
// are. What is ready is not ready while it is blind: an exchange gets its no-bids in
// any case, and what balances load should send the traffic to who can bid.
func (h *Health) Blind(why string) { h.blind.Store(&why) }

// IsReady tells the state and why.
func (h *Health) IsReady() (bool, string) {
	s := h.state.Load()
	if s == nil {
		return false, "starting"
	}
	if why := h.blind.Load(); s.ready && why != nil && *why != "" {
		return false, "blind: " + *why
	}
	return s.ready, s.why
}

// Live answers /healthz: the process runs and serves HTTP.
func (h *Health) Live(ctx *fasthttp.RequestCtx) { text(ctx, fasthttp.StatusOK, "ok") }

// Readyz answers /readyz: 200 when bids are answered, else 503 with the reason.
func (h *Health) Readyz(ctx *fasthttp.RequestCtx) {
	ready, why := h.IsReady()
	status := fasthttp.StatusOK
	if !ready {
		status = fasthttp.StatusServiceUnavailable
	}
	text(ctx, status, why)
}

func text(ctx *fasthttp.RequestCtx, status int, s string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBodyString(s + "\n")
}
