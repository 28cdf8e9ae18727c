package pacing

import (
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

var eur = rtb.Currency{'E', 'U', 'R'}

// Spend in one currency is never counted as another: the line stops with a
// reason, whatever caps it has now, and so do its campaign's other lines.
func TestCurrencyChanges(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	usdPlan := dayPlan(50 * unit)
	p := w.start("r1", dir, usdPlan)
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))

	changed := dayPlan(50 * unit)
	changed.Currency = eur
	total := changed
	total.Caps, total.LineTotal = rtb.CapLineTotal, unit
	sister := total
	sister.Line = viewLine
	elsewhere := changed
	elsewhere.Line.Campaign = "winter"
	w.pass(24 * time.Hour) // another day's budget is not the point
	said := listen(p)
	p.SetPlan([]LinePlan{changed, sister, elsewhere})
	p.SetPlan([]LinePlan{total, sister, elsewhere})
	w.pass(time.Minute)
	if n := said.FilterMessageSnippet("does not bid").Len(); n != 2 {
		t.Errorf("said %d times; want once for each of two lines", n)
	}
	for _, l := range []rtb.LineID{cartLine, viewLine} {
		c := w.bid(1_000_000)
		c.Line = l.Line
		wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidCurrency)
		_, reason := p.quote(l, 1_000_000, 0, rtb.AuctionFirstPrice)
		wantReason(t, reason, rtb.NoBidCurrency)
	}
	c = w.bid(1_000_000)
	c.Campaign, c.AdvertiserCurrency = "winter", eur
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)

	err := p.CheckPlan([]LinePlan{total, elsewhere})
	if err == nil || !strings.Contains(err.Error(), "shop/autumn/cart") || !strings.Contains(err.Error(), "USD") {
		t.Errorf("got %v; want the line and its currency named", err)
	}
	paused := total
	paused.Active = false
	if err := p.CheckPlan([]LinePlan{usdPlan, paused, elsewhere}); err != nil {
		t.Error(err)
	}
	r := row(t, p.Budgets(w.now), "cart", "total")
	if r.Currency != eur || r.SpentCurrency != usd || r.Spent != 2000 {
		t.Errorf("row: %+v", r)
	}
	w.kill(p) // a start with the new currency has the same result
	q := w.start("r2", dir, total)
	wantReason(t, q.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidCurrency)
	q.SetPlan([]LinePlan{usdPlan})
	w.pass(time.Second)
	wantReason(t, q.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
}

// A view that is folded after the plan was set detects the currency then.
func TestCurrencyIsLearnedFromTheLog(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "", dayPlan(50*unit))
	c := w.bid(2_000_000)
	wantReason(t, p.Reserve(c, nil, nil), rtb.NoBidNone)
	w.must(w.notice(events.KindBill, c))
	changed := dayPlan(50 * unit)
	changed.Currency = eur
	q, err := Open(Options{InMemory: true, Run: "r2", Append: w.append, IsConflict: IsConflict, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	q.SetPlan([]LinePlan{changed})
	if err := q.Apply(w.facts); err != nil {
		t.Fatal(err)
	}
	w.runs = append(w.runs, q)
	defer w.kill(q)
	before := len(w.facts)
	q.Step(t.Context(), w.now)
	wantReason(t, q.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidCurrency)
	if len(w.facts) != before {
		t.Fatal("a grant was cut in the wrong currency")
	}
}

// A currency without spend may be corrected, once no grant holds anything in
// it.
func TestCurrencyIsCorrectedBeforeSpend(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir, dayPlan(50*unit))
	changed := dayPlan(50 * unit)
	changed.Currency = eur
	p.SetPlan([]LinePlan{changed})
	wantReason(t, p.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidCurrency) // its grant holds dollars
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.kill(p)
	q := w.start("r2", dir, changed)
	wantReason(t, q.Reserve(w.bid(1_000_000), nil, nil), rtb.NoBidNone)
}

// A cap that is added, or replaces another, includes earlier spend.
func TestCapAddedLater(t *testing.T) {
	for _, tt := range []struct {
		name string
		caps rtb.CapSet
	}{
		{"line total beside the day", rtb.CapLineDay | rtb.CapLineTotal},
		{"line total in its place", rtb.CapLineTotal},
		{"campaign day", rtb.CapCampaignDay},
		{"campaign total", rtb.CapCampaignTotal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("r1", "", dayPlan(50*unit))
			spend(t, w, p, 2_000_000, 900)
			if len(p.Budgets(w.now)) != 1 {
				t.Fatalf("rows of caps that are not there: %+v", p.Budgets(w.now))
			}
			plan := dayPlan(50 * unit)
			plan.Caps, plan.LineTotal, plan.CampaignDay, plan.CampaignTotal = tt.caps, 2*unit, 2*unit, 2*unit
			p.SetPlan([]LinePlan{plan})
			p.Step(t.Context(), w.now)
			spend(t, w, p, 2_000_000, 3000)
			if got := p.Stats().Lines[0]; got.Spend != 2*unit || got.Late != 0 {
				t.Fatalf("spent %s, late %s; want 2.00, of which 1.80 before the cap was there", got.Spend, got.Late)
			}
		})
	}
}
