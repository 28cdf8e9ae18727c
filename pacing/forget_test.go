package pacing

import (
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Notices are removed after their time, not before.
func TestNoticesAreForgotten(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindWin, c))
	count := func() (n int) {
		for _, kind := range []byte{keyNotice, keyForget} {
			if err := each(p.db, kind, func(_, _ []byte) error { n++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	tick := events.Fact{ID: "t", Kind: events.KindTick}
	w.now = w.now.Add(7 * 24 * time.Hour)
	w.must(tick)
	if got := count(); got != 2 {
		t.Fatalf("%d records within the time; want 2", got)
	}
	w.now = w.now.Add(2 * time.Hour)
	w.must(tick)
	if got := count(); got != 0 {
		t.Fatalf("%d records after the time; want none", got)
	}
}

// A bill is remembered for as long as any configuration may accept notices.
func TestBillAWeekLaterIsTheSame(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir, dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	bill := w.notice(events.KindBill, c)
	w.must(bill)
	for range 7 * 24 {
		w.now = w.now.Add(time.Hour)
		w.must(events.Fact{ID: "t" + w.now.String(), Kind: events.KindTick})
	}
	w.kill(p)
	q := w.start("r2", dir, dayPlan(50*unit))
	w.must(bill)
	if s := q.Stats(); s.Lines[0].Spend != 2000 || s.Duplicates != 1 {
		t.Fatalf("stats: %+v", s)
	}
}

// However fast notices arrive, those that are no longer accepted are removed as fast.
func TestForgettingKeepsUp(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", t.TempDir(), dayPlan(50*unit))
	count := func() (n int) {
		if err := each(p.db, keyNotice, func(_, _ []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	losses := func(n int) {
		facts := make([]events.Fact, n)
		for i := range facts {
			facts[i] = w.notice(events.KindLoss, w.bid(2_000_000))
		}
		w.now = w.now.Add(time.Second)
		w.must(facts...)
		w.facts = w.facts[:0]
	}
	for range 5 {
		losses(2000)
	}
	w.now = w.now.Add(remembered + time.Hour)
	for range 10 {
		losses(500) // 1,000 old ones go with each
	}
	if got := count(); got != 5000 {
		t.Fatalf("%d notices; want the new 5,000", got)
	}
	w.now = w.now.Add(remembered + time.Hour)
	for range (5000 + leastForgotten - 1) / leastForgotten {
		w.now = w.now.Add(time.Second)
		w.must(events.Fact{ID: "t", Kind: events.KindTick})
	}
	if got := count(); got != 0 {
		t.Fatalf("%d notices; want none", got)
	}
	losses(1)
	w.now = w.now.Add(remembered + time.Hour) // and it continues after there were none
	w.must(events.Fact{ID: "t", Kind: events.KindTick})
	if got := count(); got != 0 {
		t.Fatalf("%d notices; want none", got)
	}
}
