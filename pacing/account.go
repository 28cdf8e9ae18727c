package pacing

import (
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// account is this run's share of one budget: what it may still bid. The bid
// path touches only the atomics.
//
//	amount of the run's grant = settled from it + reserved + kept + available + withheld
//
// available is lowered by a compare-and-swap and never below zero by a bid; the
// fold may take it below zero when a bill has no reservation.
type account struct {
	// Each bid uses these fields, which share a cache line.
	available microsValue
	reserved  microsValue // reserved by bids in flight
	expected  microsValue // the expected cost of the bids in flight
	taken     microsValue // reserved since the last collect
	low       microsValue // a renewal is requested when available falls below it
	worst     microsValue // the largest cost of a bid so far
	asked     secondValue // time of the last bid that needed money from it
	until     secondValue // bids must not be made after this time
	heldUntil secondValue // no reservation may end after this time
	flags     atomic.Uint32

	id      rtb.BudgetID
	runHash uint64 // nameHash of run
	run     string // run name of its grants in the log: this run, or the one for long bids
	long    bool   // only for bids that live longer than usual

	doubted microsValue // reserved by bids that were reported lost or are overdue, but may still be billed
	kept    microsValue // the part of doubted that is not available for new bids
	free    microsValue // the part of the cap outside every grant and the holdback
	listed  atomic.Bool // bids ask for its grant

	// Pacer.mu protects the remaining fields.
	doubts     map[keeper]doubt
	limit      rtb.Micros // the cap in the plan
	holdback   rtb.Micros // the part of the limit that is kept for late bills
	currency   rtb.Currency
	withheld   rtb.Micros // granted and removed from available, to be returned by a grant fact
	maxCost    rtb.Micros // the highest cost of one bid according to the plan
	control    *capControl
	sibling    *account                     // of the same budget, for bids that live longer than usual; nil if there is none
	span       span                         // the time over which the budget is spread
	day        struct{ from, to time.Time } // the civil day of a daily budget
	unticked   rtb.Micros                   // taken, and not yet passed to the controller
	unsmoothed rtb.Micros                   // taken, and not yet part of the rate
	moving     bool                         // part of the current round of moveControls, with
	seen       observed
	due        bool         // on the agenda
	order      int          // in sortedAccounts
	lines      []*tableLine // that bid from it today
	budget     *budget      // as of epoch; use Pacer.budgetOf
	epoch      uint64
	used       bool       // the current plan bids from it
	starts     rtb.Second // bids use it from this time on; 0 means at once
	rate       float64    // micros reserved per second, smoothed
	sent       time.Time  // time of an append that is not folded yet; zero if there is none
	smoothedAt time.Time
}

// Flags of an account.
const (
	accountBlocked = 1 << iota // the cap is below the settled and held amounts
	accountImps                // of a budget of impressions; never changes
)

// blocked reports whether the cap is below the settled and held amounts.
func (a *account) blocked() bool { return a.flags.Load()&accountBlocked != 0 }

// block sets what blocked reports. Pacer.mu is held.
func (a *account) block(blocked bool) {
	if blocked {
		a.flags.Or(accountBlocked)
	} else {
		a.flags.And(^uint32(accountBlocked))
	}
}

// imps reports whether the amounts are millionths of an impression, not money.
func (a *account) imps() bool { return a.flags.Load()&accountImps != 0 }

// listing returns the flag that is set while bids ask for the account's grant.
func (a *account) listing() *atomic.Bool { return &a.listed }

// take reserves cost and reports whether there was room for it.
func (a *account) take(cost rtb.Micros) bool {
	for {
		have := a.available.Load()
		if have < cost || a.blocked() {
			return false
		}
		if a.available.CompareAndSwap(have, have-cost) {
			a.reserved.Add(cost)
			a.taken.Add(cost)
			return true
		}
	}
}

// collect takes what bids have reserved, for the controller and for the rate. Pacer.mu is
// held.
func (a *account) collect() {
	x := a.taken.Swap(0)
	a.unticked += x
	a.unsmoothed += x
}

// tickTaken returns what bids have reserved since its last call. Pacer.mu is held.
func (a *account) tickTaken() (x rtb.Micros) {
	a.collect()
	x, a.unticked = a.unticked, 0
	return x
}

// give adds the cost of a reservation back to available.
func (a *account) give(cost rtb.Micros) {
	a.reserved.Add(-cost)
	a.available.Add(cost)
}

// refusal returns why take refused cost: either the cap has no room, or only the grant
// is used up.
func (a *account) refusal(cost rtb.Micros) rtb.NoBidReason {
	if a.blocked() || max(a.available.Load(), 0)+a.free.Load() < cost {
		return rtb.NoBidBudget
	}
	return rtb.NoBidGrant
}

// needs records a cost so that the next grant covers it.
func (a *account) needs(cost rtb.Micros) {
	for {
		w := a.worst.Load()
		if cost <= w || a.worst.CompareAndSwap(w, cost) {
			return
		}
	}
}

// withhold moves up to want micros from available to withheld, or back.
func (a *account) withhold(want rtb.Micros) {
	if want < a.withheld {
		a.available.Add(a.withheld - want)
		a.withheld = want
		return
	}
	for want > a.withheld {
		have := a.available.Load()
		x := min(have, want-a.withheld)
		if x <= 0 {
			return
		}
		if a.available.CompareAndSwap(have, have-x) {
			a.withheld += x
			return
		}
	}
}

// refresh brings the account in line with its budget at a time of the log. b
// may be nil: nothing was granted or spent. A stopping account makes nothing
// available to bidding again.
func (a *account) refresh(b *budget, now time.Time, stopping bool) {
	var settled, late, held rtb.Micros
	if b != nil {
		settled, late, held = b.Settled, b.Late, b.held(now)
		if g := b.run(a.run); g != nil && !stopping {
			a.until.Store(rtb.SecondOf(g.Until))
			a.heldUntil.Store(rtb.SecondOf(g.HeldUntil))
		}
	}
	excess := max(settled+held-a.limit, 0)
	if !stopping || excess > a.withheld {
		a.withhold(excess)
	}
	a.block(excess > a.withheld)
	back := max(a.holdback-late, 0) // late bills use it up first
	a.free.Store(max(a.limit-back-settled-held, 0))
}

// granted is called when a grant of this run has been folded.
func (a *account) granted(grown rtb.Micros) {
	a.sent = time.Time{}
	if grown < 0 && a.withheld > 0 {
		x := min(a.withheld, -grown)
		a.withheld -= x
		grown += x
	}
	a.available.Add(grown)
}
