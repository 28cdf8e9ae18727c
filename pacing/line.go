package pacing

import (
	"math"
	"math/rand/v2"
	"sync/atomic"

	"rebound/rtb"
)

// line is the state of one line that outlives plans: its multiplier, observations and
// spend.
type line struct {
	id         rtb.LineID
	handle     rtb.LineHandle
	multiplier atomic.Uint64 // bits of a float64 >= 1
	reserved   microsValue
	refused    microsValue // the expected cost of bids that a cap refused, since the last tick
	seen       [observers]observer
	touched    atomic.Bool   // listed in list
	list       *touchedLines // nil: the line is not in a plan

	// Pacer.mu protects the remaining fields.
	total    *lineTotal
	observed bool // something was observed that the current round takes
}

// observer is one shard of a line's observations since the last tick.
type observer struct {
	requests atomic.Int64
	expected microsValue
	quotes   atomic.Int64
	full     microsValue // the expected cost of the quoted bids at full price
	asked    microsValue // money that bids asked to reserve
	held     microsValue // the same, times the seconds for which they asked
	chance   microsValue // of the bids that asked: their expected impressions, in millionths
	cost     microsValue // and their expected cost
}

const observers = 8

func newLine(id rtb.LineID, h rtb.LineHandle) *line {
	l := &line{id: id, handle: h}
	l.multiplier.Store(math.Float64bits(1))
	return l
}

func (l *line) lambda() float64 { return math.Float64frombits(l.multiplier.Load()) }

func (l *line) observe(o *rtb.Observation) {
	s := &l.seen[rand.Uint32()%observers]
	s.requests.Add(o.Requests)
	if o.Expected > 0 {
		s.expected.Add(o.Expected)
	}
	if o.Quotes > 0 {
		s.quotes.Add(o.Quotes)
		s.full.Add(o.Full)
	}
	l.touch()
}

// touch lists the line as observed. It must be called after what was observed was added.
func (l *line) touch() {
	if l.list != nil && !l.touched.Load() && l.touched.CompareAndSwap(false, true) {
		l.list.add(l)
	}
}

// asks counts a bid's request for money.
func (l *line) asks(r *reservation) {
	s := &l.seen[rand.Uint32()%observers]
	s.asked.Add(r.cost)
	s.held.Add(r.cost * rtb.Micros(r.ends()-r.issued))
	s.chance.Add(r.chance())
	s.cost.Add(r.expected)
	l.touch()
}

// refuses counts a bid that a cap refused.
func (l *line) refuses(expected rtb.Micros) {
	l.refused.Add(expected)
	l.touch()
}

// drain takes the observations. Bids that a cap refused are demand as well.
func (l *line) drain() (o observed) {
	quotes, chance, cost := 0.0, 0.0, 0.0
	for i := range l.seen {
		s := &l.seen[i]
		if s.requests.Load() == 0 && s.quotes.Load() == 0 && s.asked.Load() == 0 {
			continue
		}
		o.requests += float64(s.requests.Swap(0))
		o.expected += float64(s.expected.Swap(0))
		quotes += float64(s.quotes.Swap(0))
		o.full += float64(s.full.Swap(0))
		o.asked += float64(s.asked.Swap(0))
		o.held += float64(s.held.Swap(0))
		chance += float64(s.chance.Swap(0))
		cost += float64(s.cost.Swap(0))
	}
	o.expected += float64(l.refused.Swap(0))
	if cost > 0 {
		o.chance = chance / cost
	}
	if quotes > 0 { // a request may be quoted several times or not at all
		o.full *= o.requests / quotes
		o.priced = o.requests
	}
	return o
}

// Quote returns the price for one line: the value divided by the multiplier, shaded if the
// winner pays its bid, at most the plan's MaxCPM. Reasons: no_campaign (not in the plan),
// currency (the budget was spent in another currency), floor (the value or MaxCPM is below
// the floor), paced (the multiplier lowered the price below the floor). It changes
// nothing: [Pacer.Observe] counts the quotes of a request.
func (p *Pacer) Quote(h rtb.LineHandle, ask *rtb.Ask) (rtb.Quote, rtb.NoBidReason) {
	e := p.table.Load().line(h)
	if e == nil {
		return rtb.Quote{}, rtb.NoBidNoCampaign
	}
	if e.refused != rtb.NoBidNone {
		return rtb.Quote{}, e.refused
	}
	most := min(ask.Value, e.maxCPM) // at a multiplier of 1
	if most <= 0 || most < ask.Floor {
		return rtb.Quote{}, rtb.NoBidFloor
	}
	var at *curve
	if pl := p.place(placeKey{ask.Exchange, e.currency, ask.Slot}, float64(ask.Value)/1000); pl != nil {
		at = pl.curve.Load()
	}
	own := max(ask.Multiplier, 1)
	first, full := at.bid(ask, ask.Value.Scale(1/own), e.maxCPM)
	multiplier := max(e.line.lambda(), own)
	worth := ask.Value.Scale(1 / multiplier)
	unshaded := min(worth, e.maxCPM)
	if unshaded <= 0 || unshaded < ask.Floor {
		return rtb.Quote{Multiplier: multiplier, Shading: 1, Price: unshaded, Full: rtb.Micros(full + 0.5)}, rtb.NoBidPaced
	}
	q, expected := first, full
	if multiplier > own {
		q, expected = at.bid(ask, worth, e.maxCPM)
	}
	q.Multiplier, q.Shading = multiplier, float64(q.Price)/float64(unshaded)
	q.Full, q.Expected = rtb.Micros(full+0.5), rtb.Micros(expected+0.5)
	return q, rtb.NoBidNone
}

// Multiplier returns the number by which a line's value is divided now; 1 for a line
// that is not in the plan.
func (p *Pacer) Multiplier(h rtb.LineHandle) float64 {
	if e := p.table.Load().line(h); e != nil {
		return e.line.lambda()
	}
	return 1
}

// Observe must be called once per matched request and line, with an expected cost of 0
// if the line did not bid, including when Reserve refused. What a request observes of a
// line must be right in expectation: a caller that prices a line on a share of the
// requests only gives those the weight of all.
func (p *Pacer) Observe(h rtb.LineHandle, o *rtb.Observation) {
	if e := p.table.Load().line(h); e != nil && e.refused == rtb.NoBidNone {
		e.line.observe(o)
	}
}

// Handle returns the handle of a line, whether or not it is in the plan.
func (p *Pacer) Handle(id rtb.LineID) rtb.LineHandle {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line(id).handle
}
