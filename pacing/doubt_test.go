package pacing

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// The upper bound of the share of losses that are billed anyway.
func TestDoubtedShare(t *testing.T) {
	for _, tt := range []struct{ matured, billed, least, most float64 }{
		{0, 0, 1, 1}, {499, 0, 1, 1}, {500, 0, 0.0092, 0.02}, {500, 5, 0.025, 0.04}, {500, 500, 1, 1}, {500, 900, 1, 1},
		{50_000, 0, 0.00009, 0.0002}, {10_000, 1000, 0.107, 0.108},
	} {
		c := lossClaims{Matured: tt.matured, Billed: tt.billed}
		if got := c.doubtedShare(); got < tt.least || got > tt.most {
			t.Errorf("%.0f of %.0f: got %f; want %f to %f", tt.billed, tt.matured, got, tt.least, tt.most)
		}
	}
}

// A loss keeps its bid's money covered until the reservation would have ended, and
// both rows and figures say so.
func TestLossIsAClaim(t *testing.T) {
	w := newWorld(t)
	plan := dayPlan(4000)
	p := w.start("r1", "", plan)
	a, b := w.bid(2_000_000), w.bid(2_000_000)
	wantReason(t, p.Reserve(a, nil, nil), rtb.NoBidNone)
	wantReason(t, p.Reserve(b, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindLoss, a), w.notice(events.KindLoss, b), w.notice(events.KindLoss, b))
	wantReason(t, p.Reserve(w.bid(10_000), nil, nil), rtb.NoBidBudget)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Reserved != 0 || r.Doubted != 4000 {
		t.Fatalf("after the losses: %+v", r)
	}
	if d := p.Stats().Doubted; len(d) != 1 || d[0] != (Doubted{Exchange: "demo", Amount: 4000, Share: 1}) {
		t.Fatalf("figures: %+v", d)
	}
	said := listen(p)
	w.must(w.notice(events.KindBill, a))
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Spent != 2000 || r.Late != 0 || r.Doubted != 2000 {
		t.Fatalf("after a bill of a loss: %+v", r)
	}
	if n := said.FilterMessageSnippet("billed after its loss notice").Len(); n != 1 {
		t.Errorf("said %d times; want once", n)
	}
	w.pass(5*time.Minute + 10*time.Second)
	if r := row(t, p.Budgets(w.now), "cart", "day"); r.Doubted != 0 {
		t.Fatalf("after the reservation's end: %+v", r)
	}
	if d := p.Stats().Doubted; d[0].Matured != 2 || d[0].Billed != 1 || d[0].Amount != 0 {
		t.Fatalf("figures at the end: %+v", d)
	}
	wantReason(t, p.Reserve(w.bid(2_000_000), nil, nil), rtb.NoBidNone)
	checkAccounts(t, p, 0)
}

// After enough honest losses nearly all of the doubted money is bid again; when the
// exchange then bills them, it is covered again.
func TestHonestLossesFreeMoney(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	losses := func(n int) (list []*rtb.Claims) {
		for range n {
			c := w.bid(1_000_000)
			wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
			w.must(w.notice(events.KindLoss, c))
			list = append(list, c)
		}
		return list
	}
	losses(provenLosses)
	w.pass(6 * time.Minute)
	c := losses(100)
	var a *account
	for _, x := range p.accounts {
		if x.id.Day == c[0].Day {
			a = x
		}
	}
	if a.doubted.Load() != 100_000 || a.kept.Load() > 2000 || a.kept.Load() < 900 {
		t.Fatalf("doubted %d, kept %d; want 100000 and about 1 %%", a.doubted.Load(), a.kept.Load())
	}
	for _, x := range c[:50] {
		w.must(w.notice(events.KindBill, x))
	}
	if share := p.Stats().Doubted[0].Share; share < 0.09 || a.kept.Load() < 4000 {
		t.Fatalf("share %f, kept %d of %d; want the share of the billed ones and more", share, a.kept.Load(), a.doubted.Load())
	}
	checkAccounts(t, p, 0)
}

// Bills that come after their reservations have ended take at most a share of a
// budget, of money or of impressions, before their exchange is stopped.
func TestLateBillsStopTheirExchange(t *testing.T) {
	imps := dayPlan(0)
	imps.Caps = rtb.CapLineDay.Imps()
	imps.Limits.Set(imps.Caps, 100*rtb.ImpressionUnit)
	for name, l := range map[string]LinePlan{"money": dayPlan(100_000), "impressions": imps} {
		t.Run(name, func(t *testing.T) { lateBillsStop(t, l) })
	}
}

