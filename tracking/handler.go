package tracking

import (
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"rebound/exchange"
	"rebound/rtb"
)

// Route is one path of the edge; a path that ends in "/*" takes everything below
// it. All of them take GET and POST (an exchange may fire either).
type Route struct {
	Path    string
	Handler fasthttp.RequestHandler
}

// Routes are the paths that the handler answers.
func (h *Handler) Routes() []Route {
	return []Route{
		{"/v1/win", h.notice(rtb.NoticeWin)},
		{"/v1/bill", h.notice(rtb.NoticeBill)},
		{"/v1/loss", h.notice(rtb.NoticeLoss)},
		{"/v1/imp", h.pixel(rtb.NoticeImp)},
		{"/v1/view", h.pixel(rtb.NoticeView)},
		{"/v1/c", h.click},
		{"/v1/vast/*", h.video},
	}
}

// Serve answers a request by its path; false means that the path is not one of
// [Handler.Routes].
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) bool {
	path := string(ctx.Path())
	for _, r := range h.Routes() {
		prefix, below := strings.CutSuffix(r.Path, "*")
		if path == r.Path || below && strings.HasPrefix(path, prefix) {
			r.Handler(ctx)
			return true
		}
	}
	return false
}

// notice answers 204 whatever comes, because anything else makes exchanges send it
// again (OpenRTB 2.6 implementation guide §7.8): so what nothing could store is 503.
func (h *Handler) notice(kind rtb.NoticeKind) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		t := toldBy(ctx)
		_, code := h.take(kind, &t)
		noStore(ctx)
		if code == CodeFailed {
			ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "10")
			ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
			return
		}
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	}
}

// pixel answers its GIF whatever comes: it stands in a page.
func (h *Handler) pixel(kind rtb.NoticeKind) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		t := toldBy(ctx)
		h.take(kind, &t)
		gif(ctx)
	}
}

func (h *Handler) video(ctx *fasthttp.RequestCtx) {
	t := toldBy(ctx)
	event := strings.TrimPrefix(string(ctx.Path()), "/v1/vast/")
	for i := range videoEvents {
		if videoEvents[i].name == event {
			t.video = &videoEvents[i]
		}
	}
	h.take(rtb.NoticeVideo, &t)
	gif(ctx)
}

// click leads on to the landing page inside the token, and nowhere else: a
// token that is not ours is 404. A click counts late as well, and leads on even
// when it cannot be recorded.
func (h *Handler) click(ctx *fasthttp.RequestCtx) {
	t := toldBy(ctx)
	c, code := h.take(rtb.NoticeClick, &t)
	if len(ctx.QueryArgs().Peek(paramTrackOnly)) > 0 {
		gif(ctx) // a player or a native placement only tells of the click
		return
	}
	noStore(ctx)
	if code == CodeForged || code == CodeMalformed || !isLanding(c.Landing) {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, c.Landing)
	ctx.Response.Header.Set("Referrer-Policy", "no-referrer-when-downgrade")
	ctx.SetStatusCode(fasthttp.StatusFound)
}

// isLanding is a second look at what may stand in a Location header; the
// configuration has checked it before it was signed.
func isLanding(u string) bool {
	if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
		return false
	}
	return !strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Parameters of markup's own URLs: a click that is only told, and VAST's
// [ERRORCODE].
const (
	paramTrackOnly = "t"
	paramError     = "e"
)

func toldBy(ctx *fasthttp.RequestCtx) told {
	q, head := ctx.QueryArgs(), &ctx.Request.Header
	from, _ := netip.AddrFromSlice(ctx.RemoteIP())
	ip := head.Peek("X-Device-IP")
	if len(ip) == 0 {
		ip = head.Peek(fasthttp.HeaderXForwardedFor)
	}
	return told{
		multiplier: q.Peek(exchange.ParamMultiplier), discountPct: q.Peek(exchange.ParamDiscountPct), discountCPM: q.Peek(exchange.ParamDiscountCPM),
		device: device{from: from, ip: ip, agent: head.Peek("X-Device-User-Agent")},
		token:  q.Peek("k"), price: q.Peek(exchange.ParamPrice), currency: q.Peek(exchange.ParamCurrency),
		loss: q.Peek(exchange.ParamLoss), minToWin: q.Peek(exchange.ParamMinToWin),
		errorCode: q.Peek(paramError),
	}
}

func noStore(ctx *fasthttp.RequestCtx) {
	ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
}

var pixelGIF = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;")

func gif(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.SetContentType("image/gif")
	ctx.SetBody(pixelGIF)
}
