package bidder

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Visitors finds the visitor of a request. It is called only after privacy has
// permitted it.
type Visitors interface {
	// Find fills v and returns [rtb.NoBidNone], or returns why there is no visitor:
	// no_id, unknown_visitor or privacy_opted_out. It does not keep ids. It calls
	// beforeRead, if not nil, before it reads from disk.
	Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason
}

// Budgets prices bids and reserves their cost. Its amounts are in the
// advertiser's currency.
type Budgets interface {
	// Stopped returns why bidding on an exchange is stopped: paused, blind, or
	// NoBidNone. It is called once for each request.
	Stopped(exchange string) rtb.NoBidReason
	// CampaignPaused reports whether an operator has paused a campaign.
	CampaignPaused(advertiser, campaign string) bool
	// Handle returns the handle of a line, by which the other methods know it. It is
	// called when a catalog becomes current, and stays valid for the life of the
	// process.
	Handle(id rtb.LineID) rtb.LineHandle
	// Multiplier returns the number by which Quote would divide a line's value now, at
	// least 1.
	Multiplier(h rtb.LineHandle) float64
	// SampleEvery returns on one in how many requests a line needs to be evaluated when it
	// does not bid, so that its demand is known: a power of two.
	SampleEvery(h rtb.LineHandle) uint32
	// Quote returns the price for a line after pacing and shading, or the reason for
	// which the line must not bid now. It does not keep the ask.
	Quote(h rtb.LineHandle, ask *rtb.Ask) (rtb.Quote, rtb.NoBidReason)
	// EnterPath reports whether an impression may be bid on over a supply path; the
	// reason same_impression says that it is bought over another one. LeavePath ends
	// what EnterPath began if no bid is sent. Neither keeps o.
	EnterPath(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason)
	LeavePath(o *rtb.PathOffer)
	// Reserve reserves a bid's worst cost under every cap that applies to it, or
	// returns the reason of the cap that refuses. It sets the claims' node, grant,
	// caps and day, and does not keep its arguments.
	Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason
	// Release releases the reservation of a bid that is not sent.
	Release(bid rtb.BidID)
	// Observe is called once for each request and line that was evaluated and could
	// have bid. It does not keep o.
	Observe(h rtb.LineHandle, o *rtb.Observation)
}

// Values estimates what impressions are worth to lines that pay for clicks or
// conversions.
type Values interface {
	// Estimate fills e. It does not keep its arguments.
	Estimate(e *rtb.Estimate, g *rtb.Goal, s *rtb.Showing)
}

// Links signs notices. The methods that append return dst unchanged when the result
// would be longer than exchanges take; such a bid must not be made.
type Links interface {
	// Seal prepares the claims of a bid for the other methods. It keeps neither.
	Seal(t *rtb.SealedClaims, c *rtb.Claims)
	// AppendURL appends the signed URL of a notice, which needs no escaping
	// ([rtb.MarkupSafe]).
	AppendURL(dst []byte, kind rtb.NoticeKind, t *rtb.SealedClaims) []byte
	// AppendEventURL appends the signed URL of video events without the event's
	// name, which belongs at index name.
	AppendEventURL(dst []byte, t *rtb.SealedClaims) (url []byte, name int)
	// AppendToken appends the token of a notice without a URL.
	AppendToken(dst []byte, kind rtb.NoticeKind, t *rtb.SealedClaims) []byte
}

// Records takes bid records.
type Records interface {
	// Write writes a record with its request, which may be nil, or counts it as
	// dropped. It does not block, and keeps neither r nor anything that it refers to.
	Write(r *events.BidRecord, request events.Redacted)
}

// Source gives bid ids and draws; every source of math/rand/v2 is one. It serves
// one request at a time.
type Source interface{ Uint64() uint64 }

// Clock reads the time: the wall clock in a bidder, a virtual clock in replay.
type Clock func() time.Time

// priors are Values without data.
type priors struct{}

func (priors) Estimate(e *rtb.Estimate, g *rtb.Goal, _ *rtb.Showing) {
	*e = rtb.Estimate{Value: g.Prior, Draw: 1, Multiplier: 1}
}

// dryBudgets are budgets that keep nothing: what is reserved is released at
// once, and the claims are marked as a test's, so that their links never bill.
type dryBudgets struct{ Budgets }

func (b dryBudgets) Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason {
	c.Dry = true
	r := b.Budgets.Reserve(c, v, caps)
	if r == rtb.NoBidNone {
		b.Budgets.Release(c.Bid)
		c.Test = true
	}
	return r
}

func (b dryBudgets) EnterPath(o *rtb.PathOffer) (rtb.PathHandle, rtb.NoBidReason) {
	o.Dry = true
	return b.Budgets.EnterPath(o)
}

func (dryBudgets) Release(rtb.BidID) {}

func (dryBudgets) Observe(rtb.LineHandle, *rtb.Observation) {}
