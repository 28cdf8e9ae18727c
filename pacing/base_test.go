package pacing

import (
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// trade lets a run bid, bill, lose and pause for a while.
func trade(w *world, p *Pacer, r *rand.Rand) {
	for range 60 {
		w.pass(time.Duration(r.IntN(20)) * time.Second)
		c := w.bid(rtb.CPM(1+r.IntN(2_000_000)) + 1000)
		if p.Reserve(c, nil, nil) != rtb.NoBidNone {
			continue
		}
		switch r.IntN(4) {
		case 0:
			w.must(w.notice(events.KindLoss, c))
		case 1:
			w.must(w.notice(events.KindWin, c), w.notice(events.KindBill, c))
		case 2:
			bill := w.notice(events.KindBill, c)
			w.must(bill, bill)
		}
	}
	for _, on := range []bool{true, r.IntN(2) == 0} {
		w.must(events.Fact{ID: fmt.Sprint("pause", on), At: w.now, Kind: events.KindPause, Pause: &events.Pause{Scope: "exchange:demo", On: on, By: "op"}})
	}
	w.must(events.Fact{ID: "pause all", At: w.now, Kind: events.KindPause, Pause: &events.Pause{Scope: "all", On: true, By: "op"}})
}

// placed gives facts the single sequence with which the journal applies a base.
func placed(facts []events.Fact, seq uint64) []events.Fact {
	for i := range facts {
		facts[i].Seq = seq
	}
	return facts
}

func openEmpty(t *testing.T, w *world) *Pacer {
	t.Helper()
	p, err := Open(Options{InMemory: true, Run: "other", Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// money holds the state that must be the same in a recreated view.
func money(p *Pacer) string {
	s := ""
	for _, b := range p.sortedBudgets() {
		if b.Settled == 0 && b.held(p.now) == 0 {
			continue
		}
		s += fmt.Sprintf("%s %s settled %d late %d\n", b.id, b.Currency, b.Settled, b.Late)
		for _, g := range b.Grants {
			if !g.HeldUntil.Before(p.now) {
				s += fmt.Sprintf("  %s %d - %d until %s, held until %s\n", g.Run, g.Amount, g.Settled, g.Until, g.HeldUntil)
			}
		}
	}
	for id, t := range p.totals {
		if t.Spend != 0 {
			s += fmt.Sprintf("%s spent %d\n", id, t.Spend)
		}
	}
	return s + fmt.Sprint(p.Pauses())
}

// The base of a log recreates balances, grants and pauses, and what follows is
// folded onto it as onto the original.
func TestTheBaseRecreatesTheMoney(t *testing.T) {
	for seed := range uint64(20) {
		w, r := newWorld(t), rand.New(rand.NewPCG(seed, 1))
		l := dayPlan(rtb.Micros(50_000 + r.IntN(200_000)))
		l.Caps |= rtb.CapCampaignTotal
		l.CampaignTotal = 100 * unit
		p := w.start("r1", "", l)
		trade(w, p, r)
		base, err := p.Base()
		if err != nil {
			t.Fatal(err)
		}
		if len(base) < 3 {
			t.Fatalf("seed %d: a base of %d facts shows nothing", seed, len(base))
		}
		folded, err := FoldBase(func(yield func(*events.Fact, error) bool) {
			for i := range w.facts {
				if !yield(&w.facts[i], nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(facts(t, folded)), fmt.Sprint(facts(t, base)); got != want {
			t.Errorf("seed %d: FoldBase differs from Base:\ngot  %s\nwant %s", seed, got, want)
		}
		q := openEmpty(t, w)
		if err := q.Apply(placed(base, p.Position().Seq)); err != nil {
			t.Fatal(err)
		}
		if got, want := money(q), money(p); got != want {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, want)
		}
		half, err := FoldBase(func(yield func(*events.Fact, error) bool) {
			for i := range base {
				if !yield(&base[i], nil) {
					return
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(half) != len(base) {
			t.Errorf("seed %d: the base of a base has %d facts; want %d", seed, len(half), len(base))
		}
		c := w.bid(1_000_000)
		c.Grant, c.Caps, c.Day = "r1", l.Caps, rtb.DayOf(w.now, time.UTC)
		bill := w.notice(events.KindBill, c)
		w.must(bill)
		after := w.facts[len(w.facts)-1]
		after.Seq = q.Position().Seq + 1
		if err := q.Apply([]events.Fact{after}); err != nil {
			t.Fatal(err)
		}
		if got, want := money(q), money(p); got != want {
			t.Errorf("seed %d: after one more bill: got\n%s\nwant\n%s", seed, got, want)
		}
	}
}

// facts are facts as the log writes them.
func facts(t *testing.T, list []events.Fact) (out []string) {
	t.Helper()
	for i := range list {
		f := list[i]
		out = append(out, fmt.Sprintf("%s %s %s %+v %+v %+v", f.ID, f.TS, f.Kind, f.Adjustment, f.Grant, f.Pause))
	}
	return out
}

func TestFoldBaseReportsAnUnreadableLog(t *testing.T) {
	var broken iter.Seq2[*events.Fact, error] = func(yield func(*events.Fact, error) bool) { yield(nil, fmt.Errorf("line 7")) }
	if _, err := FoldBase(broken); err == nil {
		t.Error("an unreadable log gave a base")
	}
}

// An adjustment counts once per id, against its budget and its cap.
func TestAdjustments(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir, dayPlan(10_000))
	id := rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", rtb.DayOf(w.now, time.UTC))
	adjust := events.Fact{
		ID: "a1", At: w.now, Kind: events.KindAdjust, Advertiser: "shop", Currency: usd,
		Adjustment: &events.Adjustment{Budget: id, Day: id.Day, Amount: 9000, LateSpend: 1000, Reason: reasonUnproven},
	}
	w.must(adjust, adjust)
	w.must(adjust)
	w.kill(p)
	p = w.start("r2", dir, dayPlan(10_000))
	w.must(adjust)
	r := row(t, p.Budgets(w.now), "cart", "day")
	if r.Spent != 9000 || r.Late != 1000 {
		t.Fatalf("got %+v; want 9000 spent, 1000 late", r)
	}
	w.pass(time.Minute)
	wantReason(t, p.Reserve(w.bid(1_500_000), nil, nil), rtb.NoBidBudget)
}

// Amounts in a witness that the view lost are booked, once, and never less than
// was spent.
func TestUnprovenMoneyIsBooked(t *testing.T) {
	for seed := range uint64(20) {
		w, r := newWorld(t), rand.New(rand.NewPCG(seed, 2))
		p := w.start("r1", "", dayPlan(100_000))
		trade(w, p, r)
		witness, err := p.Witness()
		if err != nil || !json.Valid(witness) {
			t.Fatalf("%s: %v", witness, err)
		}
		if again, err := p.Unproven(witness); err != nil || len(again) != 0 {
			t.Fatalf("seed %d: nothing was lost, and %+v is to be booked: %v", seed, again, err)
		}
		q := openEmpty(t, w)
		if err := q.Apply(w.facts[:r.IntN(len(w.facts))]); err != nil { // the rest is lost
			t.Fatal(err)
		}
		q.now = p.now
		lost, err := q.Unproven(witness)
		if err != nil {
			t.Fatal(err)
		}
		again, err := q.Unproven(witness)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range append(lost, again...) {
			f.Seq, f.TS = p.Position().Seq+uint64(i)+1, w.now
			if err := q.Apply([]events.Fact{f}); err != nil {
				t.Fatal(err)
			}
		}
		for id, b := range p.budgets {
			had := q.budgets[id]
			if had == nil {
				had = &budget{}
			}
			if had.Settled < b.Settled || had.Settled+had.held(p.now) < b.Settled+b.held(p.now) {
				t.Errorf("seed %d: %s: settled %d, held %d; want at least %d, %d", seed, id, had.Settled, had.held(p.now), b.Settled, b.held(p.now))
			}
			if had.Settled > 2*(b.Settled+b.held(p.now)) {
				t.Errorf("seed %d: %s: settled %d; the view had %d and held %d", seed, id, had.Settled, b.Settled, b.held(p.now))
			}
		}
	}
	if _, err := openEmpty(t, newWorld(t)).Unproven([]byte("{")); err == nil {
		t.Error("an unreadable witness was accepted")
	}
}
