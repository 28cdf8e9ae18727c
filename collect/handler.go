package collect

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"
)

// gif is a transparent picture of one pixel: 43 bytes of GIF89a.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// maxBeacon bounds the body of POST /v1/t; browsers send no longer beacons.
const maxBeacon = 64 << 10

// appending is the context of what handlers store: not the request's, which ends
// when the listener begins to drain, while what is in flight must be finished.
// Appends are bounded by the edge's own timeouts.
var appending = context.Background()

// Pixel answers GET /v1/px: always 200 and the GIF, whatever came.
func (e *Edge) Pixel(ctx *fasthttp.RequestCtx) {
	in := ParsePixel(ctx.URI().QueryString(), e.reject)
	call := callOf(ctx)
	sendCookie(ctx, e.TakeBrowser(appending, &call, &in))
	sendGIF(ctx)
}

// Beacon answers POST /v1/t: the pixel's event as JSON, of whatever content type
// the browser gives it; always 204.
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
	sendCookie(ctx, e.TakeBrowser(appending, &call, &in))
}

// Match answers GET /v1/match: the GIF; 204 when the visitor's signals refuse.
func (e *Edge) Match(ctx *fasthttp.RequestCtx) {
	m := ParseMatch(ctx.URI().QueryString(), e.reject)
	call := callOf(ctx)
	line, allowed := e.TakeMatch(appending, &call, &m)
	if !allowed {
		noStore(ctx)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	sendCookie(ctx, line)
	sendGIF(ctx)
}

// ParseBeacon reads a beacon's body: one event object that names its
// advertiser. A browser says nothing of who its visitor is but by its cookie.
func ParseBeacon(body []byte) (Input, *Problem) {
	w, p := decodeEvent(body)
	if p != nil {
		return Input{}, p
	}
	in, p := w.input()
	in.User.UID, in.User.IFA, in.User.EIDs = "", "", nil
	if p == nil && hasEmail(in.User.XID) {
		p = &Problem{RejectClearText, "user.xid: got an e-mail address; want none from a browser"}
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
	e.SetEscapeHTML(false) // messages show < and > as they are
	if err := e.Encode(v); err != nil {
		status = fasthttp.StatusInternalServerError
		b.Reset()
	}
	noStore(ctx)
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(b.Bytes())
}

// apiError is the body of a refused call.
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
