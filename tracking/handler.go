package tracking

import (
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"rebound/exchange"
	"rebound/internal/inventory"
	"rebound/rtb"
)

// Route is one path of the edge listener. A path that ends in "/*" matches every path
// below it. All routes accept GET and POST, because an exchange may send either.
type Route struct {
	Path    string
	Handler fasthttp.RequestHandler
}

// Routes returns the paths that the handler answers.
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

// Serve answers a request by its path, and reports whether the path is one of
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

// notice always responds with 204, because any other status makes exchanges retry
// (OpenRTB 2.6 implementation guide §7.8). The exception is a notice that could not be
// stored: that is 503.
func (h *Handler) notice(kind rtb.NoticeKind) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		q := paramsOf(ctx)
		_, code := h.process(kind, &q)
		noStore(ctx)
		if code == CodeFailed {
			ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "10")
			ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
			return
		}
		ctx.SetStatusCode(fasthttp.StatusNoContent)
	}
}

// pixel always responds with a GIF, because a page shows it.
func (h *Handler) pixel(kind rtb.NoticeKind) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		q := paramsOf(ctx)
		h.process(kind, &q)
		sendGIF(ctx)
	}
}

func (h *Handler) video(ctx *fasthttp.RequestCtx) {
	q := paramsOf(ctx)
	event := strings.TrimPrefix(string(ctx.Path()), "/v1/vast/")
	for i := range videoEvents {
		if videoEvents[i].name == event {
			q.video = &videoEvents[i]
		}
	}
	h.process(rtb.NoticeVideo, &q)
	sendGIF(ctx)
}

// click redirects to the landing page in the token and nowhere else: a token that is not
// ours gets 404. A late click redirects too, as does one that cannot be recorded.
func (h *Handler) click(ctx *fasthttp.RequestCtx) {
	q := paramsOf(ctx)
	c, code := h.process(rtb.NoticeClick, &q)
	if len(ctx.QueryArgs().Peek(paramTrackOnly)) > 0 {
		sendGIF(ctx) // a player or a native placement opens the page itself
		return
	}
	noStore(ctx)
	if code == CodeForged || code == CodeMalformed || !isLanding(c.Landing) {
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderLocation, inventory.ASCIIURL(c.Landing))
	ctx.Response.Header.Set("Referrer-Policy", "no-referrer-when-downgrade")
	ctx.SetStatusCode(fasthttp.StatusFound)
}

// isLanding reports whether a URL may be sent as a Location header. It is a second
// check: the configuration was checked before the URL was signed.
func isLanding(u string) bool {
	if !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
		return false
	}
	return !strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Parameters of our own URLs in markup: a click that must not redirect, and VAST's
// [ERRORCODE].
const (
	paramTrackOnly = "t"
	paramError     = "e"
)

func paramsOf(ctx *fasthttp.RequestCtx) noticeParams {
	q, head := ctx.QueryArgs(), &ctx.Request.Header
	from, _ := netip.AddrFromSlice(ctx.RemoteIP())
	ip := head.Peek("X-Device-IP")
	if len(ip) == 0 {
		ip = head.Peek(fasthttp.HeaderXForwardedFor)
	}
	return noticeParams{
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

func sendGIF(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.SetContentType("image/gif")
	ctx.SetBody(pixelGIF)
}
