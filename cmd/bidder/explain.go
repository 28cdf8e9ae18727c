package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/internal/cli"
	"rebound/internal/explain"
	"rebound/rtb"
)

// explain prints step by step how a request is decided.
func (p *program) explain(_ context.Context, args []string) int {
	var f trialFlags
	fs := p.flags("explain")
	f.register(fs)
	path := fs.String("request", "", "`file` with the request; - for standard input")
	line := fs.String("line", "", "show only this `line`")
	asJSON := fs.Bool("json", false, "print JSON, as POST /admin/explain returns it")
	if status, done := p.parse(fs, args); done {
		return status
	}
	t, request, status := f.start(p, *path)
	if t == nil {
		return status
	}
	defer t.Close() //nolint:errcheck // it was in memory
	x := t.explainer().Dry(t.profile.ID, request, t.now, *line)
	if *asJSON {
		if status := p.printJSON(x); status != cli.ExitDone {
			return status
		}
	} else {
		x.Write(p.stdout)
	}
	if len(x.Decision.Bids) == 0 {
		return cli.ExitFailed
	}
	return cli.ExitDone
}

// explainer explains the decisions of the trial's lab.
func (t *trial) explainer() *explain.Explainer {
	return &explain.Explainer{Bidder: t.Bidder, Audiences: t.config.AudienceSet, Money: t.Money}
}

// explainer explains the decisions of the running bidder.
func (a *app) explainer() *explain.Explainer {
	return &explain.Explainer{Bidder: a.bidder, Audiences: a.snapshot.Load().AudienceSet, Money: a.money, LinkedAt: a.identifierSeen}
}

// identifierSeen returns when an identifier of a request was last seen with its visitor.
func (a *app) identifierSeen(exchange string, id *rtb.ExternalID) (time.Time, bool) {
	scope := string(id.Scope)
	if id.Kind == rtb.IDExchange {
		p := a.profile(exchange)
		if p == nil {
			return time.Time{}, false
		}
		scope = p.IDSpace
	}
	_, at, ok := a.visitors.LinkedAt(a.keyring.Key(id.Kind, scope, id.Value))
	return at, ok
}

const explainPath = "/admin/explain"

// explainRequest is the body of POST /admin/explain.
type explainRequest struct {
	Exchange string          `json:"exchange"`
	Line     string          `json:"line"`
	Request  json.RawMessage `json:"request"`
}

// explainNow handles POST /admin/explain: it describes how a request would be
// decided now, with the current visitors and budgets. Nothing is reserved or
// counted.
func (a *app) explainNow(ctx *fasthttp.RequestCtx) {
	var o explainRequest
	if err := json.Unmarshal(ctx.PostBody(), &o); err != nil || len(o.Request) == 0 {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", `want {"exchange":"<id>","request":{...},"line":"<optional>"}`)
		return
	}
	if ids := exchangeIDs(a.snapshot.Load().Profiles); o.Exchange == "" && len(ids) == 1 {
		o.Exchange = ids[0]
	}
	if a.profile(o.Exchange) == nil {
		ids := exchangeIDs(a.snapshot.Load().Profiles)
		sendError(ctx, fasthttp.StatusBadRequest, "bad_exchange", fmt.Sprintf("exchange: got %q; want one of %s", o.Exchange, strings.Join(ids, ", ")))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, a.explainer().Dry(o.Exchange, o.Request, a.now(), o.Line))
}

// explainPage handles GET /admin/explain. The page holds nothing of this bidder, so that it
// needs no token; it asks for the one that its requests need.
func explainPage(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	ctx.SetBody(explain.Page)
}
