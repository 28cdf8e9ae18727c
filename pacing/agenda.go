package pacing

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A round checks the grants of the accounts that bids ask for or a fact has changed. One
// in a second also takes the observations of the lines that have any, and moves the
// multipliers of their caps. Everything else changes only with time, and slowly: rounds
// take it in turn, so that each line and account is visited once in sweepEvery. The cost
// of a round thereby depends on the traffic, and hardly on the number of lines.
//
// After a longer gap than longGap, and when the plan has changed, a round visits
// everything.
const (
	moveEvery  = time.Second
	sweepEvery = 5 * time.Second
	longGap    = time.Second
)

// agenda is what the next round visits. Pacer.mu protects it.
type agenda struct {
	all      bool       // everything
	accounts []*account // accounts that have changed
	rounded  time.Time  // time of the last round
	moved    time.Time  // time of the last round that moved multipliers
	moves    bool       // this round moves multipliers
	// Shares of the lines and accounts that this round visits in turn.
	lineShare, accountShare float64

	nextLine, nextAccount int          // whose turn it is
	lines                 []*tableLine // scratch memory
}

// begin starts a round.
func (g *agenda) begin(now time.Time) {
	gap := now.Sub(g.rounded)
	g.rounded = now
	g.all = g.all || gap >= longGap || gap < 0
	g.accountShare = gap.Seconds() / sweepEvery.Seconds()
	unmoved := now.Sub(g.moved)
	if g.moves = g.all || unmoved > moveEvery-stepEvery/2; g.moves {
		g.moved, g.lineShare = now, unmoved.Seconds()/sweepEvery.Seconds()
	}
}

// everything makes the next round visit everything.
func (g *agenda) everything() {
	for _, a := range g.accounts {
		a.due = false
	}
	g.all, g.accounts = true, g.accounts[:0]
}

// add makes the next round visit an account; nil is ignored.
func (g *agenda) add(a *account) {
	if a != nil && !a.due {
		a.due = true
		g.accounts = append(g.accounts, a)
	}
}

// addTaken adds an account from which bids have reserved money; others wait for their turn.
func (g *agenda) addTaken(a *account) {
	if a != nil && a.unsmoothed > 0 {
		g.add(a)
	}
}

// turn returns the part of n elements that is visited in turn: count of them from the
// first on, in a circle.
func turn(next *int, n int, share float64) (first, count int) {
	count = min(int(math.Ceil(share*float64(n))), n)
	if *next >= n {
		*next = 0
	}
	first = *next
	*next = (first + count) % max(n, 1)
	return first, count
}

// linesDue returns the lines of the table whose caps this round moves, in the plan's
// order, so that sums are reproducible. Lines that were observed are marked. p.mu is held.
func (p *Pacer) linesDue(t *table) []*tableLine {
	g := &p.agenda
	list := g.lines[:0]
	for _, l := range p.touched.take((*line).listing) {
		if e := t.line(l.handle); e != nil && e.order >= 0 {
			l.observed = true
			list = append(list, e)
		}
	}
	if g.all || len(list) > len(t.order)/2 {
		g.lines = list
		return t.order
	}
	first, count := turn(&g.nextLine, len(t.order), g.lineShare)
	for i := range count {
		list = append(list, t.order[(first+i)%len(t.order)])
	}
	slices.SortFunc(list, func(a, b *tableLine) int { return cmp.Compare(a.order, b.order) })
	g.lines = list
	return slices.Compact(list)
}

// accountsDue returns the accounts whose grants this round checks, in the order of
// [Pacer.sortedAccounts], and takes them off the agenda. p.mu is held.
func (p *Pacer) accountsDue() []*account {
	g, all := &p.agenda, p.sortedAccounts()
	for _, a := range p.short.take((*account).listing) {
		g.add(a)
	}
	if !g.all {
		first, count := turn(&g.nextAccount, len(all), g.accountShare)
		for i := range count {
			g.add(all[(first+i)%len(all)])
		}
	}
	due := g.accounts
	for _, a := range due {
		a.due = false
	}
	g.accounts = g.accounts[:0]
	if g.all || len(due) > len(all)/2 {
		g.all = false
		return all
	}
	slices.SortFunc(due, func(a, b *account) int { return cmp.Compare(a.order, b.order) })
	return due
}

// budgetOf returns the budget of an account, or nil if nothing was granted or spent. It
// is p.budgets[a.id], which it looks up again after the set of budgets has changed. p.mu
// is held.
func (p *Pacer) budgetOf(a *account) *budget {
	if a.epoch != p.epoch {
		if a.budget = p.budgets[a.id]; a.budget == nil && a.id.Imps {
			a.budget = p.newBudget(a.id)
		}
		a.epoch = p.epoch
	}
	return a.budget
}

// changedList lists what the bid path has changed since the last round, each once.
type changedList[T any] struct {
	mu    sync.Mutex
	list  []T
	taken []T // the list before, whose memory is used again
}

// add lists x unless its flag says that it is listed. It must be called after the change.
func (c *changedList[T]) add(x T, listed *atomic.Bool) {
	if listed.Load() || !listed.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	c.list = append(c.list, x)
	c.mu.Unlock()
}

// take returns the list and forgets it; listed returns the flag of an element. What
// changes from now on is listed again. The result is valid until the next call.
func (c *changedList[T]) take(listed func(T) *atomic.Bool) []T {
	c.mu.Lock()
	c.list, c.taken = c.taken[:0], c.list
	c.mu.Unlock()
	for _, x := range c.taken {
		listed(x).Store(false)
	}
	return c.taken
}
