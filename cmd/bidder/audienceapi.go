package main

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/collect"
	"rebound/events"
	"rebound/internal/spec"
	"rebound/journal"
	"rebound/rtb"
)

// The audiences of an advertiser, under a key of its own with the scope audiences. Rules are
// part of the configuration, so nothing here changes them.
const (
	audiencesAPI = "/v1/audiences"
	audienceAPI  = "/v1/audiences/"
)

// audienceName returns the id in a path.
func audienceName(ctx *fasthttp.RequestCtx, suffix string) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(ctx.Path()), audienceAPI), suffix)
}

// ownAudience returns an audience of the advertiser of a request's key, or answers the
// request: that of another advertiser does not exist for it.
func (a *app) ownAudience(ctx *fasthttp.RequestCtx, id string) (advertiser string, p *audiences.Program, ok bool) {
	if advertiser, ok = a.owner(ctx, campaigns.ScopeAudiences); !ok {
		return "", nil, false
	}
	p = a.snapshot.Load().AudienceSet.Audience(id)
	if p == nil || p.Advertiser() != advertiser || strings.HasPrefix(id, campaigns.BuiltinPrefix) {
		sendError(ctx, fasthttp.StatusNotFound, "no_audience", "want the id of an audience of yours")
		return "", nil, false
	}
	return advertiser, p, true
}

// ownAudiences handles GET /v1/audiences: those of the key's advertiser.
func (a *app) ownAudiences(ctx *fasthttp.RequestCtx) {
	advertiser, ok := a.owner(ctx, campaigns.ScopeAudiences)
	if !ok {
		return
	}
	a.sendAudiences(ctx, func(row *audienceRow) bool { return row.Advertiser == advertiser })
}

// showAudience handles GET /v1/audiences/{id}.
func (a *app) showAudience(ctx *fasthttp.RequestCtx) {
	id := audienceName(ctx, "")
	if _, _, ok := a.ownAudience(ctx, id); ok {
		a.sendAudiences(ctx, func(row *audienceRow) bool { return row.ID == id })
	}
}

// sendAudiences sends the report about some audiences. The number of all visitors is that of
// all advertisers and is left out.
func (a *app) sendAudiences(ctx *fasthttp.RequestCtx, wanted func(*audienceRow) bool) {
	r, err := a.surveyAudiences(context.Background())
	if err != nil {
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", err.Error())
		return
	}
	r.Audiences = slices.DeleteFunc(r.Audiences, func(row audienceRow) bool { return !wanted(&row) })
	sendJSON(ctx, fasthttp.StatusOK, struct {
		At         time.Time     `json:"at"`
		RebuiltPct float64       `json:"rebuilt_pct,omitempty"`
		Audiences  []audienceRow `json:"audiences"`
	}{r.At, r.RebuiltPct, r.Audiences})
}

// changeAudience handles POST /v1/audiences/{id}/export, /estimate and /rebuild.
func (a *app) changeAudience(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	switch {
	case strings.HasSuffix(path, "/export"):
		a.exportAudience(ctx)
	case strings.HasSuffix(path, "/estimate"):
		a.estimateNow(ctx)
	case strings.HasSuffix(path, "/rebuild"):
		id := audienceName(ctx, "/rebuild")
		if _, p, ok := a.ownAudience(ctx, id); ok {
			a.rebuildRules(ctx, id, p)
		}
	default:
		sendError(ctx, fasthttp.StatusNotFound, "no_audience", "want POST /v1/audiences/{id}/export, /estimate or /rebuild")
	}
}

// estimating lets one estimate run at a time: each reads the whole log.
type estimating struct{ sync.Mutex }

// maxEstimate is how long an estimate may take.
const maxEstimate = 10 * time.Minute

