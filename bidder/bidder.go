package bidder

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Options of a [Bidder].
type Options struct {
	Visitors Visitors
	Budgets  Budgets
	Links    Links
	Records  Records // nil: nothing is recorded
	// Clock reads the time; required. Replay gives a virtual one.
	Clock Clock
	// Feedback takes ext.bid_feedback of requests of exchanges that send it: what
	// became of earlier bids. It copies what it keeps, and never blocks; nil:
	// nobody wants it.
	Feedback func(exchange string, feedback []byte)
	// Sources makes the source of bid ids and draws of one request; nil: each
	// scratch has its own, from the system. Trials give one that can be repeated.
	Sources func() Source
	// Positions says how far the folds have come; nil: records do not say.
	Positions func() events.RecordPos
	Node      string // of the record
	Build     string // of the record
	// KnownNoBidShare and UnknownNoBidShare are the shares, 0 to 1, of the no-bids
	// that are recorded: where the visitor was found, and where not. Bids always are.
	// [Bidder.SetNoBidShares] changes them.
	KnownNoBidShare   float64
	UnknownNoBidShare float64
	Logger            *zap.Logger // takes panics; none when nil
}

// Bidder answers bid requests. It is safe for any number of goroutines.
type Bidder struct {
	o         Options
	now       atomic.Pointer[snapshot]
	shares    atomic.Pointer[noBidShares]
	unknown   counters // requests of exchanges that are not configured
	scratches sync.Pool
	gzips     sync.Pool

	mu     sync.Mutex // guards states; never held by a request
	states map[string]*state
}

// snapshot is a catalog and the state that belongs to its exchanges.
type snapshot struct {
	catalog *Catalog
	states  map[string]*state
}

// state is what lives as long as the process for one exchange.
type state struct {
	counters counters
	throttle throttle
	inFlight atomic.Int64
	retries  retries
}

// New makes a bidder. Until the first [Bidder.Swap] it knows no exchange.
func New(o Options) *Bidder {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	b := &Bidder{o: o, states: map[string]*state{}}
	b.SetNoBidShares(o.KnownNoBidShare, o.UnknownNoBidShare)
	b.now.Store(&snapshot{catalog: &Catalog{}})
	return b
}

// noBidShares are the shares of no-bids that are recorded.
type noBidShares struct{ known, unknown float64 }

// SetNoBidShares changes the shares, 0 to 1, of the no-bids that are recorded
// from here on.
func (b *Bidder) SetNoBidShares(known, unknown float64) { b.shares.Store(&noBidShares{known, unknown}) }

// Swap makes another catalog the one that new requests read. Requests that are
// being answered go on with theirs; counters and quotas go on.
func (b *Bidder) Swap(c *Catalog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range c.Exchanges {
		if b.states[id] == nil {
			b.states[id] = &state{}
		}
	}
	b.now.Store(&snapshot{catalog: c, states: maps.Clone(b.states)})
}

// Catalog is the one that new requests read.
func (b *Bidder) Catalog() *Catalog { return b.now.Load().catalog }

// Stats are the counters of every exchange that was ever configured, by id.
// Requests that named an exchange that is not stand under "".
func (b *Bidder) Stats() []Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Stats{b.unknown.stats("")}
	for _, id := range slices.Sorted(maps.Keys(b.states)) {
		list = append(list, b.states[id].counters.stats(id))
	}
	return list
}

// noBid counts a request that ends without a bid.
func (c *counters) noBid(r rtb.NoBidReason, took time.Duration) {
	c.requests.Add(1)
	c.noBids[min(r, rtb.NoBidReasons-1)].Add(1)
	c.took(took)
}

func (c *counters) bid(offers int, took time.Duration) {
	c.requests.Add(1)
	c.answered.Add(1)
	c.offers.Add(uint64(offers))
	c.took(took)
}
