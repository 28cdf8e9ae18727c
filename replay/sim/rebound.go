package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
)

// unitCPM is a unit of the market's prices as CPM. Money is in thousandths of it.
const unitCPM = rtb.CPM(1_000_000)

func cpm(units float64) rtb.CPM       { return rtb.CPM(units * float64(unitCPM)) }
func micros(units float64) rtb.Micros { return rtb.Micros(units * float64(unitCPM) / 1000) }
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func lineName(campaign int) rtb.LineID {
	return rtb.LineID{Advertiser: "shop", Campaign: fmt.Sprintf("c%d", campaign), Line: "line"}
}

// Intervals of the simulated bidder.
const (
	stepInterval  = time.Second
	exchangeID    = "market"
	lossDelayMean = 1.0 // seconds, where every bid is reported lost
	reportEarly   = 2.0 // seconds before the end of a bid's life at which its loss is reported
)

// rebound is the product's pacing in the simulated market: one or more nodes over one
// log, with a virtual clock. It lives for all days of a run.
type rebound struct {
	s       *Scenario
	start   time.Time // midnight of the present day
	now     time.Time
	stepped time.Time
	log     pacing.MemLog
	nodes   []*pacing.Pacer
	down    []bool
	plan    []pacing.LinePlan
	facts   []pending // that are due later, by time
	bids    uint64
	starts  int
	dir     string // of the views, when they must survive a restart
	draws   *rand.Rand
	scored  bool // the present day counts
	failure error
}

// pending are facts on their way.
type pending struct {
	at   time.Time
	fact events.Fact
}

// firstDay is a Monday.
var firstDay = time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)

func newRebound(s *Scenario, budgets []float64, seed uint64) (*rebound, error) {
	r := &rebound{s: s, start: firstDay, now: firstDay, stepped: firstDay, draws: rand.New(rand.NewPCG(seed, 992))}
	r.log = pacing.MemLog{Now: func() time.Time { return r.now }, Apply: r.apply}
	if s.RestartAt > 0 {
		dir, err := os.MkdirTemp("", "rebound-sim")
		if err != nil {
			return nil, fmt.Errorf("cannot make a folder for the simulation: %w", err)
		}
		r.dir = dir
	}
	for c, budget := range budgets {
		r.plan = append(r.plan, pacing.LinePlan{
			Line: lineName(c), Currency: rtb.USD, Mode: pacing.Even, CampaignMode: pacing.Even,
			Caps: rtb.CapLineDay, LineDay: micros(budget), Active: true,
		})
	}
	for n := range max(s.Nodes, 1) {
		r.nodes, r.down = append(r.nodes, nil), append(r.down, false)
		if err := r.open(n); err != nil {
			return nil, errors.Join(err, r.close())
		}
	}
	return r, nil
}

// open starts a node.
func (r *rebound) open(n int) error {
	r.starts++
	o := pacing.Options{
		InMemory: r.dir == "", Run: fmt.Sprintf("run%d", r.starts), Node: fmt.Sprintf("n%d", n), Append: r.log.Append,
		IsConflict: pacing.IsConflict, Now: r.log.Now, BidLife: max(10*time.Minute, 2*seconds(r.s.bidLife())),
	}
	if r.dir != "" {
		o.Dir, o.Reservations = filepath.Join(r.dir, o.Node), filepath.Join(r.dir, o.Node+".reservations")
	}
	p, err := pacing.Open(o)
	if err != nil {
		return fmt.Errorf("cannot open pacing for the simulation: %w", err)
	}
	r.nodes[n] = p
	p.SetPlan(r.plan)
	for range 3 { // the first takes over what the last run left; the next cut the grants
		p.Step(context.Background(), r.now)
	}
	return nil
}

func (r *rebound) close() error {
	var err error
	for _, p := range r.nodes {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}
	if r.dir != "" {
		err = errors.Join(err, os.RemoveAll(r.dir))
	}
	return err
}

// apply folds facts into the views of all nodes. Nodes that are down do not spend, but
// folding keeps their files in order.
func (r *rebound) apply(facts []events.Fact) error {
	for _, p := range r.nodes {
		if p == nil {
			continue
		}
		if err := p.Apply(facts); err != nil {
			return err
		}
	}
	return nil
}

func (r *rebound) append(facts ...events.Fact) {
	if err := r.log.Append(context.Background(), facts...); err != nil && r.failure == nil {
		r.failure = err
	}
}

