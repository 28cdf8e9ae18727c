package main

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/events"
	"rebound/reports"
)

const (
	reportsPath = "/v1/reports"
	// reportsEvery is how often the rollups follow the logs; reports are at most that old.
	reportsEvery = 15 * time.Second
	// reportsShare is the share of a core that following takes at most. At more than about
	// 2,500 records a second the rollups fall behind, and catch up later.
	reportsShare = 0.25
	// reportTimeout bounds one report.
	reportTimeout = 30 * time.Second
)

// openReports opens the rollups. Without them the bidder still bids.
func (a *app) openReports(ctx context.Context) error {
	s := a.snapshot.Load()
	o := reportOptions(s, a.bound.Logs.Bids.Dir, func(ctx context.Context, after events.Position, fn func([]events.Fact) error) error {
		return a.journal.Read(ctx, after, math.MaxUint64, fn)
	})
	o.Rest = a.restReports
	var err error
	if a.reports, err = reports.Open(ctx, o); err != nil {
		a.log.Error("reports are not available", zap.Error(err))
		a.reports = nil
		return nil
	}
	a.reporting = spawn(a.followLogs)
	return nil
}

// followLogs keeps the rollups up to date until ctx ends.
func (a *app) followLogs(ctx context.Context) error {
	tick := time.NewTicker(reportsEvery)
	defer tick.Stop()
	for {
		a.reportStep = a.now()
		p, err := a.reports.Update(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, reports.ErrBusy):
		case err != nil:
			a.log.Warn("reports do not follow the logs", zap.Error(err))
		case p.Rebuilt:
			a.log.Warn("the rollups of the reports were built again, because the log does not hold what they had counted")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// restReports waits after a step, so that building takes reportsShare of a core. Only
// followLogs builds, so nothing else uses reportStep.
func (a *app) restReports(ctx context.Context) error {
	worked := a.now().Sub(a.reportStep)
	defer func() { a.reportStep = a.now() }()
	select {
	case <-time.After(time.Duration(float64(max(worked, 0)) * (1/reportsShare - 1))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopReports ends the builder and closes the rollups.
func (a *app) stopReports() error {
	if a.reports == nil {
		return nil
	}
	return errors.Join(a.reporting.stop(), a.reports.Close())
}

// reportFor handles GET /v1/reports and /v1/reports/{name} on the edge, under a key with
// the scope reports: its advertiser's rows only.
func (a *app) reportFor(ctx *fasthttp.RequestCtx) {
	key := bytes.TrimSpace(bytes.TrimPrefix(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization), []byte("Bearer ")))
	advertiser, ok := a.keyOwner(key, campaigns.ScopeReports)
	if !ok {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <key of an advertiser with the scope reports>")
		return
	}
	if other := string(ctx.QueryArgs().Peek("advertiser")); other != "" && other != advertiser {
		sendError(ctx, fasthttp.StatusForbidden, "not_yours", "advertiser: want your own")
		return
	}
	a.sendReport(ctx, advertiser)
}

// reportNow handles the same paths on the admin listener: the rows of all advertisers.
func (a *app) reportNow(ctx *fasthttp.RequestCtx) {
	a.sendReport(ctx, string(ctx.QueryArgs().Peek("advertiser")))
}

func (a *app) sendReport(ctx *fasthttp.RequestCtx, advertiser string) {
	if a.reports == nil {
		sendError(ctx, fasthttp.StatusServiceUnavailable, "no_reports", "the rollups could not be opened; the log says why")
		return
	}
	args := ctx.QueryArgs()
	f := reportFlags{advertiser: advertiser, format: "json"}
	for name, to := range map[string]*string{"dims": &f.dims, "metrics": &f.metrics, "from": &f.from, "to": &f.to, "tz": &f.zone, "format": &f.format} {
		if v := args.Peek(name); len(v) > 0 {
			*to = string(v)
		}
	}
	for _, v := range args.PeekMulti("where") {
		f.where = append(f.where, string(v))
	}
	f.limit, _ = strconv.Atoi(string(args.Peek("limit")))
	q, err := reportQuery(a.snapshot.Load(), &f, a.now())
	if err != nil {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_query", err.Error())
		return
	}
	within, cancel := context.WithTimeout(context.Background(), reportTimeout)
	defer cancel()
	var r *reports.Report
	if name := strings.Trim(strings.TrimPrefix(string(ctx.Path()), reportsPath), "/"); name != "" {
		r, err = a.reports.Canned(within, name, q)
	} else {
		r, err = a.reports.Custom(within, q)
	}
	var out bytes.Buffer
	if err == nil {
		err = r.Write(&out, f.format)
	}
	if err != nil {
		status, code := fasthttp.StatusBadRequest, "bad_query"
		switch {
		case errors.Is(err, reports.ErrUnknown):
			status, code = fasthttp.StatusNotFound, "no_report"
		case errors.Is(err, reports.ErrNotYours):
			status, code = fasthttp.StatusForbidden, "not_yours"
		}
		sendError(ctx, status, code, err.Error())
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetContentType(map[string]string{"table": "text/plain; charset=utf-8", "csv": "text/csv; charset=utf-8", "json": "application/json", "html": "text/html; charset=utf-8"}[f.format])
	ctx.SetBody(out.Bytes())
}
