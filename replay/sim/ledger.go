package sim

import (
	"container/heap"
	"math"
)

// ledger is the hard cap of a baseline: it covers the full bid of everything that is
// still open.
type ledger struct {
	budget   float64
	spent    float64 // as notified, times scale
	reserved float64
	scale    float64 // at least 1: allowance for lost notices
	uncapped bool    // ignores the bids in flight
}

func (l *ledger) allows(b float64) bool {
	if l.uncapped {
		return l.spent < l.budget
	}
	return l.spent+(l.reserved+b)*l.scale <= l.budget
}

// outcome is what a bidder is told about a bid.
type outcome struct {
	bid, paid float64
	toWin     float64 // the price that had to be beaten; 0 if it is not reported
	won       bool
}

// policy is a baseline: it prices requests, knows its ledger, and learns from outcomes.
type policy interface {
	// bid returns the price for a request; below 1 means no bid.
	bid(q *Request, l *ledger) float64
	// outcome is called when a win is notified, or when a bid's life has ended.
	outcome(q *Request, o outcome, l *ledger)
	// tick is called every 10 s.
	tick(t float64, l *ledger)
	// newDay begins a day with a forecast. What was learned stays.
	newDay(h *history)
	// restart loses what is in memory.
	restart()
}

// Intervals of a baseline, in seconds.
const tickSeconds = 10

// bidState is the state of one bid of a baseline.
type bidState uint8

const (
	bidOpen bidState = iota + 1
	bidReleased
	bidNotified
)

// seat runs a baseline for one day: its ledger, the bids in flight and the ticks.
type seat struct {
	s      *Scenario
	policy policy
	day    []Request
	ledger ledger

	open     []openBid // by time
	released int       // of open
	state    []bidState
	nextTick float64
}

type openBid struct {
	i   int
	bid float64
}

func newSeat(s *Scenario, p policy, day []Request, budget, scale float64) *seat {
	return &seat{s: s, policy: p, day: day, ledger: ledger{budget: budget, scale: scale}, state: make([]bidState, len(day))}
}

func (x *seat) toWin(i int) float64 {
	if x.s.MinToWin {
		return x.day[i].Price
	}
	return 0
}

// advance ends bids and ticks up to a time.
func (x *seat) advance(t float64) {
	for {
		due := math.Inf(1)
		if x.released < len(x.open) {
			due = x.day[x.open[x.released].i].At + x.s.bidLife()
		}
		switch {
		case min(due, x.nextTick) > t:
			return
		case due <= x.nextTick:
			o := x.open[x.released]
			x.released++
			if x.state[o.i] == bidOpen {
				x.state[o.i] = bidReleased
				x.ledger.reserved -= o.bid
				x.policy.outcome(&x.day[o.i], outcome{bid: o.bid, toWin: x.toWin(o.i)}, &x.ledger)
			}
		default:
			x.policy.tick(x.nextTick, &x.ledger)
			x.nextTick += tickSeconds
		}
	}
}

// bid returns the price of a bid that is covered, or 0.
func (x *seat) bid(i int) float64 {
	b := x.policy.bid(&x.day[i], &x.ledger)
	if b < 1 || !x.ledger.allows(b) {
		return 0
	}
	x.ledger.reserved += b
	x.state[i] = bidOpen
	x.open = append(x.open, openBid{i, b})
	return b
}

// lateSpend is a policy that takes wins which were notified after the bid's life.
type lateSpend interface{ late(paid float64) }

// billed is called with the notice of a win.
func (x *seat) billed(_ float64, n *notice) {
	if x.state[n.request] == bidOpen {
		x.ledger.reserved -= n.bid
	}
	late := x.state[n.request] == bidReleased
	x.state[n.request] = bidNotified
	x.ledger.spent += n.paid * x.ledger.scale
	if p, ok := x.policy.(lateSpend); ok && late {
		p.late(n.paid)
		return
	}
	x.policy.outcome(&x.day[n.request], outcome{bid: n.bid, paid: n.paid, toWin: x.toWin(n.request), won: true}, &x.ledger)
}

func (x *seat) won(int)                  {}
func (x *seat) setBudget(budget float64) { x.ledger.budget = budget }
func (x *seat) restart(float64) error    { x.policy.restart(); return nil }
func (x *seat) multiplier() float64      { return 0 }
func (x *seat) err() error               { return nil }

// notice is the notice of a win on its way.
type notice struct {
	at        float64
	request   int
	bid, paid float64
}

// noticeHeap holds notices, the earliest first.
type noticeHeap []notice

func (h noticeHeap) Len() int           { return len(h) }
func (h noticeHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h noticeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *noticeHeap) Push(x any)        { *h = append(*h, x.(notice)) }
func (h *noticeHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func (h *noticeHeap) add(n notice)  { heap.Push(h, n) }
func (h *noticeHeap) first() notice { return heap.Pop(h).(notice) }
