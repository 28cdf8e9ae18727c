package bidder

import (
	"bytes"
	"net/netip"

	"github.com/valyala/fasthttp"

	"rebound/exchange"
	"rebound/rtb"
)

// RoutePrefix is the path of bid requests: POST /openrtb2/{exchange}. An exchange
// that cannot send a header appends its secret as another path segment.
const RoutePrefix = "/openrtb2/"

// SecretHeader carries an exchange's secret. The query parameter "secret" and a
// path segment after the exchange's id are accepted too.
const SecretHeader = "X-Rebound-Secret"

var versionHeader = []byte("X-Openrtb-Version")

// eventLoop is the connection of a server that serves many on one goroutine. The function
// must be called before the handler blocks.
type eventLoop interface{ BeforeBlocking() func() }

// Serve answers one bid request. It never closes the connection: exchanges treat
// that as an error, and reconnecting costs more than the request.
func (b *Bidder) Serve(ctx *fasthttp.RequestCtx) {
	arrival := b.o.Clock()
	if !ctx.IsPost() {
		ctx.Response.Header.Set(fasthttp.HeaderAllow, fasthttp.MethodPost)
		ctx.SetStatusCode(fasthttp.StatusMethodNotAllowed)
		return
	}
	snap := b.current.Load()
	id, segment, _ := bytes.Cut(bytes.TrimPrefix(ctx.Path(), []byte(RoutePrefix)), []byte{'/'})
	st := snap.states[string(id)]
	p := snap.catalog.Exchanges[string(id)]
	if p == nil || st == nil {
		b.unknown.noBid(rtb.NoBidUnauthorised, 0)
		ctx.SetStatusCode(fasthttp.StatusNotFound)
		return
	}
	ctx.Response.Header.SetCanonical(versionHeader, []byte(p.OpenRTBVersion))
	defer st.inFlight.Add(-1)
	n := st.inFlight.Add(1)
	refuse := func(status int, r rtb.NoBidReason) {
		if p.MalformedStatus == fasthttp.StatusNoContent {
			status = fasthttp.StatusNoContent // the exchange counts any other status as an error
		}
		st.counters.noBid(r, b.o.Clock().Sub(arrival))
		ctx.SetStatusCode(status)
	}
	switch {
	case !admitted(ctx, p, segment):
		refuse(fasthttp.StatusForbidden, rtb.NoBidUnauthorised)
	case p.MaxInFlight > 0 && n > int64(p.MaxInFlight):
		refuse(fasthttp.StatusNoContent, rtb.NoBidOverloaded)
	case !st.throttle.allow(arrival, p.QuotaQPS):
		refuse(fasthttp.StatusNoContent, rtb.NoBidThrottled)
	case !isJSON(ctx.Request.Header.ContentType()):
		refuse(fasthttp.StatusUnsupportedMediaType, rtb.NoBidMalformed)
	default:
		d := b.borrow()
		defer b.giveBack(d)
		body, status := b.requestBody(ctx, p, d)
		if status != 0 {
			refuse(status, rtb.NoBidMalformed)
			return
		}
		rq := &d.served
		*rq = Request{Exchange: p.ID, Body: body, Arrival: arrival, Trace: b.trace(ctx, arrival)}
		if b.o.Sources != nil {
			rq.Source = b.o.Sources()
		}
		if c, ok := ctx.Conn().(eventLoop); ok {
			rq.BeforeRead = c.BeforeBlocking()
		}
		rs := b.answer(snap, rq, d)
		if rq.Trace != nil {
			rs = b.explained(rq, d, rs)
		}
		b.write(ctx, p, &rs, d)
	}
}

// Shed answers a request for which the listener has no capacity: 204, and the
// connection stays open.
func (b *Bidder) Shed(ctx *fasthttp.RequestCtx) {
	id, _, _ := bytes.Cut(bytes.TrimPrefix(ctx.Path(), []byte(RoutePrefix)), []byte{'/'})
	count := &b.unknown
	if st := b.current.Load().states[string(id)]; st != nil {
		count = &st.counters
	}
	count.noBid(rtb.NoBidOverloaded, 0)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}

