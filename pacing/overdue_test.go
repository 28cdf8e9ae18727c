package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// learnOverdue makes an exchange known: of its bids a quarter is billed after a few seconds,
// the others are never heard of.
func learnOverdue(t *testing.T, w *world, p *Pacer) {
	t.Helper()
	for range 12 {
		var billed []*rtb.Claims
		for i := range 100 {
			c := w.bid(1_000_000)
			for p.Reserve(c, nil, nil) != rtb.NoBidNone {
				p.Step(context.Background(), w.now)
			}
			if i%4 == 0 {
				billed = append(billed, c)
			}
		}
		w.pass(3 * time.Second)
		for _, c := range billed {
			w.must(w.notice(events.KindBill, c))
		}
		w.pass(6 * time.Minute)
	}
}

// dayAccount returns the account of the only line's day.
func dayAccount(p *Pacer, day rtb.Day) *account {
	for id, a := range p.accounts {
		if id.Day == day {
			return a
		}
	}
	return nil
}

// reserveMany makes bids that are all covered.
func reserveMany(t *testing.T, w *world, p *Pacer, n int) (list []*rtb.Claims) {
	t.Helper()
	for range n {
		c := w.bid(1_000_000)
		if p.Reserve(c, nil, nil) != rtb.NoBidNone {
			p.Step(context.Background(), w.now)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		}
		list = append(list, c)
	}
	return list
}

// Once the delay of an exchange's notices is known, most of the money of bids whose notices
// are overdue is bid again. A late win covers its bid in full again, a bill is charged on
// time, and a loss is in doubt like any other.
func TestOverdueBidsFreeMoney(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	first := reserveMany(t, w, p, 100)
	a := dayAccount(p, first[0].Day)
	w.pass(4 * time.Minute)
	if a.reserved.Load() != 100_000 || a.doubted.Load() != 0 {
		t.Fatalf("before anything is known %d reserved, %d doubted; want 100000 and 0", a.reserved.Load(), a.doubted.Load())
	}
	learnOverdue(t, w, p)
	s := p.Stats().Overdue
	if len(s) != 1 || s[0].Life < 3*time.Second || s[0].Life > 10*time.Second || s[0].Share > 0.02 || s[0].Billed != 0 {
		t.Fatalf("learned %+v", s)
	}
	bids := reserveMany(t, w, p, 200)
	for _, c := range bids[150:] {
		w.must(w.notice(events.KindBill, c))
	}
	if a.reserved.Load() != 150_000 || a.kept.Load() != 0 {
		t.Fatalf("reserved %d, kept %d; want 150000 and 0", a.reserved.Load(), a.kept.Load())
	}
	w.pass(20 * time.Second)
	if a.reserved.Load() != 0 || a.doubted.Load() != 150_000 || a.kept.Load() < 20_000 || a.kept.Load() > 40_000 {
		t.Fatalf("reserved %d, overdue %d, kept %d; want 0, 150000 and what an outage may cost", a.reserved.Load(), a.doubted.Load(), a.kept.Load())
	}
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Doubted != 150_000 {
		t.Errorf("row: %+v", r)
	}
	w.must(w.notice(events.KindWin, bids[0]))
	if a.reserved.Load() != 1000 || a.doubted.Load() != 149_000 {
		t.Fatalf("after a win: reserved %d, overdue %d; want 1000, 149000", a.reserved.Load(), a.doubted.Load())
	}
	w.must(w.notice(events.KindBill, bids[0]), w.notice(events.KindBill, bids[1]), w.notice(events.KindLoss, bids[2]))
	if a.reserved.Load() != 0 || a.doubted.Load() != 148_000 {
		t.Fatalf("after two bills and a loss: reserved %d, doubted %d; want 0, 148000", a.reserved.Load(), a.doubted.Load())
	}
	if s := p.Stats(); s.Overdue[0].Billed != 2 || s.Doubted[0].Amount != 1000 || s.LateBills != 0 {
		t.Fatalf("figures: %+v, %+v", s.Overdue, s.Doubted)
	}
	checkAccounts(t, p, 0)
	w.pass(6 * time.Minute)
	if a.doubted.Load() != 0 || a.kept.Load() != 0 || len(a.doubts) != 0 {
		t.Fatalf("at the end: doubted %d, kept %d", a.doubted.Load(), a.kept.Load())
	}
	checkAccounts(t, p, 0)
}

// When the notices of an exchange stop, its bids are held in full again after a few
// missing ones, until notices come in time again.
func TestQuietExchangeHoldsItsBids(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(500*unit))
	learnOverdue(t, w, p)
	said := listen(p)
	reserveMany(t, w, p, 200) // a quarter of them should be heard of
	w.pass(20 * time.Second)
	last := reserveMany(t, w, p, 100)
	a := dayAccount(p, last[0].Day)
	w.pass(20 * time.Second)
	if s := p.Stats().Overdue; !s[0].Quiet || a.available.Load() < 0 || a.kept.Load()+a.reserved.Load() != 300_000 {
		t.Fatalf("%+v: reserved %d, kept %d; want a quiet exchange, and 300000 in all", s, a.reserved.Load(), a.kept.Load())
	}
	if said.FilterMessageSnippet("fewer notices").Len() != 1 {
		t.Error("nothing said that notices stopped")
	}
	w.pass(6 * time.Minute)
	for range 2 {
		bids := reserveMany(t, w, p, 100)
		for _, c := range bids[:25] {
			w.must(w.notice(events.KindBill, c))
		}
		w.pass(6 * time.Minute)
	}
	if s := p.Stats().Overdue; s[0].Quiet {
		t.Fatalf("still quiet: %+v", s)
	}
	checkAccounts(t, p, 0)
}

