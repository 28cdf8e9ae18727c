package pacing

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// world is a log in memory, a virtual clock, and the runs of a node that follow
// the log: the equivalent of a bidder's process for this package.
type world struct {
	t     *testing.T
	now   time.Time
	log   *MemLog
	facts []events.Fact // the whole log, for runs that start later
	runs  []*Pacer
	bids  uint64
	down  bool // the log refuses all facts
	// reservations is the file of the runs' reservations; empty: none.
	reservations string
}

var (
	usd      = rtb.Currency{'U', 'S', 'D'}
	cartLine = rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: "cart"}
	viewLine = rtb.LineID{Advertiser: "shop", Campaign: "autumn", Line: "viewed"}
	noon     = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
)

const unit = rtb.Micros(1_000_000)

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: noon}
	w.log = &MemLog{Now: func() time.Time { return w.now }, Apply: func(facts []events.Fact) error {
		w.facts = append(w.facts, facts...)
		for _, p := range w.runs {
			if err := p.Apply(facts); err != nil {
				return err
			}
		}
		return nil
	}}
	return w
}

// start starts a run that has folded the log. dir "" keeps its view in memory.
func (w *world) start(run, dir string, plan ...LinePlan) *Pacer {
	w.t.Helper()
	p, err := Open(Options{
		Dir: dir, InMemory: dir == "", Run: run, Append: w.append, IsConflict: IsConflict,
		Now: func() time.Time { return w.now }, BidLife: time.Hour, Reservations: w.reservations,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var missed []events.Fact
	for i := range w.facts {
		if w.facts[i].Seq > p.Position().Seq {
			missed = append(missed, w.facts[i])
		}
	}
	if err := p.Apply(missed); err != nil {
		w.t.Fatal(err)
	}
	w.runs = append(w.runs, p)
	p.SetPlan(plan)
	for range 2 { // the first takes over what the last run left
		p.Step(context.Background(), w.now)
	}
	w.t.Cleanup(func() { w.kill(p) })
	return p
}

// stop ends a run cleanly.
func (w *world) stop(p *Pacer) {
	if err := p.Stop(context.Background()); err != nil {
		w.t.Error(err)
	}
	w.end(p)
}

// kill ends a run as kill -9 does: no grants are returned, and the reservations
// are as they were in memory. (A database must be closed before it is opened
// again; Close stores no money.)
func (w *world) kill(p *Pacer) {
	p.slots = nil
	w.end(p)
}

func (w *world) end(p *Pacer) {
	for i := range w.runs {
		if w.runs[i] == p {
			w.runs = append(w.runs[:i], w.runs[i+1:]...)
			if err := p.Close(); err != nil {
				w.t.Error(err)
			}
			return
		}
	}
}

func (w *world) append(ctx context.Context, facts ...events.Fact) error {
	if w.down {
		return context.DeadlineExceeded
	}
	return w.log.Append(ctx, facts...)
}

func (w *world) must(facts ...events.Fact) {
	w.t.Helper()
	if err := w.log.Append(context.Background(), facts...); err != nil {
		w.t.Fatal(err)
	}
}

// pass advances time, with the steps and ticks that a run does in that time.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(min(5*time.Second, end.Sub(w.now)))
		for _, p := range w.runs {
			p.Step(context.Background(), w.now)
		}
	}
}

// bid makes the claims of one bid at a CPM in micros.
func (w *world) bid(cpm rtb.CPM) *rtb.Claims {
	w.bids++
	c := &rtb.Claims{
		Exchange: "demo", Format: rtb.FormatBanner, Advertiser: cartLine.Advertiser, Campaign: cartLine.Campaign, Line: cartLine.Line,
		Price: cpm, Currency: usd, AdvertiserCurrency: usd, Rate: rtb.RateOne, Reserved: cpm.Cost(),
		Issued: w.now.Truncate(time.Second), Value: cpm.Cost() * 2, Expected: cpm.Cost() / 4,
	}
	binary.BigEndian.PutUint64(c.Bid[:], w.bids*0x9e3779b97f4a7c15)
	c.WinExpiry, c.BillExpiry = c.Issued.Add(5*time.Minute), c.Issued.Add(30*time.Minute)
	return c
}

// notice is the fact of a notice about a bid, at its full price.
func (w *world) notice(kind events.Kind, c *rtb.Claims) events.Fact {
	return events.Fact{
		ID: string(kind) + ":" + c.Bid.String(), At: w.now, Kind: kind, Advertiser: c.Advertiser, Visitor: c.Visitor,
		Node: c.Node, Currency: c.AdvertiserCurrency,
		Notice: &events.Notice{
			BidID: c.Bid, Exchange: c.Exchange, Format: c.Format.String(), Grant: c.Grant, Campaign: c.Campaign, Line: c.Line, Day: c.Day, Caps: c.Caps, Flights: c.Flights, Hour: c.Hour,
			Bid: c.Price, Price: c.Price, PriceTold: true, Charge: c.Reserved, Reserved: c.Reserved,
			Bills: kind == events.KindBill, Issued: c.Issued, WinExpiry: c.WinExpiry, BillExpiry: c.BillExpiry,
		},
	}
}

// plan is a line under a day's cap.
func dayPlan(limit rtb.Micros) LinePlan {
	return LinePlan{
		Line: cartLine, Currency: usd, Zone: time.UTC, Mode: ASAP, CampaignMode: ASAP, Caps: rtb.CapLineDay, LineDay: limit,
		MaxCPM: 2_000_000, Active: true,
	}
}

// row finds one cap among the rows.
func row(t *testing.T, rows []BudgetRow, line, window string) BudgetRow {
	t.Helper()
	for _, r := range rows {
		if r.Line == line && r.Window == window {
			return r
		}
	}
	t.Fatalf("no row of line %q, window %q in %+v", line, window, rows)
	return BudgetRow{}
}

func wantReason(t *testing.T, got, want rtb.NoBidReason) {
	t.Helper()
	if got != want {
		t.Fatalf("got reason %q; want %q", got, want)
	}
}

// quote is Quote by a line's id, and counts the quote.
func (p *Pacer) quote(id rtb.LineID, value, floor rtb.CPM, auction int) (rtb.Quote, rtb.NoBidReason) {
	h := p.Handle(id)
	q, r := p.Quote(h, &rtb.Ask{Value: value, Floor: floor, Auction: auction, Exchange: "demo", Draw: 0.5})
	p.Observe(h, &rtb.Observation{Quotes: 1, Full: q.Full})
	return q, r
}

// observe counts one request of a line.
func (p *Pacer) observe(id rtb.LineID, expected rtb.Micros) {
	p.Observe(p.Handle(id), &rtb.Observation{Requests: 1, Expected: expected})
}
