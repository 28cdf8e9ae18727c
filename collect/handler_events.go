package collect

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

// Events handles POST /v1/events: events from the server of an advertiser, authenticated
// by its key. Each event is accepted or rejected on its own.
func (e *Edge) Events(ctx *fasthttp.RequestCtx) {
	setup, key := e.setup.Load(), BearerToken(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization))
	adv, sends := setup.byKey(key)
	if adv == nil {
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
		sendError(ctx, fasthttp.StatusUnauthorized, "unauthorised", "want Authorization: Bearer <key of an advertiser>")
		return
	}
	if !sends {
		sendError(ctx, fasthttp.StatusForbidden, "scope", "the key does not have the scope events")
		return
	}
	if !jsonType(string(ctx.Request.Header.ContentType())) {
		sendError(ctx, fasthttp.StatusUnsupportedMediaType, "content_type", "want Content-Type application/json or application/x-ndjson")
		return
	}
	body, ok := readBody(ctx)
	if !ok {
		return
	}
	list, err := SplitBatch(body)
	if err != nil {
		sendError(ctx, splitStatus(err), splitCode(err), err.Error())
		return
	}
	from := Sender{Advertiser: adv, Consented: setup.Vouches != nil && setup.Vouches(key), DryRun: dryRun(ctx.QueryArgs())}
	if !from.DryRun && e.perSender.addN(adv.ID, uint32(len(list)), e.now()) > setup.Limits.advertiserPerSecond() {
		e.reject(RejectAdvertiserFlood)
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		sendError(ctx, fasthttp.StatusTooManyRequests, RejectAdvertiserFlood.String(), "more events per second than collect.events_per_advertiser allows; send the batch again after Retry-After seconds")
		return
	}
	if !from.DryRun && e.mustWait(len(list)) {
		e.reject(RejectNotStored)
		sendBusy(ctx, backOff)
		return
	}
	reply, err := e.RecordBatch(appending, from, list)
	if err != nil {
		e.sendNotStored(ctx, err, zap.String("advertiser", adv.ID), zap.Int("events", len(list)))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, &reply)
}

// Servers must wait while the views are behind the log: those that send many events at
// once, as a backfill does, from slowLag on, and all from stopLag on. Bids stop at 5 s.
const (
	slowLag   = time.Second
	stopLag   = 3 * time.Second
	fewEvents = 20
	backOff   = 2 * time.Second
)

// mustWait reports whether a batch of n events must wait.
func (e *Edge) mustWait(n int) bool {
	lag := e.behind()
	return lag > stopLag || lag > slowLag && n > fewEvents
}

// dryRun reports whether a query asks for the events to be checked and not stored: any
// dry_run that does not say no.
func dryRun(q *fasthttp.Args) bool {
	for _, v := range q.PeekMulti("dry_run") {
		switch strings.ToLower(strings.TrimSpace(string(v))) {
		case "0", "false", "no", "off":
		default:
			return true
		}
	}
	return false
}

// sendNotStored tells a server when to send its batch again.
func (e *Edge) sendNotStored(ctx *fasthttp.RequestCtx, err error, fields ...zap.Field) {
	e.logFailure("cannot store events", err, fields...)
	if wait, busy := e.busy(err); busy {
		sendBusy(ctx, max(wait, time.Second))
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
	sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log is not available; send the batch again")
}

// sendBusy tells a server to send its batch again after a time.
func sendBusy(ctx *fasthttp.RequestCtx, wait time.Duration) {
	ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, strconv.Itoa(int(wait.Seconds())))
	sendError(ctx, fasthttp.StatusServiceUnavailable, "not_stored", "the log has no capacity at present; send the batch again after Retry-After seconds")
}

// readBody returns the decompressed body. If that fails it sends an error response and
// returns false.
func readBody(ctx *fasthttp.RequestCtx) ([]byte, bool) {
	body := ctx.PostBody()
	switch strings.ToLower(strings.TrimSpace(string(ctx.Request.Header.ContentEncoding()))) {
	case "", "identity":
		return body, true
	case "gzip", "x-gzip":
	default:
		sendError(ctx, fasthttp.StatusUnsupportedMediaType, "content_encoding", "want Content-Encoding gzip or none")
		return nil, false
	}
	out, err := Inflate(body)
	if err != nil {
		sendError(ctx, splitStatus(err), splitCode(err), err.Error())
		return nil, false
	}
	return out, true
}

func splitStatus(err error) int {
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTooMany) {
		return fasthttp.StatusRequestEntityTooLarge
	}
	return fasthttp.StatusBadRequest
}

func splitCode(err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrTooMany):
		return "too_many"
	}
	return "bad_body"
}

// BearerToken returns the token of an Authorization header of the scheme Bearer (RFC 6750
// §2.1), which may be in any letter case, and nil for any other header.
func BearerToken(header []byte) []byte {
	scheme, key, ok := bytes.Cut(bytes.TrimSpace(header), []byte(" "))
	if !ok || !bytes.EqualFold(scheme, []byte("Bearer")) {
		return nil
	}
	return bytes.TrimSpace(key)
}

func jsonType(t string) bool {
	t, _, _ = strings.Cut(t, ";")
	switch strings.ToLower(strings.TrimSpace(t)) {
	case "", "application/json", "text/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return true
	}
	return false
}
