package bidder

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"rebound/rtb"
)

// inputs records what a decision depends on beyond its request, its catalog and its
// visitor: the responses of the visitors, the budgets and the values, the reading of the
// clock that was too late, and the verdicts on fields that a recorded request does not
// have. It is the Visitors, Budgets, Values and Clock of a decision that may go into the
// bid log, and passes everything on to the bidder's own. Responses that are the usual ones take no
// space.
//
// The encoding is a version byte and a list of items: a kind byte and what the kind
// needs, integers as varints, reasons as in [appendReason]. Calls of one kind are
// numbered from 0; an item names the number of calls since the last item of its kind. A
// reader refuses versions and kinds that it does not know, so a change needs a new
// version. [Recorded] reads it.
type inputs struct {
	d        *Decision
	visitors Visitors
	budgets  Budgets
	values   Values
	clock    Clock
	read     Clock // method readClock, bound once

	b           []byte
	multipliers []lineMultiplier // in the order of the calls
	usual       [inputKinds]int  // calls since the last item, by kind
	readings    int
	first       time.Time // the first reading
	late        int       // number of the first reading beyond the deadline, plus one; 0: none
	tooLarge    int       // responses that were too large
}

// lineMultiplier is a multiplier other than 1.
type lineMultiplier struct {
	handle rtb.LineHandle
	value  float64
}

// inputsVersion is the version of the encoding. Estimates of version 1, which is still read,
// lack the worth and the multiplier.
const inputsVersion = 2

// Kinds of items.
const (
	inputStopped    = iota + 1 // reason of Budgets.Stopped
	inputTraffic               // reason and code of the check of the device
	inputFound                 // reason of Visitors.Find
	inputPaused                // calls of CampaignPaused; it returned true
	inputPlace                 // calls of the check of a line's exact places, reason
	inputQuote                 // ordinal of the line, quote
	inputPath                  // calls of EnterPath, reason
	inputReserve               // calls of Reserve, reason
	inputBuilt                 // calls of buildBid, reason
	inputTooLarge              // number of responses that were larger than the exchange takes
	inputLate                  // reading of the clock
	inputMultiplier            // ordinal of the line, eight bytes; absent: 1
	inputEvaluated             // only lines that follow and those with another item were evaluated: their number, their ordinals
	inputEstimate              // estimate
	inputKinds
)

// Flags of a quote. What is 0, or for multiplier and shading 1, takes no space.
const (
	quoteRefused = 1 << iota // the reason follows
	quoteLearned
	quoteExplored
	quoteMultiplier
	quoteShading
	quoteChance
	quotePrice
	quoteCosts // expected and full
)

// start begins a decision that uses what d has so far.
func (in *inputs) start(d *Decision, v Visitors) {
	if in.read == nil {
		in.read = in.readClock
	}
	in.d, in.visitors, in.budgets, in.values, in.clock = d, v, d.budgets, d.values, d.clock
	in.b, in.multipliers, in.usual = append(in.b[:0], inputsVersion), in.multipliers[:0], [inputKinds]int{}
	in.readings, in.late, in.tooLarge = 0, 0, 0
}

// readClock reads the clock and notes the first reading that is too late.
func (in *inputs) readClock() time.Time {
	now := in.clock()
	in.readings++
	switch {
	case in.readings == 1: // finds the deadline
		in.first = now
	case in.late == 0 && now.After(in.d.deadline):
		in.late = in.readings
	}
	return now
}

// item begins an item that names the number of usual calls before it.
func (in *inputs) item(kind byte) {
	in.b = binary.AppendUvarint(append(in.b, kind), uint64(in.usual[kind]))
	in.usual[kind] = 0
}

// verdict notes the reason that a call of a kind returned.
func (in *inputs) verdict(kind byte, r rtb.NoBidReason) rtb.NoBidReason {
	if r == rtb.NoBidNone {
		in.usual[kind]++
		return r
	}
	in.item(kind)
	in.b = appendReason(in.b, r)
	return r
}

// Find implements [Visitors].
func (in *inputs) Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	return in.verdict(inputFound, in.visitors.Find(exchange, ids, v, beforeRead))
}

