package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"rebound/events"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// kill -9 between a bill and the restart: spend and the duplicate check survive,
// in the view's folder and when it is folded again.
func TestKillAndRestart(t *testing.T) {
	conformance.Covers(t, "M8")
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "money")
	p := w.start("r1", dir, dayPlan(50*unit))
	billed, open := w.bid(2_000_000), w.bid(2_000_000)
	wantReason(t, p.Reserve(billed, nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(open, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, billed))
	held := row(t, p.Budgets(w.now), "cart", "day").Granted
	w.kill(p)

	again := w.start("r2", dir, dayPlan(50*unit))
	fresh := w.start("r3", "", dayPlan(50*unit))
	for _, q := range []*Pacer{again, fresh} {
		w.must(w.notice(events.KindBill, billed))
		r := row(t, q.Budgets(w.now), "cart", "day")
		if r.Spent != 2000 || r.Late != 0 || r.Granted < held {
			t.Fatalf("run %s: %+v; want spent 2000 and at least %d held", q.o.Run, r, held)
		}
	}
	// The outstanding bill comes in its window: charged on time, out of the dead
	// run's grant.
	w.pass(time.Minute)
	w.must(w.notice(events.KindBill, open))
	r := row(t, again.Budgets(w.now), "cart", "day")
	if r.Spent != 4000 || r.Late != 0 {
		t.Fatalf("after the outstanding bill: %+v", r)
	}
	if got, want := again.budgets, fresh.budgets; fmt.Sprint(dump(got)) != fmt.Sprint(dump(want)) {
		t.Fatalf("stored and refolded views differ:\n%v\n%v", dump(got), dump(want))
	}
}

func dump(budgets map[rtb.BudgetID]*budget) map[string]string {
	out := map[string]string{}
	for id, b := range budgets {
		out[id.String()] = fmt.Sprintf("%+v", *b)
	}
	return out
}

// What a dead run held is free when the log's time has passed its end.
func TestDeadRunsGrantIsFreed(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(0)
	l.Caps, l.LineTotal = rtb.CapLineTotal, 10_000
	p := w.start("r1", "", l)
	for range 3 {
		wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
		p.Step(context.Background(), w.now)
	}
	w.kill(p)
	q := w.start("r2", "", l)
	r := row(t, q.Budgets(w.now), "cart", "total")
	dead := r.Granted
	spend(t, w, q, 1_000_000, 100)
	r = row(t, q.Budgets(w.now), "cart", "total")
	if r.Spent >= 10_000 || r.Spent+r.Granted != 10_000 {
		t.Fatalf("got %+v; want the dead run's part of %d still held", r, dead)
	}
	w.pass(2 * time.Hour) // grant life and bid life have passed; ticks advanced the log
	spend(t, w, q, 1_000_000, 100)
	if r = row(t, q.Budgets(w.now), "cart", "total"); r.Spent != 10_000 || r.Late != 0 {
		t.Fatalf("got %+v; want everything spent", r)
	}
}

// A clean stop returns everything but the bids in flight, whose bills are on time.
func TestStopGivesBack(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	if err := p.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Granted != 2000 || r.Reserved != 2000 {
		t.Fatalf("after stop: %+v; want only the bid held", r)
	}
	wantReason(t, p.Reserve(w.bid(10_000), nil, nil), rtb.NoBidGrant)
	w.kill(p)
	q := w.start("r2", "", dayPlan(50*unit))
	w.must(w.notice(events.KindBill, c))
	if r := row(t, q.Budgets(w.now), "cart", "day"); r.Spent != 2000 || r.Late != 0 {
		t.Fatalf("after the bill: %+v", r)
	}
}

// Two runs share a budget: the slower of two grants is refused by the log and
// tried again; together they never pass the cap.
func TestTwoRunsShareABudget(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(100_000)
	p, q := w.start("r1", "", l), w.start("r2", "", l)
	for range 200 {
		spend(t, w, p, 1_000_000, 1)
		spend(t, w, q, 1_000_000, 1)
	}
	r := row(t, q.Budgets(w.now), "cart", "day")
	if r.Spent != 100_000 || r.Late != 0 {
		t.Fatalf("got %+v; want exactly the cap", r)
	}
}

// A run whose fold is behind must not grant itself money that another run has:
// the log refuses, and the run retries once it has caught up.
func TestStaleGrantIsRefused(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(3000)
	p := w.start("r1", "", l)
	w.runs = nil // r1 stops folding
	behind := len(w.facts)
	q := w.start("r2", "", l)
	q.SetPlan([]LinePlan{dayPlan(50_000)}) // r2 grants itself more
	q.Step(context.Background(), w.now)
	w.now = w.now.Add(6 * time.Minute) // r1's renewal is due
	p.Step(context.Background(), w.now)
	if s := p.Stats(); s.Conflicts != 1 || s.AppendErrors != 0 {
		t.Fatalf("stats: %+v; want one conflict, no error", s)
	}
	if err := p.Apply(w.facts[behind:]); err != nil {
		t.Fatal(err)
	}
	w.runs = append(w.runs, p)
	p.Step(context.Background(), w.now)
	if s := p.Stats(); s.Conflicts != 1 || s.Grants != 2 {
		t.Fatalf("stats: %+v; want no further conflict", s)
	}
	w.kill(p)
}

