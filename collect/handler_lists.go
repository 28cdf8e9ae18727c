package collect

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/rtb"
)

// ListAPI serves the lists of advertisers over HTTP.
type ListAPI struct {
	*Lists
	// Authenticate returns the advertiser of a key with the scope lists.
	Authenticate func(key []byte) (advertiser string, ok bool)
	// All returns the lists of an advertiser.
	All func(advertiser string) []ListInfo
	// ParseDuration parses a duration such as 540d.
	ParseDuration func(string) (time.Duration, error)
	// ValidID reports whether a text can be the id of a list.
	ValidID func(string) bool
}

const (
	listsPath = "/v1/lists/"
	jobsPath  = "/v1/jobs/"
)

// owner returns the advertiser whose key a request has, or responds with 401.
func (a *ListAPI) owner(ctx *fasthttp.RequestCtx) (string, bool) {
	adv, ok := a.Authenticate(BearerToken(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)))
	if !ok {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <key of an advertiser with the scope lists>")
	}
	return adv, ok
}

// ListLists handles GET /v1/lists.
func (a *ListAPI) ListLists(ctx *fasthttp.RequestCtx) {
	if adv, ok := a.owner(ctx); ok {
		list := a.All(adv)
		if list == nil {
			list = []ListInfo{}
		}
		sendJSON(ctx, fasthttp.StatusOK, map[string]any{"lists": list})
	}
}

// Get handles GET /v1/lists/{id}.
func (a *ListAPI) Get(ctx *fasthttp.RequestCtx) {
	adv, ok := a.owner(ctx)
	if !ok {
		return
	}
	info, ok := a.existing(ctx, adv, a.id(ctx))
	if ok {
		sendJSON(ctx, fasthttp.StatusOK, &info)
	}
}

func (a *ListAPI) id(ctx *fasthttp.RequestCtx) string {
	return strings.TrimPrefix(string(ctx.Path()), listsPath)
}

// existing returns a list, or responds with 404.
func (a *ListAPI) existing(ctx *fasthttp.RequestCtx, adv, id string) (ListInfo, bool) {
	info, ok := a.o.State(adv, id)
	if !ok {
		sendError(ctx, fasthttp.StatusNotFound, "no_list", "the list does not exist; PUT /v1/lists/{id} makes one")
	}
	return info, ok
}

// Put handles PUT /v1/lists/{id}: it makes a list or changes its settings.
func (a *ListAPI) Put(ctx *fasthttp.RequestCtx) {
	adv, ok := a.owner(ctx)
	if !ok {
		return
	}
	id := a.id(ctx)
	if !a.ValidID(id) {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_id", "list: want an id of a-z, 0-9, _ and -, of at most 64 characters")
		return
	}
	var s ListSettings
	if err := json.Unmarshal(ctx.PostBody(), &s); err != nil {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", `want {"norm":"std|uid2","ttl":"540d","purpose":"target|suppress","consent":"granted"}`)
		return
	}
	checked, err := s.check(a.ParseDuration)
	switch {
	case errors.Is(err, errConsent):
		sendError(ctx, fasthttp.StatusUnprocessableEntity, "no_consent", err.Error())
		return
	case err != nil:
		sendError(ctx, fasthttp.StatusBadRequest, "bad_setting", err.Error())
		return
	}
	if err := a.define(appending, adv, id, checked); err != nil {
		a.notStored(ctx, err)
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, map[string]any{"list": id, "norm": checked.norm, "purpose": checked.purpose, "ttl_s": int64(checked.ttl / time.Second)})
}

// Delete handles DELETE /v1/lists/{id}.
func (a *ListAPI) Delete(ctx *fasthttp.RequestCtx) {
	adv, ok := a.owner(ctx)
	if !ok {
		return
	}
	id := a.id(ctx)
	if _, ok := a.existing(ctx, adv, id); !ok {
		return
	}
	if err := a.drop(appending, adv, id); err != nil {
		a.notStored(ctx, err)
		return
	}
	noStore(ctx)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// Members handles POST /v1/lists/{id}/members: it starts a job that reads the body.
func (a *ListAPI) Members(ctx *fasthttp.RequestCtx) {
	adv, ok := a.owner(ctx)
	if !ok {
		return
	}
	id, ok := strings.CutSuffix(a.id(ctx), "/members")
	if !ok {
		sendError(ctx, fasthttp.StatusNotFound, "no_endpoint", "want POST /v1/lists/{id}/members")
		return
	}
	info, ok := a.existing(ctx, adv, id)
	if !ok {
		return
	}
	query := ctx.QueryArgs()
	mode := string(query.Peek("mode"))
	switch mode {
	case "":
		mode = "append"
	case "append", "replace", "remove":
	default:
		sendError(ctx, fasthttp.StatusBadRequest, "bad_mode", "mode: want append, replace or remove")
		return
	}
	r := &rowReader{keyring: a.o.Keyring, advertiser: adv, insecure: !encrypted(ctx) && !ctx.RemoteIP().IsLoopback()}
	if c := string(query.Peek("country")); c != "" {
		country, ok := rtb.ParseCountry(c)
		if !ok {
			sendError(ctx, fasthttp.StatusBadRequest, "bad_country", "country: want a code of ISO 3166-1, such as DE")
			return
		}
		r.country = country.String()
	}
	job, err := a.start(info, mode, append([]byte(nil), ctx.PostBody()...), r)
	if err != nil {
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "60")
		sendError(ctx, fasthttp.StatusTooManyRequests, "too_many_jobs", err.Error()+"; send the file again later")
		return
	}
	sendJSON(ctx, fasthttp.StatusAccepted, map[string]string{"job": job.Job})
}

// Job handles GET /v1/jobs/{id}.
func (a *ListAPI) Job(ctx *fasthttp.RequestCtx) {
	adv, ok := a.owner(ctx)
	if !ok {
		return
	}
	id := strings.TrimPrefix(string(ctx.Path()), jobsPath)
	if r, ok := a.report(adv, id); ok {
		sendJSON(ctx, fasthttp.StatusOK, &r)
		return
	}
	for _, list := range a.All(adv) { // of an earlier run of the program
		for _, r := range list.Jobs {
			if r.Job == id {
				r.List = list.List
				sendJSON(ctx, fasthttp.StatusOK, &r)
				return
			}
		}
	}
	sendError(ctx, fasthttp.StatusNotFound, "no_job", "the job is not known")
}

func (a *ListAPI) notStored(ctx *fasthttp.RequestCtx, err error) {
	if wait, busy := a.o.Busy(err); busy {
		sendBusy(ctx, max(wait, time.Second))
		return
	}
	sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log is not available; try again")
}

// encrypted reports whether a request came over https.
func encrypted(ctx *fasthttp.RequestCtx) bool {
	return ctx.IsTLS() || string(ctx.Request.Header.Peek(fasthttp.HeaderXForwardedProto)) == "https"
}
