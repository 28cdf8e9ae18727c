package pacing

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zaplog "go.uber.org/zap/zaptest/observer"

	"rebound/events"
	"rebound/rtb"
)

// listen replaces a run's logger with an observed one.
func listen(p *Pacer) *zaplog.ObservedLogs {
	core, said := zaplog.New(zapcore.WarnLevel)
	p.o.Logger = zap.New(core)
	return said
}

// A fact was stamped by a clock that was ahead, and now the clock is right, or
// was set back: the log's time stays ahead of it. Every reservation would
// expire as soon as it is made, and its money would be bid again, so there are
// no bids.
func TestClockBehindTheLog(t *testing.T) {
	for _, tt := range []struct {
		ahead time.Duration
		bids  bool
	}{
		{0, true}, {time.Second, true}, {5 * time.Second, false}, {4 * time.Minute, false}, {6 * time.Minute, false}, {40 * time.Minute, false},
	} {
		t.Run(tt.ahead.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.start("r1", "", dayPlan(unit))
			said := listen(p)
			w.now = w.now.Add(tt.ahead)
			w.must(events.Fact{ID: "x", Kind: events.KindTick})
			w.now = w.now.Add(-tt.ahead)
			wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), reasonIf(tt.bids)) // before any Step
			bids := bidOn(t, w, p, 2000)
			if (len(bids) > 0) != tt.bids {
				t.Fatalf("%d bids", len(bids))
			}
			for _, c := range bids {
				w.must(w.notice(events.KindWin, c), w.notice(events.KindBill, c))
			}
			if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent > r.Cap || r.Late != 0 || (r.Spent > 0) != tt.bids {
				t.Fatalf("%d bids: %+v", len(bids), r)
			}
			if tt.bids {
				return
			}
			if n := said.FilterMessageSnippet("clock is behind").Len(); n != 1 {
				t.Errorf("said %d times; want once", n)
			}
			if got, want := p.Blind(), fmt.Sprintf("the clock is %.0f s behind the log", (tt.ahead-10*time.Millisecond).Seconds()); got != want {
				t.Errorf("blind %q; want %q, as when it began", got, want)
			}
			if got := p.Stats().ClockBehind; got <= 0 || got > tt.ahead {
				t.Errorf("behind by %s", got)
			}
			wantReason(t, p.Paused("demo", "shop", "autumn"), rtb.NoBidBlind)
			w.pass(tt.ahead)
			if p.Blind() != "" || p.Stats().ClockBehind != 0 || said.FilterMessageSnippet("bidding resumes").Len() != 1 {
				t.Fatalf("still blind: %q, %v, %v", p.Blind(), p.Stats().ClockBehind, said.All())
			}
			wantReason(t, p.Paused("demo", "shop", "autumn"), rtb.NoBidNone)
			wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
		})
	}
}

func reasonIf(bids bool) rtb.NoBidReason {
	if bids {
		return rtb.NoBidNone
	}
	return rtb.NoBidBlind
}

// bidOn makes n bids, 20 in ten milliseconds, while other facts arrive.
func bidOn(t *testing.T, w *world, p *Pacer, n int) (bids []*rtb.Claims) {
	t.Helper()
	for i := range n {
		if i%20 == 0 {
			w.now = w.now.Add(10 * time.Millisecond)
			p.Step(context.Background(), w.now)
			w.must(events.Fact{ID: fmt.Sprint("e", i), Kind: events.KindEvent})
		}
		c := w.bid(1_000_000)
		if p.Reserve(c, nil, nil) == rtb.NoBidNone {
			bids = append(bids, c)
		}
	}
	return bids
}

// A start with a clock that is behind is blind from the first moment.
func TestStartWithAClockBehind(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.kill(w.start("r1", dir, dayPlan(unit)))
	w.now = w.now.Add(-time.Hour)
	q, err := Open(Options{Dir: dir, Run: "r2", Append: w.append, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	w.runs = append(w.runs, q)
	defer w.kill(q)
	wantReason(t, q.Paused("demo", "", ""), rtb.NoBidBlind)
	if got := q.Blind(); got != "the clock is 3600 s behind the log" {
		t.Fatalf("blind %q", got)
	}
	q.SetPlan([]LinePlan{dayPlan(unit)})
	wantReason(t, q.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidBlind)
	before := len(w.facts)
	w.pass(30 * time.Minute)
	if len(w.facts) != before {
		t.Fatalf("%d facts appended while blind", len(w.facts)-before)
	}
}

// The opposite: the log's time jumps ahead, and the clock with it. Bids in
// flight at that moment are late; later bids are not.
func TestClockJumpsAhead(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	inFlight := bidOn(t, w, p, 100)
	if len(inFlight) == 0 {
		t.Fatal("no bids: the test proves nothing")
	}
	w.now = w.now.Add(40 * time.Minute)
	w.must(events.Fact{ID: "x", Kind: events.KindTick})
	p.Step(context.Background(), w.now)
	after := bidOn(t, w, p, 4000)
	for _, c := range append(inFlight, after...) {
		w.must(w.notice(events.KindWin, c), w.notice(events.KindBill, c))
	}
	r := row(t, p.Budgets(w.now), "cart", "day")
	if r.Late != rtb.Micros(len(inFlight))*1000 || r.Spent-r.Late > r.Cap || len(after) < 500 {
		t.Fatalf("%d in flight at the jump, %d after: %+v", len(inFlight), len(after), r)
	}
}
