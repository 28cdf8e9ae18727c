package replay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"rebound/bidder"
	"rebound/config"
	"rebound/events"
	"rebound/internal/lab"
	"rebound/rtb"
)

// engine runs one configuration over the traffic, with a virtual clock.
type engine struct {
	o        *Options
	config   *config.Snapshot
	lab      *lab.Lab
	decision *bidder.Decision
	// described is the decision on the present record, which outcomes share.
	described events.Decision
	visitors  visitors
	notices   notices
	lost      *rand.Rand // selects the notices that never arrive

	clock, stepped time.Time
	book           book
	market         *competition
	source         source
	sold           []sale
}

// step is the interval of pacing's steps, in virtual time.
const step = time.Second

// A gap without records that is longer than idle is skipped up to its last day, because
// a record with a wrong time would otherwise cost a step for every second of the gap.
const (
	idle    = 48 * time.Hour
	idleEnd = 24 * time.Hour
)

func newEngine(o *Options, s *config.Snapshot, start time.Time) (*engine, error) {
	e := &engine{o: o, config: s, clock: start, stepped: start, visitors: visitors{store: o.Store},
		lost: rand.New(rand.NewPCG(o.Seed, 1)), decision: bidder.NewDecision()}
	var err error
	e.lab, err = lab.Open(lab.Options{Config: s, Now: func() time.Time { return e.clock }, Name: "replay", Visitors: &e.visitors, Links: links{}})
	if err != nil {
		return nil, err
	}
	e.lab.Money.Step(context.Background(), start)
	e.book.lines = map[rtb.LineID]*tally{}
	e.book.nobids = map[string]int{}
	return e, nil
}

// source gives a decision its random numbers. The first is the draw that was recorded,
// if there is one; the others depend on the record alone, so that two configurations draw
// the same.
type source struct {
	drawn bool
	draw  float64
	state uint64
}

// Uint64 implements bidder.Source.
func (s *source) Uint64() uint64 {
	if s.drawn {
		s.drawn = false
		return uint64(s.draw*(1<<53)) << 11
	}
	s.state += 0x9e3779b97f4a7c15
	return mix(s.state)
}

// begin prepares the source for a record.
func (s *source) begin(rec *events.BidRecord, key uint64) {
	*s = source{state: key}
	d := rec.Decision
	switch {
	case d == nil:
	case len(d.Bids) > 0:
		s.draw = d.Bids[0].Draw
	default:
		s.draw = d.Draw
	}
	s.drawn = s.draw > 0 && s.draw < 1
}

// sale is the part of a simulated bid in a comparison.
type sale struct {
	line    rtb.LineID
	amounts amounts
	auction settlement
	perCPM  float64
	value   float64
}

// advance moves the virtual clock to t. Notices that are due by then arrive in
// order, and pacing steps once a second. Time never goes back: a record older than
// its predecessor is decided at the predecessor's time.
func (e *engine) advance(ctx context.Context, t time.Time) error {
	for e.clock.Before(t) {
		if e.notices.Len() == 0 && t.Sub(e.stepped) > idle {
			e.stepped = t.Add(-idleEnd)
			e.clock = e.stepped
		}
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
			if err := e.lab.Append(ctx, d.facts(d.at)...); err != nil {
				return fmt.Errorf("cannot fold notices at %s: %w", d.at.Format(time.RFC3339), err)
			}
			if !d.lost {
				e.book.paid(&d)
			}
		}
		e.clock = next
		if !next.Before(e.stepped.Add(step)) {
			e.stepped = next
			e.lab.Money.Step(ctx, next)
			if next.Unix()%60 == 0 {
				e.book.multipliers(next, e.lab.Money.Stats().Lines)
			}
		}
	}
	return nil
}

// outcome is the result of one configuration for one record.
type outcome struct {
	reason rtb.NoBidReason
	bids   []events.DecisionBid
	sold   []sale
}

// decide decides one record and settles its bids in the record's market.
func (e *engine) decide(ctx context.Context, rec *events.BidRecord, exchange string) (outcome, error) {
	if err := e.advance(ctx, rec.TS); err != nil {
		return outcome{}, err
	}
	e.visitors.recorded = rec.Visitor
	e.source.begin(rec, e.market.key)
	e.sold = e.sold[:0]
	rs := e.lab.Bidder.Answer(&bidder.Request{Exchange: exchange, Body: rec.Request, Arrival: e.clock, Source: &e.source, Full: true}, e.decision)
	out := outcome{reason: rs.Reason}
	if rs.Reason == rtb.NoBidGrant {
		e.lab.Money.Step(ctx, e.clock) // such a refusal wakes a running pacer
	}
	known := e.decision.Visitor() != nil
	var decision *events.Decision
	if !rs.Repeated && (known || rs.Offers > 0) {
		decision = &e.described
		e.decision.Describe(decision, &rs)
	}
	e.book.request(e.clock, rs, known, decision)
	if decision == nil {
		return out, nil
	}
	out.bids = decision.Bids
	for i := range decision.Bids {
		e.settle(&decision.Bids[i], &e.decision.Outcome().Bids[i].Claims)
	}
	out.sold = e.sold
	return out, nil
}

// settle settles a bid in its market. A bid without a market, or that lost where the
// exchange sends no loss notices, stays open until it expires.
func (e *engine) settle(bid *events.DecisionBid, c *rtb.Claims) {
	if c.Test {
		return
	}
	auction := e.market.settle(bid, c)
	e.book.auction(c, &auction)
	if !auction.held {
		return
	}
	p := e.config.Profiles[c.Exchange]
	x := sale{line: rtb.LineID{Advertiser: c.Advertiser, Campaign: c.Campaign, Line: c.Line}, auction: auction}
	if c.Price > 0 {
		x.perCPM = float64(c.Charge(c.Price)) / c.Price.Units()
	}
	x.value = float64(bid.Value.Cost())
	if auction.won {
		e.book.win(c, bid, &auction)
		x.amounts = amounts{figWins: 1, figValue: x.value, figClicks: float64(count(auction.clicked)), figConversions: float64(count(auction.converted))}
		if auction.billed {
			x.amounts[figSpend] = float64(c.Charge(auction.paid))
		}
	}
	e.sold = append(e.sold, x)
	e.book.estimate(&x)
	switch {
	case auction.won && !auction.billed:
		return
	case !auction.won && (p == nil || !p.Sends(rtb.NoticeLoss)):
		return
	case e.o.LostPct > 0 && e.lost.Float64()*100 < e.o.LostPct:
		return
	}
	e.notices.add(e.clock.Add(e.o.NoticeDelay), c, auction.paid, !auction.won, auction.least)
}

// finish lets the last notices arrive.
func (e *engine) finish(ctx context.Context) error {
	return e.advance(ctx, e.clock.Add(e.o.NoticeDelay+2*step))
}
