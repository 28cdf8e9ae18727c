package pacing

import (
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"rebound/rtb"
)

// line is the state of one line that outlives plans: its multiplier, observations and
// spend.
type line struct {
	// Requests use these fields, of which the first share a cache line, as those of an
	// observer do.
	list     *changedList[*line] // nil: the line is not in a plan
	touched  atomic.Bool         // listed in list
	shards   uint32              // the observers that are used: 1 to len(seen)
	reserved microsValue
	least    multiplier           // see leastUse
	refused  microsValue          // the expected cost of bids that a cap refused, since the last tick
	terms    *terms               // see handleEntry
	handle   rtb.LineHandle       // never changes, like id
	_        [8]byte              // fills the cache line
	asked    [askBins]microsValue // money that bids asked to reserve, by their use of it, since the last tick
	seen     [observers]observer

	id rtb.LineID

	// Pacer.mu protects the remaining fields.
	total    *lineTotal
	observed bool // something was observed that the current round takes
	traffic  sampled
}

// observer is one shard of a line's observations since the last tick.
type observer struct {
	requests atomic.Int64
	expected microsValue
	quotes   atomic.Int64
	full     microsValue // the expected cost of the quoted bids at full price
	held     microsValue // money that bids asked to reserve, times the seconds for which they asked
	chance   microsValue // of the bids that asked: their expected impressions, in millionths
	cost     microsValue // and their expected cost
	_        [8]byte
}

// observers is the number of shards: at most one for each processor is used, because each
// shard of each line is a cache line.
const observers = 8

func newLine(id rtb.LineID, h rtb.LineHandle, t *terms) *line {
	l := &line{id: id, handle: h, terms: t}
	l.shards = uint32(min(1<<bits.Len(uint(runtime.GOMAXPROCS(0)-1)), observers))
	l.terms.multiplier.set(1)
	l.terms.every.Store(1)
	return l
}

// observer returns the shard for one observation.
func (l *line) observer() *observer {
	if l.shards == 1 {
		return &l.seen[0]
	}
	return &l.seen[rand.Uint32()%l.shards%observers]
}

// listing returns the flag that is set while the line is listed as observed.
func (l *line) listing() *atomic.Bool { return &l.touched }

// leastUse returns the least use of money that its bids must have.
func (l *line) leastUse() float64 { return l.least.get() }

func (l *line) observe(o *rtb.Observation) {
	s := l.observer()
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
	if l.list != nil {
		l.list.add(l, &l.touched)
	}
}

// asks counts a bid's request for money.
func (l *line) asks(r *reservation) {
	l.asked[askBin(r.use())].Add(r.cost)
	s := l.observer()
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
	for i := range l.shards {
		s := &l.seen[i]
		if s.requests.Load() == 0 && s.quotes.Load() == 0 && s.held.Load() == 0 {
			continue
		}
		o.requests += float64(s.requests.Swap(0))
		o.expected += float64(s.expected.Swap(0))
		quotes += float64(s.quotes.Swap(0))
		o.full += float64(s.full.Swap(0))
		o.held += float64(s.held.Swap(0))
		chance += float64(s.chance.Swap(0))
		cost += float64(s.cost.Swap(0))
	}
	for i := range l.asked {
		if l.asked[i].Load() > 0 {
			o.asks[i] = float64(l.asked[i].Swap(0))
		}
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
	multiplier := max(e.terms.multiplier.get(), own)
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
	t := p.table.Load()
	if uint(h) >= uint(len(t.byHandle)) || t.byHandle[h].line == nil {
		return 1
	}
	return t.byHandle[h].terms.multiplier.get()
}

// SampleEvery returns on one in how many requests a line needs to be evaluated when it
// does not bid, so that pacing knows its demand well: a power of two from 1 to 256.
func (p *Pacer) SampleEvery(h rtb.LineHandle) uint32 {
	t := p.table.Load()
	if uint(h) >= uint(len(t.byHandle)) || t.byHandle[h].line == nil {
		return 1
	}
	return t.byHandle[h].terms.every.Load()
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