// until lets time pass: facts arrive, the nodes step.
func (r *rebound) until(t time.Time) {
	for {
		next := r.stepped.Add(stepInterval)
		if len(r.facts) > 0 && r.facts[0].at.Before(next) && !r.facts[0].at.After(t) {
			p := r.facts[0]
			r.facts = r.facts[1:]
			r.now = later(r.now, p.at)
			r.append(p.fact)
			continue
		}
		if next.After(t) {
			r.now = later(r.now, t)
			return
		}
		r.now, r.stepped = next, next
		for i, p := range r.nodes {
			if !r.down[i] {
				p.Step(context.Background(), next)
			}
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// schedule queues a fact.
func (r *rebound) schedule(at time.Time, f events.Fact) {
	i := len(r.facts)
	for i > 0 && r.facts[i-1].at.After(at) {
		i--
	}
	r.facts = append(r.facts, pending{})
	copy(r.facts[i+1:], r.facts[i:])
	r.facts[i] = pending{at, f}
}

// reconcile books what the exchange's report of the last day shows beyond the notices.
func (r *rebound) reconcile(campaign int, missing float64) {
	if missing <= 0 {
		return
	}
	id := lineName(campaign)
	r.append(events.Fact{
		ID: fmt.Sprintf("report:%d:%s", campaign, r.now.Format(time.DateOnly)), At: r.now, Kind: events.KindAdjust,
		Advertiser: id.Advertiser, Currency: rtb.USD,
		Adjustment: &events.Adjustment{
			Budget: rtb.BudgetOf(rtb.CapLineDay, id.Advertiser, id.Campaign, id.Line, rtb.DayOf(r.now, time.UTC)-1),
			Amount: micros(missing), Reason: pacing.ReasonReport,
		},
	})
}

// campaign is one campaign of rebound for one day.
type campaign struct {
	r      *rebound
	number int
	line   rtb.LineID
	day    []Request
	last   *rtb.Claims         // of the last bid
	claims map[int]*rtb.Claims // of the bids that won and were not billed yet
	losses []loss              // to be reported at the end of the bids' lives, by time
	done   int
}

// loss is a bid that lost, and whose exchange reports what it had to beat.
type loss struct {
	due    float64
	claims *rtb.Claims
	toWin  float64
}

func (r *rebound) campaign(number int, day []Request) *campaign {
	return &campaign{r: r, number: number, line: lineName(number), day: day, claims: map[int]*rtb.Claims{}}
}

func (c *campaign) err() error { return c.r.failure }

func (c *campaign) at(t float64) time.Time { return c.r.start.Add(seconds(t)) }

func (c *campaign) advance(t float64) {
	for c.done < len(c.losses) && c.losses[c.done].due <= t {
		x := &c.losses[c.done]
		c.done++
		c.r.until(c.at(x.due))
		f := events.NoticeFact(rtb.NoticeLoss, x.claims, c.r.now)
		f.Notice.MinToWin = cpm(x.toWin)
		c.r.append(f)
		x.claims = nil
	}
	if kill := c.r.s.KillAt; kill > 0 && t >= kill && c.r.scored {
		c.r.down[0] = true
	}
	c.r.until(c.at(t))
}

// node returns the node that gets a request.
func (c *campaign) node(i int) *pacing.Pacer {
	n := i % len(c.r.nodes)
	for c.r.down[n] {
		n = (n + 1) % len(c.r.nodes)
	}
	return c.r.nodes[n]
}

func (c *campaign) bid(i int) float64 {
	if len(c.day[i].Paths) > 0 {
		return c.bidOverPaths(i)
	}
	return c.quote(i, 0)
}

// quote returns the price of a bid over a supply path, or 0.
func (c *campaign) quote(i int, path rtb.PathHandle) float64 {
	q, p := &c.day[i], c.node(i)
	auction := rtb.AuctionSecondPrice
	if c.r.s.FirstPrice {
		auction = rtb.AuctionFirstPrice
	}
	h := p.Handle(c.line)
	quote, reason := p.Quote(h, &rtb.Ask{
		Value: cpm(q.Seen), Floor: unitCPM, Auction: auction, Exchange: exchangeID, Slot: rtb.Slot(q.Slot), Draw: c.r.draws.Float64(),
	})
	seen := rtb.Observation{Requests: 1, Quotes: 1, Full: quote.Full}
	claims := c.newClaims(q, &quote)
	claims.Path = path
	bids := reason == rtb.NoBidNone && p.Reserve(claims, nil, nil) == rtb.NoBidNone
	if bids {
		seen.Expected = quote.Expected
	}
	if p.Observe(h, &seen); !bids {
		return 0
	}
	if c.last = claims; c.r.s.MinToWin {
		c.losses = append(c.losses, loss{q.At + c.r.s.bidLife() - reportEarly, claims, q.Price})
	}
	if c.r.s.LossAll {
		at := c.r.now.Add(seconds(0.3 + lossDelayMean*c.r.draws.ExpFloat64()))
		c.r.schedule(at, events.NoticeFact(rtb.NoticeLoss, claims, at))
	}
	return float64(quote.Price) / float64(unitCPM)
}

func (c *campaign) newClaims(q *Request, quote *rtb.Quote) *rtb.Claims {
	c.r.bids++
	claims := &rtb.Claims{
		Exchange: exchangeID, Advertiser: c.line.Advertiser, Campaign: c.line.Campaign, Line: c.line.Line,
		Price: quote.Price, Currency: rtb.USD, AdvertiserCurrency: rtb.USD, Rate: rtb.RateOne, Reserved: quote.Price.Cost(),
		Slot:       rtb.Slot(q.Slot),
		FirstPrice: c.r.s.FirstPrice, Issued: c.r.now.Truncate(time.Second), Value: micros(q.Seen), Expected: quote.Expected,
	}
	binary.LittleEndian.PutUint64(claims.Bid[:], c.r.bids)
	claims.WinExpiry = claims.Issued.Add(seconds(c.r.s.bidLife()))
	claims.BillExpiry = claims.WinExpiry
	return claims
}

// won is called after the bid of the request has won.
func (c *campaign) won(i int) {
	c.claims[i] = c.last
	if c.r.s.MinToWin {
		c.losses = c.losses[:len(c.losses)-1]
	}
}

func (c *campaign) billed(t float64, n *notice) {
	c.r.until(c.at(t))
	c.r.append(c.bill(n))
}

func (c *campaign) bill(n *notice) events.Fact {
	claims := c.claims[n.request]
	delete(c.claims, n.request)
	f := events.NoticeFact(rtb.NoticeBill, claims, c.r.now)
	f.Notice.Price, f.Notice.PriceTold, f.Notice.Bills = cpm(n.paid), true, true
	f.Notice.Charge = claims.Charge(f.Notice.Price)
	if c.r.s.MinToWin {
		f.Notice.MinToWin = cpm(c.day[n.request].Price)
	}
	return f
}

// overnight queues the notice of a win that arrives after midnight.
func (c *campaign) overnight(n notice) { c.r.schedule(c.at(n.at), c.bill(&n)) }

func (c *campaign) setBudget(budget float64) {
	c.r.plan[c.number].LineDay = micros(budget)
	for i, p := range c.r.nodes {
		if !c.r.down[i] {
			p.SetPlan(c.r.plan)
			p.Step(context.Background(), c.r.now)
		}
	}
}

// restart kills the node and starts it again.
func (c *campaign) restart(t float64) error {
	c.advance(t)
	if err := c.r.nodes[0].Close(); err != nil {
		return err
	}
	return c.r.open(0)
}

func (c *campaign) multiplier() float64 {
	for i, p := range c.r.nodes {
		if !c.r.down[i] {
			return p.Stats().Lines[c.number].Multiplier
		}
	}
	return 0
}

// nextDay lets the rest of the day pass and begins the next one.
func (r *rebound) nextDay() {
	r.start = r.start.AddDate(0, 0, 1)
	r.until(r.start)
}

// check settles what is in flight and checks the books against the caps.
func (r *rebound) check() error {
	r.until(r.now.Add(2*seconds(r.s.bidLife()) + time.Minute))
	for i, p := range r.nodes {
		if r.down[i] {
			continue
		}
		for _, row := range p.Budgets(r.start.Add(-time.Second)) {
			if row.Spent-row.Late > row.Cap {
				return fmt.Errorf("cannot accept the books of node %d: got %s spent and %s late of %s; want spend within the cap", i, row.Spent, row.Late, row.Cap)
			}
		}
	}
	return r.failure
}