// Stopped implements [Budgets].
func (in *inputs) Stopped(exchange string) rtb.NoBidReason {
	return in.verdict(inputStopped, in.budgets.Stopped(exchange))
}

// traffic notes the verdict on the device of the request.
func (in *inputs) traffic(r rtb.NoBidReason, code int) {
	if r != rtb.NoBidNone {
		in.verdict(inputTraffic, r)
		in.b = binary.AppendUvarint(in.b, uint64(code))
	}
}

// CampaignPaused implements [Budgets].
func (in *inputs) CampaignPaused(advertiser, campaign string) bool {
	paused := in.budgets.CampaignPaused(advertiser, campaign)
	if !paused {
		in.usual[inputPaused]++
		return false
	}
	in.item(inputPaused)
	return true
}

// Handle implements [Budgets].
func (in *inputs) Handle(id rtb.LineID) rtb.LineHandle { return in.budgets.Handle(id) }

// Multiplier implements [Budgets].
func (in *inputs) Multiplier(h rtb.LineHandle) float64 {
	m := in.budgets.Multiplier(h)
	if m != 1 {
		in.multipliers = append(in.multipliers, lineMultiplier{h, m})
	}
	return m
}

// SampleEvery implements [Budgets].
func (in *inputs) SampleEvery(h rtb.LineHandle) uint32 { return in.budgets.SampleEvery(h) }

// Quote implements [Budgets]. The line is the candidate that is being priced.
func (in *inputs) Quote(h rtb.LineHandle, ask *rtb.Ask) (rtb.Quote, rtb.NoBidReason) {
	q, r := in.budgets.Quote(h, ask)
	in.b = binary.AppendUvarint(append(in.b, inputQuote), uint64(in.d.candidates[len(in.d.candidates)-1].ordinal))
	in.b = appendQuote(in.b, &q, r)
	return q, r
}

// Estimate implements [Values].
func (in *inputs) Estimate(e *rtb.Estimate, g *rtb.Goal, s *rtb.Showing) {
	in.values.Estimate(e, g, s)
	in.b = binary.AppendVarint(append(in.b, inputEstimate), int64(e.Value))
	in.b = binary.AppendVarint(in.b, int64(e.Worth))
	for _, f := range [...]float64{e.Click, e.Conversion, e.Deviation, e.Draw, e.Data, e.Multiplier} {
		in.b = binary.LittleEndian.AppendUint64(in.b, math.Float64bits(f))
	}
}

// EnterPath implements [Budgets].
func (in *inputs) EnterPath(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	h, r := in.budgets.EnterPath(o)
	return h, in.verdict(inputPath, r)
}

// LeavePath implements [Budgets].
func (in *inputs) LeavePath(o *rtb.PathOffer) { in.budgets.LeavePath(o) }

// Reserve implements [Budgets].
func (in *inputs) Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason {
	return in.verdict(inputReserve, in.budgets.Reserve(c, v, caps))
}

// Release implements [Budgets].
func (in *inputs) Release(bid rtb.BidID) { in.budgets.Release(bid) }

// Observe implements [Budgets].
func (in *inputs) Observe(h rtb.LineHandle, o *rtb.Observation) { in.budgets.Observe(h, o) }

// finish adds what is known once the decision is made, and returns the encoding. It is
// valid until the next decision.
func (in *inputs) finish() []byte {
	if in.d.deadline.Sub(in.first) < minWork {
		in.late = 1
	}
	if in.late > 0 {
		in.b = binary.AppendUvarint(append(in.b, inputLate), uint64(in.late-1))
	}
	if in.tooLarge > 0 {
		in.b = binary.AppendUvarint(append(in.b, inputTooLarge), uint64(in.tooLarge))
	}
	d := in.d
	if !d.decided {
		return in.b
	}
	evaluated := d.ranking.list
	if d.out.Skipped == 0 {
		evaluated = evaluated[:d.ranking.next] // a late decision did not get to the others
	}
	if len(in.multipliers) > sorted(len(evaluated)) {
		slices.SortFunc(in.multipliers, func(a, b lineMultiplier) int { return int(a.handle - b.handle) })
	}
	plain := 0
	for i := range evaluated {
		m := in.multiplierOf(d.handles[evaluated[i].ordinal], len(evaluated))
		if m == 1 {
			plain++
			continue
		}
		in.b = binary.AppendUvarint(append(in.b, inputMultiplier), uint64(evaluated[i].ordinal))
		in.b = binary.LittleEndian.AppendUint64(in.b, math.Float64bits(m))
	}
	if d.out.Skipped == 0 && !d.timedOut {
		return in.b
	}
	in.b = binary.AppendUvarint(append(in.b, inputEvaluated), uint64(plain))
	for i := range evaluated {
		if in.multiplierOf(d.handles[evaluated[i].ordinal], len(evaluated)) == 1 {
			in.b = binary.AppendUvarint(in.b, uint64(evaluated[i].ordinal))
		}
	}
	return in.b
}

