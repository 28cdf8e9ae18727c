package pacing

import (
	"sync"
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// resState is the state of a reservation.
type resState uint8

const (
	resBid     resState = iota // until winExpiry
	resWon                     // until billExpiry
	resSettled                 // charged; remembered for learning and frequency
	resDoubted                 // reported lost; its money is doubted until the reservation would have ended
	resLost                    // released: it can no longer be billed in time
	resDead                    // released: the bid was not sent
)

// reservation is one bid in flight. It is kept until due even after its money
// was settled or released: wins and losses are learned from at the same age,
// and an impression counts for frequency until it is in the profile.
type reservation struct {
	bid      rtb.BidID
	visitor  rtb.Key
	exchange string
	line     *line
	place    *place     // learns the outcome; nil if it is not known yet
	accounts []*account // of its day in the table, which must not be changed

	cost, expected, value rtb.Micros
	flight                rtb.Micros // its current part of the accounts' expected cost
	flightImps            rtb.Micros // the same of accounts of impressions
	paid                  rtb.Micros // charged, or the amount to be charged according to the win notice
	toWin                 rtb.Micros // the competing price, if it is known

	issued, winExpiry, billExpiry rtb.Second
	due                           rtb.Second

	state      resState
	won        bool  // a win notice came in time; before a loss notice, state says so too
	slot       int32 // slot in the mapped file; -1 if none
	flightSlot int32 // slot of its visitor's flight, if tracked

	inherited bool   // from an earlier run, which heirOf and budgets identify by hashes
	heirOf    uint64 // its accounts are not touched
	budgets   []heldBudget

	path    rtb.PathHandle
	long    bool // reserved under a grant for bids that live longer than usual
	tracked bool // a flight of its visitor is recorded
	learned bool // its outcome has been learned
	dry     bool // of a bid that is never sent

	firstPrice bool // the winner pays its bid
}

// heldBudget is the amount that a bid of an earlier run holds of a budget.
type heldBudget struct {
	hash   uint64 // of the budget's id
	amount rtb.Micros
}

// costOf returns what the bid costs an account at most.
func (r *reservation) costOf(a *account) rtb.Micros {
	if a.id.Imps {
		return rtb.ImpressionUnit
	}
	return r.cost
}

// flightOf returns the bid's current part of an account's expected cost.
func (r *reservation) flightOf(a *account) rtb.Micros {
	if a.id.Imps {
		return r.flightImps
	}
	return r.flight
}

// chance returns the expected number of impressions, in millionths: in second price it is
// too low by the share of the price that is paid, which the trim of the cap corrects.
func (r *reservation) chance() rtb.Micros {
	if r.expected <= 0 || r.cost <= 0 {
		return 0
	}
	return rtb.Micros(min(float64(r.expected)/float64(r.cost), 1) * float64(rtb.ImpressionUnit))
}

// impsOf returns the impressions that a price was paid for.
func impsOf(paid rtb.Micros) rtb.Micros {
	if paid > 0 {
		return rtb.ImpressionUnit
	}
	return 0
}

// give returns the reservation's money to its accounts and line.
func (r *reservation) give() {
	for _, a := range r.accounts {
		a.give(r.costOf(a))
		a.expected.Add(-r.flightOf(a))
	}
	r.line.reserved.Add(-r.cost)
	r.flight, r.flightImps = 0, 0
}

// expect replaces the expected cost of the bid while it is in flight.
func (r *reservation) expect(amount rtb.Micros) {
	imps := impsOf(amount)
	for _, a := range r.accounts {
		if a.id.Imps {
			a.expected.Add(imps - r.flightImps)
		} else {
			a.expected.Add(amount - r.flight)
		}
	}
	r.flight, r.flightImps = amount, imps
}

// ends returns the end of the reservation's last window.
func (r *reservation) ends() rtb.Second { return max(r.winExpiry, r.billExpiry) }

// life returns how long money may be reserved for the bid. winExpiry is not before
// issued.
func (r *reservation) life() time.Duration { return time.Duration(r.ends()-r.issued) * time.Second }

// holds reports whether money is still reserved or doubted.
func (r *reservation) holds() bool {
	return r.state == resBid || r.state == resWon || r.state == resDoubted
}

// due orders the slots of a shard by due time, with exactly one entry per slot in use.
type dueEntry struct {
	at   rtb.Second
	slot int32
}

// resShard holds some of the reservations, by bid id. mu protects everything but first,
// and is never held across I/O or another lock except that of a visitor shard.
type resShard struct {
	mu    sync.Mutex
	slots map[rtb.BidID]int32
	slab  []reservation
	spare []int32
	heap  []dueEntry
	next  secondValue // the earliest due time; 0 if empty
	_     [28]byte
}

const resShards = 64

// reservations holds all bids in flight of this run.
type reservations struct {
	shards [resShards]resShard
	count  atomic.Int64 // slots in use
	live   atomic.Int64 // slots in use that hold money
	limit  int64
}

func newReservations(limit int) *reservations {
	s := &reservations{limit: int64(limit)}
	for i := range s.shards {
		s.shards[i].slots = make(map[rtb.BidID]int32)
	}
	return s
}

func (s *reservations) shard(bid rtb.BidID) *resShard { return &s.shards[bid[0]%resShards] }

// add stores a reservation. It refuses a duplicate bid with the reason error,
// and one beyond the limit with overloaded.
func (s *reservations) add(r *reservation) rtb.NoBidReason {
	if s.count.Add(1) > s.limit {
		s.count.Add(-1)
		return rtb.NoBidOverloaded
	}
	sh := s.shard(r.bid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if _, ok := sh.slots[r.bid]; ok {
		s.count.Add(-1)
		return rtb.NoBidError
	}
	var slot int32
	if n := len(sh.spare); n > 0 {
		slot, sh.spare = sh.spare[n-1], sh.spare[:n-1]
	} else {
		slot = int32(len(sh.slab))
		sh.slab = append(sh.slab, reservation{})
	}
	sh.slab[slot] = *r
	sh.slots[r.bid] = slot
	sh.push(dueEntry{r.due, slot})
	s.live.Add(1)
	return rtb.NoBidNone
}

// each calls fn for every reservation.
func (s *reservations) each(fn func(*reservation)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, slot := range sh.slots {
			fn(&sh.slab[slot])
		}
		sh.mu.Unlock()
	}
}

// with calls fn with the reservation of a bid under its shard's lock. It
// returns false if there is none. fn may change everything but bid.
func (s *reservations) with(bid rtb.BidID, fn func(*reservation)) bool {
	sh := s.shard(bid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slot, ok := sh.slots[bid]
	if !ok {
		return false
	}
	r := &sh.slab[slot]
	held := r.holds()
	fn(r)
	if held && !r.holds() {
		s.live.Add(-1)
	}
	return true
}

// sweep calls fn for every reservation whose due time is before now, and removes those
// for which fn does not set a later due time.
func (s *reservations) sweep(now rtb.Second, fn func(*reservation)) {
	for i := range s.shards {
		sh := &s.shards[i]
		if next := sh.next.Load(); next == 0 || next >= now {
			continue
		}
		s.sweepShard(sh, now, fn)
	}
}

func (s *reservations) sweepShard(sh *resShard, now rtb.Second, fn func(*reservation)) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for len(sh.heap) > 0 && sh.heap[0].at < now {
		slot := sh.pop()
		r := &sh.slab[slot]
		if r.due < now {
			held := r.holds()
			fn(r)
			if held && !r.holds() {
				s.live.Add(-1)
			}
		}
		if r.due >= now {
			sh.push(dueEntry{r.due, slot})
			continue
		}
		delete(sh.slots, r.bid)
		*r = reservation{}
		sh.spare = append(sh.spare, slot)
		s.count.Add(-1)
	}
}

func (sh *resShard) push(e dueEntry) {
	sh.heap = append(sh.heap, e)
	h := sh.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].at <= e.at {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	sh.next.Store(h[0].at)
}

func (sh *resShard) pop() int32 {
	h := sh.heap
	top := h[0].slot
	last := h[len(h)-1]
	h = h[:len(h)-1]
	sh.heap = h
	if len(h) == 0 {
		sh.next.Store(0)
		return top
	}
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].at < h[c].at {
			c++
		}
		if last.at <= h[c].at {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = last
	sh.next.Store(h[0].at)
	return top
}
