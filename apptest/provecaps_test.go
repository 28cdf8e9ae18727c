package apptest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// under runs the load while fn does something to the bidder. The function that fn gets stops
// the bid requests and waits until they are answered; notices go on.
func (x *capLoad) under(fn func(endBids func())) {
	var bids, notices sync.WaitGroup
	stopBids, stop := make(chan struct{}), make(chan struct{})
	bids.Go(func() { x.runBids(stopBids) })
	notices.Go(func() { x.runNotices(stop) })
	endBids := sync.OnceFunc(func() { close(stopBids); bids.Wait() })
	defer x.client.CloseIdleConnections()
	defer notices.Wait()
	defer endBids()
	defer close(stop)
	fn(endBids)
}

// killAtRandom kills the bidder at a random moment: after some acknowledged facts, after
// some time, or while it starts again.
func (x *capLoad) killAtRandom(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	x.under(func(func()) {
		if rnd.IntN(2) == 0 {
			target := x.acknowledged() + 1 + rnd.IntN(150)
			within(t, patience, "facts are acknowledged", func() bool { return x.acknowledged() >= target })
		} else {
			time.Sleep(time.Duration(rnd.IntN(400_000)) * time.Microsecond)
		}
		x.b.kill()
		for rnd.IntN(5) == 0 { // and while it starts
			x.b.launch()
			time.Sleep(time.Duration(rnd.IntN(300_000)) * time.Microsecond)
			x.b.kill()
		}
	})
}

// worst is what the bills that were sent and those that may still be sent cost each cap.
type worst struct{ billed, late, open map[string]int64 } // late is a part of billed

// worst adds up the true bill of each budget, if every bid that can still be billed at a time
// is billed at its price. A bid whose hour or day is not certain counts in neither.
func (x *capLoad) worst(now time.Time) worst {
	w := worst{map[string]int64{}, map[string]int64{}, map[string]int64{}}
	zone, _ := time.LoadLocation("America/Toronto")
	flight := x.shop.from.In(zone).Format(time.DateOnly)
	for _, c := range x.list(func(c *capBid) bool { return c.open(now) }) {
		windows := []string{"total", "flight/" + flight}
		if hour := c.asked.UTC().Format("2006-01-02T15"); hour == c.got.UTC().Format("2006-01-02T15") {
			windows = append(windows, "hour/"+hour, "day/"+c.asked.In(zone).Format(time.DateOnly))
		}
		for _, owner := range c.owners() {
			for _, window := range windows {
				to, amount := w.open, c.cost
				if c.billed {
					to, amount = w.billed, c.charge
				}
				to[owner+"/"+window] += amount
				to[owner+"/imps_"+window] += 1_000_000
				if c.late {
					w.late[owner+"/"+window] += amount
					w.late[owner+"/imps_"+window] += 1_000_000
				}
			}
		}
	}
	return w
}

// exceeded lists the budgets that the true bill exceeds, or could exceed with what may
// still be billed, and the visitors who saw an ad too often, or could.
func (x *capLoad) exceeded(t *testing.T) (wrong []string) {
	t.Helper()
	rows, err := x.budgets()
	if err != nil {
		return []string{err.Error()}
	}
	now := time.Now()
	w := x.worst(now)
	for i := range rows {
		r, id := &rows[i], rows[i].id()
		if sum := w.billed[id] - w.late[id] + w.open[id]; sum > r.Cap {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d billed and %d that may be billed exceed the cap of %d", id, w.billed[id], w.open[id], r.Cap))
		}
		if r.Spent-r.Late+r.Granted > r.Cap {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d spent and %d granted exceed the cap of %d", id, r.Spent-r.Late, r.Granted, r.Cap))
		}
		if r.Late > w.late[id] {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d spent late; the exchange billed %d late", id, r.Late, w.late[id]))
		}
	}
	seen := map[string]int{}
	for _, c := range x.list(func(c *capBid) bool { return c.line == "visitor" && !c.lost && c.open(now) }) {
		if seen[c.visitor]++; seen[c.visitor] == visitorCap+1 {
			wrong = append(wrong, fmt.Sprintf("visitor %s saw the line more than %d times, or may", c.visitor, visitorCap))
		}
	}
	return wrong
}

