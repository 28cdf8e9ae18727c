package pacing

import (
	"encoding/binary"
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
	resOverdue                 // nothing was heard of it in the usual time; its money is doubted until winExpiry
)

// reservation is one bid in flight. It is kept until due even after its money
// was settled or released: wins and losses are learned from at the same age,
// and an impression counts for frequency until it is in the profile.
type reservation struct {
	bid      rtb.BidID
	exchange string
	line     *line
	place    *place    // learns the outcome; nil if it is not known yet
	day      *tableDay // whose accounts hold its cost; nil of an inherited bid
	heir     *heir     // what a bid of an earlier run holds; nil of others

	cost, expected, value rtb.Micros
	flight                rtb.Micros // its current part of the accounts' expected cost
	flightImps            rtb.Micros // the same of accounts of impressions
	paid                  rtb.Micros // charged, or the amount to be charged according to the win notice
	toWin                 rtb.Micros // the competing price, if it is known

	issued, winExpiry, billExpiry rtb.Second
	due                           rtb.Second
	queued                        rtb.Second // the second in which it is looked at, at the due time or before

	next     int32     // slot of the next reservation that is queued in its bucket; -1 if none
	slot     int32     // slot in the mapped file; -1 if none
	inFlight flightRef // where it is counted, if tracked
	path     rtb.PathHandle

	state      resState
	won        bool // a win notice came in time; before a loss notice, state says so too
	long       bool // reserved under a grant for bids that live longer than usual
	tracked    bool // its visitor's caps count it
	claimed    bool // it was reported lost
	learned    bool // its outcome has been learned
	dry        bool // of a bid that is never sent
	format     rtb.Formats
	firstPrice bool // the winner pays its bid
}

// heir is what a bid of an earlier run holds. No account of this run is touched by it.
type heir struct {
	run     uint64 // nameHash of the earlier run
	budgets []heldBudget
}

// accounts returns the accounts that hold the bid's cost, none of an inherited bid. They
// must not be changed.
func (r *reservation) accounts() []*account {
	switch {
	case r.day == nil:
		return nil
	case r.long:
		return r.day.longs
	}
	return r.day.accounts
}

// heldBudget is the amount that a bid of an earlier run holds of a budget.
type heldBudget struct {
	hash   uint64 // of the budget's id
	amount rtb.Micros
}

// costOf returns what the bid costs an account at most.
func (r *reservation) costOf(a *account) rtb.Micros {
	if a.imps() {
		return rtb.ImpressionUnit
	}
	return r.cost
}

