package collect

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

// Bounds of POST /v1/t. Browsers do not send longer beacons.
const (
	maxBeacon       = 64 << 10
	maxBeaconEvents = 100
)

// Beacon handles POST /v1/t: the events of the tag as JSON, with any content type. It
// returns 204, or what became of the events if the call has debug=1.
func (e *Edge) Beacon(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	e.allowOrigin(ctx)
	call := e.callOf(ctx)
	list := e.parseBeacons(ctx.PostBody())
	sendCookie(ctx, e.recordHits(appending, e.newHits(&call, ChannelTag), list))
	if !ctx.QueryArgs().GetBool("debug") {
		ctx.SetStatusCode(fasthttp.StatusNoContent)
		return
	}
	reply := struct {
		Events []Seen `json:"events"`
	}{[]Seen{}}
	for _, in := range list {
		reply.Events = append(reply.Events, e.describe(in, ChannelTag))
	}
	sendJSON(ctx, fasthttp.StatusOK, &reply)
}

// parseBeacons parses the body of a beacon: one event, or a list. Events that cannot be
// read are among the results, with their problems.
func (e *Edge) parseBeacons(body []byte) []*Input {
	failed := func(r Reject) []*Input {
		e.reject(r)
		return []*Input{{unreadable: true, problems: []Reject{r}}}
	}
	if len(body) > maxBeacon {
		return failed(RejectTooLong)
	}
	raws, err := SplitBatch(body)
	switch {
	case errors.Is(err, ErrTooMany) || len(raws) > maxBeaconEvents:
		return failed(RejectTooMany)
	case err != nil:
		return failed(RejectJSON)
	}
	list := make([]*Input, len(raws))
	for i, raw := range raws {
		var problems []Reject
		in, p := ParseBeacon(raw, func(r Reject) {
			e.reject(r)
			problems = append(problems, r)
		})
		if p != nil {
			e.reject(p.Code)
			problems, in.unreadable = append(problems, p.Code), true
		}
		in.problems = problems
		list[i] = &in
	}
	return list
}

// ParseBeacon parses one event of a beacon, which names its advertiser. It leaves out
// unreadable fields and calls bad for each; the event is kept, unless its consent is
// unreadable. A browser identifies its visitor only by cookie, so other visitor ids are
// ignored.
func ParseBeacon(body []byte, bad func(Reject)) (Input, *Problem) {
	w, p := decodeLenient(body, bad)
	if p != nil {
		return Input{}, p
	}
	w.User.UID, w.User.EIDs, w.Anonymous = "", nil, "" // not worth a problem
	in := w.input(func(p *Problem) { bad(p.Code) })
	in.User.IFA = ""
	if hasEmail(in.User.XID) {
		bad(RejectClearText)
		in.User.XID = ""
	}
	return in, nil
}

// Tag handles GET /v1/tag.js?a=<advertiser>.
func (e *Edge) Tag(ctx *fasthttp.RequestCtx) {
	setup := e.setup.Load()
	h := &ctx.Response.Header
	if setup.advertisers[string(ctx.QueryArgs().Peek("a"))] == nil {
		e.reject(RejectAdvertiser)
		noStore(ctx)
		ctx.SetContentType("text/javascript; charset=utf-8")
		ctx.SetBodyString(`console.error("[rebound] tag.js: a is not the id of an advertiser in the configuration");` + "\n")
		return
	}
	t := setup.tag
	h.Set(fasthttp.HeaderETag, t.etag)
	h.Set(fasthttp.HeaderCacheControl, "public, max-age=3600")
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderAcceptEncoding)
	if bytes.Contains(ctx.Request.Header.Peek(fasthttp.HeaderIfNoneMatch), []byte(t.etag)) {
		ctx.SetStatusCode(fasthttp.StatusNotModified)
		return
	}
	ctx.SetContentType("text/javascript; charset=utf-8")
	if ctx.Request.Header.HasAcceptEncoding("gzip") {
		h.Set(fasthttp.HeaderContentEncoding, "gzip")
		ctx.SetBody(t.zipped)
		return
	}
	ctx.SetBody(t.text)
}

// Open handles GET /v1/open, the image in an e-mail. It always returns the GIF.
func (e *Edge) Open(ctx *fasthttp.RequestCtx) {
	m := ParseMail(ctx.URI().QueryString(), e.reject)
	call := e.callOf(ctx)
	e.RecordOpen(appending, &call, &m)
	sendGIF(ctx)
}

// MailClick handles GET /v1/click, a link in an e-mail: it redirects to a page of the
// advertiser, or returns 400 for another page.
func (e *Edge) MailClick(ctx *fasthttp.RequestCtx) {
	noStore(ctx)
	m := ParseMail(ctx.URI().QueryString(), e.reject)
	call := e.callOf(ctx)
	target, line, p := e.RecordClick(appending, &call, &m)
	if p != nil {
		sendError(ctx, fasthttp.StatusBadRequest, p.Code.String(), p.Msg)
		return
	}
	sendCookie(ctx, line)
	ctx.Response.Header.Set(fasthttp.HeaderLocation, target)
	ctx.SetStatusCode(fasthttp.StatusFound)
}
