package collect

import (
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// OptOutPage handles GET /v1/optout: a page that shows whether the browser has opted out
// and has a button for the opposite.
func (e *Edge) OptOutPage(ctx *fasthttp.RequestCtx) {
	call := e.callOf(ctx)
	noStore(ctx)
	ctx.Response.Header.Set(fasthttp.HeaderContentSecurityPolicy,
		"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'")
	ctx.SetContentType("text/html; charset=utf-8")
	body := optOutStart + optInPage
	if call.OptOut {
		body = optOutStart + optedOutPage
	}
	ctx.SetBodyString(body)
}

// OptOut handles POST /v1/optout: it sets the opt-out cookie, deletes that of the visitor
// id, and for a known visitor stores the opt-out, which bids respect at once and for
// good. It confirms nothing that was not stored.
func (e *Edge) OptOut(ctx *fasthttp.RequestCtx) {
	call := e.callOf(ctx)
	s := e.setup.Load()
	if err := e.optOut(&call); err != nil {
		e.log.Error("opt-out was not stored", zap.Error(err))
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the opt-out could not be stored; send it again")
		return
	}
	sendCookie(ctx, call.cookieLine(s, OptOutCookie, "1", optOutLife))
	sendCookie(ctx, call.cookieLine(s, CookieName, "", 0))
	noStore(ctx)
	if string(ctx.Request.Header.ContentType()) == "application/x-www-form-urlencoded" { // the button of the page
		ctx.Response.Header.Set(fasthttp.HeaderLocation, "/v1/optout")
		ctx.SetStatusCode(fasthttp.StatusSeeOther)
		return
	}
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// OptIn handles DELETE /v1/optout: it sets the opt-out cookie to "0" and takes the opt-out
// of the visitor back, where the browser still has its cookie. With that cookie the events
// of the browser count again, although identifiers in them stay opted out. A page of another site
// cannot send it, because browsers ask first (CORS) and get no permission.
func (e *Edge) OptIn(ctx *fasthttp.RequestCtx) {
	call := e.callOf(ctx)
	if err := e.optIn(&call); err != nil {
		e.log.Error("opt-in was not stored", zap.Error(err))
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the opt-in could not be stored; send it again")
		return
	}
	sendCookie(ctx, call.cookieLine(e.setup.Load(), OptOutCookie, optedIn, optOutLife))
	noStore(ctx)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}
