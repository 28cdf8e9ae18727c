package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/rtb"
)

// Between two moves of the multipliers, rounds renew the grants that bids ask for, and the
// controller still learns of all the money that bids reserved.
func TestRoundsBetweenMoves(t *testing.T) {
	w := newWorld(t)
	plan := dayPlan(1000 * unit)
	plan.Mode = Even
	p := w.start("r1", "", plan)
	id := rtb.BudgetIn(rtb.CapLineDay, plan.Line, &rtb.Periods{Day: rtb.DayOf(w.now, time.UTC)})
	a := p.accounts[id]
	step := func(d time.Duration) (grants uint64) {
		before := p.counts.grants.Load()
		w.now = w.now.Add(d)
		p.Step(context.Background(), w.now)
		return p.counts.grants.Load() - before
	}
	step(moveEvery)
	want, was, grants := 0.0, a.control.Taken, uint64(0)
	for i := range 3 { // the rounds before the next one that moves multipliers
		for a.available.Load() >= a.low.Load() {
			c := w.bid(2_000_000)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
			p.observe(plan.Line, c.Expected)
			want += float64(c.Reserved)
		}
		c := w.bid(2_000_000)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		want += float64(c.Reserved)
		if grants += step(stepEvery); grants != uint64(i+1) || a.control.Taken != was {
			t.Fatalf("round %d: got %d grants, and %v micros for the controller; want a grant for each round, and %v as before", i, grants, a.control.Taken, was)
		}
	}
	step(stepEvery)
	if got := a.control.Taken; got < was*0.99+want || got > was+want {
		t.Errorf("the controller learned of %v micros; want %v, all that was reserved, and %v from before, faded", got, want, was)
	}
}
