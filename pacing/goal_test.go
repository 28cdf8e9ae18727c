package pacing

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// goalMarket is a first-price market without shading, in which one line with a goal bids on
// every impression. The click rate depends on the site, which the model knows, and on the
// visitor, which it does not; half of the clicks lead to a purchase within hours.
type goalMarket struct {
	t     *testing.T
	r     *rand.Rand
	p     *Pacer
	goal  rtb.Goal
	now   time.Time
	facts map[int64][]events.Fact // to come, by minute
	seq   uint64
	bids  uint64
	sites [20]float64

	order   rtb.Micros // value of a purchase; 0: nobody can buy
	careful bool       // the line keeps to its goal
}

const (
	goalClicks  = 0.2
	goalBuys    = 0.5
	goalPrice   = 1400.0 // median of the competing prices, in micros; an impression is worth about 2000
	goalPerMin  = 1
	goalOrder   = rtb.Micros(80_000)
	goalPerSale = rtb.Micros(20_000) // the target cost, and the worth of an order at a return of 4
)

func newGoalMarket(t *testing.T, goal rtb.Goal) *goalMarket {
	m := &goalMarket{t: t, r: rand.New(rand.NewPCG(1, 2)), p: newWorld(t).start("r1", ""), goal: goal, now: noon,
		facts: map[int64][]events.Fact{}, order: goalOrder, careful: true}
	for i := range m.sites {
		m.sites[i] = 0.4 * m.r.NormFloat64()
	}
	return m
}

// goalDays are sums over days: of the spend, in micros, and of the purchases that it is
// expected to bring in truth.
type goalDays struct{ spend, sales float64 }

func (d goalDays) cost() float64 { return d.spend / d.sales / float64(goalPerSale) }

// run lets days pass.
func (m *goalMarket) run(days int) (d goalDays) {
	for range days * 24 * 60 {
		m.now = m.now.Add(time.Minute)
		for range goalPerMin {
			m.offer(&d)
		}
		m.fold()
	}
	return d
}

// offer sells one impression.
func (m *goalMarket) offer(d *goalDays) {
	site := m.r.IntN(len(m.sites))
	s := rtb.Showing{Exchange: "demo", Creative: "card", Format: "banner", Line: cartLine, Draw: m.r.Float64(),
		Features: rtb.Features{N: 1, Hash: [8]uint32{rtb.HashFeature(45, uint64(site), 0)}}}
	click := sigmoid(logit(goalClicks) + m.sites[site] + 0.3*m.r.NormFloat64())
	var e rtb.Estimate
	m.p.Estimate(&e, &m.goal, &s)
	price := float64(e.Value.Cost())
	if m.careful {
		price /= e.Multiplier
	}
	if price < goalPrice*math.Exp(0.5*m.r.NormFloat64()) {
		return
	}
	d.spend += price
	if m.order > 0 {
		d.sales += click * goalBuys
	}
	m.bids++
	bill := m.notice(events.KindBill, &s, 0)
	bill.Notice.Bills, bill.Notice.Charge = true, rtb.Micros(price)
	bill.Notice.WinExpiry, bill.Notice.BillExpiry = m.now.Add(time.Hour), m.now.Add(time.Hour)
	m.add(bill)
	if m.r.Float64() > click {
		return
	}
	m.add(m.notice(events.KindClick, &s, time.Minute))
	if m.order > 0 && m.r.Float64() < goalBuys {
		at := m.now.Add(time.Minute + time.Duration(m.r.ExpFloat64()*float64(2*time.Hour)))
		f := events.Fact{Kind: events.KindEvent, ID: fmt.Sprint("buy", m.bids), Advertiser: "shop", TS: at, At: at, Currency: usd, Visitor: bill.Visitor,
			Event: &events.Event{Name: purchase, OrderID: fmt.Sprint("o", m.bids), Value: m.order, Trust: events.TrustServer}}
		m.add(f)
	}
}

// notice returns the fact of a notice about the last bid, each of which has a visitor of its
// own.
func (m *goalMarket) notice(kind events.Kind, s *rtb.Showing, after time.Duration) events.Fact {
	f := *factOf(kind, s)
	f.ID, f.TS, f.At, f.Currency = fmt.Sprint(kind, m.bids), m.now.Add(after), m.now.Add(after), usd
	binary.BigEndian.PutUint64(f.Visitor[:], m.bids)
	binary.BigEndian.PutUint64(f.Notice.BidID[:], m.bids)
	return f
}

func (m *goalMarket) add(f events.Fact) {
	minute := f.TS.Unix() / 60
	m.facts[minute] = append(m.facts[minute], f)
}

// fold folds the facts of the present minute.
func (m *goalMarket) fold() {
	minute := m.now.Unix() / 60
	due := m.facts[minute]
	delete(m.facts, minute)
	for i := range due {
		m.seq++
		due[i].Seq, due[i].TS = m.seq, m.now
	}
	if err := m.p.Apply(due); err != nil {
		m.t.Fatal(err)
	}
	m.p.publishValues(rtb.SecondOf(m.now)) // as Step does
}

// A line whose purchases stop spends little, although nothing but its goal limits it, and
// recovers when they come again. Before and after it keeps to its target.
func TestGoalIsKept(t *testing.T) {
	if testing.Short() {
		t.Skip("weeks of auctions, and one goroutine")
	}
	m := newGoalMarket(t, rtb.Goal{Kind: rtb.GoalCPA, Target: goalPerSale, Prior: 2_000_000})
	m.run(7) // learns
	usual := m.run(2)
	m.order = 0
	m.run(4)
	broken := m.run(1)
	m.order = goalOrder
	m.run(14)
	again := m.run(2)
	t.Logf("cost of a purchase %.3f of the target, spend %.2f a day; without purchases %.3f a day; then cost %.3f, spend %.2f",
		usual.cost(), usual.spend/2e6, broken.spend/1e6, again.cost(), again.spend/2e6)
	for _, d := range []goalDays{usual, again} {
		if c := d.cost(); !(c > 0.7 && c < 1.1) {
			t.Errorf("a purchase costs %.3f of the target; want 0.7 to 1.1", c)
		}
	}
	if broken.spend > 0.3*usual.spend/2 {
		t.Errorf("without purchases %.0f micros are spent a day, usually %.0f; want at most 30 %%", broken.spend, usual.spend/2)
	}
	if again.spend < 0.5*usual.spend {
		t.Errorf("after it %.0f micros are spent, before %.0f; want at least half", again.spend, usual.spend)
	}
}

// Orders lose half of their value. The average of the last month shows it late, so the goal
// has to hold the line back.
func TestReturnFollowsOrderValues(t *testing.T) {
	if testing.Short() {
		t.Skip("weeks of auctions, and one goroutine")
	}
	var returns [2]float64 // revenue per spend, as a share of the target
	for i, careful := range []bool{false, true} {
		m := newGoalMarket(t, rtb.Goal{Kind: rtb.GoalROAS, Target: 4_000_000, Prior: 2_000_000})
		m.careful = careful
		m.run(5)
		m.order = goalOrder / 2
		m.run(6)
		returns[i] = 1 / m.run(2).cost() / 2
	}
	t.Logf("return %.3f of the target with the goal, %.3f without", returns[1], returns[0])
	if returns[1] < 0.8 || returns[1] < returns[0]+0.05 {
		t.Errorf("return %.3f of the target with the goal, %.3f without; want at least 0.8, and clearly more", returns[1], returns[0])
	}
}
