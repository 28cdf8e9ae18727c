package bidder

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Options of a [Bidder].
type Options struct {
	Visitors Visitors
	Budgets  Budgets
	// Values estimates the values of lines with a goal; nil: each bids its cpm.
	Values  Values
	Links   Links
	Records Records // nil: nothing is recorded
	// Keys make the pseudonyms that replace identifiers in recorded requests; nil:
	// records have no request.
	Keys *rtb.Keyring
	// Clock reads the time; required.
	Clock Clock
	// Feedback takes ext.bid_feedback of requests: the outcomes of earlier bids.
	// It copies the data that it keeps and does not block; nil: feedback is
	// ignored.
	Feedback func(exchange string, feedback []byte)
	// Sources returns the source of bid ids and draws of one request; nil: each
	// decision has its own. Tests and try give one that can be repeated.
	Sources func() Source
	// Positions returns the log positions of the views, for the record; nil: records
	// have none.
	Positions func() events.RecordPos
	Node      string // for the record
	Build     string // for the record
	// KnownNoBidShare and UnknownNoBidShare are the shares, 0 to 1, of no-bids that
	// are recorded when the visitor was found, and when not. Bids are always
	// recorded. [Bidder.SetNoBidShares] changes the shares.
	KnownNoBidShare   float64
	UnknownNoBidShare float64
	Logger            *zap.Logger // for panics; nil: none
	// Debug explains requests with a debug token in their response; nil: none are.
	Debug Debugger
}

// Bidder answers bid requests. It is safe for concurrent use.
type Bidder struct {
	o          Options
	dryBudgets Budgets
	current    atomic.Pointer[snapshot]
	shares     atomic.Pointer[noBidShares]
	unknown    counters // of requests for exchanges that are not configured
	decisions  sync.Pool
	gzips      sync.Pool

	mu     sync.Mutex // guards states; never held by a request
	states map[string]*state
}

// snapshot is a catalog with the state of its exchanges. It is immutable.
type snapshot struct {
	catalog *Catalog
	states  map[string]*state
	handles []rtb.LineHandle // by ordinal of the active lines
}

// state is the state of one exchange, kept for the lifetime of the process.
type state struct {
	counters counters
	throttle throttle
	inFlight atomic.Int64
	retries  retries
}

// New makes a bidder. It knows no exchange until [Bidder.Swap] is called.
func New(o Options) *Bidder {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.Values == nil {
		o.Values = priors{}
	}
	b := &Bidder{o: o, dryBudgets: dryBudgets{o.Budgets}, states: map[string]*state{}}
	b.SetNoBidShares(o.KnownNoBidShare, o.UnknownNoBidShare)
	b.current.Store(&snapshot{catalog: &Catalog{}})
	return b
}

type noBidShares struct{ known, unknown float64 }

// SetNoBidShares changes the shares, 0 to 1, of no-bids that are recorded.
func (b *Bidder) SetNoBidShares(known, unknown float64) { b.shares.Store(&noBidShares{known, unknown}) }

// Swap makes c the catalog of new requests. Requests in progress finish with
// their own catalog. The counters and quotas of an exchange are kept.
func (b *Bidder) Swap(c *Catalog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range c.Exchanges {
		if b.states[id] == nil {
			b.states[id] = &state{}
		}
	}
	handles := make([]rtb.LineHandle, c.Index.Live())
	for n := range handles {
		handles[n] = b.o.Budgets.Handle(c.Index.LiveLine(int32(n)).ID)
	}
	b.current.Store(&snapshot{catalog: c, states: maps.Clone(b.states), handles: handles})
}

// Catalog returns the catalog of new requests.
func (b *Bidder) Catalog() *Catalog { return b.current.Load().catalog }

// Stats returns the counters of every exchange that was ever configured, sorted
// by id. Requests for exchanges that are not configured are counted under "".
func (b *Bidder) Stats() []Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Stats{b.unknown.stats("")}
	for _, id := range slices.Sorted(maps.Keys(b.states)) {
		list = append(list, b.states[id].counters.stats(id))
	}
	return list
}
