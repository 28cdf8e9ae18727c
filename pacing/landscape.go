package pacing

import (
	"math"

	"rebound/rtb"
)

// The landscape is a place's model of the highest competing price: log-normal,
// with a mean that is a linear function of a few features. It is learned online
// from outcomes, exact (the price is known) or censored (only the winner is
// known), by AdaGrad steps on the likelihood. It gives the expected cost of a
// bid; the controller corrects its level, so it needs the right shape, not the
// right size. In first-price auctions it is the prior of the win rates.
//
// Prices here are micros of one impression, as natural logarithms.

// Features of an outcome.
const (
	featConst = iota
	featValue // ln value - ref
	featSin1  // time of day, first harmonic
	featCos1
	featSin2 // second harmonic
	featCos2
	features
)

// Step sizes of the learning, from the reference simulation.
const (
	stepMean, stepSigma = 0.15, 0.10
	damping             = 20.0
	forgetting          = 0.99995
	minLnSigma          = -1.386 // ln 0.25
	maxLnSigma          = 0.916  // ln 2.5
)

type landscape struct {
	Ref     float64           `json:"ref"` // ln value of the first quote; 0 if unset
	W       [features]float64 `json:"w"`
	G2      [features]float64 `json:"g2"`
	LnSigma float64           `json:"ln_sigma"`
	SigmaG2 float64           `json:"sigma_g2"`
	Seen    float64           `json:"seen"` // outcomes that it learned from
}

// sound reports whether the numbers can be used.
func (l *landscape) sound() bool {
	sum := l.LnSigma + l.SigmaG2
	for i := range l.W {
		sum += l.W[i] + l.G2[i]
	}
	return !math.IsNaN(sum) && !math.IsInf(sum, 0) && l.LnSigma >= minLnSigma && l.LnSigma <= maxLnSigma
}

// begin sets the prior: competitors pay about 0.6 of the value, and half of a change in
// the value shows in their prices.
func (l *landscape) begin(ref float64) {
	*l = landscape{Ref: ref, LnSigma: math.Log(0.9)}
	l.W[featConst] = ref - 0.5
	l.W[featValue] = 0.5
}

// fill sets the features of a value (ln micros) at a time (Unix seconds).
func (l *landscape) fill(x *[features]float64, lnValue float64, at rtb.Second) {
	h := 2 * math.Pi * float64(at%86400) / 86400
	x[featConst], x[featValue] = 1, lnValue-l.Ref
	x[featSin1], x[featCos1] = math.Sincos(h)
	x[featSin2], x[featCos2] = math.Sincos(2 * h)
}

func (l *landscape) mean(x *[features]float64) float64 {
	m := 0.0
	for i := range x {
		m += l.W[i] * x[i]
	}
	return m
}

// step follows the gradient of the log-likelihood in the mean and in ln sigma.
func (l *landscape) step(x *[features]float64, mean, lnSigma float64) {
	for i := range x {
		g := mean * x[i]
		if g == 0 {
			continue
		}
		l.G2[i] = l.G2[i]*forgetting + g*g
		l.W[i] += stepMean * g / math.Sqrt(l.G2[i]+damping)
	}
	l.SigmaG2 = l.SigmaG2*forgetting + lnSigma*lnSigma
	l.LnSigma += stepSigma * lnSigma / math.Sqrt(l.SigmaG2+damping)
	l.LnSigma = min(max(l.LnSigma, minLnSigma), maxLnSigma)
}

// exact learns from a competing price that is known.
func (l *landscape) exact(x *[features]float64, lnPrice float64) {
	s := math.Exp(l.LnSigma)
	r := (lnPrice - l.mean(x)) / s
	r = min(max(r, -4), 4)
	l.step(x, r/s, r*r-1)
}

// lost learns that the competing price was above a bid.
func (l *landscape) lost(x *[features]float64, lnBid float64) {
	s := math.Exp(l.LnSigma)
	z := (lnBid - l.mean(x)) / s
	hazard := z + 1/max(z, 4)
	if z < 4 {
		hazard = normDensity(z) / max(normCDF(-z), 1e-9)
	}
	l.step(x, hazard/s, hazard*z)
}

// won learns that the competing price was at most a bid.
func (l *landscape) won(x *[features]float64, lnBid float64) {
	s := math.Exp(l.LnSigma)
	z := (lnBid - l.mean(x)) / s
	g := -z
	if z > -4 {
		g = normDensity(z) / max(normCDF(z), 1e-9)
	}
	l.step(x, -g/s, -g*z)
}

func normDensity(z float64) float64 { return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) }
func normCDF(z float64) float64     { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// curve is a place's landscape at one time of day, and its win rates, frozen for the bid
// path.
type curve struct {
	base, slope, ref float64 // mean = base + slope * (ln value - ref)
	sigma            float64
	lift             float64 // exp(sigma²/2)
	rates            *winRates
}

// freeze returns the curve for a time (Unix seconds).
func (l *landscape) freeze(at rtb.Second) *curve {
	var x [features]float64
	l.fill(&x, l.Ref, at)
	s := math.Exp(l.LnSigma)
	return &curve{base: l.mean(&x), slope: l.W[featValue], ref: l.Ref, sigma: s, lift: math.Exp(s * s / 2)}
}

// priorCurve is the landscape around a value before anything was learned.
func priorCurve(lnValue float64) curve {
	return curve{base: lnValue - 0.5, ref: lnValue, sigma: 0.9, lift: 1.4993}
}

// cost returns the expected cost in a second-price auction of a bid of b micros for an
// impression of the value, including the win probability.
func (c *curve) cost(value, b, floor float64) float64 {
	if !(b > 0) || !(value > 0) {
		return 0
	}
	lnValue := math.Log(value)
	if c == nil {
		p := priorCurve(lnValue)
		c = &p
	}
	mean := c.base + c.slope*(lnValue-c.ref)
	z := (math.Log(b) - mean) / c.sigma
	level := math.Exp(mean) * c.lift
	e := level * normCDF(z-c.sigma)
	if floor > 0 { // below the floor, the winner pays the floor
		zf := (math.Log(floor) - mean) / c.sigma
		e += floor*normCDF(zf) - level*normCDF(zf-c.sigma)
	}
	return min(e, b)
}

// chance returns the probability that a bid of b micros wins a first-price auction for
// an impression of the value.
func (c *curve) chance(value, b float64) float64 {
	if !(b > 0) || !(value > 0) {
		return 0
	}
	if c != nil && c.rates != nil {
		return c.rates.at(b)
	}
	lnValue := math.Log(value)
	if c == nil {
		p := priorCurve(lnValue)
		c = &p
	}
	return normCDF((math.Log(b) - c.base - c.slope*(lnValue-c.ref)) / c.sigma)
}
