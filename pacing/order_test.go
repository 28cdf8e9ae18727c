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

// report appends a purchase or a refund.
func (w *world) report(name string, trust events.Trust, visitor uint64, order string, value rtb.Micros) {
	c := w.valueClaims(visitor)
	w.must(events.Fact{Kind: events.KindEvent, ID: fmt.Sprint(name, trust, visitor, order, len(w.facts)), Advertiser: c.Advertiser, Visitor: c.Visitor,
		At: w.now, Currency: usd, Event: &events.Event{Name: name, OrderID: order, Value: value, Trust: trust}})
}

// shows bills impressions of a visitor and, if clicked is set, clicks the last.
func (w *world) shows(visitor uint64, n int, clicked bool) *rtb.Claims {
	var c *rtb.Claims
	for range n {
		c = w.valueClaims(visitor, 7)
		w.tell(rtb.NoticeBill, c)
		w.now = w.now.Add(time.Minute)
	}
	if clicked {
		w.tell(rtb.NoticeClick, c)
	}
	return c
}

// A purchase is learned from only where the advertiser's server reports it: once per order,
// credited to the visitor's last click, else to the last impression. Refunds take it back.
func TestOrdersTeach(t *testing.T) {
	type step struct {
		name    string
		trust   events.Trust
		visitor uint64
		order   string
		value   rtb.Micros
		after   time.Duration
	}
	const server, browser = events.TrustServer, events.TrustBrowser
	for name, x := range map[string]struct {
		steps      []step
		buys       float64 // credited to clicks; visitor 1 clicked
		views      float64 // credited to impressions; visitor 2 only saw
		value      rtb.Micros
		purchasing bool
	}{
		"browser":                   {[]step{{purchase, browser, 1, "a", 50 * unit, 0}, {purchase, browser, 2, "b", 50 * unit, 0}, {refund, browser, 1, "a", 0, 0}}, 0, 0, 0, false},
		"server after a click":      {[]step{{purchase, server, 1, "a", 50 * unit, time.Hour}}, 1, 0, 50 * unit, true},
		"server after a view":       {[]step{{purchase, server, 2, "a", 50 * unit, time.Hour}}, 0, 1, 50 * unit, true},
		"a view a day ago":          {[]step{{purchase, server, 2, "a", 50 * unit, 25 * time.Hour}}, 0, 0, 0, true},
		"a click ten days ago":      {[]step{{purchase, server, 1, "a", 50 * unit, 240 * time.Hour}}, 1, 0, 50 * unit, true},
		"a click 31 days ago":       {[]step{{purchase, server, 1, "a", 50 * unit, 31 * 24 * time.Hour}}, 0, 0, 0, true},
		"twice":                     {[]step{{purchase, server, 1, "a", 50 * unit, 0}, {purchase, server, 1, "a", 50 * unit, 0}, {purchase, server, 2, "a", 50 * unit, 0}}, 1, 0, 50 * unit, true},
		"confirmed":                 {[]step{{purchase, browser, 1, "a", 99 * unit, 0}, {purchase, server, 9, "a", 50 * unit, 0}}, 1, 0, 50 * unit, true},
		"confirmed before":          {[]step{{purchase, server, 9, "a", 50 * unit, 0}, {purchase, browser, 1, "a", 99 * unit, 0}, {purchase, browser, 2, "a", 99 * unit, 0}}, 1, 0, 50 * unit, true},
		"another order":             {[]step{{purchase, browser, 1, "a", 99 * unit, 0}, {purchase, server, 9, "b", 50 * unit, 0}}, 0, 0, 0, true},
		"refunded":                  {[]step{{purchase, server, 1, "a", 50 * unit, 0}, {refund, server, 1, "a", 0, 0}, {refund, server, 1, "a", 0, 0}}, 0, 0, 0, true},
		"refunded by a browser":     {[]step{{purchase, server, 1, "a", 50 * unit, 0}, {refund, browser, 1, "a", 0, 0}}, 1, 0, 50 * unit, true},
		"refunded in part":          {[]step{{purchase, server, 1, "a", 50 * unit, 0}, {refund, server, 9, "a", 20 * unit, 0}}, 1, 0, 30 * unit, true},
		"refunded in parts":         {[]step{{purchase, server, 1, "a", 50 * unit, 0}, {refund, server, 1, "a", 20 * unit, 0}, {refund, server, 1, "a", 30 * unit, 0}}, 0, 0, 0, true},
		"a refund without an order": {[]step{{refund, server, 1, "a", 20 * unit, 0}}, 0, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start("r1", "")
			w.shows(1, 2, true)
			w.shows(2, 2, false)
			before := *p.values.weights
			for _, s := range x.steps {
				w.now = w.now.Add(s.after)
				w.report(s.name, s.trust, s.visitor, s.order, s.value)
			}
			v := p.values
			near := func(got, want float64) bool { return got > want-1e-6 && got < want+1e-6 }
			if b, i := v.all[buyModel].Observed, v.all[viewModel].Observed; !near(b, x.buys) || !near(i, x.views) {
				t.Errorf("got %g conversions after clicks, %g after impressions; want %g, %g", b, i, x.buys, x.views)
			}
			if a := v.advertisers["shop"]; !near(a.Value, float64(x.value)) || a.Purchased != x.purchasing {
				t.Errorf("got %+v; want a value of %s, purchases reported: %t", a.returns, x.value, x.purchasing)
			}
			if !x.purchasing {
				for i, page := range v.weights.pages {
					if page != nil && *page != *before.pages[i] {
						t.Error("a weight changed")
					}
				}
			}
		})
	}
}

