package main

import (
	"time"

	"github.com/valyala/fasthttp"

	"rebound/collect"
)

// debugEvents is the number of events that GET /admin/debug shows by default.
const debugEvents = 50

// debug handles GET /admin/debug?a=<advertiser>[&n=50]: the last events of a site since
// the start, with what was wrong and how to mend it. Without a it shows those whose
// advertiser is not configured.
func (a *app) debug(ctx *fasthttp.RequestCtx) {
	q := ctx.QueryArgs()
	advertiser := string(q.Peek("a"))
	if advertiser != "" && !a.edge.Serves(advertiser) {
		sendJSON(ctx, fasthttp.StatusNotFound, map[string]string{"error": "a: got the id of no advertiser in the configuration"})
		return
	}
	n, err := q.GetUint("n")
	if err != nil || n == 0 {
		n = debugEvents
	}
	sendJSON(ctx, fasthttp.StatusOK, struct {
		At         time.Time      `json:"at"`
		Advertiser string         `json:"advertiser"`
		Events     []collect.Seen `json:"events"`
	}{a.now().UTC(), advertiser, a.edge.LastEvents(advertiser, n)})
}
