package collect

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// gif is a transparent GIF of one pixel.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// maxBeacon bounds the body of POST /v1/t; browsers do not send longer beacons.
const maxBeacon = 64 << 10

// appending is the context of appends. The context of the request would not do: it ends
// when the listener starts to drain, while requests in flight must finish. Appends are
// bounded by the timeouts of the edge.
var appending = context.Background()

// Pixel handles GET /v1/px. It always returns 200 and the GIF.
func (e *Edge) Pixel(ctx *fasthttp.RequestCtx) {
	in := ParsePixel(ctx.URI().QueryString(), e.reject)
	call := callOf(ctx)
	sendCookie(ctx, e.RecordBrowser(appending, &call, &in))
	sendGIF(ctx)
}

// Beacon handles POST /v1/t: the event of the pixel as JSON, with any content type. It
// always returns 204.
func (e *Edge) Beacon(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	body := ctx.PostBody()
	if len(body) > maxBeacon {
		e.reject(RejectTooLong)
		return
	}
	in, p := ParseBeacon(body)
	if p != nil {
		e.reject(p.Code)
		return
	}
	call := callOf(ctx)
	sendCookie(ctx, e.RecordBrowser(appending, &call, &in))
}

// Match handles GET /v1/match. It returns the GIF, or 204 if the privacy signals of the
// visitor refuse the match.
func (e *Edge) Match(ctx *fasthttp.RequestCtx) {
	m := ParseMatch(ctx.URI().QueryString(), e.reject)
	call := callOf(ctx)
	line, allowed := e.RecordMatch(appending, &call, &m)
	if !allowed {
		noStore(ctx)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	sendCookie(ctx, line)
	sendGIF(ctx)
}

// ParseBeacon parses the body of a beacon: one event object that names its advertiser. A
// browser identifies its visitor only by cookie, so other visitor ids are ignored.
func ParseBeacon(body []byte) (Input, *Problem) {
	w, p := decodeEvent(body)
	if p != nil {
		return Input{}, p
	}
	in, p := w.input()
	in.User.UID, in.User.IFA, in.User.EIDs = "", "", nil
	if p == nil && hasEmail(in.User.XID) {
		p = &Problem{RejectClearText, "user.xid: got an e-mail address, which a browser must not send"}
	}
	return in, p
}

func callOf(ctx *fasthttp.RequestCtx) Call {
	h := &ctx.Request.Header
	return Call{
		Cookie:  h.Cookie(CookieName),
		OptOut:  string(h.Cookie(OptOutCookie)) == "1",
		SecGPC:  h.Peek("Sec-GPC"),
		Referer: string(h.Peek(fasthttp.HeaderReferer)),
		Host:    string(h.Host()),
	}
}

func sendCookie(ctx *fasthttp.RequestCtx, line string) {
	if line != "" {
		ctx.Response.Header.Add(fasthttp.HeaderSetCookie, line)
	}
}

func sendGIF(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	ctx.SetContentType("image/gif")
	ctx.SetBody(gif)
}

func noStore(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
}

func sendJSON(ctx *fasthttp.RequestCtx, status int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // keep < and > readable in messages
	if err := e.Encode(v); err != nil {
		status = fasthttp.StatusInternalServerError
		b.Reset()
	}
	noStore(ctx)
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(b.Bytes())
}

// apiError is the body of an error response.
type apiError struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func sendError(ctx *fasthttp.RequestCtx, status int, code, message string) {
	var e apiError
	e.Error.Code, e.Error.Message = code, message
	sendJSON(ctx, status, &e)
}
