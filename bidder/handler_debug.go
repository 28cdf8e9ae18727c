package bidder

import (
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"
)

// Debugger explains live requests to operators who sign them.
type Debugger interface {
	// Permits reports whether a token permits a trace at a time. It does not keep token.
	Permits(token []byte, now time.Time) bool
	// Explain returns the explanation of a decision as JSON, or nil.
	Explain(exchange string, now time.Time, d *Decision, rs *Response, t *Trace) []byte
}

// DebugParameter is the query parameter of a bid request with a debug token. The response
// to such a request holds its explanation in ext.rebound.
const DebugParameter = "debug"

// trace returns a trace for a request with a valid token, or nil. A request without a
// query costs nothing.
func (b *Bidder) trace(ctx *fasthttp.RequestCtx, now time.Time) *Trace {
	if b.o.Debug == nil || len(ctx.URI().QueryString()) == 0 {
		return nil
	}
	token := ctx.QueryArgs().Peek(DebugParameter)
	if len(token) == 0 || !b.o.Debug.Permits(token, now) {
		return nil
	}
	return &Trace{}
}

// explained returns the response with the explanation of its decision. A no-bid without a
// body becomes 200 with nbr, which exchanges take as a no-bid too (OpenRTB 2.6 §4.2.1).
func (b *Bidder) explained(rq *Request, d *Decision, rs Response) Response {
	text := b.o.Debug.Explain(rq.Exchange, rq.Arrival, d, &rs, rq.Trace)
	if text == nil || rs.Status != statusOK && rs.Status != statusNoBid {
		return rs
	}
	response := map[string]json.RawMessage{}
	if len(rs.Body) == 0 {
		response["id"], _ = json.Marshal(string(d.opportunity.ID)) // a string
		response["nbr"], _ = json.Marshal(rs.Reason.NBR())         // a number
	} else if json.Unmarshal(rs.Body, &response) != nil {
		return rs
	}
	ext := map[string]json.RawMessage{}
	if len(response["ext"]) > 0 && json.Unmarshal(response["ext"], &ext) != nil {
		return rs
	}
	ext["rebound"] = text
	var err error
	if response["ext"], err = json.Marshal(ext); err != nil {
		return rs
	}
	if body, err := json.Marshal(response); err == nil {
		rs.Status, rs.Body = statusOK, body
	}
	return rs
}
