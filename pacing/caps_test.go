package pacing

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// capPlan is a line under one cap, which three bids of 1.00 CPM use up.
func capPlan(c rtb.CapSet) LinePlan {
	l := dayPlan(0)
	l.Caps, l.Flights, l.MaxCPM = c, rtb.Flights{20000, 20001, 20002}, 1_000_000
	limit := rtb.Micros(3000)
	if c.OnImps() {
		limit = 3 * rtb.ImpressionUnit
	}
	l.Limits.Set(c, limit)
	switch c {
	case rtb.CapLineDay:
		l.LineDay = limit
	case rtb.CapLineTotal:
		l.LineTotal = limit
	case rtb.CapCampaignDay:
		l.CampaignDay = limit
	case rtb.CapCampaignTotal:
		l.CampaignTotal = limit
	}
	return l
}

// billed bids once at 1.00 CPM, and bills the bid. It returns the reason of a refusal.
func billed(t *testing.T, w *world, p *Pacer, line rtb.LineID) rtb.NoBidReason {
	t.Helper()
	c := w.bid(1_000_000)
	c.Advertiser, c.Campaign, c.Line = line.Advertiser, line.Campaign, line.Line
	reason := p.Reserve(c, nil, nil)
	if reason == rtb.NoBidGrant {
		p.Step(context.Background(), w.now)
		reason = p.Reserve(c, nil, nil)
	}
	if reason == rtb.NoBidNone {
		w.must(w.notice(events.KindBill, c))
		p.Step(context.Background(), w.now)
	}
	return reason
}

// Each cap refuses the bid that would exceed it, on every line that shares it, after a
// restart too, until its window ends; and it is in the rows of the line.
func TestEveryCap(t *testing.T) {
	other := rtb.LineID{Advertiser: "shop", Campaign: "winter", Line: "boots"}
	for _, c := range rtb.Caps {
		t.Run(rtb.BudgetIn(c, cartLine, &rtb.Periods{Day: 20100, Flights: rtb.Flights{20000, 20001, 20002}}).String(), func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			w.reservations = filepath.Join(dir, "reservations")
			own, sister, cousin := capPlan(c), capPlan(c), capPlan(c)
			sister.Line, cousin.Line = viewLine, other
			shared := []rtb.LineID{cartLine, viewLine, other}[:c.Owner()+1]
			p := w.start("r1", filepath.Join(dir, "money"), own, sister, cousin)
			for i := range 3 {
				wantReason(t, billed(t, w, p, shared[i%len(shared)]), rtb.NoBidNone)
			}
			for _, id := range shared {
				wantReason(t, billed(t, w, p, id), rtb.NoBidBudget)
			}
			if c.Owner() == rtb.OwnLine {
				wantReason(t, billed(t, w, p, viewLine), rtb.NoBidNone)
			}
			rows := p.LineBudgets(cartLine, w.now)
			if len(rows) != 1 || rows[0].Spent != rows[0].Cap || rows[0].Window != c.Window().String() || rows[0].Unit == UnitImpressions != c.OnImps() {
				t.Fatalf("got rows %+v", rows)
			}
			w.kill(p)
			p = w.start("r2", filepath.Join(dir, "money"), own, sister, cousin)
			wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
			w.pass(time.Second)
			next := map[rtb.Window]time.Time{rtb.WindowHour: noon.Add(time.Hour), rtb.WindowDay: noon.Add(12 * time.Hour)}[c.Window()]
			if frees := p.LineBudgets(cartLine, w.now)[0].Frees; !frees.Equal(next) {
				t.Errorf("frees at %v; want %v", frees, next)
			}
			if next.IsZero() {
				next = noon.Add(36 * time.Hour)
			}
			w.now = next.Add(-time.Second)
			p.Step(context.Background(), w.now)
			w.must(events.Fact{Kind: events.KindTick})
			wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
			w.now = next
			p.Step(context.Background(), w.now)
			want := rtb.NoBidNone
			if c.Window() == rtb.WindowTotal || c.Window() == rtb.WindowFlight {
				want = rtb.NoBidBudget
			}
			wantReason(t, billed(t, w, p, cartLine), want)
			if c.Window() == rtb.WindowFlight {
				own.Flights = rtb.Flights{20100, 20100, 20100}
				p.SetPlan([]LinePlan{own})
				p.Step(context.Background(), w.now)
				wantReason(t, billed(t, w, p, cartLine), rtb.NoBidNone)
			}
		})
	}
}