// The estimates of conversions after a restart, and those of another node, are those of the
// run that learned them, whatever the facts of one Apply.
func TestConversionsAreAFold(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	p := w.start("r1", dir)
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 400 {
		visitor := 1 + r.Uint64N(60)
		w.shows(visitor, 1, r.IntN(5) == 0)
		switch r.IntN(6) {
		case 0:
			w.report(purchase, events.TrustServer, visitor, fmt.Sprint(n), rtb.Micros(r.IntN(100))*unit)
		case 1:
			w.report(purchase, events.TrustBrowser, visitor, fmt.Sprint(n+r.IntN(3)), 5*unit)
		case 2:
			w.report(refund, events.TrustServer, visitor, fmt.Sprint(n-r.IntN(10)), 0)
		}
		w.now = w.now.Add(time.Duration(r.IntN(6*3600)) * time.Second)
		if n == 200 {
			w.kill(p)
			p = w.start("r2", dir)
		}
	}
	other := w.start("r3", "")
	goal := rtb.Goal{Kind: rtb.GoalROAS, Target: 4 * unit, Prior: 2_000_000}
	estimate := func(p *Pacer) (e rtb.Estimate) {
		p.publishValues(rtb.SecondOf(p.now) + publishEvery)
		s := rtb.Showing{Exchange: "demo", Line: cartLine, Creative: "card", Format: "banner", Features: rtb.Features{N: 1, Hash: [8]uint32{7}}, Draw: 0.4}
		p.Estimate(&e, &goal, &s)
		return e
	}
	a, b := estimate(p), estimate(other)
	if a != b || a.Conversion == 0 || a.Worth == 0 {
		t.Errorf("got %+v and %+v; want the same", a, b)
	}
	if x, y := p.values, other.values; x.all != y.all || x.delays != y.delays || x.lines[cartLine].returns.returns != y.lines[cartLine].returns.returns {
		t.Errorf("got %+v, %+v; want %+v, %+v", x.all, x.delays, y.all, y.delays)
	}
}

// An erasure removes the exposures of a visitor.
func TestErasedVisitorsHaveNoExposures(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "")
	c := w.shows(1, 1, true)
	w.shows(2, 1, true)
	if err := p.Erase(context.Background(), map[rtb.Key]struct{}{c.Visitor: {}}); err != nil {
		t.Fatal(err)
	}
	w.report(purchase, events.TrustServer, 1, "a", unit)
	w.report(purchase, events.TrustServer, 2, "b", unit)
	if got := p.values.all[buyModel].Observed; got < 0.999 || got > 1.001 {
		t.Errorf("got %g conversions; want only that of the other visitor", got)
	}
}

// Old exposures and orders are dropped.
func TestOldExposuresAreDropped(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "")
	for n := range uint64(50) {
		w.shows(1+n, 1, true)
		w.report(purchase, events.TrustServer, 1+n, fmt.Sprint(n), unit)
	}
	count := func() (n int) {
		for _, kind := range []byte{keyDue, keyTouch, keyOrder} {
			found, err := p.values.pending.list([]byte{kind}, []byte{kind + 1})
			if err != nil {
				t.Fatal(err)
			}
			n += len(found)
		}
		return n
	}
	if n := count(); n < 150 {
		t.Fatalf("got %d exposures and orders; want at least 150", n)
	}
	for range 70 * 8 {
		w.now = w.now.Add(3 * time.Hour)
		w.must(events.Fact{Kind: events.KindTick, ID: fmt.Sprint("t", len(w.facts))})
	}
	if n := count(); n != 0 {
		t.Errorf("got %d after 70 days; want none", n)
	}
}

// Revenue decides what an impression is worth under roas, and a line whose conversions cost
// more than its target divides its values.
func TestRevenueAndGoal(t *testing.T) {
	w := newWorld(t)
	p := w.start("r1", "")
	goal := rtb.Goal{Kind: rtb.GoalROAS, Target: 4 * unit, Prior: 2_000_000}
	estimate := func(line string) (e rtb.Estimate) {
		w.pass(2 * time.Second)
		p.Estimate(&e, &goal, &rtb.Showing{Line: rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: line}, Draw: 0.5})
		return e
	}
	if e := estimate("cart"); e.Data != 0 || e.Value == 0 || e.Worth != 0 || e.Deviation == 0 {
		t.Errorf("before any order: got %+v; want the line's cpm, with its uncertainty", e)
	}
	for n := range uint64(40) {
		w.shows(1+n, 1, true)
		w.report(purchase, events.TrustServer, 1+n, fmt.Sprint(n), 80*unit)
	}
	for _, line := range []string{"cart", "new"} {
		if e := estimate(line); e.Worth != 20*unit || e.Multiplier != 1 || e.Data == 0 {
			t.Errorf("line %s, orders of 80 at a return of 4: got %+v; want a worth of 20", line, e)
		}
	}
	r := returns{Spend: 300e6, Conversions: 10, Pending: 5}
	if m := r.goalMultiplier(10e6, 100e6); m < 1.42 || m > 1.44 { // (300+200)/(150+200)
		t.Errorf("conversions at twice the target: got a multiplier of %g; want 1.43", m)
	}
	if m := r.goalMultiplier(20e6, 200e6); m != 1 {
		t.Errorf("conversions at the target: got a multiplier of %g; want 1", m)
	}
}
