package bidder

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"rebound/campaigns"
	"rebound/events"
	"rebound/rtb"
)

// observed sets where the decision gets its budgets, values and the time from, and returns its
// visitors: from a record that is repeated; through what notes them for the record, if
// note is set; or directly.
func (d *Decision) observed(v Visitors, note bool) Visitors {
	switch {
	case d.recorded != nil:
		d.budgets, d.values, d.clock, v = d.recorded, d.recorded, d.recorded.clock, d.recorded
	case note:
		d.inputs.start(d, v)
		d.budgets, d.values, d.clock, v, d.noting = &d.inputs, &d.inputs, d.inputs.read, &d.inputs, true
	}
	return v
}

// permit decides what privacy permits. A recorded request has lost its consent strings.
func (d *Decision) permit() rtb.Permissions {
	if d.recorded != nil {
		return d.recorded.permissions
	}
	return d.catalog.Policy.Decide(&d.opportunity.Signals)
}

// checkTraffic checks the device of the request. A recorded request has lost its address.
func (d *Decision) checkTraffic() (r rtb.NoBidReason, code int) {
	if d.recorded != nil {
		return d.recorded.traffic, d.recorded.trafficCode
	}
	if r, code = d.catalog.Supply.Traffic(&d.opportunity.Device); d.noting {
		d.inputs.traffic(r, code)
	}
	return r, code
}

// checkDevice checks the device, place and time that a line targets. A recorded request
// has lost its coordinates.
func (d *Decision) checkDevice(t *campaigns.Targeting) rtb.NoBidReason {
	exact := t.TargetsExactPlaces()
	if exact && d.recorded != nil {
		return d.recorded.next(inputPlace)
	}
	r := t.Device(&d.facts, d.now)
	if exact && d.noting {
		d.inputs.verdict(inputPlace, r)
	}
	return r
}

// build is buildBid. Whether a bid can be built depends on the length of its signed URLs,
// which hold consent strings.
func (d *Decision) build(b *Bid, opt *option) rtb.NoBidReason {
	r := d.buildBid(b, opt)
	switch {
	case d.recorded != nil:
		return d.recorded.next(inputBuilt)
	case d.noting:
		d.inputs.verdict(inputBuilt, r)
	}
	return r
}

// isTooLarge reports whether the response is larger than the exchange takes.
func (d *Decision) isTooLarge() bool {
	if d.recorded != nil {
		d.recorded.tooLarge--
		return d.recorded.tooLarge >= 0
	}
	limit := d.profile.RespMaxBytes
	if limit == 0 || len(d.body) <= limit {
		return false
	}
	d.inputs.tooLarge++
	return true
}

// Recorded is the decision of a bid record, which [Bidder.Repeat] makes again. It is the
// Visitors, Budgets and Values of that decision, and responds as the record says that they
// responded. It serves one decision at a time, and is reused.
type Recorded struct {
	permissions rtb.Permissions
	visitor     *rtb.Visitor
	at          time.Time
	draw        float64
	drawn       int // numbers drawn from the source

	traffic     rtb.NoBidReason
	trafficCode int
	tooLarge    int
	late        int // number of the first reading of the clock that was too late; -1: none
	readings    int
	verdicts    [inputKinds][]verdictAfter
	quotes      []lineQuote
	estimates   []rtb.Estimate
	multipliers map[rtb.LineHandle]float64
	evaluated   map[rtb.LineHandle]bool // nil: every line was
	full        bool                    // no line was skipped

	handles rtb.LineHandle // given out
	clock   Clock          // method now, bound once
	lacks   string         // what the decision asked for and the record does not have
	erased  bool           // the visitor is one of them
}

// verdictAfter is a reason that a call returned after a number of calls that returned
// none.
type verdictAfter struct {
	calls  uint64
	reason rtb.NoBidReason
}