// A cap on impressions that is added later counts the impressions that were charged
// before, also those in log files that were deleted.
func TestImpressionCapAddedLater(t *testing.T) {
	for _, c := range []rtb.CapSet{rtb.CapLineDay.Imps(), rtb.CapLineTotal.Imps(), rtb.CapCampaignTotal.Imps(), rtb.CapAdvertiserDay.Imps(), rtb.CapAdvertiserFlight.Imps()} {
		w := newWorld(t)
		plain := dayPlan(unit)
		plain.Flights = rtb.Flights{20000, 20001, 20002}
		p := w.start("r1", "", plain)
		for range 2 {
			wantReason(t, billed(t, w, p, cartLine), rtb.NoBidNone)
		}
		base, err := p.Base()
		if err != nil {
			t.Fatal(err)
		}
		w.kill(p)
		w.facts = nil
		p = w.start("r2", "", capPlan(c))
		for i := range base {
			base[i].Seq = 0
		}
		if err := p.applyAll(base); err != nil {
			t.Fatal(err)
		}
		p.Step(context.Background(), w.now)
		wantReason(t, billed(t, w, p, cartLine), rtb.NoBidNone)
		wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
	}
}

// Bids in flight count for caps on impressions, a loss frees them when its doubt ends, and
// the next run holds what a killed one had in flight.
func TestImpressionsInFlight(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	w.reservations = filepath.Join(dir, "reservations")
	plan := capPlan(rtb.CapCampaignTotal.Imps())
	p := w.start("r1", filepath.Join(dir, "money"), plan)
	var bids []*rtb.Claims
	for range 3 {
		c := w.bid(1_000_000)
		p.Step(context.Background(), w.now)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		bids = append(bids, c)
	}
	wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
	w.must(w.notice(events.KindLoss, bids[0]))
	wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
	w.must(w.notice(events.KindBill, bids[1]))
	w.kill(p)
	p = w.start("r2", filepath.Join(dir, "money"), plan)
	if r := row(t, p.Budgets(w.now), "", "total"); r.Granted != 2*rtb.ImpressionUnit || r.Spent != rtb.ImpressionUnit {
		t.Fatalf("got %+v; want two impressions held and one bought", r)
	}
	wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
	w.pass(6 * time.Minute)
	for range 2 {
		wantReason(t, billed(t, w, p, cartLine), rtb.NoBidNone)
	}
	wantReason(t, billed(t, w, p, cartLine), rtb.NoBidBudget)
}

// The cap that binds sets the multiplier: money here, impressions there.
func TestTheCapThatBindsPaces(t *testing.T) {
	for name, imps := range map[string]bool{"money": false, "impressions": true} {
		w := newWorld(t)
		l := dayPlan(5_000)
		l.Mode, l.Caps = Even, rtb.CapLineDay|rtb.CapLineDay.Imps()
		l.Limits.Set(rtb.CapLineDay.Imps(), 1_000_000*rtb.ImpressionUnit)
		if imps {
			l.LineDay = 1000 * unit
			l.Limits.Set(rtb.CapLineDay.Imps(), 10*rtb.ImpressionUnit)
		}
		p := w.start("r1", "", l)
		for range 600 {
			w.pass(time.Second)
			q, reason := p.quote(cartLine, 1_000_000, 0, rtb.AuctionSecondPrice)
			expected := rtb.Micros(0)
			if reason == rtb.NoBidNone {
				c := w.bid(q.Price)
				c.Expected = c.Reserved / 4
				if expected = c.Expected; p.Reserve(c, nil, nil) == rtb.NoBidNone {
					p.Release(c.Bid)
				}
			}
			p.observe(cartLine, expected)
		}
		var money, count BudgetRow
		for _, r := range p.LineBudgets(cartLine, w.now) {
			if r.Unit == UnitImpressions {
				count = r
			} else {
				money = r
			}
		}
		if got := fmt.Sprint(money.Binds, count.Binds); got != fmt.Sprint(!imps, imps) || p.Multiplier(p.Handle(cartLine)) <= 1 {
			t.Errorf("%s: got multipliers %v and %v, binding %s", name, money.Multiplier, count.Multiplier, got)
		}
	}
}

