package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/campaigns"
	"rebound/collect"
	"rebound/internal/spec"
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

// owner returns the advertiser of a request's key, or answers the request if the key does not
// have the scope.
func (a *app) owner(ctx *fasthttp.RequestCtx, scope campaigns.Scopes) (advertiser string, ok bool) {
	key := collect.BearerToken(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization))
	if advertiser, ok = a.keyOwner(key, scope); !ok {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <key of an advertiser with the scope "+scope.String()+">")
	}
	return advertiser, ok
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
	if _, ok := a.keyOwner(collect.BearerToken(h.Peek(fasthttp.HeaderAuthorization)), 0); !ok {
		return 0, 0
	}
	return collect.MaxListBytes, uploadTime
}
