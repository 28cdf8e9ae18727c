package pacing

import (
	"slices"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// budget is one cap as the log tells it. What it was granted and what it
// settled come from facts alone.
type budget struct {
	id rtb.BudgetID

	Settled rtb.Micros `json:"settled"` // all charges, late ones included
	Late    rtb.Micros `json:"late,omitempty"`
	Seq     uint64     `json:"seq"` // of the last grant
	// Currency is that of the amounts, as the first fact had it.
	Currency rtb.Currency `json:"currency,omitzero"`
	Grants   []grant      `json:"grants,omitempty"`

	dirty bool
}

// grant is what one run may settle from a budget. Times are Unix nanoseconds.
type grant struct {
	Run       string     `json:"run"`
	Amount    rtb.Micros `json:"amount"`  // the whole that the run may ever settle
	Settled   rtb.Micros `json:"settled"` // on time, from this grant
	Until     int64      `json:"until"`
	HeldUntil int64      `json:"held_until"`
}

// keepLapsed is how long a grant is remembered after it is no longer held: a run
// that appends its next grant at that very moment must still find it.
const keepLapsed = time.Hour

func (g *grant) open() rtb.Micros { return max(g.Amount-g.Settled, 0) }

// run finds the grant of a run; nil when it has none.
func (b *budget) run(run string) *grant {
	for i := range b.Grants {
		if b.Grants[i].Run == run {
			return &b.Grants[i]
		}
	}
	return nil
}

// held is what grants may still settle at a time of the log.
func (b *budget) held(now int64) rtb.Micros {
	var sum rtb.Micros
	for i := range b.Grants {
		if b.Grants[i].HeldUntil >= now {
			sum += b.Grants[i].open()
		}
	}
	return sum
}

// applyGrant folds a grant fact and returns by how much the run's amount grew.
func (b *budget) applyGrant(f *events.Fact, now int64) rtb.Micros {
	b.dirty = true
	b.Seq = f.Seq
	b.Grants = slices.DeleteFunc(b.Grants, func(g grant) bool {
		return g.Run != f.Grant.Run && g.HeldUntil+int64(keepLapsed) < now
	})
	g := b.run(f.Grant.Run)
	if g == nil {
		b.Grants = append(b.Grants, grant{Run: f.Grant.Run})
		g = &b.Grants[len(b.Grants)-1]
	}
	grown := f.Grant.Amount - g.Amount
	g.Amount = f.Grant.Amount
	g.Until, g.HeldUntil = f.Grant.Until.UnixNano(), f.Grant.HeldUntil.UnixNano()
	return grown
}

// settle charges an amount and returns how much of it its run's grant covers;
// the rest is late spend.
func (b *budget) settle(run string, amount rtb.Micros, late bool, now int64) (covered rtb.Micros) {
	b.dirty = true
	b.Settled += amount
	if g := b.run(run); g != nil && !late && g.HeldUntil >= now {
		covered = min(amount, g.open())
		g.Settled += covered
	}
	b.Late += amount - covered
	return covered
}

// lineTotal is what a line was charged, whatever its caps.
type lineTotal struct {
	Spend rtb.Micros `json:"spend"`
	Late  rtb.Micros `json:"late,omitempty"`

	Currency rtb.Currency `json:"currency,omitzero"` // of the first charge

	dirty bool
}

// remembered is how long the notices of a bid are: longer than any
// configuration believes them (7 d), so that none counts twice. The fold knows no
// configuration.
const remembered = 7*24*time.Hour + time.Hour

// notice is what is remembered of a bid's notices: the times of the first of
// each kind, in Unix nanoseconds; 0 when there was none.
type notice struct {
	won, lost, charged int64
}

// late tells whether a bill of the bid that is folded now is late. A bill up to
// WinExpiry proves the win itself.
func (n *notice) late(f *events.Notice, now int64) bool {
	if n.lost != 0 {
		return true
	}
	win := seconds(f.WinExpiry)
	deadline := win
	if n.won != 0 && n.won <= win {
		deadline = max(win, seconds(f.BillExpiry))
	}
	return now > deadline
}

// seconds is t in Unix nanoseconds, cut to the second as tokens carry it.
func seconds(t time.Time) int64 { return t.Unix() * int64(time.Second) }
