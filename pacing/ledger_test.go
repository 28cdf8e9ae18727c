package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/events"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// A bid is reserved, won and billed once; the duplicate changes nothing.
func TestBillSettlesOnce(t *testing.T) {
	conformance.Covers(t, "M8")
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	if c.Grant != "r1" || c.Node != "local" || c.Caps != rtb.CapLineDay || c.Day.String() != "2026-10-01" {
		t.Fatalf("claims not filled: %+v", c)
	}
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Reserved != 2000 || r.Spent != 0 {
		t.Fatalf("after the bid: %+v", r)
	}
	w.must(w.notice(events.KindWin, c))
	bill := w.notice(events.KindBill, c)
	bill.Notice.Charge = 1500 // second price
	w.must(bill)
	w.must(bill)
	r := row(t, p.Budgets(w.now), "cart", "day")
	if r.Spent != 1500 || r.Reserved != 0 || r.Late != 0 {
		t.Fatalf("after two bills: %+v", r)
	}
	if s := p.Stats(); s.Duplicates != 1 || s.Lines[0].Spend != 1500 || s.Reservations != 0 {
		t.Fatalf("stats: %+v", s)
	}
	a := p.accounts[rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", c.Day)]
	b := p.budgets[a.id]
	if got, want := a.available.Load(), b.run("r1").Amount-1500; got != want {
		t.Fatalf("available %d; want %d: the difference to the bid is free again", got, want)
	}
}

// Whether a bill is late, depending on the facts folded before it.
func TestLateBill(t *testing.T) {
	conformance.Covers(t, "M17", "R15")
	type step struct {
		after time.Duration
		kind  events.Kind
	}
	tests := []struct {
		name  string
		steps []step
		late  bool
	}{
		{"bill without a win, in the win window", []step{{5 * time.Minute, events.KindBill}}, false},
		{"bill without a win, after it", []step{{5*time.Minute + time.Second, events.KindBill}}, true},
		{"win in time, bill in the bill window", []step{{time.Minute, events.KindWin}, {29 * time.Minute, events.KindBill}}, false},
		{"win in time, bill after it", []step{{time.Minute, events.KindWin}, {30 * time.Minute, events.KindBill}}, true},
		{"win too late, bill in the bill window", []step{{6 * time.Minute, events.KindWin}, {time.Minute, events.KindBill}}, true},
		{"loss before the bill", []step{{time.Second, events.KindLoss}, {time.Second, events.KindBill}}, false},
		{"loss, bill after the win window", []step{{time.Second, events.KindLoss}, {5 * time.Minute, events.KindBill}}, true},
		{"win, loss, bill", []step{{time.Second, events.KindWin}, {time.Second, events.KindLoss}, {29 * time.Minute, events.KindBill}}, false},
		{"loss, win, bill", []step{{time.Second, events.KindLoss}, {time.Second, events.KindWin}, {29 * time.Minute, events.KindBill}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("r1", "", dayPlan(50*unit))
			c := w.bid(2_000_000)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
			for _, s := range tt.steps {
				w.pass(s.after)
				w.must(w.notice(s.kind, c))
			}
			r := row(t, p.Budgets(w.now), "cart", "day")
			want := rtb.Micros(0)
			if tt.late {
				want = 2000
			}
			if r.Spent != 2000 || r.Late != want || r.Reserved != 0 {
				t.Fatalf("got %+v; want spent 2000, late %d, reserved 0", r, want)
			}
		})
	}
}

// A bill whose day, run or caps never had a grant is charged as late spend: it
// touches no held money. A charge beyond its grant is late for the rest.
func TestBillOutsideItsGrant(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	granted := row(t, p.Budgets(w.now), "cart", "day").Granted

	forged := w.notice(events.KindBill, w.bid(2_000_000))
	forged.Notice.Day, forged.Notice.Grant, forged.Notice.Caps = c.Day-3, "r1", rtb.CapLineDay
	w.must(forged)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 0 || r.Granted != granted {
		t.Fatalf("another day's bill changed today: %+v", r)
	}
	old := p.budgets[rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", c.Day-3)]
	if old.Settled != 2000 || old.Late != 2000 {
		t.Fatalf("the other day: %+v", old)
	}

	stranger := w.notice(events.KindBill, w.bid(2_000_000))
	stranger.Notice.Day, stranger.Notice.Grant, stranger.Notice.Caps = c.Day, "nobody", rtb.CapLineDay
	w.must(stranger)
	big := w.notice(events.KindBill, c)
	big.Notice.Charge = granted + 700
	w.must(big)
	r := row(t, p.Budgets(w.now), "cart", "day")
	if r.Spent != 2000+granted+700 || r.Late != 2000+700 || r.Granted != 0 {
		t.Fatalf("got %+v; want late 2700, granted 0 until the next step", r)
	}
}

// A loss notice makes the money doubted at once, an expiry frees it when the log's time passes.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	lost, expired, dropped := w.bid(1_000_000), w.bid(1_000_000), w.bid(1_000_000)
	for _, c := range []*rtb.Claims{lost, expired, dropped} {
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	}
	p.Release(dropped.Bid)
	p.Release(dropped.Bid)
	w.must(w.notice(events.KindLoss, lost))
	if got := row(t, p.Budgets(w.now), "cart", "day").Reserved; got != 1000 {
		t.Fatalf("reserved %d; want 1000", got)
	}
	w.pass(5 * time.Minute)
	if got := row(t, p.Budgets(w.now), "cart", "day").Reserved; got != 1000 {
		t.Fatalf("reserved %d at the expiry; want 1000", got)
	}
	w.pass(15 * time.Second) // ticks let time pass in an idle log
	if got := row(t, p.Budgets(w.now), "cart", "day").Reserved; got != 0 {
		t.Fatalf("reserved %d after the expiry; want 0", got)
	}
	if s := p.Stats(); s.Expired != 1 || s.Reservations != 0 {
		t.Fatalf("stats: %+v", s)
	}
	ticks := 0
	w.pass(10 * time.Minute)
	for _, f := range w.facts {
		if f.Kind == events.KindTick && f.TS.After(noon.Add(6*time.Minute)) {
			ticks++
		}
	}
	if ticks != 0 {
		t.Fatalf("%d ticks with nothing in flight; want none", ticks)
	}
}

// A bid that is never sent is no demand, whether or not a cap refuses it.
func TestDryBidsAreNoDemand(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	demand := func() (asked, refused rtb.Micros) {
		l := p.line(cartLine)
		for i := range l.seen {
			asked += l.seen[i].held.Load()
		}
		return asked, l.refused.Load()
	}
	for _, cpm := range []rtb.CPM{1_000_000, 900_000_000_000} {
		c := w.bid(cpm)
		c.Dry = true
		if r := p.Reserve(c, nil, nil); (r == rtb.NoBidNone) != (cpm == 1_000_000) {
			t.Fatalf("%s: got %v", cpm, r)
		}
		p.Release(c.Bid)
	}
	if asked, refused := demand(); asked != 0 || refused != 0 {
		t.Errorf("dry bids: asked for %d, refused %d; want none", asked, refused)
	}
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
	if r := p.Reserve(w.bid(900_000_000_000), nil, nil); r == rtb.NoBidNone {
		t.Fatal("a bid beyond the cap was accepted")
	}
	if asked, refused := demand(); asked == 0 || refused == 0 {
		t.Errorf("bids: asked for %d, refused %d; want both counted", asked, refused)
	}
}

// Several caps apply together: the campaign's is shared by its lines, and a bid
// that one of them refuses leaves the others as they were.
func TestSeveralCaps(t *testing.T) {
	w := newWorld(t)
	cart := dayPlan(50 * unit)
	cart.Caps = rtb.CapLineDay | rtb.CapCampaignTotal
	cart.CampaignTotal = 3000
	viewed := cart
	viewed.Line = viewLine
	p := w.start("r1", "", cart, viewed)
	a, b, c := w.bid(1_000_000), w.bid(2_000_000), w.bid(1_000_000)
	b.Line = viewLine.Line
	wantReason(t, p.Reserve(a, nil, nil), rtb.NoBidNone)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(b, nil, nil), rtb.NoBidNone)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidBudget)
	rows := p.Budgets(w.now)
	if r := row(t, rows, "cart", "day"); r.Reserved != 1000 {
		t.Fatalf("line's day: %+v", r)
	}
	if r := row(t, rows, "", "total"); r.Reserved != 3000 || r.Granted != 3000 {
		t.Fatalf("campaign's total: %+v", r)
	}
	if len(rows) != 3 || rows[0].Line != "" || rows[1].Line != "cart" || rows[2].Line != "viewed" {
		t.Fatalf("rows: %+v", rows)
	}
	w.must(w.notice(events.KindLoss, b)) // a claim: its money stays covered
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidBudget)
	w.pass(5*time.Minute + 10*time.Second)
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
}