type lineQuote struct {
	handle rtb.LineHandle
	quote  rtb.Quote
	reason rtb.NoBidReason
	used   bool
}

// NewRecorded makes a Recorded, whose bidder is the only one that it may serve.
func NewRecorded() *Recorded {
	r := &Recorded{multipliers: map[rtb.LineHandle]float64{}}
	r.clock = r.now
	return r
}

// Errors of [Recorded.Load]: why a record cannot be repeated.
var (
	// ErrNoInputs is a record of a version that did not note the inputs of decisions.
	ErrNoInputs = errors.New("the record has no inputs")
	// ErrNoRequest is a record without a request.
	ErrNoRequest = errors.New("the record has no request")
	// ErrNoDecision is a record without a decision.
	ErrNoDecision = errors.New("the record has no decision")
	// ErrUnknownInputs is a record of a later version, or a damaged one.
	ErrUnknownInputs = errors.New("the inputs of the record cannot be read")
)

// Load makes r the decision of a record, whose memory it uses until the next Load.
func (r *Recorded) Load(rec *events.BidRecord) error {
	switch {
	case len(rec.Inputs) == 0:
		return ErrNoInputs
	case len(rec.Request) == 0 || string(rec.Request) == "null":
		return ErrNoRequest
	case rec.Decision == nil:
		return ErrNoDecision
	}
	p := &rec.Privacy
	r.permissions = rtb.Permissions{Level: p.Level, Refusal: p.Refusal, Signal: p.Signal, PreciseGeo: p.PreciseGeo}
	if p.ConsentHash != "" {
		h, err := strconv.ParseUint(p.ConsentHash, 16, 64)
		if err != nil {
			return fmt.Errorf("%w: consent_hash: %w", ErrUnknownInputs, err)
		}
		r.permissions.ConsentHash = h
	}
	r.visitor, r.at, r.draw, r.drawn = rec.Visitor, rec.TS, rec.Decision.Draw, 0
	r.full = rec.Decision.Skipped == 0
	if len(rec.Decision.Bids) > 0 {
		r.draw = rec.Decision.Bids[0].Draw
	}
	r.traffic, r.trafficCode, r.tooLarge, r.late, r.readings, r.lacks, r.erased = rtb.NoBidNone, 0, 0, -1, 0, "", false
	for i := range r.verdicts {
		r.verdicts[i] = r.verdicts[i][:0]
	}
	r.quotes, r.estimates, r.evaluated = r.quotes[:0], r.estimates[:0], nil
	clear(r.multipliers)
	if err := r.read(rec.Inputs); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownInputs, err)
	}
	return nil
}

// Lacks returns what the decision asked for although the record does not have it; empty
// if there was nothing. Such a decision differs from the recorded one.
func (r *Recorded) Lacks() string { return r.lacks }

// Erased reports whether the decision was about a visitor whom the record no longer has.
func (r *Recorded) Erased() bool { return r.erased }

// lack notes the first thing that the record lacks.
func (r *Recorded) lack(what string) {
	if r.lacks == "" {
		r.lacks = what
	}
}

// Repeat decides the request of a record again with the catalog of b. Nothing is counted,
// recorded or reserved. The decision is made by the code of [Bidder.Answer]; only what the
// record holds is taken from it.
func (b *Bidder) Repeat(exchange string, request []byte, r *Recorded, d *Decision) Response {
	snap := b.current.Load()
	p := snap.catalog.Exchanges[exchange]
	if d.reset(); p == nil {
		return Response{Status: statusNotFound, Reason: rtb.NoBidUnauthorised}
	}
	d.recorded = r
	return b.run(&Request{Exchange: exchange, Body: request, Arrival: r.at, Source: r}, d, snap, p, r)
}

// now is the clock of the decision: it stands still until it is too late.
func (r *Recorded) now() time.Time {
	r.readings++
	if r.late >= 0 && r.readings > r.late {
		return r.at.Add(24 * time.Hour)
	}
	return r.at
}