// agrees waits until the bidder agrees with the recount of its log, and every cap holds.
func (x *capLoad) agrees(t *testing.T) *recount {
	t.Helper()
	r, err := recountFolder(x.b.dir)
	if err != nil {
		t.Fatal(err)
	}
	wrong := x.missing(r)
	for _, c := range x.list(func(c *capBid) bool { return c.acked }) {
		if got := r.charged[c.id]; got != c.charge {
			wrong = append(wrong, fmt.Sprintf("bid %s: the log has %d micros; the exchange %d", c.id, got, c.charge))
		}
	}
	wrong = append(wrong, x.exceeded(t)...)
	if len(wrong) > 0 {
		t.Fatalf("%d facts: %s\n%s", r.facts, strings.Join(wrong, "\n"), x.b.log.tail(40))
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if wrong = x.budgetDifferences(r); len(wrong) == 0 {
			return r
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%d facts: %v\n%s", r.facts, wrong, x.b.log.tail(40))
		}
	}
}

// billRest sends every bill that the exchanges can still send.
func (x *capLoad) billRest(t *testing.T) (n int) {
	t.Helper()
	now := time.Now()
	for _, c := range x.list(func(c *capBid) bool { return !c.billed && c.open(now) && !(c.lost && c.line == "visitor") }) {
		if x.charge(c, c.price); c.billed {
			n++
		}
	}
	x.again(t)
	return n
}

// report describes how far each cap is used, and returns the largest share.
func (x *capLoad) report(t *testing.T, r *recount) (text string, most float64) {
	t.Helper()
	rows, err := x.budgets()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range rows {
		r := &rows[i]
		most = max(most, float64(r.Spent)/float64(r.Cap))
		fmt.Fprintf(&b, "  %-40s %5.1f %% of %.2f spent\n", r.id(), 100*float64(r.Spent)/float64(r.Cap), float64(r.Cap)/1e6)
	}
	return b.String(), most
}

// killUnderCaps kills a bidder n times while several caps bind.
func killUnderCaps(t *testing.T, n, raiseEvery int) {
	t.Helper()
	s := newCapShop(t)
	b := startBidder(t, "--config", s.path)
	x := newCapLoad(b, s)
	rnd := rand.New(rand.NewPCG(7, 8))
	var r *recount
	for i := range n {
		x.killAtRandom(t, rnd)
		if i%raiseEvery == raiseEvery-1 {
			s.steps++
			s.write(t)
		}
		b.start()
		x.again(t)
		r = x.agrees(t)
		if i%10 == 9 {
			t.Logf("%d kills: %d facts, %d bids, %d bills", i+1, r.facts, len(x.bids), len(x.proofLoad.bills))
		}
	}
	rest := x.billRest(t)
	r = x.agrees(t)
	late := len(x.list(func(c *capBid) bool { return c.late }))
	if len(x.proofLoad.bills) < n || rest == 0 {
		t.Errorf("%d bills, %d of them at the end: the proof did not exercise the ledger", len(x.proofLoad.bills), rest)
	}
	used, most := x.report(t, r)
	if n >= 100 && most < 0.75 { // a few kills are over before
		t.Errorf("no cap was used by more than %.0f %%: the proof did not come near one", 100*most)
	}
	report(t, fmt.Sprintf("%d kills: %d facts; %d bids received, %d billed, %d of them at the end; %d requests had no response, %d bills came late because the bidder was away; the true bill is within every cap\nanswers %v\n%s",
		n, r.facts, len(x.bids), len(x.proofLoad.bills), rest, x.cut, late, x.takeCodes(), used))
}

