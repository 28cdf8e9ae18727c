package pacing

import (
	"maps"
	"math"
	"sync/atomic"

	"rebound/internal/view"
	"rebound/rtb"
)

// Constants of the estimates.
const (
	// Prior variances of the logarithm of a rate: of the rate in general, and of what
	// each feature adds to it.
	biasVariance, featureVariance = 4.0, 0.04
	// priorVariance is the variance of the logarithm of a line's own prior: a rate that
	// was measured on four clicks.
	priorVariance = 0.25
	// maxDeviation bounds the draw, as maxDraw does in deviations.
	maxDeviation, maxDraw = 0.7, 2.0
	// idleVariance is the variance of the logarithm of a line's rate for each day without an
	// impression, after the first: what was learned becomes doubtful, and the line's cpm counts
	// more. A line that its estimates stopped from bidding thus tries again in time.
	idleVariance = 0.1
	// idleEvery is the time, in seconds, between two snapshots without new facts.
	idleEvery = 3600
	// publishEvery is the log time, in seconds, between two snapshots for the bid path.
	publishEvery = 1
)

// startRates are the rates that the models start at without data, about those of display
// ads: clicks of impressions, conversions of impressions, and conversions of clicks.
var startRates = [models]float64{clickModel: 0.001, viewModel: 0.0001, buyModel: 0.02}

// values estimates the value of impressions. Its state is a fold of the log: of billed
// impressions, clicks and orders. Pacer.mu protects it, except for snapshot.
type values struct {
	snapshot atomic.Pointer[valueSnapshot]

	weights     *weights
	all         [models]calibration
	delays      [models]delay
	lines       map[rtb.LineID]*lineValue
	advertisers map[string]*liveReturns
	touched     map[rtb.LineID]struct{} // lines that changed since the last commit
	paying      map[string]struct{}     // advertisers that changed since then
	pending     *overlay                // exposures, touches and orders
	looked      rtb.Second              // exposures due before this time were looked at
	sweep       sweep
	published   rtb.Second
	behind      bool // the snapshot is out of date
	known       bool // the snapshot has all lines and advertisers
}

// lineValue is the calibration of one line and what it earns. The bid path reads the ratios
// and the published returns.
type lineValue struct {
	calibrations [models]calibration
	ratios       [models]atomic.Uint64 // bits of a float64
	idle         atomic.Uint64         // bits of a float64: the variance because of the time without an impression
	returns      liveReturns
	advertiser   *liveReturns
}

// valueCell is what the bid path needs of one weight: its value, and the variance that it
// adds to the score.
type valueCell struct{ w, variance float32 }

// valueSnapshot is an immutable copy for the bid path. A nil page has no weights.
type valueSnapshot struct {
	pages [pageCount]*[pageSize]valueCell
	bias  [models]float64 // variance of the general rate
	all   [models]float64 // ratios of all lines
	lines map[rtb.LineID]*lineValue

	advertisers map[string]*liveReturns
}

func newValues(db view.Reader) *values {
	v := &values{pending: newOverlay(db)}
	v.clear()
	return v
}

// clear removes the folded state.
func (v *values) clear() {
	v.weights, v.all, v.delays = newWeights(), [models]calibration{}, [models]delay{}
	v.lines, v.touched = map[rtb.LineID]*lineValue{}, map[rtb.LineID]struct{}{}
	v.advertisers, v.paying = map[string]*liveReturns{}, map[string]struct{}{}
	v.pending.committed()
	v.looked, v.sweep = 0, sweep{}
	v.published, v.known = 0, false
	v.snapshot.Store(&valueSnapshot{})
	v.publish()
}

// line returns the calibration of a line, which will be changed.
func (v *values) line(id rtb.LineID) *lineValue {
	l := v.lines[id]
	if l == nil {
		l = &lineValue{advertiser: v.advertiser(id.Advertiser)}
		v.lines[id] = l
		v.known = false
	}
	v.touched[id] = struct{}{}
	l.returns.stale = true
	return l
}

