package bidder

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"rebound/exchange"
	"rebound/rtb"
)

// Request is one bid request as it arrived.
type Request struct {
	Exchange string // id of a configured exchange
	Body     []byte // JSON, not compressed; must not change until the response is used
	Arrival  time.Time
	// Source gives bid ids and draws; nil: the decision's own. Replay gives one that
	// can be repeated.
	Source Source
	// BeforeRead, if not nil, is called before the visitor is read from disk: a server
	// with other requests to serve on this goroutine continues on another one.
	BeforeRead func()
	// Trace, if not nil, takes what the stages compared. Every candidate line is then
	// evaluated, except when a recorded decision that skipped some is repeated.
	Trace *Trace
	// Full is set if every candidate line is to be evaluated, even those that cannot
	// change the bids, so that the outcome says of each why it does not bid. A recorded
	// decision that is repeated skips the lines that it skipped at first.
	Full bool
}

// Answer decides a request, counts and records it, and returns the response. It
// never panics. The status is 200, 204, the exchange's status for requests that
// cannot be read, or 404 for an exchange that is not configured.
func (b *Bidder) Answer(rq *Request, d *Decision) Response { return b.answer(b.current.Load(), rq, d) }

// DryRun is Answer without a trace: nothing stays reserved, counted or recorded,
// pacing does not observe it, and its links never bill.
func (b *Bidder) DryRun(rq *Request, d *Decision) Response {
	snap := b.current.Load()
	p := snap.catalog.Exchanges[rq.Exchange]
	if d.reset(); p == nil {
		return Response{Status: statusNotFound, Reason: rtb.NoBidUnauthorised}
	}
	d.dry = true
	return b.run(rq, d, snap, p, b.dryBudgets)
}

// answer is Answer from one catalog.
func (b *Bidder) answer(snap *snapshot, rq *Request, d *Decision) Response {
	p := snap.catalog.Exchanges[rq.Exchange]
	if d.reset(); p == nil {
		b.unknown.noBid(rtb.NoBidUnauthorised, 0)
		return Response{Status: statusNotFound, Reason: rtb.NoBidUnauthorised}
	}
	st := snap.states[rq.Exchange]
	if p.RetryWindow > 0 {
		d.retries = &st.retries
	}
	rs := b.run(rq, d, snap, p, b.o.Budgets)
	b.passFeedback(d, &rs)
	took := b.o.Clock().Sub(rq.Arrival)
	st.counters.response(&rs, took)
	st.counters.match(d)
	b.record(d, &rs, took)
	return rs
}

// run takes a request of a known exchange from its body to the response. A panic
// on the way costs this request its bid and nothing else.
func (b *Bidder) run(rq *Request, d *Decision, snap *snapshot, p *exchange.Profile, budgets Budgets) (rs Response) {
	d.request, d.catalog, d.handles, d.profile, d.budgets, d.links = rq, snap.catalog, snap.handles, p, budgets, b.o.Links
	d.values = b.o.Values
	d.clock, d.now, d.source = b.o.Clock, rq.Arrival, rq.Source
	if d.source == nil {
		d.source = d.random
	}
	visitors := d.observed(b.o.Visitors, b.o.Records != nil && !d.dry)
	defer func() {
		if cause := recover(); cause != nil {
			b.o.Logger.Error("bid request failed with a panic", zap.String("exchange", rq.Exchange), zap.Any("cause", cause), zap.Stack("stack"))
			d.releaseBids(rtb.NoBidError)
			rs = Response{Status: statusNoBid, Reason: rtb.NoBidError}
		}
	}()
	d.decoder.Sources, d.decoder.Unlisted = d.eidSources(), rq.Trace != nil
	if err := d.decoder.Head(rq.Body, p, &d.opportunity); err != nil {
		return d.unreadable(err)
	}
	r := d.identify(visitors)
	if rq.Trace != nil {
		rq.Trace.identified(d)
	}
	if r != rtb.NoBidNone {
		return d.noBid(r)
	}
	if body, ok := d.retries.find(d); ok {
		d.body = append(d.body[:0], body...)
		return Response{Status: statusOK, Body: d.body, Offers: 1, Repeated: true}
	}
	if err := d.decoder.Rest(p, &d.opportunity, d.parts()); err != nil {
		return d.unreadable(err)
	}
	if d.decide(); d.out.Reason != rtb.NoBidNone {
		return d.noBid(d.out.Reason)
	}
	if rs = d.respond(); rs.Offers > 0 {
		d.retries.keep(d, rs.Body)
	}
	return rs
}

// eidSources returns the sources of user.eids whose identifiers are looked up. It is not
// nil, which would mean all.
func (d *Decision) eidSources() []string {
	if d.catalog.EIDSources == nil {
		return []string{}
	}
	return d.catalog.EIDSources
}

// parts returns what is read of the request: what any line asks for, or everything for a
// trace.
func (d *Decision) parts() rtb.Parts {
	if d.request.Trace != nil {
		return rtb.AllParts
	}
	return d.catalog.Index.Parts()
}

// unreadable responds to a request that cannot be decoded.
func (d *Decision) unreadable(err error) Response {
	if t := d.request.Trace; t != nil {
		t.Err = err
	}
	if errors.Is(err, exchange.ErrMalformed) {
		return Response{Status: d.profile.MalformedStatus, Reason: decodeReason(err)}
	}
	return d.noBid(decodeReason(err))
}

// decodeReason returns the no-bid reason of a request that cannot be read.
func decodeReason(err error) rtb.NoBidReason {
	var e exchange.DecodeError
	if errors.As(err, &e) {
		return e.Reason()
	}
	return rtb.NoBidMalformed
}

// passFeedback passes on the request's feedback about earlier bids (conformance
// M16).
func (b *Bidder) passFeedback(d *Decision, rs *Response) {
	if b.o.Feedback == nil || !d.profile.BidFeedback || rs.Reason == rtb.NoBidMalformed {
		return
	}
	if f := d.opportunity.BidFeedback; len(f) > 2 {
		b.o.Feedback(d.profile.ID, f)
	}
}