// sorted returns above how many multipliers they are sorted, when n of them are looked up.
func sorted(n int) int { return 1024 / max(n, 1) }

// multiplierOf returns the recorded multiplier of a line; n lines are looked up.
func (in *inputs) multiplierOf(h rtb.LineHandle, n int) float64 {
	if len(in.multipliers) > sorted(n) {
		i, ok := slices.BinarySearchFunc(in.multipliers, h, func(m lineMultiplier, h rtb.LineHandle) int { return int(m.handle - h) })
		if ok {
			return in.multipliers[i].value
		}
		return 1
	}
	for i := range in.multipliers {
		if in.multipliers[i].handle == h {
			return in.multipliers[i].value
		}
	}
	return 1
}

func appendQuote(dst []byte, q *rtb.Quote, r rtb.NoBidReason) []byte {
	flags := byte(0)
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(quoteRefused, r != rtb.NoBidNone)
	set(quoteLearned, q.Learned)
	set(quoteExplored, q.Explored)
	set(quoteMultiplier, q.Multiplier != 1)
	set(quoteShading, q.Shading != 1)
	set(quoteChance, q.Chance != 0)
	set(quotePrice, q.Price != 0)
	set(quoteCosts, q.Expected != 0 || q.Full != 0)
	dst = append(dst, flags)
	if r != rtb.NoBidNone {
		dst = appendReason(dst, r)
	}
	for _, x := range [...]struct {
		flag  byte
		value float64
	}{{quoteMultiplier, q.Multiplier}, {quoteShading, q.Shading}, {quoteChance, q.Chance}} {
		if flags&x.flag != 0 {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(x.value))
		}
	}
	if flags&quotePrice != 0 {
		dst = binary.AppendVarint(dst, int64(q.Price))
	}
	if flags&quoteCosts != 0 {
		dst = binary.AppendVarint(dst, int64(q.Expected))
		dst = binary.AppendVarint(dst, int64(q.Full))
	}
	return dst
}

// inputReasons are the codes, from 1, of the reasons that inputs usually have. The order
// is part of the encoding: new reasons are appended.
var inputReasons = [...]rtb.NoBidReason{
	rtb.NoBidNoID, rtb.NoBidUnknownVisitor, rtb.NoBidPrivacyOptedOut, rtb.NoBidPaused, rtb.NoBidBlind, rtb.NoBidFloor, rtb.NoBidPaced,
	rtb.NoBidSameImpression, rtb.NoBidBudget, rtb.NoBidGrant, rtb.NoBidFrequency, rtb.NoBidInFlight, rtb.NoBidOverloaded,
	rtb.NoBidNoCampaign, rtb.NoBidCurrency, rtb.NoBidError, rtb.NoBidCrawler, rtb.NoBidInvalidTraffic, rtb.NoBidGeo,
}

var inputCodes = func() (codes [rtb.NoBidReasons]byte) {
	for i, r := range inputReasons {
		codes[r] = byte(i + 1)
	}
	return codes
}()

// appendReason appends a reason as its code, or as 0 and its name.
func appendReason(dst []byte, r rtb.NoBidReason) []byte {
	r = min(r, rtb.NoBidReasons-1)
	if code := inputCodes[r]; code != 0 {
		return append(dst, code)
	}
	name := r.String()
	dst = append(dst, 0, byte(len(name)))
	return append(dst, name...)
}
