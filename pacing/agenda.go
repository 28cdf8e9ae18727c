package pacing

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
)

// A round takes the observations of the lines that have any, moves the multipliers of
// their caps, and checks the grants of the accounts that a bid or a fact has changed.
// Everything else changes only with time, and slowly: rounds take it in turn, so that
// each line and account is visited once in sweepEvery. The cost of a round thereby
// depends on the traffic, and hardly on the number of lines.
//
// After a longer gap than longGap, and when the plan has changed, a round visits
// everything.
const (
	sweepEvery = 5 * time.Second
	longGap    = time.Second
)

// agenda is what the next round visits. Pacer.mu protects it.
type agenda struct {
	all      bool       // everything
	accounts []*account // accounts that have changed
	rounded  time.Time  // time of the last round
	share    float64    // share of the lines and accounts that this round visits in turn

	nextLine, nextAccount int          // whose turn it is
	lines                 []*tableLine // scratch memory
}

// begin starts a round.
func (g *agenda) begin(now time.Time) {
	gap := now.Sub(g.rounded)
	g.rounded = now
	g.all = g.all || gap >= longGap || gap < 0
	g.share = gap.Seconds() / sweepEvery.Seconds()
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

// turn returns the part of n that this round visits in turn: count elements from the
// first on, in a circle.
func (g *agenda) turn(next *int, n int) (first, count int) {
	count = min(int(math.Ceil(g.share*float64(n))), n)
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
	for _, l := range p.touched.take() {
		if e := t.line(l.handle); e != nil && e.order >= 0 {
			l.observed = true
			list = append(list, e)
		}
	}
	if g.all || len(list) > len(t.order)/2 {
		g.lines = list
		return t.order
	}
	first, count := g.turn(&g.nextLine, len(t.order))
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
	if !g.all {
		first, count := g.turn(&g.nextAccount, len(all))
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

// touchedLines lists the lines that were observed since the last round.
type touchedLines struct {
	mu    sync.Mutex
	list  []*line
	taken []*line // the list before, whose memory is used again
}

func (t *touchedLines) add(l *line) {
	t.mu.Lock()
	t.list = append(t.list, l)
	t.mu.Unlock()
}

// take returns the lines and forgets them. What is observed from now on lists its line
// again. The result is valid until the next call.
func (t *touchedLines) take() []*line {
	t.mu.Lock()
	t.list, t.taken = t.taken[:0], t.list
	t.mu.Unlock()
	for _, l := range t.taken {
		l.touched.Store(false)
	}
	return t.taken
}