// A cap cut below what is spent refuses at once, and the grant shrinks; raised
// again, bidding continues. Spend is kept across every change of plan.
func TestCapChanges(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))
	p.SetPlan([]LinePlan{dayPlan(1000)})
	wantReason(t, p.Reserve(w.bid(10_000), nil, nil), rtb.NoBidBudget)
	p.Step(context.Background(), w.now)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 2000 || r.Granted != 0 || r.Cap != 1000 {
		t.Fatalf("after the cut: %+v", r)
	}
	p.SetPlan([]LinePlan{dayPlan(4000)})
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidBudget)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 2000 || r.Granted != 2000 {
		t.Fatalf("after the raise: %+v", r)
	}
	p.SetPlan(nil)
	wantReason(t, p.Reserve(w.bid(10_000), nil, nil), rtb.NoBidNoCampaign)
	p.SetPlan([]LinePlan{dayPlan(unit)})
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 2000 {
		t.Fatalf("after the line came back: %+v", r)
	}
}

// Money that is returned after a cap was cut below it is not bid again.
func TestCapCutUnderBidsInFlight(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(4000))
	a, b := w.bid(2_000_000), w.bid(2_000_000)
	wantReason(t, p.Reserve(a, nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(b, nil, nil), rtb.NoBidNone)
	p.SetPlan([]LinePlan{dayPlan(1000)})
	p.Release(a.Bid)
	wantReason(t, p.Reserve(w.bid(10_000), nil, nil), rtb.NoBidBudget)
	w.must(w.notice(events.KindBill, b))
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 2000 || r.Late != 0 {
		t.Fatalf("got %+v; want the bid in flight settled on time", r)
	}
}

