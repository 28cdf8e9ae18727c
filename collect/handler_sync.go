package collect

import (
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// Sync handles GET /v1/sync. It redirects to the exchange with our visitor id, or returns
// 204 if the privacy signals of the visitor refuse it or the browser was here a moment
// ago, and 400 for a redirect that is not allowed.
func (e *Edge) Sync(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	q := ParseSync(ctx.URI().QueryString(), e.reject)
	call := e.callOf(ctx)
	r := e.RecordSync(&call, &q)
	switch {
	case r.Problem != nil:
		sendError(ctx, fasthttp.StatusBadRequest, r.Problem.Code.String(), r.Problem.Msg)
	case r.Location == "":
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	default:
		for _, line := range r.Cookies {
			sendCookie(ctx, line)
		}
		// Redirect would resolve and rewrite the URL, which was checked as it is.
		ctx.Response.Header.Set(fasthttp.HeaderLocation, r.Location)
		ctx.SetStatusCode(fasthttp.StatusFound)
	}
}

// DueSyncs handles GET /v1/syncs: {"syncs":[url, ...]}, or 204 if the privacy signals of
// the visitor refuse syncs.
func (e *Edge) DueSyncs(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	var consent *ConsentText
	p := pixel{bad: e.reject}
	eachParam(ctx.URI().QueryString(), e.reject, func(key, value string) {
		if p.setConsent(key, value) {
			consent = p.in.Consent
		}
	})
	call := e.callOf(ctx)
	e.allowOrigin(ctx)
	urls, ok := e.Syncs(&call, consent)
	if !ok {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, struct {
		Syncs []string `json:"syncs"`
	}{urls})
}

// allowOrigin lets the scripts of an advertiser's pages read the response, and send
// cookies with the request. Other pages can send it, but learn nothing.
func (e *Edge) allowOrigin(ctx *fasthttp.RequestCtx) bool {
	ctx.Response.Header.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	origin := string(ctx.Request.Header.Peek(fasthttp.HeaderOrigin))
	host, path, query := splitURL(origin)
	if host == "" || path != "" || query != "" || !e.setup.Load().firstParty(host) {
		return false
	}
	ctx.Response.Header.Set(fasthttp.HeaderAccessControlAllowOrigin, origin)
	ctx.Response.Header.Set(fasthttp.HeaderAccessControlAllowCredentials, "true")
	return true
}

// Preflight handles OPTIONS of the endpoints that scripts call: it allows JSON bodies to
// the pages of advertisers.
func (e *Edge) Preflight(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	if !e.allowOrigin(ctx) {
		return
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAccessControlAllowMethods, "GET, POST")
	h.Set(fasthttp.HeaderAccessControlAllowHeaders, "Content-Type")
	h.Set(fasthttp.HeaderAccessControlMaxAge, "86400")
}

// MarshalJSON encodes the calls as an object by outcome, without those that did not
// happen.
func (s SyncStats) MarshalJSON() ([]byte, error) {
	m := map[string]uint64{}
	for o, n := range s {
		if n > 0 {
			m[SyncOutcome(o).String()] = n
		}
	}
	return json.Marshal(m)
}