// The share that pacing holds back is what all reports of a day show beyond its notices.
func TestReportsOfADayAddUp(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(10_000))
	wantReason(t, billed(t, w, p, cartLine), rtb.NoBidNone)
	id := rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", rtb.DayOf(noon, time.UTC))
	for _, exchange := range []string{"demo", "other", "demo"} { // 1000 was notified, and 1500 billed
		amount := rtb.Micros(300)
		if exchange == "other" {
			amount = -100
		}
		f := events.Fact{ID: fmt.Sprintf("report:%s:%d", exchange, w.log.seq), Kind: events.KindAdjust, Advertiser: "shop", Currency: usd,
			Adjustment: &events.Adjustment{Budget: id, Exchange: exchange, Day: id.Day, Amount: amount, Reason: ReasonReport}}
		w.must(f, f)
	}
	if got := p.controls[controlOf(id)].Unbilled; p.budgets[id].Settled != 1500 || got < 0.333 || got > 0.334 {
		t.Errorf("settled %d and held back a share of %v; want 1500 and a third", p.budgets[id].Settled, got)
	}
}

// An hour begins when the clock of the advertiser shows a full hour, also where that is not
// one in UTC, and a bill counts in the hour of its bid.
func TestHourOfTheAdvertisersClock(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t) // 17:30 there
	l := dayPlan(0)
	l.Zone, l.Caps = zone, rtb.CapLineHour
	l.Limits.Set(rtb.CapLineHour, 4000)
	p := w.start("r1", "", l)
	var last *rtb.Claims
	for range 2 {
		last = w.bid(2_000_000)
		wantReason(t, p.Reserve(last, nil, nil), rtb.NoBidNone)
	}
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidBudget)
	w.must(w.notice(events.KindWin, last))
	if r := row(t, p.Budgets(w.now), "cart", "hour"); !r.Frees.Equal(noon.Add(30 * time.Minute)) {
		t.Errorf("the hour ends at %s", r.Frees)
	}
	w.pass(29 * time.Minute)
	other := w.bid(2_000_000)
	wantReason(t, p.Reserve(other, nil, nil), rtb.NoBidNone) // the first bid has lost
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidBudget)
	w.pass(2 * time.Minute)
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, other))
	for text, want := range map[string]rtb.Micros{"2026-10-01T11:30": 2000, "2026-10-01T12:30": 0} {
		id := rtb.BudgetID{}
		if err := id.UnmarshalText([]byte("shop/autumn/cart/hour/" + text)); err != nil {
			t.Fatal(err)
		}
		if b := p.budgets[id]; b == nil || b.Settled != want {
			t.Errorf("%s: got %+v; want %d settled", id, b, want)
		}
	}
}

// A slot that an earlier version wrote holds a full hour.
func TestHourOfAnOlderSlot(t *testing.T) {
	b := make([]byte, slotSize)
	x := slotRecord{cost: 1, slotCaps: slotCaps{at: rtb.Periods{Hour: 490_000}}}
	x.encode(b)
	for state, want := range map[uint32]rtb.Hour{1 | slotLayout | slotQuarters: 490_000, 1 | slotLayout: 4 * 490_000} {
		stateOf(b).Store(state)
		var got slotRecord
		if !got.decode(b) || got.at.Hour != want {
			t.Errorf("state %x: hour %d; want %d", state, got.at.Hour, want)
		}
	}
}

// Where a clock change makes an hour longer than 60 minutes, all of its bills count in it.
func TestHourOfAClockChange(t *testing.T) {
	zone, err := time.LoadLocation("Australia/Lord_Howe")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.now = time.Date(2027, 4, 3, 14, 59, 0, 0, time.UTC) // clocks go back by half an hour at 15:00
	l := dayPlan(0)
	l.Zone, l.Caps = zone, rtb.CapLineHour
	l.Limits.Set(rtb.CapLineHour, 10_000)
	p := w.start("r1", "", l)
	w.pass(11 * time.Minute)
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))
	if r := row(t, p.Budgets(w.now), "cart", "hour"); r.Spent != 2000 || r.Late != 0 {
		t.Errorf("got %+v; want the bill in the hour of its bid", r)
	}
}

// The grants of an idle cap per hour end like those of a day.
func TestIdleHourAsksForNothing(t *testing.T) {
	w := newWorld(t)
	l := dayPlan(0)
	l.Caps = rtb.CapLineHour
	l.Limits.Set(rtb.CapLineHour, 10_000)
	p := w.start("r1", "", l)
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidNone)
	w.pass(idleAfter + 2*time.Hour)
	id := rtb.BudgetIn(rtb.CapLineHour, cartLine, &rtb.Periods{Hour: rtb.HourOf(w.now, time.UTC)})
	if a := p.accounts[id]; a == nil || rtb.SecondOf(w.now)-a.asked.Load() < rtb.Second(idleAfter/time.Second) {
		t.Errorf("got %+v; want an account that no bid has asked since the first hour", a)
	}
}