// advertiser returns the orders of an advertiser, which will be changed.
func (v *values) advertiser(id string) *liveReturns {
	a := v.advertisers[id]
	if a == nil {
		a = &liveReturns{}
		v.advertisers[id] = a
		v.known = false
	}
	a.stale = true
	v.paying[id] = struct{}{}
	return a
}

// publish makes a snapshot of the state. It copies the pages that changed.
func (v *values) publish() {
	next := &valueSnapshot{}
	if last := v.snapshot.Load(); last != nil {
		*next = *last
	}
	for i, page := range v.weights.pages {
		if page != nil && (v.weights.stale[i] || next.pages[i] == nil) {
			next.pages[i] = copyPage(page)
			v.weights.stale[i] = false
		}
	}
	for m := range models {
		w, _ := v.weights.at(m.index(rtb.HashFeature(kindBias, 0, 0)))
		next.bias[m] = 1 / (1/biasVariance + w.n)
		next.all[m] = v.all[m].ratio(1, calibrationPrior)
		for _, l := range v.lines {
			l.ratios[m].Store(math.Float64bits(l.calibrations[m].ratio(next.all[m], linePrior)))
		}
	}
	for _, l := range v.lines {
		l.returns.publish()
		l.idle.Store(math.Float64bits(l.idleVariance(v.published)))
	}
	for _, a := range v.advertisers {
		a.publish()
	}
	if !v.known || next.lines == nil {
		next.lines, next.advertisers, v.known = maps.Clone(v.lines), maps.Clone(v.advertisers), true
	}
	v.behind = false
	v.snapshot.Store(next)
}

// idleVariance returns the variance of a line's rate because of the time without an
// impression.
func (l *lineValue) idleVariance(now rtb.Second) float64 {
	last := l.calibrations[clickModel].At
	if last == 0 || now <= last {
		return 0
	}
	return idleVariance * max(float64(now-last)/86400-1, 0)
}

func copyPage(page *[pageSize]weight) *[pageSize]valueCell {
	cells := new([pageSize]valueCell)
	for i := range page {
		w := &page[i]
		cells[i] = valueCell{float32(w.value()), cellVariance(w.n)}
	}
	return cells
}

// cellVariance returns the variance that a weight with n outcomes adds to a score. All
// features of an example learn from the same outcomes: together they know about as much
// as one feature would alone.
func cellVariance(n float64) float32 {
	return float32(featureVariance / (1 + n*maxInputs*featureVariance))
}

// rate is an estimated probability, or an amount, with the variance of its logarithm.
type rate struct{ p, variance float64 }

// rate returns a model's estimate, calibrated for a line, which may be nil.
func (s *valueSnapshot) rate(m model, l *lineValue, x *inputs) rate {
	score, variance := logit(startRates[m]), s.bias[m]
	for n, h := range x.list() {
		i := m.index(h)
		cell := valueCell{variance: featureVariance}
		if page := s.pages[i>>pageBits]; page != nil {
			cell = page[i%pageSize]
		}
		score += float64(cell.w)
		if n > 0 { // the first is the bias
			variance += float64(cell.variance)
		}
	}
	ratio := s.all[m]
	if l != nil {
		if own := math.Float64frombits(l.ratios[m].Load()); own > 0 {
			ratio *= own
		}
	}
	return rate{min(sigmoid(score)*ratio, 1), variance}
}

// times returns the product of independent rates.
func (r rate) times(o rate) rate { return rate{r.p * o.p, r.variance + o.variance} }

// plus returns the sum of independent rates.
func (r rate) plus(o rate) rate {
	p := r.p + o.p
	if p <= 0 {
		return rate{0, max(r.variance, o.variance)}
	}
	a, b := r.p/p, o.p/p
	return rate{p, a*a*r.variance + b*b*o.variance}
}

// blend combines an estimate with a prior, each weighted by its precision, and returns
// the weight of the estimate.
func (r *rate) blend(prior, variance float64) (data float64) {
	data = variance / (variance + r.variance)
	r.p = math.Exp(data*math.Log(r.p) + (1-data)*math.Log(prior))
	r.variance *= data
	return data
}

