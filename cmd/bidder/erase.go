package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/collect"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/server"
)

const (
	erasePath = "/admin/privacy/erase"
	eraseAPI  = "/v1/privacy/erase" // the same on the edge listener
)

// eraseOrder is the body of POST /admin/privacy/erase.
type eraseOrder struct {
	// Advertiser is the one to which ids of kind xid, em and ph belong.
	Advertiser string               `json:"advertiser,omitempty"`
	IDs        []collect.Identifier `json:"ids"`
}

// maxErase bounds the identifiers of one request.
const maxErase = 100

// eraseNow handles POST /admin/privacy/erase. The receipt is pending at first; GET
// /admin/privacy/erase/{request_id} returns it when it is done.
func (a *app) eraseNow(ctx *fasthttp.RequestCtx) { a.eraseOf(ctx, "") }

// eraseOf handles a request to erase data; a request of an advertiser concerns its own
// identifiers.
func (a *app) eraseOf(ctx *fasthttp.RequestCtx, advertiser string) {
	var o eraseOrder
	if got := readOrder(ctx.PostBody(), &o); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want {"advertiser":"<id>","ids":[{"kind":"uid","value":"..."}]}, of which advertiser is for xid, em and ph`)
		return
	}
	if advertiser != "" {
		o.Advertiser = advertiser
	}
	keys, msg := a.keysOf(&o)
	if msg != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_ids", msg)
		return
	}
	r, err := a.erasures.ask(keys)
	if err != nil {
		a.log.Error("a request to erase data was not stored", zap.Error(err))
		sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the request could not be stored; send it again")
		return
	}
	sendJSON(ctx, fasthttp.StatusAccepted, a.erasures.get(r.RequestID))
}

// eraseFor handles POST /v1/privacy/erase, under a key with the scope privacy: the
// identifiers xid, em and ph are those of the key's advertiser. All that is known of the
// person is erased, whatever advertiser it is for.
func (a *app) eraseFor(ctx *fasthttp.RequestCtx) {
	if advertiser, ok := a.owner(ctx, campaigns.ScopePrivacy); ok {
		a.eraseOf(ctx, advertiser)
	}
}

// receiptFor handles GET /v1/privacy/erase/{request_id}.
func (a *app) receiptFor(ctx *fasthttp.RequestCtx) {
	if _, ok := a.owner(ctx, campaigns.ScopePrivacy); ok {
		a.receipt(ctx, eraseAPI)
	}
}

// keysOf returns the keys of the identifiers of a request, or what is wrong with it.
func (a *app) keysOf(o *eraseOrder) (keys []events.LinkKey, msg string) {
	s := a.snapshot.Load()
	if len(o.IDs) == 0 || len(o.IDs) > maxErase {
		return nil, fmt.Sprintf("ids: got %d; want 1 to %d", len(o.IDs), maxErase)
	}
	known := slices.ContainsFunc(s.Advertisers, func(x campaigns.AdvertiserSpec) bool { return x.ID == o.Advertiser })
	if o.Advertiser != "" && !known {
		return nil, fmt.Sprintf("advertiser: got %q; want a configured one", o.Advertiser)
	}
	spaces := map[string]string{}
	for id, p := range s.Profiles {
		spaces[id] = p.IDSpace
	}
	for i, id := range o.IDs {
		k, err := id.Key(a.keyring, o.Advertiser, spaces)
		if err != nil {
			return nil, fmt.Sprintf("ids[%d]: %v", i, err)
		}
		keys = append(keys, k)
	}
	return keys, ""
}

// eraseReceipt handles GET /admin/privacy/erase/{request_id}.
func (a *app) eraseReceipt(ctx *fasthttp.RequestCtx) { a.receipt(ctx, erasePath) }

func (a *app) receipt(ctx *fasthttp.RequestCtx, path string) {
	r := a.erasures.get(string(server.Tail(ctx, path+"/")))
	if r == nil {
		sendError(ctx, fasthttp.StatusNotFound, "unknown_request", "got a request_id that is not known; want that of an earlier request to erase data")
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, r)
}

// eraseVerb asks a running bidder to erase a person's data, waits for it, and prints the
// receipt.
func (p *program) eraseVerb(ctx context.Context, args []string) int {
	fs := p.flags("erase")
	admin := p.adminFlag(fs)
	advertiser := fs.String("advertiser", "", "`id` of the advertiser to which an xid, em or ph belongs")
	wait := fs.Duration("wait", 10*time.Minute, "how long to wait for the receipt")
	text, status, done := p.parseWithFile(fs, args)
	if done {
		return status
	}
	id, err := collect.ParseIdentifier(text)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	body, err := json.Marshal(eraseOrder{Advertiser: *advertiser, IDs: []collect.Identifier{id}})
	var r erasure
	ask := func(method, path string, body []byte) error {
		text, err := p.adminClient(*admin).call(ctx, method, path, body)
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		return err
	}
	if err == nil {
		err = ask(http.MethodPost, erasePath, body)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for err == nil && r.State == erasurePending {
		select {
		case <-tick.C:
			err = ask(http.MethodGet, erasePath+"/"+r.RequestID, nil)
		case <-ctx.Done():
			err = fmt.Errorf("request %s is still pending (%s): %w", r.RequestID, r.Error, ctx.Err())
		}
	}
	if err != nil {
		fmt.Fprintln(p.stderr, fmt.Errorf("cannot erase: %w", err))
		return cli.ExitFailed
	}
	return p.printJSON(&r)
}
