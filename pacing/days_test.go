package pacing

import (
	"context"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no time zone data: %v", err)
	}
	return z
}

// A day's cap is of the advertiser's civil day, also when the clocks change; the
// next day's grant is there before midnight; a bill counts on its bid's day.
func TestDayRollOver(t *testing.T) {
	toronto := zone(t, "America/Toronto")
	for _, tt := range []struct {
		name  string
		start time.Time
		hours int
	}{
		{"an ordinary day", time.Date(2026, 10, 1, 0, 0, 0, 0, toronto), 24},
		{"clocks forward", time.Date(2026, 3, 8, 0, 0, 0, 0, toronto), 23},
		{"clocks back", time.Date(2026, 11, 1, 0, 0, 0, 0, toronto), 25},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.now = tt.start.Add(time.Duration(tt.hours)*time.Hour - 15*time.Minute)
			l := dayPlan(2000)
			l.Zone = toronto
			p := w.start("r1", "", l)
			today := rtb.DayOf(tt.start, toronto)
			last := w.bid(2_000_000)
			wantReason(t, p.Reserve(last, nil, nil), rtb.NoBidNone)
			if last.Day != today {
				t.Fatalf("day %s; want %s", last.Day, today)
			}
			w.must(w.notice(events.KindWin, last))
			wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidBudget)
			w.pass(14*time.Minute + 55*time.Second)
			wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidBudget)
			w.now = w.now.Add(5 * time.Second) // no Step since: the grant is there already
			first := w.bid(2_000_000)
			wantReason(t, p.Reserve(first, nil, nil), rtb.NoBidNone)
			if first.Day != today+1 {
				t.Fatalf("day %s; want %s", first.Day, today+1)
			}
			p.Step(context.Background(), w.now)
			w.must(w.notice(events.KindBill, last))
			if r := row(t, p.Budgets(w.now), "cart", "day"); r.Day != today+1 || r.Spent != 0 || r.Reserved != 2000 {
				t.Fatalf("today: %+v", r)
			}
			r := row(t, p.Budgets(w.now.Add(-time.Minute)), "cart", "day")
			if r.Day != today || r.Spent != 2000 {
				t.Fatalf("yesterday: %+v", r)
			}
		})
	}
}

// A bid of a day that is not in the table is refused, and not charged anywhere.
func TestUnknownDay(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	w.now = w.now.Add(72 * time.Hour)
	c := w.bid(1_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidGrant)
	p.Step(context.Background(), w.now)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
}

// Accounts of past days are removed.
func TestOldAccountsGo(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	for range 20 {
		w.now = w.now.Add(24 * time.Hour)
		p.Step(context.Background(), w.now)
	}
	if n := len(p.accounts); n > 6 {
		t.Fatalf("%d accounts after 20 days", n)
	}
}

func TestPause(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(unit))
	ctx := context.Background()
	for _, tt := range []struct {
		scope                          string
		exchange, advertiser, campaign string
		other                          [3]string // not stopped
	}{
		{"all", "demo", "", "", [3]string{}},
		{"exchange:demo", "demo", "shop", "autumn", [3]string{"demo-first", "shop", "autumn"}},
		{"campaign:shop/autumn", "demo", "shop", "autumn", [3]string{"demo", "shop", "winter"}},
	} {
		if err := p.Pause(ctx, tt.scope, true, "ops"); err != nil {
			t.Fatal(err)
		}
		wantReason(t, p.Paused(tt.exchange, tt.advertiser, tt.campaign), rtb.NoBidPaused)
		if tt.scope != "all" {
			wantReason(t, p.Paused(tt.other[0], tt.other[1], tt.other[2]), rtb.NoBidNone)
		}
		q := w.start("after-"+tt.scope, "")
		wantReason(t, q.Paused(tt.exchange, tt.advertiser, tt.campaign), rtb.NoBidPaused)
		if err := p.Pause(ctx, tt.scope, false, "ops"); err != nil {
			t.Fatal(err)
		}
		wantReason(t, q.Paused(tt.exchange, tt.advertiser, tt.campaign), rtb.NoBidNone)
	}
	for _, scope := range []string{"", "everything", "exchange:", "campaign:shop", "all:x", "campaign:/x"} {
		if err := p.Pause(ctx, scope, true, "ops"); err == nil {
			t.Errorf("scope %q was taken", scope)
		}
	}
	w.down = true
	if err := p.Pause(ctx, "all", true, "ops"); err == nil {
		t.Error("no error although nothing was stored")
	}
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidPaused) // a stop is still in force
	p.SetBlind(true)
	wantReason(t, p.Paused("demo", "", ""), rtb.NoBidBlind)
	if r := row(t, p.Budgets(w.now), "cart", "day"); !r.Paused {
		t.Errorf("row: %+v", r)
	}
}

// Budgets of days for which bills are no longer accepted are removed from memory and disk.
func TestOldDaysAreDropped(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir, dayPlan(unit))
	for range 100 {
		w.now = w.now.Add(24 * time.Hour)
		p.Step(context.Background(), w.now)
		c := w.bid(1_000_000)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		w.must(w.notice(events.KindBill, c))
	}
	if got := row(t, p.Budgets(w.now), "cart", "day"); got.Spent != 1000 || len(p.budgets) > 3+3*(keepDays+3) {
		t.Fatalf("%d budgets after 100 days; today %+v", len(p.budgets), got)
	}
	stored := 0
	if err := each(p.db, keyBudget, func(_, _ []byte) error { stored++; return nil }); err != nil {
		t.Fatal(err)
	}
	if stored != len(p.budgets) {
		t.Fatalf("%d budgets stored; %d in memory", stored, len(p.budgets))
	}
	w.kill(p)
	w.now = w.now.Add(30 * 24 * time.Hour)
	q := w.start("r2", dir, dayPlan(unit))
	w.must(events.Fact{ID: "t", Kind: events.KindTick})
	if n := len(q.budgets); n > 6 {
		t.Fatalf("%d budgets a month later", n)
	}
	if total := q.budgets[rtb.BudgetOf(rtb.CapCampaignTotal, "shop", "autumn", "cart", 0)]; total.Settled != 100_000 {
		t.Fatalf("campaign's total: %+v", total)
	}
}