// Estimate estimates the value of an impression for a line with a goal. It neither
// allocates nor waits, and keeps none of its arguments.
//
// Where the estimate is uncertain, the value is drawn from its distribution rather than
// being its mean. An estimate that is too high wins more often than one that is too low, so
// bidding the mean overpays; bidding a lower bound would keep an underestimated line
// from the impressions that correct it. The draw explores in proportion to what is not
// known, and its average is below the mean by half the variance, which offsets the
// advantage of high draws in auctions of usual elasticity.
func (p *Pacer) Estimate(e *rtb.Estimate, g *rtb.Goal, show *rtb.Showing) {
	s := p.values.snapshot.Load()
	l := s.lines[show.Line]
	var x inputs
	x.set(show)
	chance := s.rate(clickModel, l, &x)
	*e = rtb.Estimate{Click: chance.p, Data: 1, Multiplier: 1}
	worth := float64(g.Target)
	if g.Kind != rtb.GoalCPC {
		chance = chance.times(s.rate(buyModel, l, &x)).plus(s.rate(viewModel, l, &x))
		var variance float64
		line, advertiser := s.returns(l, show.Line.Advertiser)
		worth, variance, e.Multiplier = worthOf(g, &line, &advertiser)
		chance.variance += variance
	}
	if l != nil {
		chance.variance += math.Float64frombits(l.idle.Load())
	}
	if prior := float64(g.Prior) / 1000; worth <= 0 { // no order is known
		e.Data, e.Conversion, e.Deviation = 0, chance.p, math.Sqrt(priorVariance)
		e.Draw = drawFactor(e.Deviation, show)
		e.Value = valueCPM(prior * e.Draw)
		return
	} else if prior > 0 {
		e.Data = chance.blend(min(prior/worth, 1), priorVariance)
	}
	if g.Kind == rtb.GoalCPC {
		e.Click = chance.p
	} else {
		e.Conversion = chance.p
	}
	e.Worth = rtb.Micros(min(worth, float64(rtb.MaxCPM)*1000))
	e.Deviation = math.Sqrt(chance.variance)
	e.Draw = drawFactor(e.Deviation, show)
	e.Value = valueCPM(chance.p * worth * e.Draw)
}

// returns returns what a line, which may be nil, and its advertiser earned.
func (s *valueSnapshot) returns(l *lineValue, advertiser string) (line, all returns) {
	if l == nil {
		return returns{}, s.advertisers[advertiser].read()
	}
	return l.returns.read(), l.advertiser.read()
}

// worthOf returns the worth of a conversion, in micros, the variance of its logarithm, and
// the least multiplier of the line's goal.
func worthOf(g *rtb.Goal, line, advertiser *returns) (worth, variance, multiplier float64) {
	known := 0.0
	switch g.Kind {
	case rtb.GoalCPA:
		worth = float64(g.Target)
		known = line.Conversions * worth
	case rtb.GoalROAS:
		worth, variance = orderValue(line, advertiser)
		ratio := 1e6 / float64(max(g.Target, 1))
		worth *= ratio
		known = line.Revenue * ratio
	}
	return worth, variance, line.goalMultiplier(worth, known)
}

// valueCPM returns the CPM of an impression that is worth v micros.
func valueCPM(v float64) rtb.CPM { return rtb.CPM(min(max(v*1000, 0), float64(rtb.MaxCPM))) }

// drawFactor returns the factor that uncertainty puts on the value of a showing. Lines
// draw independently of each other.
func drawFactor(deviation float64, show *rtb.Showing) float64 {
	s := min(deviation, maxDeviation)
	h := rtb.HashFeature(0, math.Float64bits(show.Draw), rtb.HashText(show.Line.Line))
	u := (float64(h) + 0.5) / (1 << 32)
	z := min(max(math.Sqrt2*math.Erfinv(2*u-1), -maxDraw), maxDraw)
	return math.Exp(s*z - s*s)
}