// Uint64 implements [Source]: first the request's draw, then other numbers.
func (r *Recorded) Uint64() uint64 {
	r.drawn++
	if r.drawn == 1 {
		return uint64(r.draw*(1<<53)) << 11
	}
	return mix(uint64(r.drawn))
}

// next returns the next verdict of a kind.
func (r *Recorded) next(kind int) rtb.NoBidReason {
	list := r.verdicts[kind]
	if len(list) == 0 {
		return rtb.NoBidNone
	}
	if list[0].calls > 0 {
		list[0].calls--
		return rtb.NoBidNone
	}
	r.verdicts[kind] = list[1:]
	return list[0].reason
}

// Find implements [Visitors].
func (r *Recorded) Find(_ string, _ []rtb.ExternalID, v *rtb.Visitor, _ func()) rtb.NoBidReason {
	reason := r.next(inputFound)
	switch {
	case reason != rtb.NoBidNone:
	case r.visitor == nil:
		r.erased = true
		return rtb.NoBidUnknownVisitor
	default:
		v.CopyFrom(r.visitor)
	}
	return reason
}

// Stopped implements [Budgets].
func (r *Recorded) Stopped(string) rtb.NoBidReason { return r.next(inputStopped) }

// CampaignPaused implements [Budgets].
func (r *Recorded) CampaignPaused(string, string) bool { return r.next(inputPaused) != rtb.NoBidNone }

// Handle implements [Budgets]. Lines get the numbers of their order in the catalog, which
// is the same for the same configuration.
func (r *Recorded) Handle(rtb.LineID) rtb.LineHandle {
	r.handles++
	return r.handles
}

// Multiplier implements [Budgets]. A line that was not evaluated is ranked last.
func (r *Recorded) Multiplier(h rtb.LineHandle) float64 {
	if m, ok := r.multipliers[h]; ok {
		return m
	}
	if !r.wasEvaluated(h) {
		return math.MaxFloat64
	}
	return 1
}

// wasEvaluated reports whether the recorded decision evaluated a line.
func (r *Recorded) wasEvaluated(h rtb.LineHandle) bool {
	if _, ok := r.multipliers[h]; ok {
		return true
	}
	return r.evaluated == nil || r.evaluated[h]
}

// SampleEvery implements [Budgets].
func (r *Recorded) SampleEvery(rtb.LineHandle) uint32 { return 1 }

// Quote implements [Budgets].
func (r *Recorded) Quote(h rtb.LineHandle, _ *rtb.Ask) (rtb.Quote, rtb.NoBidReason) {
	for i := range r.quotes {
		if q := &r.quotes[i]; q.handle == h && !q.used {
			q.used = true
			return q.quote, q.reason
		}
	}
	r.lack("the quote of a line")
	return rtb.Quote{}, rtb.NoBidError
}

// Estimate implements [Values].
func (r *Recorded) Estimate(e *rtb.Estimate, _ *rtb.Goal, _ *rtb.Showing) {
	if *e = (rtb.Estimate{}); len(r.estimates) == 0 {
		r.lack("the estimate of a line")
		return
	}
	*e, r.estimates = r.estimates[0], r.estimates[1:]
}

// EnterPath implements [Budgets].
func (r *Recorded) EnterPath(*rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	return 0, r.next(inputPath)
}

// LeavePath implements [Budgets].
func (r *Recorded) LeavePath(*rtb.PathOffer) {}

// Reserve implements [Budgets].
func (r *Recorded) Reserve(*rtb.Claims, *rtb.Visitor, []rtb.FrequencyCap) rtb.NoBidReason {
	return r.next(inputReserve)
}

// Release implements [Budgets].
func (r *Recorded) Release(rtb.BidID) {}

// Observe implements [Budgets].
func (r *Recorded) Observe(rtb.LineHandle, *rtb.Observation) {}
