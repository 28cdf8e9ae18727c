package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/config"
	"rebound/exchange"
	"rebound/pacing"
	"rebound/server"
)

// serveEdge opens the edge and admin listeners. The edge accepts events and
// notices while the folds are still catching up, because exchanges do not
// resend bills.
func (a *app) serveEdge(context.Context) error {
	ln, err := bind("admin", a.bound.Listen.Admin)
	if err != nil {
		return err
	}
	a.metrics = a.registerMetrics()
	admin, edge := a.adminRoutes(), a.edgeRoutes()
	spec, err := a.listenerSpec("admin", admin)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	spec.Handler = a.guard(admin.Serve)
	a.adminListener = server.Serve(spec, ln)
	if spec, err = a.listenerSpec("edge", edge); err != nil {
		return err
	}
	spec.Large = a.largeBody
	a.edgeListener = server.Serve(spec, a.edgeSocket)
	for _, l := range []*server.Listener{a.edgeListener, a.adminListener} {
		a.log.Info("listening", zap.String("listener", l.Stats().Name), zap.String("addr", l.Addr()))
	}
	return nil
}

// serveBids opens the bid listener.
func (a *app) serveBids(context.Context) error {
	ln, err := bind("bid", a.bound.Listen.Bid)
	if err != nil {
		return err
	}
	if a.bidder.Catalog().Activation == "" { // approvals were folded since the configuration was activated
		a.swap(a.snapshot.Load())
	}
	noBid := func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) }
	spec, err := a.listenerSpec("bid", a.bidRoutes())
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	spec.Loop = a.bound.Listen.BidLoop != "off"
	spec.Shed, spec.Panicked, spec.Limits.Body = a.bidder.Shed, noBid, bodyLimit(a.snapshot.Load().Profiles)
	l := server.Serve(spec, ln)
	a.bidding.Store(l)
	a.log.Info("listening", zap.String("listener", "bid"), zap.String("addr", l.Addr()))
	return nil
}

// listenerSpec returns the configuration of a listener.
func (a *app) listenerSpec(name string, routes *server.Routes) (server.Spec, error) {
	l := &a.bound.Listen
	spec := server.Spec{
		Name: name, Handler: routes.Serve, Route: routes.Name, Logger: a.log.Named("server"), Conns: a.conns, Now: a.now,
		ProxyProtocol: slices.Contains(l.ProxyProtocol, name),
	}
	for _, text := range l.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return spec, fmt.Errorf("cannot read trusted proxies: %w", err)
		}
		spec.TrustedProxies = append(spec.TrustedProxies, p)
	}
	files := map[string]config.Certificate{"bid": l.TLS.Bid, "edge": l.TLS.Edge}[name]
	if files.Cert == "" {
		return spec, nil
	}
	cert, err := server.LoadCertificate(files.Cert, files.Key, a.now, spec.Logger)
	if err != nil {
		return spec, err
	}
	spec.TLS = cert.Config()
	return spec, nil
}

// bodyLimit is the body limit of the listener, above which the connection is
// closed. The exchange's own limit is lower and leads to an ordinary refusal.
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
	r.Read("/healthz", a.health.Live)
	r.Read("/readyz", a.health.Readyz)
	return &r
}

