package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/exchange"
	"rebound/pacing"
	"rebound/server"
)

// serveEdge opens the edge and admin listeners. The edge takes events and
// notices while the folds still catch up: an exchange sends no bill twice.
func (a *app) serveEdge(context.Context) error {
	ln, err := server.Bind("admin", a.bound.Listen.Admin)
	if err != nil {
		return err
	}
	a.metrics = a.registerMetrics()
	a.adminListener = server.Serve(server.Spec{Name: "admin", Handler: a.adminRoutes().Serve, Logger: a.log.Named("server")}, ln)
	a.edgeListener = server.Serve(server.Spec{Name: "edge", Handler: a.edgeRoutes().Serve, Logger: a.log.Named("server")}, a.edgeSocket)
	for _, l := range []*server.Listener{a.edgeListener, a.adminListener} {
		a.log.Info("listening", zap.String("listener", l.Stats().Name), zap.String("addr", l.Addr()))
	}
	return nil
}

// serveBids opens the bid listener.
func (a *app) serveBids(context.Context) error {
	ln, err := server.Bind("bid", a.bound.Listen.Bid)
	if err != nil {
		return err
	}
	noBid := func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) }
	l := server.Serve(server.Spec{
		Name: "bid", Handler: a.bidRoutes().Serve, Shed: a.bidder.Shed, Panicked: noBid, Logger: a.log.Named("server"),
		Limits: server.Limits{Body: bodyLimit(a.bound.Profiles)},
	}, ln)
	a.bidding.Store(l)
	a.log.Info("listening", zap.String("listener", "bid"), zap.String("addr", l.Addr()))
	return nil
}

// bodyLimit is the listener's: beyond it the connection is closed. An exchange's
// own limit, which is lower, is an ordinary refusal.
func bodyLimit(profiles map[string]*exchange.Profile) int {
	limit := 4 << 20
	for _, p := range profiles {
		limit = max(limit, 2*p.MaxBody)
	}
	return limit
}

func (a *app) bidRoutes() *server.Routes {
	var r server.Routes
	r.Handle(fasthttp.MethodPost, "/openrtb2/*", a.bidder.Serve)
	r.Handle(fasthttp.MethodGet, "/healthz", a.health.Live)
	r.Handle(fasthttp.MethodGet, "/readyz", a.health.Readyz)
	return &r
}

func (a *app) edgeRoutes() *server.Routes {
	var r server.Routes
	r.Handle(fasthttp.MethodGet, "/v1/px", a.edge.Pixel)
	r.Handle(fasthttp.MethodPost, "/v1/t", a.edge.Beacon)
	r.Handle(fasthttp.MethodPost, "/v1/events", a.edge.Events)
	r.Handle(fasthttp.MethodGet, "/v1/match", a.edge.Match)
	for _, n := range a.notices.Routes() {
		r.Handle(fasthttp.MethodGet, n.Path, n.Handler)
		r.Handle(fasthttp.MethodPost, n.Path, n.Handler)
	}
	r.Handle(fasthttp.MethodGet, "/healthz", a.health.Live)
	return &r
}

func (a *app) adminRoutes() *server.Routes {
	var r server.Routes
	r.Handle(fasthttp.MethodGet, "/metrics", a.metrics.Handler())
	r.Handle(fasthttp.MethodGet, "/debug/pprof/", server.Profiles)
	r.Handle(fasthttp.MethodGet, "/debug/pprof/*", server.Profiles)
	r.Handle(fasthttp.MethodGet, "/healthz", a.health.Live)
	r.Handle(fasthttp.MethodGet, "/readyz", a.health.Readyz)
	r.Handle(fasthttp.MethodGet, "/admin/budgets", a.budgets)
	r.Handle(fasthttp.MethodPost, "/admin/pause", a.pause)
	r.Handle(fasthttp.MethodPut, approvalPrefix+"*", a.approve)
	r.Handle(fasthttp.MethodGet, "/admin/losses", a.losses)
	r.Handle(fasthttp.MethodPost, "/admin/explain", a.explainNow)
	return &r
}

// budgets answers GET /admin/budgets.
func (a *app) budgets(ctx *fasthttp.RequestCtx) {
	now := a.now()
	rows := a.money.Budgets(now)
	if rows == nil {
		rows = []pacing.BudgetRow{}
	}
	sendJSON(ctx, fasthttp.StatusOK, pacing.BudgetsReport{At: now.UTC(), Budgets: rows})
}

// losses answers GET /admin/losses: lost auctions by line, creative and reason.
func (a *app) losses(ctx *fasthttp.RequestCtx) {
	sendJSON(ctx, fasthttp.StatusOK, map[string]any{"at": a.now().UTC(), "alarms": a.notices.Alarms(), "losses": a.notices.LossTable()})
}

// pauseOrder is the body of POST /admin/pause.
type pauseOrder struct {
	Scope string `json:"scope"`
	On    *bool  `json:"on"`
	By    string `json:"by"`
}

// pause answers POST /admin/pause: it acts at once here, and survives a restart.
func (a *app) pause(ctx *fasthttp.RequestCtx) {
	var o pauseOrder
	d := json.NewDecoder(strings.NewReader(string(ctx.PostBody())))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", fmt.Sprintf(`got %v; want {"scope":"all","on":true,"by":"<who>"}`, err))
		return
	}
	if msg := a.checkPause(&o); msg != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_pause", msg)
		return
	}
	wait, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := a.money.Pause(wait, o.Scope, *o.On, o.By); err != nil {
		a.log.Error("pause was not stored", zap.String("scope", o.Scope), zap.Bool("on", *o.On), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log did not take it; it may act here, and may be gone after a restart: send it again")
		return
	}
	a.log.Warn("bidding was paused or resumed", zap.String("scope", o.Scope), zap.Bool("on", *o.On), zap.String("by", o.By))
	sendJSON(ctx, fasthttp.StatusOK, &o)
}

// checkPause says what is wrong with an order; empty when nothing is.
func (a *app) checkPause(o *pauseOrder) string {
	s := a.snapshot.Load()
	kind, id, _ := strings.Cut(o.Scope, ":")
	switch {
	case o.On == nil:
		return "on: got none; want true to stop bidding, false to resume"
	case o.By == "" || len(o.By) > 128:
		return "by: want who asks for it, at most 128 bytes"
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

func exchangeIDs(m map[string]*exchange.Profile) []string { return slices.Sorted(maps.Keys(m)) }

func sendJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = fasthttp.StatusInternalServerError, nil
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetBody(append(b, '\n'))
}

func sendError(ctx *fasthttp.RequestCtx, status int, code, message string) {
	sendJSON(ctx, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// drain ends a listener that may never have started.
func (a *app) drain(ctx context.Context, l *server.Listener) error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	return l.Drain(ctx)
}

func (a *app) addresses() addresses {
	return addresses{Bid: a.bidding.Load().Addr(), Edge: a.edgeListener.Addr(), Admin: a.adminListener.Addr()}
}