// Late spend counts against the cap too as long as there is room: money that is
// not yet bid is withdrawn, and only bids in flight can exceed the cap.
func TestLateSpendTakesRoom(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(10_000))
	late := w.bid(2_000_000)
	wantReason(t, p.Reserve(late, nil, nil), rtb.NoBidNone)
	w.pass(6 * time.Minute)
	w.must(w.notice(events.KindBill, late))
	spend(t, w, p, 1_000_000, 100)
	r := row(t, p.Budgets(w.now), "cart", "day")
	if r.Spent != 10_000 || r.Late != 2000 {
		t.Fatalf("got %+v; want the day's cap spent, late spend in it", r)
	}
}

// spend bids, wins and bills until the budget refuses, at most n times.
func spend(t *testing.T, w *world, p *Pacer, cpm rtb.CPM, n int) {
	t.Helper()
	for range n {
		c := w.bid(cpm)
		switch reason := p.Reserve(c, nil, nil); reason {
		case rtb.NoBidNone:
			w.must(w.notice(events.KindBill, c))
		case rtb.NoBidBudget:
			return
		case rtb.NoBidGrant:
		default:
			t.Fatalf("unexpected reason %q", reason)
		}
		p.Step(context.Background(), w.now)
	}
}

// A line of the plan without any cap never bids.
func TestNoCapNoBid(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(unit)
	l.Caps = 0
	p := w.start("r1", "", l)
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidBudget)
}

// Test bids hold nothing and are never refused for money.
func TestTestBids(t *testing.T) {
	conformance.Covers(t, "T25")
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(1))
	c := w.bid(1_000_000)
	c.Test = true
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Reserved != 0 || c.Grant != "r1" {
		t.Fatalf("got %+v, claims %+v", r, c)
	}
}

// The same bid twice is an error, not two reservations.
func TestSameBidTwice(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	c := w.bid(1_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidError)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Reserved != 1000 {
		t.Fatalf("got %+v", r)
	}
}

// Bids beyond the bound of reservations are refused, counted, and hold nothing.
func TestReservationBound(t *testing.T) {
	w := newWorld(t)
	p, err := Open(Options{InMemory: true, Run: "r1", Append: w.append, MaxReservations: 1, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	w.runs = append(w.runs, p)
	t.Cleanup(func() { w.kill(p) })
	p.SetPlan([]LinePlan{dayPlan(unit)})
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidOverloaded)
	if s := p.Stats(); s.Refused != 1 || s.Reservations != 1 || s.Lines[0].Reserved != 1000 {
		t.Fatalf("stats: %+v", s)
	}
}

// A bid that would outlive its grant is refused once; grants are longer then.
func TestLongBid(t *testing.T) {
	conformance.Covers(t, "P14")
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	c := w.bid(1_000_000)
	c.BillExpiry = c.Issued.Add(8 * time.Hour)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidGrant)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindWin, c))
	w.pass(7 * time.Hour)
	w.must(w.notice(events.KindBill, c))
	if b := p.budgets[rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", c.Day)]; b.Settled != 1000 || b.Late != 0 {
		t.Fatalf("budget: %+v; want 1000 settled on time", b)
	}
}

