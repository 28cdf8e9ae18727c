package bidder

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"rebound/exchange"
	"rebound/rtb"
)

// Statuses of an [Answer]. A no-bid is 204 with an empty body (OpenRTB 2.6 §4.2.1).
const (
	statusOK        = 200
	statusNoBid     = 204
	statusNotFound  = 404
	statusForbidden = 403
)

// Request is one bid request as it arrived.
type Request struct {
	Exchange string // id of a configured exchange
	Body     []byte // JSON, not compressed; must not change until the answer is used
	Arrival  time.Time
	// Source gives bid ids and draws; nil is the scratch's own. Replay gives one
	// that can be repeated.
	Source Source
	// Dry decides without a trace: nothing stays reserved, counted or recorded, and
	// links never bill.
	Dry bool
}

// Answer is what goes back.
type Answer struct {
	Status int
	Body   []byte // empty unless Status is 200; lives as long as the scratch is not reused
	Reason rtb.NoBidReason
	Offers int
	// Again tells that the same request was answered shortly before: this is that
	// answer, with nothing new behind it.
	Again bool
}

// Answer takes a request from the bytes that came to the bytes that go. It never
// panics and answers 200, 204, or the exchange's status for what cannot be read;
// 404 for an exchange that is not configured.
func (b *Bidder) Answer(rq *Request, s *Scratch) Answer { return b.answerFrom(b.now.Load(), rq, s) }

// answerFrom is Answer from one catalog.
func (b *Bidder) answerFrom(snap *snapshot, rq *Request, s *Scratch) Answer {
	p := snap.catalog.Exchanges[rq.Exchange]
	s.reset()
	if p == nil {
		if !rq.Dry {
			b.unknown.noBid(rtb.NoBidUnauthorised, 0)
		}
		return Answer{Status: statusNotFound, Reason: rtb.NoBidUnauthorised}
	}
	if s.retries = nil; p.RetryWindow > 0 && !rq.Dry {
		s.retries = &snap.states[rq.Exchange].retries
	}
	a := b.answer(rq, s, snap.catalog, p)
	if rq.Dry {
		return a
	}
	b.feedback(p, s, &a)
	took := b.o.Clock().Sub(rq.Arrival)
	count := &snap.states[rq.Exchange].counters
	if a.Offers > 0 {
		count.bid(a.Offers, took)
	} else {
		count.noBid(a.Reason, took)
	}
	if r := b.shouldRecord(s, &a); r > 0 {
		b.record(rq, s, snap.catalog, &a, took, r)
	}
	return a
}

// answer is Answer for a known exchange, without the book-keeping. A panic in
// it costs this request its bid and nothing else.
func (b *Bidder) answer(rq *Request, s *Scratch, c *Catalog, p *exchange.Profile) (a Answer) {
	in := &s.input
	*in = Input{
		Opportunity: &s.opportunity, Visitor: &s.visitor, Exchange: p, Catalog: c, Budgets: b.o.Budgets, Links: b.o.Links,
		Source: rq.Source, Now: rq.Arrival, Clock: b.o.Clock, Dry: rq.Dry,
	}
	if in.Source == nil {
		in.Source = s.source
	}
	defer func() {
		if cause := recover(); cause != nil {
			b.o.Logger.Error("bid request ended in a panic", zap.String("exchange", rq.Exchange), zap.Any("cause", cause), zap.Stack("stack"))
			s.outcome.release(in, rtb.NoBidError)
			a = Answer{Status: statusNoBid, Reason: rtb.NoBidError}
		}
	}()
	if r, malformed := b.identify(rq, s, in); r != rtb.NoBidNone {
		if malformed {
			return Answer{Status: p.MalformedStatus, Reason: r}
		}
		return noBid(s, p, r)
	}
	if a, ok := s.retries.find(in, rq); ok {
		s.answer = append(s.answer[:0], a...)
		return Answer{Status: statusOK, Body: s.answer, Offers: 1, Again: true}
	}
	if err := s.decoder.Rest(p, &s.opportunity); err != nil {
		return noBid(s, p, reasonOf(err))
	}
	s.headerOnly = false
	Decide(in, &s.outcome)
	if s.outcome.Reason != rtb.NoBidNone {
		s.code = s.outcome.Code
		return noBid(s, p, s.outcome.Reason)
	}
	if a = respond(s, in); a.Offers > 0 {
		s.retries.keep(in, rq, a.Body)
	}
	return a
}