// An exchange that bills more overdue bids than usual has them held in full again.
func TestOverdueBidsThatAreBilled(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(500*unit))
	learnOverdue(t, w, p)
	said := listen(p)
	bids := reserveMany(t, w, p, 200)
	for _, c := range bids[:50] {
		w.must(w.notice(events.KindBill, c))
	}
	w.pass(20 * time.Second)
	for _, c := range bids[50:80] {
		w.must(w.notice(events.KindBill, c))
	}
	if s := p.Stats().Overdue; s[0].Share != 1 || said.FilterMessageSnippet("overdue bids of an exchange are billed").Len() == 0 {
		t.Fatalf("got %+v; want overdue money covered in full", s)
	}
	checkAccounts(t, p, 0)
}

// What is known of notices survives a restart, and the delays are a fold of the log.
func TestOverdueSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "money")
	p := w.start("r1", dir, dayPlan(50*unit))
	learnOverdue(t, w, p)
	was := p.Stats().Overdue
	w.stop(p)
	p = w.start("r2", dir, dayPlan(50*unit))
	if got := p.Stats().Overdue; len(got) != 1 || got[0] != was[0] {
		t.Errorf("after a restart %+v; want %+v", got, was)
	}
	fresh := w.start("fresh", "", dayPlan(50*unit))
	key := sourceKey{"demo", "banner"}
	if a, b := p.delays[key], fresh.delays[key]; a == nil || b == nil || *a != *b {
		t.Errorf("delays %+v; a fold of the log has %+v", a, b)
	}
	if s := fresh.Stats().Overdue; len(s) != 1 || s[0].Share != 1 {
		t.Errorf("a run that knows no outcomes has %+v; want a share of 1", s)
	}
}

// usual is a time within which most notices come, whatever their delays.
func TestUsualDelay(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		mean := time.Duration(1+r.IntN(3600)) * time.Second
		var d noticeDelays
		var all []time.Duration
		for range 60 + r.IntN(12_000) {
			delay := time.Duration(float64(mean) * r.ExpFloat64())
			all = append(all, delay)
			d.count(delay)
		}
		slices.Sort(all)
		got := time.Duration(d.usual()) * time.Second
		want := all[int(usualDelay*float64(len(all)))]
		if got < want*8/10 || got > want*2+2*time.Second {
			t.Errorf("mean %s, %d notices: got %s; want about %s", mean, len(all), got, want)
		}
	}
	var few noticeDelays
	for range enoughDelays - 1 {
		few.count(time.Second)
	}
	if few.usual() != 0 {
		t.Error("a few notices tell the usual delay")
	}
}

// outage is a time in which an exchange's notices wait.
type outage struct{ from, to time.Time }

// The true bill stays within the cap although money of overdue bids is bid again: notices
// are slow, stop for minutes, and all come before the promise of their bid ends.
func TestTrueBillWithinTheCap(t *testing.T) {
	seeds := uint64(4)
	if raceOn || testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { trueBill(t, seed) })
	}
}

func trueBill(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 77))
	w := newWorld(t)
	w.now = time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	limit := rtb.Micros(200_000 + r.IntN(400_000))
	plan := dayPlan(limit)
	plan.Caps = rtb.CapLineHour
	plan.Limits.Set(rtb.CapLineHour, limit)
	p := w.start("r1", "", plan)
	mean := time.Duration(1+r.IntN(20)) * time.Second
	type bill struct {
		at time.Time
		c  *rtb.Claims
	}
	var bills []bill
	freed := rtb.Micros(0)
	for range 4 {
		start := w.now
		stop := outage{start.Add(time.Duration(r.IntN(50)) * time.Minute), start}
		stop.to = stop.from.Add(time.Duration(r.IntN(240)) * time.Second)
		for w.now.Before(start.Add(time.Hour)) {
			w.now = w.now.Add(time.Second)
			due := bills[:0]
			for _, b := range bills {
				if b.at.After(w.now) {
					due = append(due, b)
					continue
				}
				w.must(w.notice(events.KindBill, b.c))
			}
			bills = due
			for range 3 {
				c := w.bid(1_000_000)
				if p.Reserve(c, nil, nil) != rtb.NoBidNone || r.IntN(4) != 0 {
					continue
				}
				at := w.now.Add(time.Duration(float64(mean) * r.ExpFloat64()))
				if at.After(stop.from) && at.Before(stop.to) {
					at = stop.to
				}
				bills = append(bills, bill{earlier(at, c.WinExpiry.Add(-time.Second)), c})
			}
			p.Step(context.Background(), w.now)
			for _, a := range p.accounts {
				freed = max(freed, a.doubted.Load()-a.kept.Load())
			}
		}
	}
	for _, b := range bills {
		w.must(w.notice(events.KindBill, b.c))
	}
	spent := false
	for id, b := range p.budgets {
		if id.Window != rtb.WindowHour {
			continue
		}
		if b.Settled > limit {
			t.Errorf("%s: the true bill is %d of %d", id, b.Settled, limit)
		}
		spent = spent || b.Settled > limit*9/10
	}
	if freed == 0 || !spent {
		t.Errorf("freed at most %d, spent %v: the test proves nothing", freed, spent)
	}
}
