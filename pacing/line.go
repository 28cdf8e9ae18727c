package pacing

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"rebound/rtb"
)

// line is the state of one line that outlives plans: its multiplier, landscape,
// observations and spend.
type line struct {
	id         rtb.LineID
	handle     rtb.LineHandle
	multiplier atomic.Uint64 // bits of a float64 >= 1
	curve      atomic.Pointer[curve]
	firstValue atomic.Uint64 // bits of ln micros of the first quote; 0 unset
	reserved   microsValue
	refused    atomic.Int64 // requests whose bid a cap refused, since the last tick
	seen       [observers]observer

	// Pacer.mu protects the remaining fields.
	land     landscape
	learned  bool // land changed since the curve was frozen
	frozenAt time.Time
	total    *lineTotal
}

// observer is one shard of a line's observations since the last tick.
type observer struct {
	requests atomic.Int64
	expected microsValue
	quotes   atomic.Int64
	full     microsValue // the expected cost of the quoted bids at full price
	_        [32]byte    // padding to a cache line
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
}

// drain takes the observations. Requests that a cap refused are not counted:
// the multiplier must not fall because a cap refuses bids.
func (l *line) drain() (o observed) {
	quotes := 0.0
	for i := range l.seen {
		s := &l.seen[i]
		o.requests += float64(s.requests.Swap(0))
		o.expected += float64(s.expected.Swap(0))
		quotes += float64(s.quotes.Swap(0))
		o.full += float64(s.full.Swap(0))
	}
	o.requests = max(o.requests-float64(l.refused.Swap(0)), 0)
	if quotes > 0 { // a request may be quoted several times or not at all
		o.full *= o.requests / quotes
		o.priced = o.requests
	}
	return o
}

// refresh freezes the landscape for the bid path, at a limited rate.
func (l *line) refresh(now time.Time) {
	if l.land.Ref == 0 {
		bits := l.firstValue.Load()
		if bits == 0 {
			return
		}
		l.land.begin(math.Float64frombits(bits))
		l.learned = true
	}
	if !l.learned && now.Sub(l.frozenAt) < time.Minute {
		return
	}
	l.learned, l.frozenAt = false, now
	l.curve.Store(l.land.freeze(rtb.SecondOf(now)))
}

// learn takes a matured outcome. paid is 0 for a lost bid; minToWin is the
// competing price if it is known. All are micros of one impression.
func (l *line) learn(r *reservation) {
	if l.land.Ref == 0 || r.cost <= 0 || r.value <= 0 {
		return
	}
	l.learned = true
	var x [features]float64
	l.land.fill(&x, math.Log(float64(r.value)), r.issued)
	lnBid := math.Log(float64(r.cost))
	switch {
	case r.toWin > 0:
		l.land.exact(&x, math.Log(float64(r.toWin)))
	case r.paid > 0:
		l.land.won(&x, lnBid)
	default:
		l.land.lost(&x, lnBid)
	}
}

// Quote returns the price for one line: the value divided by the multiplier, at most the
// plan's MaxCPM. The auction is one of rtb.Auction*. Reasons: no_campaign (not in the
// plan), currency (the budget was spent in another currency), floor (the value or MaxCPM
// is below the floor), paced (the multiplier lowered the price below the floor). It
// changes nothing: [Pacer.Observe] counts the quotes of a request.
func (p *Pacer) Quote(h rtb.LineHandle, value, floor rtb.CPM, auction int) (rtb.Quote, rtb.NoBidReason) {
	e := p.table.Load().line(h)
	if e == nil {
		return rtb.Quote{}, rtb.NoBidNoCampaign
	}
	if e.refused != rtb.NoBidNone {
		return rtb.Quote{}, e.refused
	}
	l := e.line
	most := min(value, e.maxCPM) // at a multiplier of 1
	if most <= 0 || most < floor {
		return rtb.Quote{}, rtb.NoBidFloor
	}
	q := rtb.Quote{Multiplier: l.lambda(), Shading: 1}
	q.Price = min(value.Scale(1/q.Multiplier), e.maxCPM)
	worth, least := float64(value)/1000, float64(floor)/1000
	if l.firstValue.Load() == 0 {
		l.firstValue.CompareAndSwap(0, math.Float64bits(math.Log(max(worth, 1e-3))))
	}
	at, first := l.curve.Load(), auction != rtb.AuctionSecondPrice
	full := at.cost(worth, float64(most)/1000, least, first)
	q.Full = rtb.Micros(full + 0.5)
	if q.Price <= 0 || q.Price < floor {
		return q, rtb.NoBidPaced
	}
	if q.Price < most {
		full = at.cost(worth, float64(q.Price)/1000, least, first)
	}
	q.Expected = rtb.Micros(full + 0.5)
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
