package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// wins makes n bids that win, of which the last are never billed, and lets their
// windows pass.
func wins(t *testing.T, w *world, p *Pacer, n, unbilled int, by events.Kind) (open []*rtb.Claims) {
	t.Helper()
	for i := range n {
		c := w.bid(1_000_000)
		for p.Reserve(c, nil, nil) != rtb.NoBidNone {
			w.now = w.now.Add(time.Second)
			p.Step(context.Background(), w.now)
			c = w.bid(1_000_000)
		}
		win := w.notice(events.KindWin, c)
		win.Notice.Bills = by == events.KindWin && i < n-unbilled
		w.must(win)
		switch {
		case i >= n-unbilled:
			open = append(open, c)
		case by == events.KindBill:
			w.must(w.notice(events.KindBill, c))
		}
	}
	w.pass(31 * time.Minute)
	return open
}

// An exchange whose wins are never billed gets no further bids, while others
// do, until bills arrive or an operator resumes it.
func TestWinsWithoutBills(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	said := listen(p)
	wins(t, w, p, enoughWins-1, enoughWins-1, events.KindBill)
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidNone)
	open := wins(t, w, p, 1, 1, events.KindBill)
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidBlind)
	wantReason(t, p.Paused("other", "", ""), rtb.NoBidNone)
	if b := p.Stats().Billing; len(b) != 1 || b[0] != (Billing{Exchange: "demo", Wins: enoughWins, Unbilled: enoughWins, Blind: true}) {
		t.Fatalf("billing: %+v", b)
	}
	if n := said.FilterMessageSnippet("gets no more bids").Len(); n != 1 {
		t.Errorf("said %d times; want once", n)
	}
	if err := p.Pause(context.Background(), "exchange:demo", false, "ops"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidNone)

	open = append(open, wins(t, w, p, enoughWins, enoughWins, events.KindBill)...)
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidBlind)
	for _, c := range open[:enoughWins/10+1] {
		w.must(w.notice(events.KindBill, c))
		w.must(w.notice(events.KindBill, c))
	}
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidNone)
}

// Wins that are billed, partly billed, or billed by the win notice itself, do not stop bids.
func TestBilledWinsStopNothing(t *testing.T) {
	for _, by := range []events.Kind{events.KindBill, events.KindWin} {
		w := newWorld(t)
		p := w.start("r1", "", dayPlan(50*unit))
		n := 3 * enoughWins
		unbilled := n * 8 / 10
		if by == events.KindWin {
			unbilled = 0
		}
		wins(t, w, p, n, unbilled, by)
		wantReason(t, p.Paused("demo", "", ""), rtb.NoBidNone)
		if b := p.Stats().Billing; by == events.KindBill && (len(b) != 1 || b[0].Wins != float64(n) || b[0].Unbilled != float64(unbilled)) ||
			by == events.KindWin && len(b) != 0 {
			t.Fatalf("%s: %+v", by, b)
		}
	}
}
