package mock

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rebound/rtb"
)

// Totals are what happened at the exchange until now.
type Totals struct {
	Pages       int           `json:"pages"`       // page views and app screens
	ShopVisits  int           `json:"shop_visits"` // of these, in the shop
	Auctions    int           `json:"auctions"`    // impressions offered
	Requests    int           `json:"requests"`    // bid requests
	NoBids      int           `json:"no_bids"`     // responses without a bid
	Bids        int           `json:"bids"`
	Wins        int           `json:"wins"`
	Losses      int           `json:"losses"`
	Timeouts    int           `json:"timeouts"` // responses after tmax, or none
	Invalid     int           `json:"invalid"`  // bids that the exchange refused
	Failures    int           `json:"failures"` // requests, notices and events that got no valid response
	LastFailure string        `json:"last_failure,omitempty"`
	Rendered    int           `json:"rendered"`
	Clicks      int           `json:"clicks"`
	Orders      int           `json:"orders"`
	OrderValue  rtb.Micros    `json:"order_value_micros"`
	Notices     NoticeTotals  `json:"notices"`
	Spend       rtb.Micros    `json:"spend_micros"`       // bills that the bidder acknowledged
	Unbilled    rtb.Micros    `json:"unbilled_micros"`    // bills that were lost on the way
	RivalWins   int           `json:"rival_wins"`         // won by other bidders
	MarketWins  int           `json:"competition_wins"`   // won by the modelled competition
	ToBeat      rtb.CPM       `json:"mean_price_to_beat"` // mean over the bidder's bids
	Elapsed     time.Duration `json:"elapsed_ns"`

	toBeatSum int64
}

// NoticeTotals count notices by kind; the faults are included in the kinds.
type NoticeTotals struct {
	Win        int `json:"win"`
	Bill       int `json:"bill"`
	Loss       int `json:"loss"`
	Lost       int `json:"lost"` // not sent
	Late       int `json:"late"`
	Duplicated int `json:"duplicated"`
	Reordered  int `json:"reordered"`
	BilledLoss int `json:"billed_losses"`
	Retried    int `json:"retried"` // sent again after 503
}

// Entry is one bid in the books that was won, or billed in spite of a loss notice.
type Entry struct {
	BidID      string     `json:"bid_id"`
	Campaign   string     `json:"campaign"`       // the bid's cid
	Line       string     `json:"line,omitempty"` // known only from the bidder's log
	Day        string     `json:"day"`
	At         time.Time  `json:"at"`
	FirstPrice bool       `json:"first_price,omitempty"`
	Deal       string     `json:"deal,omitempty"`
	Bid        rtb.CPM    `json:"bid"`
	Cleared    rtb.CPM    `json:"cleared"`
	ToBeat     rtb.CPM    `json:"to_beat"` // highest competing price, the floor included
	Billed     bool       `json:"billed"`  // the bidder acknowledged the bill
	BillLost   bool       `json:"bill_lost,omitempty"`
	LostFirst  bool       `json:"lost_first,omitempty"` // a loss notice came before the bill
	Clicked    bool       `json:"clicked,omitempty"`
	OrderValue rtb.Micros `json:"order_value_micros,omitempty"`
}

// Cost is what the exchange charges for the impression.
func (e *Entry) Cost() rtb.Micros { return e.Cleared.Cost() }

// Auction is the price to beat of one auction in which the bidder took part.
type Auction struct {
	BidID      string  `json:"bid_id"`
	FirstPrice bool    `json:"first_price"`
	Bid        rtb.CPM `json:"bid"`
	ToBeat     rtb.CPM `json:"to_beat"`
	Won        bool    `json:"won"`
}

// Row sums up the entries of one campaign and line on one day.
type Row struct {
	Campaign   string     `json:"campaign"`
	Line       string     `json:"line,omitempty"`
	Day        string     `json:"day"`
	Wins       int        `json:"wins"`
	Spend      rtb.Micros `json:"spend_micros"`    // acknowledged bills
	Unbilled   rtb.Micros `json:"unbilled_micros"` // lost bills
	Clicks     int        `json:"clicks"`
	Orders     int        `json:"orders"`
	OrderValue rtb.Micros `json:"order_value_micros"`
}

// Second is one second of the run, for the charts.
type Second struct {
	Auctions, Bids, Wins int
	Spend                rtb.Micros
	toBeat               int64 // sum over bids
}

// books are what the exchange knows. All methods may be called by any worker.
type books struct {
	mu       sync.Mutex
	totals   Totals
	entries  map[string]*Entry
	auctions []Auction
	seconds  []Second
	began    time.Time
	reported map[string]bool // kinds of events whose first occurrence was reported
}

func newBooks(began time.Time) *books {
	return &books{entries: map[string]*Entry{}, began: began, reported: map[string]bool{}}
}

// note changes the totals.
func (b *books) note(change func(t *Totals)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.totals)
}

// first reports whether an event is the first of its kind.
func (b *books) first(kind string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.reported[kind]
	b.reported[kind] = true
	return !was
}

// failed counts a request without a valid response.
func (b *books) failed(why string) {
	b.note(func(t *Totals) { t.Failures++; t.LastFailure = why })
}

// second changes the figures of the current second.
func (b *books) second(at time.Time, change func(s *Second)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := max(int(at.Sub(b.began)/time.Second), 0)
	for len(b.seconds) <= i && i < 48*3600 {
		b.seconds = append(b.seconds, Second{})
	}
	change(&b.seconds[min(i, len(b.seconds)-1)])
}

// enter adds an entry.
func (b *books) enter(e *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries[e.BidID] = e
}

// bill records the outcome of an entry's first billing notice.
func (b *books) bill(e *Entry, acknowledged bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case acknowledged && !e.Billed:
		e.Billed = true
		b.totals.Spend += e.Cost()
	case !acknowledged && !e.Billed && !e.BillLost:
		e.BillLost = true
		b.totals.Unbilled += e.Cost()
	}
}

// snapshot returns the totals now.
func (b *books) snapshot(now time.Time) Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.totals
	t.Elapsed = now.Sub(b.began)
	if t.Bids > 0 {
		t.ToBeat = rtb.CPM(t.toBeatSum / int64(t.Bids))
	}
	return t
}

// rows returns the sums by campaign, line and day, in that order.
func rowsOf(entries map[string]*Entry) []Row {
	type key struct{ campaign, line, day string }
	sums := map[key]*Row{}
	for _, e := range entries {
		k := key{e.Campaign, e.Line, e.Day}
		r := sums[k]
		if r == nil {
			r = &Row{Campaign: e.Campaign, Line: e.Line, Day: e.Day}
			sums[k] = r
		}
		r.Wins++
		if e.Billed {
			r.Spend += e.Cost()
		} else if e.BillLost {
			r.Unbilled += e.Cost()
		}
		if e.Clicked {
			r.Clicks++
		}
		if e.OrderValue > 0 {
			r.Orders++
			r.OrderValue += e.OrderValue
		}
	}
	out := make([]Row, 0, len(sums))
	for _, k := range slices.SortedFunc(maps.Keys(sums), func(a, b key) int {
		return strings.Compare(a.campaign+"\x00"+a.line+"\x00"+a.day, b.campaign+"\x00"+b.line+"\x00"+b.day)
	}) {
		out = append(out, *sums[k])
	}
	return out
}