// identify reads what says who is there, and stops at the first thing that
// forbids going on. Privacy stands before the only place that looks at
// identifiers.
func (b *Bidder) identify(rq *Request, s *Scratch, in *Input) (r rtb.NoBidReason, malformed bool) {
	o, p := &s.opportunity, in.Exchange
	if err := s.decoder.Head(rq.Body, p, o); err != nil {
		return reasonOf(err), errors.Is(err, exchange.ErrMalformed)
	}
	at, ok := deadline(rq.Arrival, b.o.Clock(), p, o.TMax)
	if in.Deadline = at; !ok {
		return rtb.NoBidLate, false
	}
	if r := b.o.Budgets.Paused(p.ID, "", ""); r != rtb.NoBidNone {
		return r, false
	}
	if r, code := in.Catalog.Supply.Traffic(&o.Device); r != rtb.NoBidNone {
		s.code = code
		return r, false
	}
	s.permissions = in.Catalog.Policy.Decide(&o.Signals)
	in.PreciseGeo, in.UserData = s.permissions.PreciseGeo, s.permissions.Level == rtb.LevelPersonalised
	if s.permissions.Level != rtb.LevelPersonalised {
		return s.anonymous(in, refusal(s.permissions)), false
	}
	switch r := b.o.Visitors.Find(p.IDSpace, s.listedIDs(in.Catalog.EIDSources), &s.visitor); r {
	case rtb.NoBidNone:
		s.known = true
		return r, false
	case rtb.NoBidNoID, rtb.NoBidUnknownVisitor:
		return s.anonymous(in, r), false
	default:
		return r, false
	}
}

// anonymous lets contextual lines bid where nobody is known, or may be; r is the
// reason where there are none, or nothing at all may be bid (conformance G22).
func (s *Scratch) anonymous(in *Input, r rtb.NoBidReason) rtb.NoBidReason {
	if s.permissions.Level < rtb.LevelContextual || len(in.Catalog.Index.Contextual()) == 0 {
		return r
	}
	in.Nobody, in.Child = true, s.permissions.Refusal == rtb.NoBidPrivacyCOPPA
	s.visitor.Reset()
	return rtb.NoBidNone
}

// refusal is privacy's reason; a refusal without one is still a refusal.
func refusal(p rtb.Permissions) rtb.NoBidReason {
	if p.Refusal == rtb.NoBidNone {
		return rtb.NoBidError
	}
	return p.Refusal
}

func reasonOf(err error) rtb.NoBidReason {
	var e exchange.DecodeError
	if errors.As(err, &e) {
		return e.Reason()
	}
	return rtb.NoBidMalformed
}

// noBid is 204, or 200 with the reason's code where the exchange wants that.
func noBid(s *Scratch, p *exchange.Profile, r rtb.NoBidReason) Answer {
	if !p.NBREnabled {
		return Answer{Status: statusNoBid, Reason: r}
	}
	s.answer = p.AppendNoBidCode(s.answer[:0], &s.opportunity, r, s.code)
	return Answer{Status: statusOK, Body: s.answer, Reason: r}
}

// respond writes the offers. When they come too late, or make a larger answer
// than the exchange takes, what they reserved is released.
func respond(s *Scratch, in *Input) Answer {
	response := newBidID(in.Source)
	for {
		s.offers = s.offers[:0]
		for i := range s.outcome.Bids {
			s.offers = append(s.offers, s.outcome.Bids[i].Offer)
		}
		s.answer = exchange.AppendResponse(s.answer[:0], in.Exchange, &s.opportunity, response, s.offers)
		s.answer = in.Exchange.AppendTook(s.answer, in.elapsed())
		if limit := in.Exchange.RespMaxBytes; limit == 0 || len(s.answer) <= limit {
			break
		}
		if s.outcome.shed(in); len(s.outcome.Bids) == 0 {
			return noBid(s, in.Exchange, rtb.NoBidTooLarge)
		}
	}
	if in.late() {
		s.outcome.release(in, rtb.NoBidLate)
		return noBid(s, in.Exchange, rtb.NoBidLate)
	}
	return Answer{Status: statusOK, Body: s.answer, Offers: len(s.offers)}
}

// shed gives up the last offer of an answer that is too large.
func (out *Outcome) shed(in *Input) {
	last := &out.Bids[len(out.Bids)-1]
	if !in.Dry {
		in.Budgets.Release(last.Offer.Bid)
	}
	out.drop(last.Line, last.Offer.Imp, rtb.NoBidTooLarge)
	if out.Bids = out.Bids[:len(out.Bids)-1]; len(out.Bids) > 0 {
		out.Reason = rtb.NoBidNone
	}
}