func (a *app) edgeRoutes() *server.Routes {
	var r server.Routes
	r.Handle(fasthttp.MethodGet, "/v1/px", a.edge.Pixel)
	r.Read("/v1/tag.js", a.edge.Tag)
	r.Handle(fasthttp.MethodPost, "/v1/t", a.edge.Beacon)
	r.Handle(fasthttp.MethodOptions, "/v1/t", a.edge.Preflight)
	r.Handle(fasthttp.MethodPost, "/v1/events", a.edge.Events)
	r.Handle(fasthttp.MethodGet, "/v1/open", a.edge.Open)
	r.Handle(fasthttp.MethodGet, "/v1/click", a.edge.MailClick)
	r.Handle(fasthttp.MethodGet, "/v1/match", a.edge.Match)
	r.Handle(fasthttp.MethodGet, "/v1/sync", a.edge.Sync)
	r.Handle(fasthttp.MethodGet, "/v1/syncs", a.edge.DueSyncs)
	r.Handle(fasthttp.MethodOptions, "/v1/syncs", a.edge.Preflight)
	r.Handle(fasthttp.MethodGet, "/v1/optout", a.edge.OptOutPage)
	r.Handle(fasthttp.MethodPost, "/v1/optout", a.edge.OptOut)
	r.Handle(fasthttp.MethodDelete, "/v1/optout", a.edge.OptIn)
	r.Handle(fasthttp.MethodPost, eraseAPI, a.eraseFor)
	r.Handle(fasthttp.MethodGet, eraseAPI+"/*", a.receiptFor)
	r.Handle(fasthttp.MethodGet, "/v1/lists", a.customers.ListLists)
	r.Handle(fasthttp.MethodGet, "/v1/lists/*", a.customers.Get)
	r.Handle(fasthttp.MethodPut, "/v1/lists/*", a.customers.Put)
	r.Handle(fasthttp.MethodDelete, "/v1/lists/*", a.customers.Delete)
	r.Handle(fasthttp.MethodPost, "/v1/lists/*", a.customers.Members)
	r.Handle(fasthttp.MethodGet, "/v1/jobs/*", a.customers.Job)
	r.Handle(fasthttp.MethodGet, audiencesAPI, a.ownAudiences)
	r.Handle(fasthttp.MethodGet, audienceAPI+"*", a.showAudience)
	r.Handle(fasthttp.MethodPost, audienceAPI+"*", a.changeAudience)
	r.Read(reportsPath, a.reportFor)
	r.Read(reportsPath+"/*", a.reportFor)
	for _, n := range a.notices.Routes() {
		r.Handle(fasthttp.MethodGet, n.Path, n.Handler)
		r.Handle(fasthttp.MethodPost, n.Path, n.Handler)
	}
	r.Read("/healthz", a.health.Live)
	return &r
}

func (a *app) adminRoutes() *server.Routes {
	var r server.Routes
	r.Read("/metrics", a.metrics.Handler())
	r.Read("/debug/pprof", server.Profiles)
	r.Read("/debug/pprof/", server.Profiles)
	r.Handle(fasthttp.MethodGet, "/debug/pprof/*", server.Profiles)
	r.Read("/healthz", a.health.Live)
	r.Read("/readyz", a.health.Readyz)
	r.Read("/admin/budgets", a.budgets)
	r.Read("/admin/head", a.head)
	r.Read("/admin/audiences", a.audienceData)
	r.Handle(fasthttp.MethodPost, audiencesPrefix+"*", a.rebuildAudience)
	r.Read("/admin/matches", a.matches)
	r.Read("/admin/debug", a.debug)
	r.Handle(fasthttp.MethodPost, "/admin/pause", a.pause)
	r.Handle(fasthttp.MethodPost, adjustmentsPath, a.adjust)
	r.Handle(fasthttp.MethodPut, approvalPrefix+"*", a.approve)
	r.Read("/admin/losses", a.losses)
	r.Handle(fasthttp.MethodPost, explainPath, a.explainNow)
	r.Read(explainPath, explainPage)
	r.Read(usersPrefix+"*", a.user)
	r.Read(reportsPath, a.reportNow)
	r.Read(reportsPath+"/*", a.reportNow)
	r.Handle(fasthttp.MethodPost, exportPath, a.export)
	r.Handle(fasthttp.MethodPost, erasePath, a.eraseNow)
	r.Handle(fasthttp.MethodGet, erasePath+"/*", a.eraseReceipt)
	return &r
}

// budgets handles GET /admin/budgets.
func (a *app) budgets(ctx *fasthttp.RequestCtx) {
	now := a.now()
	rows := a.money.Budgets(now)
	if rows == nil {
		rows = []pacing.BudgetRow{}
	}
	sendJSON(ctx, fasthttp.StatusOK, pacing.BudgetsReport{At: now.UTC(), Budgets: rows})
}

// head handles GET /admin/head, which returns the end of the log. A saved head
// can be checked later with "bidder verify --anchor", because the chain alone
// cannot show that its tail was rewritten.
func (a *app) head(ctx *fasthttp.RequestCtx) {
	st := a.journal.Stats()
	sendJSON(ctx, fasthttp.StatusOK, map[string]any{"log": st.Log, "first_seq": st.First, "seq": st.Last.Seq, "h": st.Last.Hash, "ts": st.Last.Time, "blind": st.Blind})
}

// losses handles GET /admin/losses: lost auctions by line, creative and reason.
func (a *app) losses(ctx *fasthttp.RequestCtx) {
	sendJSON(ctx, fasthttp.StatusOK, map[string]any{"at": a.now().UTC(), "alarms": a.notices.Alarms(), "losses": a.notices.LossTable()})
}

func exchangeIDs(m map[string]*exchange.Profile) []string { return slices.Sorted(maps.Keys(m)) }

// drain stops a listener that may never have been started.
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
