package server

import (
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// Health answers /healthz and /readyz. The zero value is not ready, with
// the reason "starting".
type Health struct {
	state atomic.Pointer[readiness]
	blind atomic.Pointer[string]
}

type readiness struct {
	ready bool
	why   string
}

// Ready makes /readyz return 200.
func (h *Health) Ready() { h.state.Store(&readiness{ready: true, why: "ready"}) }

// NotReady makes /readyz return 503 with the reason.
func (h *Health) NotReady(why string) { h.state.Store(&readiness{why: why}) }

// Blind sets the reason why the bidder answers requests but makes no bids; an empty
// reason means that it bids. A blind bidder is not ready, so that load balancers route
// to instances that can bid; exchanges that still reach it get no-bids.
func (h *Health) Blind(why string) { h.blind.Store(&why) }

// IsReady reports whether the bidder is ready, and the reason.
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

// Live handles /healthz: the process is running and serves HTTP.
func (h *Health) Live(ctx *fasthttp.RequestCtx) { text(ctx, fasthttp.StatusOK, "ok") }

// Readyz handles /readyz: 200 if the bidder is ready, otherwise 503 with the reason.
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
