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
	// reportsEvery is how often the rollups follow the logs in the background: as often as
	// the bid log is written, because a file that is not yet packed need not be unpacked.
	reportsEvery = time.Second
	// reportsShare is the share of a core that following takes at most, and askedShare that
	// of counting for a report that somebody waits for.
	reportsShare = 0.25
	askedShare   = 0.5
	// reportsSlice is how long counting works before it rests, and longestSlice the most that
	// it rests for.
	reportsSlice = time.Millisecond
	longestSlice = 50 * time.Millisecond
	// reportsFresh is for how long a report need not count again what is new.
	reportsFresh = 5 * time.Second
	// catchUpTimeout bounds how long a report waits until what is new is counted, and
	// reportTimeout the whole report.
	catchUpTimeout = 10 * time.Second
	reportTimeout  = 30 * time.Second
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

// followLogs keeps the rollups up to date until ctx ends, unless the configuration leaves
// that to the reports.
func (a *app) followLogs(ctx context.Context) error {
	tick := time.NewTicker(reportsEvery)
	defer tick.Stop()
	for {
		p := reports.Progress{More: !a.snapshot.Load().Reports.OnDemand}
		for p.More && ctx.Err() == nil {
			var err error
			p, err = a.reports.Follow(ctx)
			a.noteCounted(p, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// noteCounted logs what went wrong when the rollups were updated.
func (a *app) noteCounted(p reports.Progress, err error) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, reports.ErrBusy):
	case err != nil:
		a.log.Warn("reports do not follow the logs", zap.Error(err))
	case p.Rebuilt:
		a.log.Warn("the rollups of the reports were built again, because the log does not hold what they had counted")
	}
}

// catchUp counts what is new for a report. What cannot be counted in time is left to the
// next one.
func (a *app) catchUp(ctx context.Context) {
	if last := a.reportsCounted.Load(); last != nil && a.now().Sub(*last) < reportsFresh {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	a.reportsAsked.Add(1)
	defer a.reportsAsked.Add(-1)
	began := a.now()
	p, err := a.reports.Update(ctx)
	if a.noteCounted(p, err); err == nil {
		a.reportsCounted.Store(&began)
	}
}

// restReports waits after a slice of work, so that counting takes its share of a core and
// requests need not wait for long. Only who counts calls it, so that nothing else uses
// reportSlice.
func (a *app) restReports(ctx context.Context) error {
	worked := a.now().Sub(a.reportSlice)
	if worked < reportsSlice {
		return ctx.Err()
	}
	share := reportsShare
	if a.reportsAsked.Load() > 0 {
		share = askedShare
	}
	rest := time.NewTimer(time.Duration(float64(min(worked, longestSlice)) * (1/share - 1)))
	defer rest.Stop()
	defer func() { a.reportSlice = a.now() }()
	select {
	case <-rest.C:
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
	advertiser, ok := a.owner(ctx, campaigns.ScopeReports)
	if !ok {
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
	a.catchUp(within)
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
