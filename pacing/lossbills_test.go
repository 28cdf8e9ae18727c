package pacing

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// loseMany makes bids that are reported lost, of which some are billed at random.
func loseMany(w *world, p *Pacer, r *rand.Rand, exchange string, n int, billed float64) {
	for range n {
		c := w.bid(1_000_000) // expected to win in a quarter of the cases
		c.Exchange = exchange
		if p.Reserve(c, nil, nil) != rtb.NoBidNone {
			p.Step(context.Background(), w.now)
			p.Reserve(c, nil, nil)
		}
		w.must(w.notice(events.KindLoss, c))
		if r.Float64() < billed {
			w.must(w.notice(events.KindBill, c))
		}
	}
	w.pass(6 * time.Minute)
}

// An exchange that begins to bill the bids it reported lost is stopped, others are not; an
// operator resumes it. One that has always billed some of its losses is not stopped, also
// when more of its bids win.
func TestBilledLossesStopTheirExchange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(5000*unit))
	said := listen(p)
	for range 3 {
		loseMany(w, p, r, "demo", 500, 0.002)
		loseMany(w, p, r, "all", 500, 0.2)
	}
	loseMany(w, p, r, "demo", 500, 0.012)
	loseMany(w, p, r, "all", 500, 0.35)
	loseMany(w, p, r, "new", 400, 0.2)
	for _, exchange := range []string{"demo", "all", "new"} {
		wantReason(t, p.Stopped(exchange), rtb.NoBidNone)
	}
	loseMany(w, p, r, "demo", 300, 0.2)
	wantReason(t, p.Stopped("demo"), rtb.NoBidBlind)
	wantReason(t, p.Stopped("all"), rtb.NoBidNone)
	if n := said.FilterMessageSnippet("reported lost than usual").Len(); n != 1 {
		t.Errorf("said %d times; want once", n)
	}
	for _, b := range p.Stats().Billing {
		if b.Losses != (b.Exchange == "demo") || b.Blind != b.Losses {
			t.Errorf("got %+v", b)
		}
	}
	if err := p.Pause(context.Background(), "exchange:demo", false, "ann"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
	for _, d := range p.Stats().Doubted {
		if d.Exchange == "demo" && d.Matured != 0 {
			t.Errorf("the share of billed losses is not learned again: %+v", d)
		}
	}
	loseMany(w, p, r, "demo", 300, 0.2)
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
	checkAccounts(t, p, 0)
}

// What is usual survives a restart, so that a restart does not hide a change.
func TestUsualLossesSurviveRestart(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "money")
	p := w.start("r1", dir, dayPlan(5000*unit))
	loseMany(w, p, r, "demo", 600, 0)
	w.stop(p)
	p = w.start("r2", dir, dayPlan(5000*unit))
	loseMany(w, p, r, "demo", 200, 0.3)
	wantReason(t, p.Stopped("demo"), rtb.NoBidBlind)
}
