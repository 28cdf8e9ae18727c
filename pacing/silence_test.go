package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// bidMany makes bids of which a share is billed, until their outcomes are known.
func bidMany(w *world, p *Pacer, exchange string, n, billed int) {
	for i := range n {
		c := w.bid(1_000_000) // expected to win in a quarter of the cases
		c.Exchange = exchange
		for range 2 {
			if p.Reserve(c, nil, nil) == rtb.NoBidNone {
				break
			}
			p.Step(context.Background(), w.now)
		}
		if i < billed {
			w.must(w.notice(events.KindBill, c))
		}
	}
	w.pass(6 * time.Minute)
}

// An exchange of which no bills come any more gets no bids, others do; it gets bids again
// when an operator resumes it or bills come. Fewer bills than usual are no silence.
func TestSilentExchange(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(1000*unit))
	bidMany(w, p, "demo", 1200, 300)
	bidMany(w, p, "other", 1200, 300)
	bidMany(w, p, "other", 400, 20) // an eighth as often
	if p.Stopped("demo") != rtb.NoBidNone || p.Stopped("other") != rtb.NoBidNone {
		t.Fatal("stopped an exchange whose bills came")
	}
	bidMany(w, p, "demo", 100, 0)
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
	bidMany(w, p, "demo", 200, 0)
	wantReason(t, p.Stopped("demo"), rtb.NoBidBlind)
	wantReason(t, p.Stopped("other"), rtb.NoBidNone)
	if b := p.Stats().Billing; len(b) != 1 || b[0].Exchange != "demo" || !b[0].Silent || !b[0].Blind {
		t.Errorf("got %+v", b)
	}
	for range 5 { // of bids that were made before
		c := w.bid(1_000_000)
		c.Grant = "r1"
		w.must(w.notice(events.KindBill, c))
	}
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
	bidMany(w, p, "demo", 300, 0)
	wantReason(t, p.Stopped("demo"), rtb.NoBidBlind)
	if err := p.Pause(context.Background(), "exchange:demo", false, "ann"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
}
