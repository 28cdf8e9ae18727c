package bidder

import (
	crand "crypto/rand"
	"math/rand/v2"
	"time"
	"unsafe"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/events"
	"rebound/exchange"
	"rebound/rtb"
)

// Limits of one decision, whatever the request holds. Anything beyond them is
// not considered, and is counted in [Outcome.Lost].
const (
	maxOptions    = 4096  // priced options that are kept
	maxQuotes     = 16384 // options that are priced before the best are kept
	maxDrops      = 1024  // dropped lines that are reported
	maxLinePerPod = 32    // options of one line for one pod
)

// checkEvery is the number of work steps between two readings of the clock. A
// line, an impression, a deal and an entry of a list each count as one step.
const checkEvery = 32

// Costs of work that is not one step each.
const (
	entriesPerStep = 16             // entries of an impression's own lists, or of products selected, that count as one step
	bidSteps       = checkEvery / 2 // reserving and building one bid
)

// Limits of the memory that a decision keeps between requests, in bytes. A
// decision that a large request made larger is left to the garbage collector.
const (
	maxKeptBuffers = 512 << 10
	maxKeptSlices  = 1 << 20
)

// Decision is one bid request on its way from its bytes to its response: its
// inputs, its outcome, and the memory for both.
//
// A Decision serves one request at a time and is reused. Anything returned by
// its methods and by the [Response] is valid until its next use.
type Decision struct {
	// Inputs, set for every request.
	request *Request
	profile *exchange.Profile
	catalog *Catalog
	budgets Budgets
	values  Values
	links   Links
	source  Source
	clock   Clock
	handles []rtb.LineHandle // pacing's, by ordinal of the active lines
	dry     bool             // nothing stays reserved, and every line is evaluated
	now     time.Time        // of the request's arrival
	retries *retries         // of the exchange; nil: responses are not kept

	// Results of identify.
	opportunity rtb.Opportunity
	deadline    time.Time
	permissions rtb.Permissions
	visitor     rtb.Visitor
	known       bool // the visitor was found
	unmatched   bool // none of the user ids of the request belongs to a visitor
	anonymous   bool // only contextual lines may bid
	child       bool // only child-safe lines may bid

	// Results of the stages from match to build.
	decided bool // the request was read in full and decided
	out     Outcome

	// Memory that the stages share.
	served     Request // of the HTTP handler
	decoder    exchange.Decoder
	ask        rtb.Ask          // of pacing, for the option that is being priced
	ids        []rtb.ExternalID // of the request, those that may be looked up
	index      campaigns.Scratch
	facts      campaigns.Facts
	refused    map[*creatives.Creative]struct{} // by the exchange; nil: none
	ranking    ranking
	bounds     bounds        // of the prices of the ranked lines
	factors    []factorBound // by index of the catalog's factors
	candidates []candidate
	options    []option
	option     option // that is being priced
	queue      queue
	products   []*creatives.Product
	choices    []productChoice
	fits       *[fitSlots]fitSlot
	blocked    []blockedAdvertiser
	verdicts   [verdictSlots]verdictSlot
	excluded   map[sizedCreative]bool
	currency   rtb.Currency // of the response; set with the first candidate
	shown      rtb.Showing  // of the option that is being priced
	estimate   rtb.Estimate // the same
	markup     creatives.Markup
	text       []byte           // URLs, extensions and markup of the offers
	macros     []byte           // the exchange's click macros
	token      []byte           // of the exchange's feedback
	sealed     rtb.SealedClaims // of the bid that is being built
	offers     []rtb.Offer
	paths      []pathEntry // by impression
	body       []byte      // of the response
	inflated   []byte      // body of the request
	random     *rand.ChaCha8
	recording  recording
	inputs     inputs
	noting     bool      // the inputs are noted, for the record
	recorded   *Recorded // a decision that is repeated; nil: a new one

	round  uint64 // numbers the rounds of this memory
	weight int64  // of the next line that is evaluated, for pacing

	quotes   int  // options priced so far
	entries  int  // list entries read for creatives so far
	steps    int  // work steps so far
	check    int  // step at which the clock is read next
	timedOut bool // the clock passed the deadline
}

// Outcome is the result of a decision.
type Outcome struct {
	// Reason is NoBidNone when there are bids, else the furthest reason that any
	// line reached.
	Reason rtb.NoBidReason
	// Code is the OpenRTB no-bid code where the reason has several; else 0.
	Code int
	Bids []Bid
	// Drops are the lines that do not bid: one entry for each impression, or one
	// for all of them.
	Drops []Drop
	// Skipped counts candidate lines that were not evaluated, because they could not
	// have changed the bids.
	Skipped int
	// Lost counts options and drops that exceeded the limits of a decision.
	Lost Lost
	// Draw is the request's random draw in [0, 1).
	Draw float64
}

// Bid is one offer and how it was decided. Prices are CPM: of Offer in its
// currency, of Value and Quote in the advertiser's.
type Bid struct {
	Offer    rtb.Offer
	Claims   rtb.Claims
	Line     *campaigns.Line
	Creative *creatives.Creative
	Products []*creatives.Product
	Value    rtb.CPM
	Quote    rtb.Quote
	Factors  events.Factors
	RecencyS int64 // of the events that the line's audience asks for; see [events.DecisionBid]
	Seen     int   // impressions of the line that the visitor's profile holds
}