// A bid of a day draws from a grant of its own: the ordinary one is never held longer
// for it, and after a crash it alone stays held. No bid lives beyond the bound.
func TestLongBidsPass(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	id := rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", rtb.DayOf(noon, time.UTC))
	held := func() time.Duration { return p.budgets[id].run("r1").HeldUntil.Sub(w.now) }
	c := w.bid(1_000_000)
	c.BillExpiry = c.Issued.Add(10 * 365 * 24 * time.Hour)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidError)
	w.pass(6 * time.Minute)
	if got := held(); got > time.Hour+grantLife {
		t.Fatalf("held for %s", got)
	}
	c = w.bid(1_000_000)
	c.BillExpiry = c.Issued.Add(8 * time.Hour)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidGrant)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindWin, c))
	w.pass(7 * time.Hour)
	if got := held(); got > time.Hour+grantLife {
		t.Fatalf("held for %s because of a long bid", got)
	}
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))
	w.pass(4 * time.Hour)
	if b := p.budgets[id]; b.Settled != 1000 || b.Late != 0 {
		t.Fatalf("budget: %+v; want 1000 on time", b)
	}
}

// After a kill only the long grant is held for long.
func TestLongBidAndAKill(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	c := w.bid(1_000_000)
	c.BillExpiry = c.Issued.Add(25 * time.Hour)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidGrant)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	if c.Grant != longRun("r1") {
		t.Fatalf("covered by the grant of %q", c.Grant)
	}
	w.must(w.notice(events.KindWin, c))
	w.kill(p)
	w.pass(2 * time.Hour)
	p = w.start("r2", "", dayPlan(unit))
	b := p.budgets[rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", c.Day)]
	if held := b.held(p.now) - b.run("r2").open(); held == 0 || held > 4000 {
		t.Fatalf("%d is held for the run before; want the long grant, two worst bids, alone", held)
	}
	w.now = c.BillExpiry.Add(-time.Minute)
	w.must(w.notice(events.KindBill, c))
	if b.Settled != 1000 || b.Late != 0 {
		t.Fatalf("budget: %+v; want 1000 settled on time", b)
	}
}

// Grants are renewed only for lines with bids: after a day without bids there are none.
func TestIdleGrantsAreNotRenewed(t *testing.T) {
	w := newWorld(t)
	viewed := dayPlan(unit)
	viewed.Line = viewLine
	p := w.start("r1", "", dayPlan(unit), viewed)
	for range 28 * 20 {
		w.now = w.now.Add(3 * time.Minute)
		p.Step(context.Background(), w.now)
		c := w.bid(10_000)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		p.Release(c.Bid)
	}
	grants := map[string]int{}
	for _, f := range w.facts {
		if f.Grant != nil && f.TS.After(noon.Add(26*time.Hour)) {
			grants[f.Grant.Budget.Line]++
		}
	}
	if grants["viewed"] != 0 || grants["cart"] < 10 {
		t.Fatalf("%v grants in two hours; want none of the idle line and many of the other", grants)
	}
	c := w.bid(10_000)
	c.Line = viewLine.Line
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidGrant)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
}

// The holdback is never bid; late bills use it, and only beyond it do they
// reduce the money for bids.
func TestHoldback(t *testing.T) {
	for _, tt := range []struct {
		late, want rtb.Micros // micros of late bills before, and spent in the end
	}{{0, 90_000}, {4_000, 94_000}, {10_000, 100_000}, {30_000, 100_000}} {
		w := newWorld(t)
		l := dayPlan(100_000)
		l.HoldbackPct, l.Caps, l.CampaignTotal = 10, rtb.CapLineDay|rtb.CapCampaignTotal, unit
		p := w.start("r1", "", l)
		var late []*rtb.Claims
		for range tt.late / 1000 {
			c := w.bid(1_000_000)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
			late = append(late, c)
			p.Step(context.Background(), w.now)
		}
		w.pass(6 * time.Minute)
		for _, c := range late {
			w.must(w.notice(events.KindBill, c))
		}
		p.Step(context.Background(), w.now)
		spend(t, w, p, 1_000_000, 300)
		r := row(t, p.Budgets(w.now), "cart", "day")
		if r.Spent != tt.want || r.Late != tt.late || r.Cap != 100_000 {
			t.Errorf("late %d: got %+v; want %d spent", tt.late, r, tt.want)
		}
	}
}
