package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/collect"
	"rebound/events"
	"rebound/internal/spec"
	"rebound/rtb"
	"rebound/segments"
)

// openCustomers prepares the lists of advertisers' customers.
func (a *app) openCustomers(context.Context) error {
	a.customers = &collect.ListAPI{
		Lists: collect.NewLists(collect.ListOptions{
			Append: a.append, Busy: busyLog, Resolve: a.visitors.Linked, Reach: a.visitors.Reach,
			State: func(advertiser, list string) (collect.ListInfo, bool) {
				l := a.visitors.List(advertiser, list)
				if l == nil {
					return collect.ListInfo{}, false
				}
				return listInfo(l), true
			},
			Keyring: a.keyring, Random: rand.Reader, Now: a.now, Logger: a.log.Named("lists"),
		}),
		Authenticate: func(key []byte) (string, bool) { return a.keyOwner(key, campaigns.ScopeLists) },
		All: func(advertiser string) (out []collect.ListInfo) {
			for _, l := range a.visitors.Lists(advertiser) {
				out = append(out, listInfo(l))
			}
			return out
		},
		ParseDuration: spec.ParseDuration, ValidID: spec.ValidID,
	}
	return nil
}

// keyOwner returns the advertiser whose key has a scope.
func (a *app) keyOwner(key []byte, scope campaigns.Scopes) (string, bool) {
	if len(key) == 0 {
		return "", false
	}
	adv, scopes := a.snapshot.Load().Index.Authenticate(key)
	if adv == nil || !scopes.Has(scope) {
		return "", false
	}
	return adv.ID, true
}

// listInfo converts what the view knows of a list.
func listInfo(l *segments.ListState) collect.ListInfo {
	out := collect.ListInfo{List: l.List, Norm: l.Norm, Purpose: l.Purpose, TTL: spec.FormatDuration(time.Duration(l.TTL) * time.Second)}
	for _, j := range l.Jobs {
		out.Jobs = append(out.Jobs, collect.JobReport{Job: j.ID, List: l.List, Mode: j.Action, State: j.State, Rows: j.Rows, Accepted: j.Accepted, Began: j.Began, Ended: j.Ended})
	}
	return out
}

// uploadTime is how long the upload of a list may take.
const uploadTime = 10 * time.Minute

// largeBody lets the owner of a key upload a list, which is larger than other bodies.
func (a *app) largeBody(h *fasthttp.RequestHeader) (size int, read time.Duration) {
	uri := h.RequestURI()
	if !bytes.HasPrefix(uri, []byte("/v1/lists/")) && !bytes.HasPrefix(uri, []byte("/v1/audiences/")) {
		return 0, 0
	}
	scheme, key, _ := bytes.Cut(bytes.TrimSpace(h.Peek(fasthttp.HeaderAuthorization)), []byte(" "))
	if !bytes.EqualFold(scheme, []byte("Bearer")) {
		return 0, 0
	}
	if _, ok := a.keyOwner(bytes.TrimSpace(key), 0); !ok {
		return 0, 0
	}
	return collect.MaxListBytes, uploadTime
}

const audienceAPI = "/v1/audiences/"

// exportAudience handles POST /v1/audiences/{id}/export: the rows of the body whose person
// is in the audience, as another platform wants them, or the keys of its visitors.
func (a *app) exportAudience(ctx *fasthttp.RequestCtx) {
	key := bytes.TrimSpace(bytes.TrimPrefix(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization), []byte("Bearer ")))
	advertiser, ok := a.keyOwner(key, campaigns.ScopeAudiences)
	if !ok {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <key of an advertiser with the scope audiences>")
		return
	}
	id, ok := strings.CutSuffix(strings.TrimPrefix(string(ctx.Path()), audienceAPI), "/export")
	p := a.snapshot.Load().AudienceSet.Audience(id)
	if !ok || p == nil || p.Advertiser() != advertiser {
		sendError(ctx, fasthttp.StatusNotFound, "no_audience", "want POST /v1/audiences/{id}/export with the id of an audience of yours")
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
		rows, written, err = a.exporter(advertiser, string(ctx.QueryArgs().Peek("country")), p).Write(&out, format, ctx.PostBody(), func(collect.LineError) {})
	default:
		sendError(ctx, fasthttp.StatusBadRequest, "bad_format", "format: want meta, google or ids")
		return
	}
	if err != nil {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_file", err.Error())
		return
	}
	a.log.Info("audience exported", zap.String("audience", id), zap.String("advertiser", advertiser), zap.String("format", format),
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
