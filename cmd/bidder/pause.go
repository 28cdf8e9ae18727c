package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// pauseOrder is the body of POST /admin/pause.
type pauseOrder struct {
	Scope string `json:"scope"`
	On    *bool  `json:"on"`
	By    string `json:"by"` // default: operator
}

// pause handles POST /admin/pause. A pause takes effect on this node at once
// and survives a restart.
func (a *app) pause(ctx *fasthttp.RequestCtx) {
	var o pauseOrder
	if got := readOrder(ctx.PostBody(), &o); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want {"scope":"all","on":true,"by":"<who>"}, of which by may be left out`)
		return
	}
	if o.By == "" {
		o.By = "operator"
	}
	if msg := a.checkPause(&o); msg != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_pause", msg)
		return
	}
	wait, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.money.Pause(wait, o.Scope, *o.On, o.By); err != nil {
		a.log.Error("pause was not stored", zap.String("scope", o.Scope), zap.Bool("on", *o.On), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log did not accept it; it may be in effect here but be lost at a restart: send it again")
		return
	}
	a.log.Warn("bidding was paused or resumed", zap.String("scope", o.Scope), zap.Bool("on", *o.On), zap.String("by", o.By))
	sendJSON(ctx, fasthttp.StatusOK, &o)
}

// checkPause returns what is wrong with an order; empty if nothing is.
func (a *app) checkPause(o *pauseOrder) string {
	s := a.snapshot.Load()
	kind, id, _ := strings.Cut(o.Scope, ":")
	switch {
	case o.On == nil:
		return "on: got none; want true to stop bidding, false to resume"
	case len(o.By) > 128:
		return fmt.Sprintf("by: got %d bytes; want the name of the operator, at most 128 bytes", len(o.By))
	case o.Scope == "all":
		return ""
	case kind == "exchange" && (s.Profiles[id] != nil || !*o.On):
		return ""
	case kind == "exchange":
		return fmt.Sprintf("scope: got exchange %q; want one of %s", id, strings.Join(exchangeIDs(s.Profiles), ", "))
	case kind == "campaign":
		adv, campaign, ok := strings.Cut(id, "/")
		for _, l := range s.Index.Lines() {
			if ok && l.ID.Advertiser == adv && l.ID.Campaign == campaign {
				return ""
			}
		}
		if ok && !*o.On {
			return ""
		}
		return fmt.Sprintf("scope: got campaign %q; want a known <advertiser>/<campaign>", id)
	}
	return fmt.Sprintf("scope: got %q; want all, exchange:<id> or campaign:<advertiser>/<campaign>", o.Scope)
}

// sayPaused logs at startup what an operator paused earlier; otherwise one
// would look elsewhere for the cause of missing bids.
func (a *app) sayPaused() {
	for _, x := range a.money.Pauses() {
		if a.console.terminal {
			a.console.line("paused: " + x.Scope + " (by " + x.By + ", " + x.At.UTC().Format(time.RFC3339) + ")")
			continue
		}
		a.log.Warn("bidding is paused", zap.String("scope", x.Scope), zap.String("by", x.By), zap.Time("since", x.At.UTC()),
			zap.String("remedy", `POST /admin/pause with "on":false resumes it`))
	}
}
