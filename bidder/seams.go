package bidder

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Visitors finds who a request's user is. It is called only after privacy
// allowed it.
type Visitors interface {
	// Find fills v and answers [rtb.NoBidNone], or says why there is no visitor:
	// no_id, unknown_visitor or privacy_opted_out. It keeps nothing of ids.
	Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor) rtb.NoBidReason
}

// Budgets prices and covers bids. Its amounts are in the advertiser's currency.
type Budgets interface {
	// Quote is the price for one line, pacing and shading included; the auction
	// is one of rtb.Auction*. A reason other than NoBidNone means: not now.
	Quote(id rtb.LineID, value, floor rtb.CPM, auction int) (rtb.Quote, rtb.NoBidReason)
	// Observe is told once per request of every line that could have bid, with the
	// expected cost of its bid, 0 when it did not bid.
	Observe(id rtb.LineID, expected rtb.Micros)
	// Reserve covers a bid's worst cost under every cap that binds it, or says
	// which of them refuses. It keeps nothing of the claims, visitor or caps.
	Reserve(c *rtb.Claims, v *rtb.Visitor, caps []rtb.FrequencyCap) rtb.NoBidReason
	// Release gives back what was reserved for a bid that was not sent.
	Release(bid rtb.BidID)
	// Paused tells whether bidding is stopped: everywhere or for the exchange
	// where advertiser and campaign are empty, else for that campaign.
	Paused(exchange, advertiser, campaign string) rtb.NoBidReason
}

// Links writes signed notice URLs. It appends nothing when the URL would be
// longer than exchanges take; such a bid must not be made.
type Links interface {
	AppendURL(dst []byte, kind rtb.NoticeKind, c *rtb.Claims) []byte
}

// Records takes bid records. Neither call blocks.
type Records interface {
	// Borrow lends an empty record, or nil when records are being dropped.
	Borrow() *events.BidRecord
	// Offer gives a borrowed record back to be written; the caller forgets it.
	Offer(*events.BidRecord)
}

// Source is where bid ids and draws come from: any source of math/rand/v2. One Source serves one request at a time.
type Source interface{ Uint64() uint64 }

// Clock reads the time; the wall clock in a bidder, a virtual one in replay.
type Clock func() time.Time
