package pacing

import (
	"slices"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// budget is the state of one cap. Its granted and settled amounts come from
// facts alone.
type budget struct {
	id rtb.BudgetID

	Settled rtb.Micros `json:"settled"` // all charges, late ones included
	Late    rtb.Micros `json:"late,omitempty"`
	// Imps are the impressions that were charged, in a budget of money. They count for a
	// cap on impressions that is added later.
	Imps rtb.Micros `json:"imps,omitempty"`
	// Reported is the part of Settled that reports of exchanges showed beyond their notices.
	Reported rtb.Micros `json:"reported,omitempty"`
	Seq      uint64     `json:"seq"` // sequence of the last grant
	// Currency is the currency of the amounts, taken from the first fact.
	Currency rtb.Currency `json:"currency,omitzero"`
	Grants   []grant      `json:"grants,omitempty"`

	dirty bool
}

// grant is the amount that one run may settle from a budget.
type grant struct {
	Run       string     `json:"run"`
	Node      string     `json:"node,omitempty"`
	Amount    rtb.Micros `json:"amount"`  // the total that the run may ever settle
	Settled   rtb.Micros `json:"settled"` // settled on time from this grant
	Until     time.Time  `json:"until"`
	HeldUntil time.Time  `json:"held_until"`
}

// keepLapsed is how long a grant is remembered after it is no longer held, so that a run
// which appends its next grant at that moment still finds it.
const keepLapsed = time.Hour

func (g *grant) open() rtb.Micros { return max(g.Amount-g.Settled, 0) }

// run returns the grant of a run, or nil if it has none.
func (b *budget) run(run string) *grant {
	for i := range b.Grants {
		if b.Grants[i].Run == run {
			return &b.Grants[i]
		}
	}
	return nil
}

// nodes returns the number of runs that may bid from the budget now, run included.
func (b *budget) nodes(run string, now time.Time) int {
	n := 1
	for i := range b.Grants {
		g := &b.Grants[i]
		if !strings.HasSuffix(g.Run, longSuffix) && g.Run != run && g.Until.After(now) {
			n++
		}
	}
	return n
}

// held returns the amount that grants may still settle at a time of the log.
func (b *budget) held(now time.Time) rtb.Micros {
	var sum rtb.Micros
	for i := range b.Grants {
		if !b.Grants[i].HeldUntil.Before(now) {
			sum += b.Grants[i].open()
		}
	}
	return sum
}

// applyGrant folds a grant fact and returns the amount by which the run's grant grew.
func (b *budget) applyGrant(f *events.Fact, now time.Time) rtb.Micros {
	b.dirty = true
	b.Seq = f.Seq
	b.Grants = slices.DeleteFunc(b.Grants, func(g grant) bool {
		return g.Run != f.Grant.Run && g.HeldUntil.Add(keepLapsed).Before(now)
	})
	g := b.run(f.Grant.Run)
	if g == nil {
		b.Grants = append(b.Grants, grant{Run: f.Grant.Run, Node: f.Node, Settled: f.Grant.Settled})
		g = &b.Grants[len(b.Grants)-1]
	}
	grown := f.Grant.Amount - g.Amount
	g.Amount = f.Grant.Amount
	g.Until, g.HeldUntil = f.Grant.Until.UTC(), f.Grant.HeldUntil.UTC()
	return grown
}

// settle charges an amount and returns the part of it that the run's grant covers; the
// rest is late spend.
func (b *budget) settle(run string, amount rtb.Micros, late bool, now time.Time) (covered rtb.Micros) {
	b.dirty = true
	b.Settled += amount
	if g := b.run(run); g != nil && !late && !g.HeldUntil.Before(now) {
		covered = min(amount, g.open())
		g.Settled += covered
	}
	b.Late += amount - covered
	return covered
}

// lineTotal is the total of a line's charges, independent of its caps.
type lineTotal struct {
	Spend rtb.Micros `json:"spend"`
	Late  rtb.Micros `json:"late,omitempty"`

	Currency rtb.Currency `json:"currency,omitzero"` // currency of the first charge

	dirty bool
}

// remembered is how long the notices of a bid are remembered, so that none
// counts twice. It is longer than any configuration accepts them (7 d). The
// fold reads no configuration.
const remembered = 7*24*time.Hour + time.Hour

// notice holds the log times of the first notice of each kind for a bid; a time is zero
// if there was no such notice.
type notice struct {
	won, lost, charged time.Time
	clicked            time.Time // the first click
}

// late reports whether a bill of the bid is late at a time of the log. A bill up to
// WinExpiry proves the win itself. A loss notice does not make a bill late, because the
// money of its bid was doubted, not released. Tokens carry whole seconds.
func (n *notice) late(f *events.Notice, now time.Time) bool {
	win := f.WinExpiry.Truncate(time.Second)
	deadline := win
	if !n.won.IsZero() && !n.won.After(win) {
		deadline = later(win, f.BillExpiry.Truncate(time.Second))
	}
	return now.After(deadline)
}
