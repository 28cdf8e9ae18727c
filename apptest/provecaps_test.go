package apptest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// under runs the load while fn does something to the bidder. With quiet, no bid request is
// being answered when the bidder is killed by fn, which calls the function that it gets.
func (x *capLoad) under(fn func(quiet func())) {
	stopBids, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); x.run(stopBids, stop) }()
	defer x.client.CloseIdleConnections()
	defer func() { <-ended }()
	defer close(stop)
	quieten := sync.OnceFunc(func() { close(stopBids) })
	defer quieten()
	fn(quieten)
}

// killAtRandom kills the bidder at a random moment: after some acknowledged facts, after
// some time, or while it starts again.
func (x *capLoad) killAtRandom(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	x.under(func(func()) {
		if rnd.IntN(2) == 0 {
			target := x.acknowledged() + 1 + rnd.IntN(150)
			within(t, time.Minute, "facts are acknowledged", func() bool { return x.acknowledged() >= target })
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
type worst struct{ billed, open map[string]int64 }

// worst adds up the true bill of each budget, if every bid that can still be billed at a time
// is billed at its price. A bid whose hour or day is not certain counts in neither.
func (x *capLoad) worst(now time.Time) worst {
	w := worst{map[string]int64{}, map[string]int64{}}
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
		if sum := w.billed[id] + w.open[id]; sum > r.Cap {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d billed and %d that may be billed exceed the cap of %d", id, w.billed[id], w.open[id], r.Cap))
		}
		if r.Spent-r.Late+r.Granted > r.Cap {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d spent and %d granted exceed the cap of %d", id, r.Spent-r.Late, r.Granted, r.Cap))
		}
		if r.Late != 0 {
			wrong = append(wrong, fmt.Sprintf("budget %s: %d spent late", id, r.Late))
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

// report describes how far each cap is used.
func (x *capLoad) report(t *testing.T, r *recount) string {
	t.Helper()
	rows, err := x.budgets()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(&b, "  %-40s %5.1f %% of %.2f spent\n", r.id(), 100*float64(r.Spent)/float64(r.Cap), float64(r.Cap)/1e6)
	}
	return b.String()
}

// killUnderCaps kills a bidder n times while every cap binds.
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
	if len(x.proofLoad.bills) < n || rest == 0 {
		t.Errorf("%d bills, %d of them at the end: the proof did not exercise the ledger", len(x.proofLoad.bills), rest)
	}
	report(t, fmt.Sprintf("%d kills: %d facts; %d bids received, %d billed, %d of them at the end; %d requests had no response; the true bill is within every cap\nanswers %v\n%s",
		n, r.facts, len(x.bids), len(x.proofLoad.bills), rest, x.cut, x.takeCodes(), x.report(t, r)))
}

// TestProveCapsThroughKills: 200 times kill -9 at a random moment while notices arrive.
// After each start the ledger equals a recount of the facts, and at the end the true bill is
// within every cap, with every bill that the exchanges could still send.
func TestProveCapsThroughKills(t *testing.T) {
	proving(t)
	killUnderCaps(t, 200, 8)
}

// TestCapsThroughKills is the short form of the proof.
func TestCapsThroughKills(t *testing.T) { killUnderCaps(t, 4, 2) }