// admitted reports whether the request comes from an allowed address with the
// right secret.
func admitted(ctx *fasthttp.RequestCtx, p *exchange.Profile, segment []byte) bool {
	if len(p.Sources) > 0 {
		from, ok := netip.AddrFromSlice(ctx.RemoteIP())
		if !ok || !p.Admits(from) {
			return false
		}
	}
	if p.Secret == "" {
		return true
	}
	if h := ctx.Request.Header.Peek(SecretHeader); len(h) > 0 {
		return p.SecretOK(h)
	}
	if len(segment) > 0 {
		return p.SecretOK(segment)
	}
	return p.SecretOK(ctx.QueryArgs().Peek("secret"))
}

// isJSON reports whether a Content-Type is JSON. A missing one counts as JSON
// (OpenRTB 2.6 §2.3).
func isJSON(contentType []byte) bool {
	media, _, _ := bytes.Cut(contentType, []byte{';'})
	media = bytes.TrimSpace(media)
	return len(media) == 0 || rtb.EqualFold(media, "application/json")
}

// requestBody returns the request's JSON, decompressed where necessary. A status
// other than 0 refuses the request.
func (b *Bidder) requestBody(ctx *fasthttp.RequestCtx, p *exchange.Profile, d *Decision) ([]byte, int) {
	raw := ctx.Request.Body()
	if len(raw) > p.MaxBody {
		return nil, fasthttp.StatusRequestEntityTooLarge
	}
	encoding := bytes.TrimSpace(ctx.Request.Header.Peek(fasthttp.HeaderContentEncoding))
	switch {
	case len(encoding) == 0, rtb.EqualFold(encoding, "identity"):
		return raw, 0
	case p.GzipIn && (rtb.EqualFold(encoding, "gzip") || rtb.EqualFold(encoding, "x-gzip")):
		var err error
		d.inflated, err = b.inflate(d.inflated[:0], raw, p.MaxInflated)
		switch {
		case err == errInflated:
			return nil, fasthttp.StatusRequestEntityTooLarge
		case err != nil:
			return nil, p.MalformedStatus
		}
		return d.inflated, 0
	}
	return nil, fasthttp.StatusUnsupportedMediaType
}

// write sends a response of d, and takes its body from d.
func (b *Bidder) write(ctx *fasthttp.RequestCtx, p *exchange.Profile, rs *Response, d *Decision) {
	ctx.SetStatusCode(rs.Status)
	if rs.Status != fasthttp.StatusOK {
		return
	}
	ctx.Response.Header.SetContentType(p.ContentType)
	if p.GzipOut && len(rs.Body) > minGzip && acceptsGzip(ctx.Request.Header.PeekAll(fasthttp.HeaderAcceptEncoding)...) {
		ctx.Response.Header.Set(fasthttp.HeaderContentEncoding, "gzip")
		b.deflate(ctx.Response.BodyWriter(), rs.Body)
		return
	}
	d.body = ctx.Response.SwapBody(rs.Body) // d responds to another request before this body is sent
}

// acceptsGzip reports whether the lines of Accept-Encoding permit gzip and do not prefer
// an answer as it is (RFC 9110 §12.5.3). The weight of * counts where gzip has none; a
// weight that cannot be read is 0.
func acceptsGzip(lines ...[]byte) bool {
	gzip, identity, any := -1, -1, -1
	for _, line := range lines {
		for len(line) > 0 {
			var part []byte
			part, line, _ = bytes.Cut(line, []byte{','})
			name, params, _ := bytes.Cut(part, []byte{';'})
			switch name = bytes.TrimSpace(name); {
			case rtb.EqualFold(name, "gzip"), rtb.EqualFold(name, "x-gzip"):
				gzip = max(gzip, weight(params))
			case rtb.EqualFold(name, "identity"):
				identity = max(identity, weight(params))
			case string(name) == "*":
				any = max(any, weight(params))
			}
		}
	}
	if gzip < 0 {
		gzip = any
	}
	return gzip > 0 && gzip >= identity
}

// weight returns the q among the parameters of a coding in thousandths, 1,000 if there is
// none.
func weight(params []byte) int {
	for len(params) > 0 {
		var part []byte
		part, params, _ = bytes.Cut(params, []byte{';'})
		part = bytes.TrimSpace(part)
		if len(part) < 2 || part[0]|0x20 != 'q' || part[1] != '=' {
			continue
		}
		m, err := rtb.ParseMicros(bytes.TrimSpace(part[2:]), rtb.RoundDown)
		if err != nil || m < 0 || m > 1e6 {
			return 0
		}
		return int(m / 1000)
	}
	return 1000
}
