package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/pacing"
	"rebound/rtb"
)

// engine is one configuration, run over the traffic with a virtual clock.
type engine struct {
	o        *Options
	snapshot *config.Snapshot
	bidder   *bidder.Bidder
	scratch  *bidder.Decision
	pacer    *pacing.Pacer
	log      pacing.MemLog
	visitors visitors
	links    links
	records  records
	notices  notices
	lost     *rand.Rand // which notices never arrive
	source   *rand.ChaCha8

	clock, stepped time.Time
	book           book
}

// step is how often pacing moves, in virtual time.
const step = time.Second

func newEngine(o *Options, snapshot *config.Snapshot, start time.Time) (*engine, error) {
	e := &engine{o: o, snapshot: snapshot, clock: start, stepped: start, source: rand.NewChaCha8(seedOf(o.Seed)),
		lost: rand.New(rand.NewPCG(o.Seed, 1)), scratch: bidder.NewDecision()}
	now := func() time.Time { return e.clock }
	var err error
	e.pacer, err = pacing.Open(pacing.Options{InMemory: true, Run: "replay", Append: e.log.Append, IsConflict: pacing.IsConflict, Now: now})
	if err != nil {
		return nil, err
	}
	e.log.Stream, e.log.Now, e.log.Apply = "replay", now, e.pacer.Apply
	e.visitors.store = o.Store
	e.bidder = bidder.New(bidder.Options{Visitors: &e.visitors, Budgets: e.pacer, Links: &e.links, Records: &e.records,
		Clock: now, KnownNoBidShare: 1})
	e.bidder.Swap(&bidder.Catalog{Hash: snapshot.Hash, Exchanges: snapshot.Profiles, Index: snapshot.Index,
		Policy: snapshot.Policy, Rates: snapshot.Rates, EIDSources: snapshot.EIDSources,
		Supply: snapshot.Supply, Approvals: snapshot.Approve(nil)})
	e.pacer.SetPlan(snapshot.LinePlans())
	e.pacer.Step(context.Background(), start)
	e.book.lines = map[rtb.LineID]*tally{}
	e.book.nobids = map[string]int{}
	return e, nil
}

func seedOf(seed uint64) (b [32]byte) {
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	return b
}

// advance moves the virtual clock to t: what is due by then arrives in order,
// and pacing steps once a second. Time never goes back: a record that is older
// than the one before it is decided at the later time.
func (e *engine) advance(ctx context.Context, t time.Time) error {
	for e.clock.Before(t) {
		next := e.stepped.Add(step)
		if next.After(t) {
			next = t
		}
		for {
			d, ok := e.notices.before(next)
			if !ok {
				break
			}
			e.clock = d.at
			if err := e.log.Append(ctx, d.facts(d.at)...); err != nil {
				return fmt.Errorf("cannot fold notices at %s: %w", d.at.Format(time.RFC3339), err)
			}
			e.book.paid(&d)
		}
		e.clock = next
		if !next.Before(e.stepped.Add(step)) {
			e.stepped = next
			e.pacer.Step(ctx, next)
			if next.Unix()%60 == 0 {
				e.book.multipliers(next, e.pacer.Stats().Lines)
			}
		}
	}
	return nil
}

// outcome is what one configuration made of one record.
type outcome struct {
	reason rtb.NoBidReason
	bids   []events.DecisionBid
}

// decide answers one record and lets its market settle the bids.
func (e *engine) decide(ctx context.Context, rec *events.BidRecord, exchange string) (outcome, error) {
	if err := e.advance(ctx, rec.TS); err != nil {
		return outcome{}, err
	}
	e.visitors.recorded, e.visitors.found = rec.Visitor, false
	e.links.claims, e.records.taken = e.links.claims[:0], false
	a := e.bidder.Answer(&bidder.Request{Exchange: exchange, Body: rec.Request, Arrival: e.clock, Source: e.source}, e.scratch)
	out := outcome{reason: a.Reason}
	if a.Reason == rtb.NoBidGrant {
		e.pacer.Step(ctx, e.clock) // a running pacer is woken by such a refusal
	}
	var decision *events.Decision
	if e.records.taken {
		decision = e.records.rec.Decision
	}
	e.book.request(e.clock, a, e.visitors.found, decision)
	if decision == nil {
		return out, nil
	}
	out.bids = decision.Bids
	for i := range decision.Bids {
		e.settle(rec, &decision.Bids[i])
	}
	return out, nil
}

// settle lets a bid meet its market; without one it stays open until it expires.
func (e *engine) settle(rec *events.BidRecord, bid *events.DecisionBid) {
	m, ok := rec.Market[bid.ImpID]
	c := e.links.of(bid.BidID)
	if !ok || c == nil || c.Test {
		return
	}
	paid, ok := won(m, c)
	if !ok {
		return
	}
	e.book.win(c, bid, paid, m)
	if e.o.LostPct > 0 && e.lost.Float64()*100 < e.o.LostPct {
		return
	}
	e.notices.add(e.clock.Add(e.o.NoticeDelay), c, paid)
}

// finish lets the last notices arrive.
func (e *engine) finish(ctx context.Context) error {
	return e.advance(ctx, e.clock.Add(e.o.NoticeDelay+2*step))
}