// estimateNow handles POST /v1/audiences/{id}/estimate: how many visitors the audience would
// have with the rule in the body, or with its own rule if the body is empty.
func (a *app) estimateNow(ctx *fasthttp.RequestCtx) {
	advertiser, ok := a.owner(ctx, campaigns.ScopeAudiences)
	if !ok {
		return
	}
	id, s := audienceName(ctx, "/estimate"), a.snapshot.Load()
	set := s.AudienceSet
	p := set.Audience(id)
	body := ctx.PostBody()
	switch {
	case !spec.ValidID(id), p != nil && p.Advertiser() != advertiser, p == nil && len(body) == 0:
		sendError(ctx, fasthttp.StatusNotFound, "no_audience", "want the id of an audience of yours, or a rule in the body")
		return
	case len(body) > 0:
		draft, err := s.Draft(advertiser, id, body)
		if err != nil {
			sendError(ctx, fasthttp.StatusBadRequest, "bad_rule", strings.Replace(err.Error(), "cannot load configuration", "cannot use the rule", 1))
			return
		}
		set = draft
	}
	days, err := strconv.Atoi(string(ctx.QueryArgs().Peek("days")))
	if given := ctx.QueryArgs().Has("days"); given && (err != nil || days < 1) {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_days", "days: want a whole number of at least 1")
		return
	}
	if !a.estimates.TryLock() {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "10")
		sendError(ctx, fasthttp.StatusTooManyRequests, "busy", "another estimate is running; send it again after Retry-After seconds")
		return
	}
	defer a.estimates.Unlock()
	limit, cancel := context.WithTimeout(context.Background(), maxEstimate)
	defer cancel()
	var since time.Time
	if days > 0 {
		since = a.now().AddDate(0, 0, -days)
	}
	r, facts, err := estimate(limit, set, id, journal.FactsDir(a.bound.Data.Dir), since, a.now())
	if err != nil || len(r.Audiences) != 1 {
		a.log.Error("an audience could not be estimated", zap.String("audience", id), zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", "the log could not be read; the log of the bidder has the cause")
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, struct {
		audienceRow
		Facts int `json:"facts"`
	}{r.Audiences[0], facts})
}

// exportAudience handles POST /v1/audiences/{id}/export: the rows of the body whose person
// is in the audience, as another platform wants them, or the keys of its visitors.
func (a *app) exportAudience(ctx *fasthttp.RequestCtx) {
	id := audienceName(ctx, "/export")
	_, p, ok := a.ownAudience(ctx, id)
	if !ok {
		return
	}
	format := string(ctx.QueryArgs().Peek("format"))
	var out bytes.Buffer
	var rows, written int
	var err error
	switch {
	case format == "ids":
		out.WriteString("visitor\n")
		err = a.visitors.Survey(context.Background(), func(v *rtb.Visitor, _ []events.LinkKey) error {
			if p.Eval(v, a.now(), audiences.Window{}).In {
				written++
				out.WriteString(v.Key.String() + "\n")
			}
			return nil
		})
		rows = written
	case slices.Contains(collect.ExportFormats, format):
		rows, written, err = a.exporter(p.Advertiser(), string(ctx.QueryArgs().Peek("country")), p).Write(&out, format, ctx.PostBody(), func(collect.LineError) {})
	default:
		sendError(ctx, fasthttp.StatusBadRequest, "bad_format", "format: want meta, google or ids")
		return
	}
	if err != nil {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_file", err.Error())
		return
	}
	a.log.Info("audience exported", zap.String("audience", id), zap.String("advertiser", p.Advertiser()), zap.String("format", format),
		zap.Int("rows", rows), zap.Int("written", written))
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	ctx.SetContentType("text/csv; charset=utf-8")
	ctx.SetBody(out.Bytes())
}

func (a *app) exporter(advertiser, country string, p *audiences.Program) *collect.Exporter {
	x := &collect.Exporter{Keyring: a.keyring, Advertiser: advertiser, Resolve: a.visitors.Linked}
	if c, ok := rtb.ParseCountry(country); ok {
		x.Country = c.String()
	}
	var v rtb.Visitor
	x.In = func(visitor rtb.Key) bool {
		known, err := a.visitors.Profile(visitor, &v)
		return err == nil && known && !v.OptedOut && p.Eval(&v, a.now(), audiences.Window{}).In
	}
	return x
}