// TestProveCapsThroughKills: 200 times kill -9 at a random moment while notices arrive.
// After each start the ledger equals a recount of the facts, and at the end the true bill is
// within every cap, with every bill that the exchanges could still send.
func TestProveCapsThroughKills(t *testing.T) {
	proving(t)
	killUnderCaps(t, 200, 12)
}

// TestCapsThroughKills is the short form of the proof.
func TestCapsThroughKills(t *testing.T) { killUnderCaps(t, 4, 2) }

// heldAfterKills kills a bidder n times while notices arrive and no bid is being answered, so
// that the exchange knows every bid. Then what is held of every cap is what its bids can
// still cost, now and after the short promises have ended.
func heldAfterKills(t *testing.T, n int, toTheEnd bool) {
	t.Helper()
	s := newCapShop(t)
	s.steps = 20
	s.write(t)
	b := startBidder(t, "--config", s.path)
	x := newCapLoad(b, s)
	rnd := rand.New(rand.NewPCG(11, 12))
	for range n {
		x.under(func(endBids func()) {
			target := len(x.list(func(*capBid) bool { return true })) + 10 + rnd.IntN(50)
			within(t, patience, "bids", func() bool { return len(x.list(func(*capBid) bool { return true })) >= target })
			endBids()
			time.Sleep(time.Duration(rnd.IntN(20_000)) * time.Microsecond)
			b.kill()
		})
		b.start()
		x.again(t)
	}
	if x.cut > 0 {
		t.Fatalf("%d bid requests had no response", x.cut)
	}
	text := fmt.Sprintf("%d kills, %d bids: %s", n, len(x.bids), x.holdsOnly(t))
	if toTheEnd {
		last := time.Now().Add(capExchanges["sure"].won)
		within(t, 5*time.Minute, "the short promises have ended", func() bool { return time.Now().After(last) })
		text += fmt.Sprintf("; when only bids at one exchange can still be billed: %s", x.holdsOnly(t))
	}
	rest := x.billRest(t)
	x.agrees(t)
	report(t, fmt.Sprintf("%s; after %d more bills: %s", text, rest, x.holdsOnly(t)))
}

// holdsOnly waits until the bidder holds of every cap what the bids in flight can still cost,
// and no more, except for what this run has granted itself. It describes the most that is
// held.
func (x *capLoad) holdsOnly(t *testing.T) (text string) {
	t.Helper()
	var wrong []string
	// Reservations end by the time of the log, which moves every five seconds, and money is
	// freed every five seconds.
	const lag = 15 * time.Second
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		now := time.Now()
		rows, err := x.budgets()
		if err != nil {
			t.Fatal(err)
		}
		least, most := x.worst(now.Add(2*time.Second)), x.worst(now.Add(-lag))
		wrong, text = wrong[:0], ""
		for i := range rows {
			r, id := &rows[i], rows[i].id()
			held := r.Granted - r.Idle
			if held < least.open[id] || held > most.open[id] {
				wrong = append(wrong, fmt.Sprintf("budget %s: %d held; bids in flight can cost %d, or %d with those that have just ended", id, held, least.open[id], most.open[id]))
			}
			if id == "shop/often//total" || id == "shop/caps//total" {
				text += fmt.Sprintf(" %s %d", id, held)
			}
		}
		if len(wrong) == 0 {
			return "held" + text + " micros, as bids in flight can cost"
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%s\n%s", strings.Join(wrong, "\n"), x.b.log.tail(20))
		}
	}
}

// TestProveHeldAfterKills: after 30 kills the money held is what bids in flight can still
// cost, and no more.
func TestProveHeldAfterKills(t *testing.T) {
	proving(t)
	heldAfterKills(t, 30, true)
}

// TestHeldAfterKills is the short form of the proof.
func TestHeldAfterKills(t *testing.T) { heldAfterKills(t, 2, false) }
