package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/collect"
	"rebound/events"
	"rebound/internal/cli"
	"rebound/server"
)

const erasePath = "/admin/privacy/erase"

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
func (a *app) eraseNow(ctx *fasthttp.RequestCtx) {
	var o eraseOrder
	if got := readOrder(ctx.PostBody(), &o); got != "" {
		sendError(ctx, fasthttp.StatusBadRequest, "bad_json", got+`; want {"advertiser":"<id>","ids":[{"kind":"uid","value":"..."}]}, of which advertiser is for xid, em and ph`)
		return
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
func (a *app) eraseReceipt(ctx *fasthttp.RequestCtx) {
	r := a.erasures.get(string(server.Tail(ctx, erasePath+"/")))
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
	admin := fs.String("admin", "127.0.0.1:8082", "`address` of the running bidder's admin listener")
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
	if err == nil {
		err = p.callAdmin(ctx, *admin, http.MethodPost, erasePath, body, &r)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for err == nil && r.State == erasurePending {
		select {
		case <-tick.C:
			err = p.callAdmin(ctx, *admin, http.MethodGet, erasePath+"/"+r.RequestID, nil, &r)
		case <-ctx.Done():
			err = fmt.Errorf("request %s is still pending (%s): %w", r.RequestID, r.Error, ctx.Err())
		}
	}
	if err != nil {
		fmt.Fprintln(p.stderr, fmt.Errorf("cannot erase: %w", err))
		return cli.ExitFailed
	}
	b, err := json.MarshalIndent(&r, "", "  ")
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return cli.ExitFailed
	}
	fmt.Fprintln(p.stdout, string(b))
	return cli.ExitDone
}

// callAdmin calls an endpoint of a running bidder and decodes its response into v.
func (p *program) callAdmin(ctx context.Context, admin, method, path string, body []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+admin+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if token, ok := p.getenv(adminTokenEnv); ok {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("cannot reach the bidder at %s; is it running? %w", admin, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var e struct {
			Error struct{ Message string }
		}
		json.NewDecoder(resp.Body).Decode(&e) //nolint:errcheck // the status is enough
		return fmt.Errorf("got status %d: %s", resp.StatusCode, strings.TrimSpace(e.Error.Message))
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