// lateBillsStop bills twelve bids late, of which ten take the share of the line's cap.
func lateBillsStop(t *testing.T, l LinePlan) {
	w := newWorld(t)
	p := w.start("r1", "", l)
	said := listen(p)
	var bids []*rtb.Claims
	for range 12 {
		c := w.bid(1_000_000)
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
		p.Step(context.Background(), w.now)
		bids = append(bids, c)
	}
	w.pass(6 * time.Minute)
	for i, c := range bids {
		want := rtb.NoBidNone
		if i > 10 {
			want = rtb.NoBidBlind
		}
		wantReason(t, p.Stopped("demo"), want)
		w.must(w.notice(events.KindBill, c))
	}
	wantReason(t, p.Stopped("demo"), rtb.NoBidBlind)
	wantReason(t, p.Stopped("other"), rtb.NoBidNone)
	if n := said.FilterMessageSnippet("late bills").Len(); n != 1 {
		t.Errorf("said %d times; want once", n)
	}
	if err := p.Pause(context.Background(), "exchange:demo", false, "ops"); err != nil {
		t.Fatal(err)
	}
	wantReason(t, p.Stopped("demo"), rtb.NoBidNone)
}

// promise is one bid in the model: it may be billed on time until end.
type promise struct {
	c      *rtb.Claims
	end    time.Time
	billed bool
}

// moneyModel is a minimal model of the money of one cap: each bid that was made
// counts until it can no longer be billed on time, whatever its losses say.
type moneyModel struct {
	limit, onTime, late rtb.Micros
	bids                []*promise
}

func (m *moneyModel) open(now time.Time) (sum rtb.Micros) {
	for _, x := range m.bids {
		if !x.billed && !now.After(x.end) {
			sum += x.c.Reserved
		}
	}
	return sum
}

func (m *moneyModel) bill(x *promise, now time.Time) {
	switch {
	case x.billed:
	case now.After(x.end):
		m.late += x.c.Reserved
	default:
		m.onTime += x.c.Reserved
	}
	x.billed = true
}

// Losses for everything, bills on time, late, twice or never, wins, kills and stops:
// the amounts billed on time plus those that may still be billed never exceed the
// cap, and the settled amount is the billed amount.
func TestMoneyAgainstTheModel(t *testing.T) {
	seeds := uint64(6)
	if raceOn || testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runModel(t, newWorld(t), seed) })
		t.Run(fmt.Sprint(seed, " with kept reservations"), func(t *testing.T) { runModel(t, newKeptWorld(t), seed) })
	}
}

func runModel(t *testing.T, w *world, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 21))
	plan := dayPlan(0)
	plan.Caps, plan.LineTotal = rtb.CapLineTotal, 60_000
	m := &moneyModel{limit: plan.LineTotal}
	runs := 1
	p := w.start("r1", "", plan)
	refused := 0
	for range 300 {
		for range r.IntN(15) {
			c := w.bid(rtb.CPM(200_000 + r.IntN(1_800_000)))
			if p.Reserve(c, nil, nil) != rtb.NoBidNone {
				refused++
				continue
			}
			x := &promise{c: c, end: c.WinExpiry}
			m.bids = append(m.bids, x)
			if got := m.onTime + m.open(w.now); got > m.limit {
				t.Fatalf("billed %d and still open %d of %d", m.onTime, m.open(w.now), m.limit)
			}
			w.must(w.notice(events.KindLoss, c)) // for everything
			if r.IntN(8) == 0 {
				w.must(w.notice(events.KindWin, c))
				x.end = c.BillExpiry
			}
			p.Step(context.Background(), w.now)
		}
		for range r.IntN(6) {
			if len(m.bids) == 0 {
				break
			}
			x := m.bids[max(0, len(m.bids)-1-r.IntN(60))]
			m.bill(x, w.now)
			w.must(w.notice(events.KindBill, x.c))
			if r.IntN(3) == 0 {
				w.must(w.notice(events.KindBill, x.c))
			}
		}
		switch r.IntN(20) {
		case 0:
			w.stop(p)
			runs++
			p = w.start(fmt.Sprintf("r%d", runs), "", plan)
		case 1:
			w.kill(p)
			runs++
			p = w.start(fmt.Sprintf("r%d", runs), "", plan)
		}
		w.pass(time.Duration(r.IntN(100)) * time.Second)
		got := row(t, p.Budgets(w.now), "cart", "total")
		if got.Spent != m.onTime+m.late || m.onTime > m.limit || got.Late < m.late {
			t.Fatalf("got %+v; billed %d on time, %d late", got, m.onTime, m.late)
		}
	}
	if m.onTime+m.late < m.limit/2 || refused == 0 {
		t.Fatalf("%d billed, %d refused: the test proves nothing", m.onTime+m.late, refused)
	}
}