// The invariant, with everything that goes wrong: random bids, wins, losses,
// bills on time, late, twice or never, crashes, restarts, stops, changed caps, two
// runs, a log that fails. At every grant settled - late + held <= cap.
func TestInvariantUnderEverything(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		chaos(t, uint64(seed))
	}
}

func chaos(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	limit := rtb.Micros(20_000 + r.IntN(80_000))
	plan := dayPlan(limit)
	plan.Caps, plan.LineTotal = rtb.CapLineDay|rtb.CapLineTotal, limit*3/2
	apply := w.log.Apply
	type share struct {
		run string
		id  rtb.BudgetID
	}
	amounts := map[share]rtb.Micros{}
	w.log.Apply = func(facts []events.Fact) error {
		err := apply(facts)
		for i := range facts {
			g := facts[i].Grant
			if g == nil {
				continue
			}
			grew := g.Amount > amounts[share{g.Run, g.Budget}]
			amounts[share{g.Run, g.Budget}] = g.Amount
			for _, p := range w.runs {
				if grew {
					checkGrant(t, p, &facts[i], seed)
				}
			}
		}
		return err
	}
	n := 0
	name := func() string { n++; return fmt.Sprintf("r%d", n) }
	w.start(name(), "", plan)
	var bids []*rtb.Claims
	for range 400 {
		p := w.runs[r.IntN(len(w.runs))]
		switch k := r.IntN(100); {
		case k < 45:
			c := w.bid(rtb.CPM(1 + r.IntN(3_000_000)))
			if p.Reserve(c, nil, nil) == rtb.NoBidNone {
				bids = append(bids, c)
			}
		case k < 80 && len(bids) > 0:
			c := bids[r.IntN(len(bids))]
			kind := []events.Kind{events.KindWin, events.KindBill, events.KindBill, events.KindLoss}[r.IntN(4)]
			f := w.notice(kind, c)
			f.Notice.Charge = rtb.Micros(r.Int64N(int64(c.Reserved) + 1))
			w.must(f)
		case k < 90:
			w.pass(time.Duration(r.IntN(400)) * time.Second)
		case k < 93:
			w.down = !w.down
		case k < 95:
			plan.LineDay = rtb.Micros(r.Int64N(int64(limit)))
			for _, p := range w.runs {
				p.SetPlan([]LinePlan{plan})
			}
		case k < 97 && len(w.runs) < 3:
			w.start(name(), "", plan)
		case k < 99 && len(w.runs) > 1:
			if r.IntN(2) == 0 {
				_ = p.Stop(context.Background()) // the log may be down: then it is held
			}
			w.kill(p)
		default:
			p.Step(context.Background(), w.now)
		}
	}
	compareRuns(t, w, seed)
	for _, p := range append([]*Pacer(nil), w.runs...) {
		checkAccounts(t, p, seed)
		w.kill(p)
	}
}

// End to end: with a constant cap and bills inside their windows, across any
// crashes and restarts, nothing is late and the charges never exceed the cap.
func TestOnTimeBillsNeverPassTheCap(t *testing.T) {
	seeds := uint64(15)
	if raceOn || testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t)
		const limit = 60_000
		l := dayPlan(0)
		l.Caps, l.LineTotal = rtb.CapLineTotal, limit
		n := 1
		w.start("r1", "", l)
		type open struct {
			c    *rtb.Claims
			bill time.Time
		}
		var bids []open
		charged := rtb.Micros(0)
		for range 300 {
			p := w.runs[r.IntN(len(w.runs))]
			for range r.IntN(12) {
				c := w.bid(rtb.CPM(500_000 + r.IntN(1_500_000)))
				if p.Reserve(c, nil, nil) == rtb.NoBidNone && r.IntN(3) > 0 {
					w.must(w.notice(events.KindWin, c))
					bids = append(bids, open{c, w.now.Add(time.Duration(r.IntN(1795)) * time.Second)})
				}
				p.Step(context.Background(), w.now)
			}
			if r.IntN(6) == 0 {
				n++
				w.start(fmt.Sprintf("r%d", n), "", l)
				w.kill(p)
			}
			w.pass(time.Duration(r.IntN(300)) * time.Second)
			left := bids[:0]
			for _, b := range bids {
				if b.bill.Add(-5 * time.Minute).After(w.now) {
					left = append(left, b)
					continue
				}
				w.must(w.notice(events.KindBill, b.c))
				charged += b.c.Reserved
			}
			bids = left
			got := row(t, w.runs[0].Budgets(w.now), "cart", "total")
			if got.Spent != charged || charged > limit || got.Late != 0 {
				t.Fatalf("seed %d: charged %d of %d: %+v", seed, charged, limit, got)
			}
		}
		if charged < limit/2 {
			t.Fatalf("seed %d: only %d charged: the test proves nothing", seed, charged)
		}
		for len(w.runs) > 0 {
			w.kill(w.runs[0])
		}
	}
}

