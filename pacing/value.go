package pacing

import (
	"maps"
	"math"
	"sync/atomic"

	"rebound/rtb"
)

// Constants of the estimates.
const (
	// startClick is the click rate that a model without data starts at, about that of
	// display ads.
	startClick = 0.001
	// Prior variances of the logarithm of a rate: of the rate in general, and of what
	// each feature adds to it.
	biasVariance, featureVariance = 4.0, 0.04
	// priorVariance is the variance of the logarithm of a line's own prior: a rate that
	// was measured on four clicks.
	priorVariance = 0.25
	// maxDeviation bounds the draw, as maxDraw does in deviations.
	maxDeviation, maxDraw = 0.7, 2.0
	// publishEvery is the log time, in seconds, between two snapshots for the bid path.
	publishEvery = 1
)

// values estimates the value of impressions. Its state is a fold of the log: of billed
// impressions and clicks. Pacer.mu protects it, except for snapshot.
type values struct {
	snapshot atomic.Pointer[valueSnapshot]

	weights   *weights
	all       [models]calibration
	lines     map[rtb.LineID]*lineValue
	touched   map[rtb.LineID]struct{} // lines that changed since the last commit
	published rtb.Second
	behind    bool // the snapshot is out of date
	known     bool // the snapshot has all lines
}

// lineValue is the calibration of one line. The bid path reads the ratios.
type lineValue struct {
	calibrations [models]calibration
	ratios       [models]atomic.Uint64 // bits of a float64
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
}

func newValues() *values {
	v := &values{weights: newWeights(), lines: map[rtb.LineID]*lineValue{}, touched: map[rtb.LineID]struct{}{}}
	v.publish()
	return v
}

// clear removes the folded state.
func (v *values) clear() {
	v.weights, v.all = newWeights(), [models]calibration{}
	v.lines, v.touched = map[rtb.LineID]*lineValue{}, map[rtb.LineID]struct{}{}
	v.published, v.known = 0, false
	v.snapshot.Store(&valueSnapshot{})
	v.publish()
}

// line returns the calibration of a line, which will be changed.
func (v *values) line(id rtb.LineID) *lineValue {
	l := v.lines[id]
	if l == nil {
		l = &lineValue{}
		v.lines[id] = l
		v.known = false
	}
	v.touched[id] = struct{}{}
	return l
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
	var x inputs
	for m := range models {
		x.set(m, &rtb.Showing{})
		w, _ := v.weights.at(x.index[0])
		next.bias[m] = 1 / (1/biasVariance + w.n)
		next.all[m] = v.all[m].ratio(1, calibrationPrior)
		for _, l := range v.lines {
			l.ratios[m].Store(math.Float64bits(l.calibrations[m].ratio(next.all[m], linePrior)))
		}
	}
	if !v.known || next.lines == nil {
		next.lines, v.known = maps.Clone(v.lines), true
	}
	v.behind = false
	v.snapshot.Store(next)
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

// rate is an estimated probability with the variance of its logarithm.
type rate struct{ p, variance float64 }

// rate returns a model's estimate before a line's own calibration.
func (s *valueSnapshot) rate(m model, start float64, x *inputs) rate {
	score, variance := logit(start), s.bias[m]
	for n, i := range x.list() {
		cell := valueCell{variance: featureVariance}
		if page := s.pages[i>>pageBits]; page != nil {
			cell = page[i%pageSize]
		}
		score += float64(cell.w)
		if n > 0 { // the first is the bias
			variance += float64(cell.variance)
		}
	}
	return rate{sigmoid(score), variance}
}

// ratio returns the calibration of a line's predictions.
func (s *valueSnapshot) ratio(m model, id *rtb.LineID) float64 {
	ratio := s.all[m]
	if l := s.lines[*id]; l != nil {
		if own := math.Float64frombits(l.ratios[m].Load()); own > 0 {
			ratio *= own
		}
	}
	return ratio
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
	var x inputs
	x.set(clickModel, show)
	click := s.rate(clickModel, startClick, &x)
	click.p = min(click.p*s.ratio(clickModel, &show.Line), 1)
	*e = rtb.Estimate{Data: 1}
	worth := float64(g.Target)
	if g.Prior > 0 && worth > 0 {
		e.Data = click.blend(min(float64(g.Prior)/1000/worth, 1), priorVariance)
	}
	e.Click = click.p
	e.Deviation = math.Sqrt(click.variance)
	e.Draw = drawFactor(e.Deviation, show)
	e.Value = valueCPM(click.p * worth * e.Draw)
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