// flightOf returns the bid's current part of an account's expected cost.
func (r *reservation) flightOf(a *account) rtb.Micros {
	if a.imps() {
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

// foretold returns the impressions that the bid is expected to bring: the chance, from 0 to 1.
func (r *reservation) foretold() float64 { return float64(r.chance()) / float64(rtb.ImpressionUnit) }

// use returns the expected cost as a share of the money that the bid reserves.
func (r *reservation) use() float64 {
	if r.expected <= 0 || r.cost <= 0 {
		return 1 // not known
	}
	return min(float64(r.expected)/float64(r.cost), 1)
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
	for _, a := range r.accounts() {
		a.give(r.costOf(a))
		a.expected.Add(-r.flightOf(a))
	}
	r.line.reserved.Add(-r.cost)
	r.flight, r.flightImps = 0, 0
}

// expect replaces the expected cost of the bid while it is in flight.
func (r *reservation) expect(amount rtb.Micros) {
	imps := impsOf(amount)
	for _, a := range r.accounts() {
		if a.imps() {
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
	return r.state == resBid || r.state == resWon || r.state == resDoubted || r.state == resOverdue
}

// resShard holds some of the reservations, by bid id. mu protects it, and is never held
// across I/O or another lock except that of a visitor shard.
//
// Every reservation is in the bucket of the second in which it is queued, modulo the
// number of buckets.
type resShard struct {
	mu      sync.Mutex
	index   index // by bid id
	slab    slab[reservation]
	buckets [resBuckets]int32 // slot of the first reservation plus one; 0 if there is none
	swept   rtb.Second        // no reservation is queued before it, except those that the current sweep has still to look at
}

const (
	resShards  = 16
	resBuckets = 512 // seconds
)

// reservations holds all bids in flight of this run.
type reservations struct {
	shards [resShards]resShard
	count  atomic.Int64 // slots in use
	live   atomic.Int64 // slots in use that hold money
	limit  int64
	swept  rtb.Second // of all shards; sweep is called by one goroutine
}

func newReservations(limit int) *reservations { return &reservations{limit: int64(limit)} }

func (s *reservations) shard(bid rtb.BidID) *resShard { return &s.shards[bid[0]%resShards] }

// hashOfBid hashes a bid id. Ids are drawn by this program, at random.
func hashOfBid(bid *rtb.BidID) uint32 {
	return hashOf(binary.LittleEndian.Uint64(bid[:8]), binary.LittleEndian.Uint64(bid[8:]))
}

// find returns the reservation of a bid and its slot; nil if there is none.
func (sh *resShard) find(bid *rtb.BidID, hash uint32) (*reservation, int32) {
	for at, slot := sh.index.first(hash); slot >= 0; at, slot = sh.index.next(at, hash) {
		if r := sh.slab.at(slot); r.bid == *bid {
			return r, slot
		}
	}
	return nil, -1
}

// add stores a reservation. It refuses a duplicate bid with the reason error,
// and one beyond the limit with overloaded, unless it is inherited: what an earlier run
// promised stays held.
func (s *reservations) add(r *reservation) rtb.NoBidReason {
	if s.count.Add(1) > s.limit && r.heir == nil {
		s.count.Add(-1)
		return rtb.NoBidOverloaded
	}
	sh, hash := s.shard(r.bid), hashOfBid(&r.bid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if x, _ := sh.find(&r.bid, hash); x != nil {
		s.count.Add(-1)
		return rtb.NoBidError
	}
	slot := sh.slab.take()
	x := sh.slab.at(slot)
	*x = *r
	sh.index.add(hash, slot)
	sh.queue(x, slot)
	s.live.Add(1)
	return rtb.NoBidNone
}

// queue puts a reservation into the bucket of its due time. One that is due already is
// looked at by the next sweep.
func (sh *resShard) queue(r *reservation, slot int32) {
	r.queued = max(r.due, sh.swept)
	sh.push(r, slot)
}

// push puts a reservation into the bucket of the second in which it is queued.
func (sh *resShard) push(r *reservation, slot int32) {
	b := &sh.buckets[r.queued%resBuckets]
	r.next, *b = *b-1, slot+1
}

// each calls fn for every reservation, under its shard's lock, which is released after each
// chunk of the slab. fn may miss reservations that are added meanwhile.
func (s *reservations) each(fn func(*reservation)) {
	for i := range s.shards {
		for slot := int32(0); slot >= 0; {
			slot = s.shards[i].eachOf(slot, fn)
		}
	}
}

// eachOf calls fn for the reservations of the chunk that begins with a slot, and returns the
// first slot of the next chunk, or -1.
func (sh *resShard) eachOf(slot int32, fn func(*reservation)) int32 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	end := min(slot+slabChunk, sh.slab.used)
	for ; slot < end; slot++ {
		if r := sh.slab.at(slot); !r.bid.IsZero() {
			fn(r)
		}
	}
	if slot == sh.slab.used {
		return -1
	}
	return slot
}

// with calls fn with the reservation of a bid under its shard's lock. It
// returns false if there is none. fn may change everything but bid.
func (s *reservations) with(bid rtb.BidID, fn func(*reservation)) bool {
	sh := s.shard(bid)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r, _ := sh.find(&bid, hashOfBid(&bid))
	if r == nil {
		return false
	}
	held := r.holds()
	fn(r)
	if held && !r.holds() {
		s.live.Add(-1)
	}
	return true
}