// checkGrant holds the invariant against the cap that a growing grant was cut
// from. One that only returns money may exceed a cap that was lowered.
func checkGrant(t *testing.T, p *Pacer, f *events.Fact, seed uint64) {
	t.Helper()
	b := p.budgets[f.Grant.Budget]
	if got := b.Settled - b.Late + b.held(p.now); got > f.Grant.Cap {
		t.Fatalf("seed %d: %s: settled %d - late %d + held %d > cap %d", seed, b.id, b.Settled, b.Late, b.held(p.now), f.Grant.Cap)
	}
}

// checkAccounts checks that the available, reserved and withheld amounts of an
// account add up to the unsettled part of its grant.
func checkAccounts(t *testing.T, p *Pacer, seed uint64) {
	t.Helper()
	for id, a := range p.accounts {
		b := p.budgets[id]
		if b == nil {
			continue
		}
		g := b.run(p.o.Run)
		if g == nil {
			continue
		}
		sum := a.available.Load() + a.reserved.Load() + a.kept.Load() + a.withheld
		if sum != g.Amount-g.Settled || a.available.Load() < 0 || a.reserved.Load() < 0 {
			t.Fatalf("seed %d: %s: available %d + reserved %d + withheld %d != %d - %d", seed, id,
				a.available.Load(), a.reserved.Load(), a.withheld, g.Amount, g.Settled)
		}
	}
}

// compareRuns checks that every run, and one that starts now, folded to the same state.
func compareRuns(t *testing.T, w *world, seed uint64) {
	t.Helper()
	w.down = true // the new run only observes
	defer func() { w.down = false }()
	fresh := w.start("fresh", "")
	want := fmt.Sprint(dump(fresh.budgets))
	for _, p := range w.runs {
		if got := fmt.Sprint(dump(p.budgets)); got != want {
			t.Fatalf("seed %d: run %s folded\n%s\na fresh one\n%s", seed, p.o.Run, got, want)
		}
	}
}

// Checkpoint, Restore and Reset bring a running view to the same state as a
// fold of the log, and the accounts stay right.
func TestCheckpointRestoreReset(t *testing.T) {
	w := newWorld(t)
	base := t.TempDir()
	p := w.start("r1", filepath.Join(base, "money"), dayPlan(50*unit))
	bill := func() {
		c := w.bid(2_000_000)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		w.must(w.notice(events.KindBill, c))
	}
	bill()
	copied := filepath.Join(base, "copy")
	if err := p.Checkpoint(copied); err != nil {
		t.Fatal(err)
	}
	at := p.Position()
	bill()
	open := w.bid(2_000_000)
	wantReason(t, p.Reserve(open, nil, nil), rtb.NoBidNone)
	want := fmt.Sprint(dump(p.budgets))
	for _, back := range []func() error{func() error { return p.Restore(copied) }, p.Reset, func() error { return p.Restore(copied) }} {
		if err := back(); err != nil {
			t.Fatal(err)
		}
		if got := p.Position(); got != at && got.Seq != 0 {
			t.Fatalf("position %+v; want %+v or none", got, at)
		}
		if err := p.Apply(w.facts); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(dump(p.budgets)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
		checkAccounts(t, p, 0)
	}
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 4000 || r.Reserved != 2000 {
		t.Fatalf("got %+v", r)
	}
}

// The name of a run that has grants is refused: its bids in flight are unknown.
func TestRunNameIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "money")
	w.kill(w.start("r1", dir, dayPlan(unit)))
	if p, err := Open(Options{Dir: dir, Run: "r1"}); err == nil {
		p.Close()
		t.Fatal("opened with a run's name that was used before")
	}
}

// A stop returns everything in one append, and does not try if the last append
// failed.
func TestStopAppendsOnce(t *testing.T) {
	w := newWorld(t)
	var plan []LinePlan
	for i := range 20 {
		l := dayPlan(50 * unit)
		l.Line.Line = fmt.Sprint("line", i)
		plan = append(plan, l)
	}
	p := w.start("r1", "", plan...)
	calls := 0
	p.o.Append = func(ctx context.Context, facts ...events.Fact) error {
		calls++
		return w.append(ctx, facts...)
	}
	if err := p.Stop(context.Background()); err != nil || calls != 1 {
		t.Fatalf("%v after %d appends; want one", err, calls)
	}
	for _, r := range p.Budgets(w.now) {
		if r.Granted != 0 {
			t.Fatalf("not given back: %+v", r)
		}
	}
	q := w.start("r2", "", plan...)
	q.o.Append = p.o.Append
	w.down = true
	w.pass(grantLife)
	calls = 0
	if err := q.Stop(context.Background()); err == nil || calls != 0 {
		t.Fatalf("%v after %d appends; want an error and none", err, calls)
	}
}