// Drop is a line that does not bid. The reason NoBidNone means that the line
// could have bid, but another bid was better.
type Drop struct {
	Line   *campaigns.Line
	Imp    int // index into the opportunity's impressions; -1 for all of them
	Reason rtb.NoBidReason
}

// Lost counts options that were not considered and drops that are not reported.
type Lost struct{ Options, Drops int }

// candidate is a line that can bid on at least one impression.
type candidate struct {
	line    *campaigns.Line
	ordinal int32
	match   campaigns.Match
	adjust  float64         // price factor of the request
	seen    rtb.Observation // for pacing
}

// option is one way to bid: a line on an impression, openly or under a deal.
type option struct {
	candidate int // index into candidates
	imp       int
	creative  *creatives.Creative
	products  [2]int // range of products

	creatives.Fit // how the creative is shown

	floor   rtb.CPM // in the currency of the impression or the deal
	deal    int     // one more than the index of the impression's deal; 0: an open bid
	dealID  string  // as configured; may be empty
	pricing pricing
}

// NewDecision makes a decision with a random source of its own.
func NewDecision() *Decision {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return &Decision{random: rand.NewChaCha8(seed)}
}

// Opportunity returns the request as it was read.
func (d *Decision) Opportunity() *rtb.Opportunity { return &d.opportunity }

// Visitor returns the request's visitor, or nil when none was found.
func (d *Decision) Visitor() *rtb.Visitor {
	if !d.known {
		return nil
	}
	return &d.visitor
}

// Permissions returns what privacy permits for the request.
func (d *Decision) Permissions() rtb.Permissions { return d.permissions }

// Outcome returns the outcome, or nil if the request was refused before its
// impressions were read.
func (d *Decision) Outcome() *Outcome {
	if !d.decided {
		return nil
	}
	return &d.out
}

// reset forgets the last request, so that nothing of it can be mistaken for the
// next one's.
func (d *Decision) reset() {
	d.deadline, d.permissions, d.retries = time.Time{}, rtb.Permissions{}, nil
	d.known, d.unmatched, d.anonymous, d.child, d.decided = false, false, false, false, false
	d.visitor.Reset()
	d.ids = d.ids[:0]
	d.out = Outcome{Bids: d.out.Bids[:0], Drops: d.out.Drops[:0]}
	d.candidates, d.options, d.blocked = d.candidates[:0], d.options[:0], d.blocked[:0]
	d.products, d.choices = d.products[:0], d.choices[:0]
	if len(d.excluded) > 0 {
		clear(d.excluded)
	}
	d.queue, d.paths, d.ranking = d.queue[:0], d.paths[:0], ranking{list: d.ranking.list[:0]}
	d.text, d.body, d.currency, d.dry = d.text[:0], d.body[:0], rtb.Currency{}, false
	d.noting, d.recorded = false, nil
	d.quotes, d.entries, d.steps, d.check, d.timedOut = 0, 0, 0, checkEvery, false
}

// pastDeadline reads the clock and reports whether the deadline has passed.
func (d *Decision) pastDeadline() bool { return d.clock().After(d.deadline) }

// spend counts steps of work, reads the clock when enough have been done since
// the last reading, and reports whether the decision is out of time.
func (d *Decision) spend(steps int) bool {
	if d.steps += steps; !d.timedOut && d.steps >= d.check {
		d.check, d.timedOut = d.steps+checkEvery, d.pastDeadline()
	}
	return d.timedOut
}

// drop records why a line does not bid, and raises the request's reason to it.
func (d *Decision) drop(l *campaigns.Line, imp int, r rtb.NoBidReason) {
	if len(d.out.Drops) < maxDrops {
		d.out.Drops = append(d.out.Drops, Drop{l, imp, r})
		if t := d.request.Trace; t != nil {
			t.Checks = append(t.Checks, t.check(d, l, imp, r))
		}
	} else {
		d.out.Lost.Drops++
	}
	d.out.Reason = max(d.out.Reason, r)
}

// oversized reports whether the decision holds more memory than it may keep.
func (d *Decision) oversized() bool {
	slices := sizeOf(d.options) + sizeOf(d.queue) + sizeOf(d.candidates) + sizeOf(d.products) + sizeOf(d.choices) + sizeOf(d.blocked) + sizeOf(d.offers) + sizeOf(d.paths) +
		sizeOf(d.out.Drops) + sizeOf(d.out.Bids) + sizeOf(d.recording.decision.Bids) + sizeOf(d.recording.decision.Dropped) +
		sizeOf(d.inputs.b) + sizeOf(d.inputs.multipliers) +
		len(d.excluded)*int(unsafe.Sizeof(sizedCreative{})+1)
	return cap(d.body)+cap(d.inflated)+cap(d.text) > maxKeptBuffers || slices > maxKeptSlices
}

// sizeOf returns the bytes that a slice holds on to.
func sizeOf[T any](s []T) int {
	var e T
	return cap(s) * int(unsafe.Sizeof(e))
}

func (b *Bidder) borrow() *Decision {
	if d, ok := b.decisions.Get().(*Decision); ok {
		return d
	}
	return NewDecision()
}

// giveBack keeps the memory of a decision for the next request, but nothing of the
// handler's.
func (b *Bidder) giveBack(d *Decision) {
	d.served, d.request = Request{}, nil
	if !d.oversized() {
		b.decisions.Put(d)
	}
}
