package collect

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/valyala/fasthttp"

	"rebound/rtb"
)

// gif is a transparent GIF of one pixel.
var gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

// appending is the context of appends. The context of the request would not do: it ends
// when the listener starts to drain, while requests in flight must finish. Appends are
// bounded by the timeouts of the edge.
var appending = context.Background()

// Pixel handles GET /v1/px. It always returns 200 and the GIF.
func (e *Edge) Pixel(ctx *fasthttp.RequestCtx) {
	var problems []Reject
	in := ParsePixel(ctx.URI().QueryString(), func(r Reject) {
		e.reject(r)
		problems = append(problems, r)
	})
	in.problems = problems
	call := e.callOf(ctx)
	sendCookie(ctx, e.recordHits(appending, e.newHits(&call, ChannelPixel), []*Input{&in}))
	sendGIF(ctx)
}

// Match handles GET /v1/match. It returns the GIF, or 204 if the privacy signals of the
// visitor refuse the match.
func (e *Edge) Match(ctx *fasthttp.RequestCtx) {
	m := ParseMatch(ctx.URI().QueryString(), e.reject)
	call := e.callOf(ctx)
	line, allowed := e.RecordMatch(appending, &call, &m)
	if !allowed {
		noStore(ctx)
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	sendCookie(ctx, line)
	sendGIF(ctx)
}

func (e *Edge) callOf(ctx *fasthttp.RequestCtx) Call {
	h := &ctx.Request.Header
	c := Call{
		Referer: string(h.Peek(fasthttp.HeaderReferer)),
		Host:    string(h.Host()),
		Address: ctx.RemoteIP().String(), UserAgent: string(h.UserAgent()),
		HTTPS: ctx.IsTLS() || string(h.Peek(fasthttp.HeaderXForwardedProto)) == "https",
	}
	for _, v := range h.PeekAll("Sec-GPC") { // one that refuses counts
		if len(c.SecGPC) == 0 || string(bytes.TrimSpace(v)) != "0" {
			c.SecGPC = bytes.TrimSpace(v)
		}
	}
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := h.Peek(name); len(v) > 0 {
			c.Purpose += string(v) + " "
		}
	}
	e.readCookies(h, &c)
	return c
}

// readCookies reads our cookies. There may be several of one name, of other paths or
// domains (RFC 6265 §5.4): of the visitor ids the first one that we minted counts, and an
// opt-out in any of them. A visitor who opted out and whose opt-out cookie is gone has
// still opted out.
func (e *Edge) readCookies(h *fasthttp.RequestHeader, c *Call) {
	valid := false
	for name, value := range h.Cookies() {
		switch string(name) {
		case CookieName:
			value = bytes.Trim(value, `"`)
			ok := e.cookies.Valid(value)
			c.OptOut = c.OptOut || ok && e.isOut(e.keyring.Key(rtb.IDVisitor, "", value))
			if ok && !valid || len(c.Cookie) == 0 {
				c.Cookie, valid = bytes.Clone(value), valid || ok
			}
		case OptOutCookie:
			c.OptOut, c.OptedIn = c.OptOut || OptedOut(value), c.OptedIn || string(value) == optedIn
		default:
			if exchange, ok := bytes.CutPrefix(name, []byte(syncPrefix)); ok && len(value) <= maxSyncText && len(c.Synced) < maxSynced {
				if c.Synced == nil {
					c.Synced = map[string]string{}
				}
				c.Synced[string(exchange)] = string(value)
			}
		}
	}
}

// Bounds of the cookies of syncs that are read.
const (
	maxSynced   = 64
	maxSyncText = 12
)

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
