package sim

import "math"

// landscape is the reference's model of competing prices, log-normal with a linear
// mean, which the oracle and some of the baselines use.
type landscape struct {
	w, g2   [landFeatures]float64
	lnSigma float64
	sigmaG2 float64
	sigma   float64 // the one that the table is for
	table   [141]float64
}

const landFeatures = 8

func newLandscape() *landscape {
	l := &landscape{lnSigma: math.Log(0.9)}
	l.w[0] = 3.9
	l.tabulate()
	return l
}

func landscapeFeatures(q *Request, x *[landFeatures]float64) {
	h := 2 * math.Pi * q.At / daySeconds
	*x = [landFeatures]float64{0: 1}
	if q.Slot > 0 {
		x[q.Slot] = 1
	}
	x[3], x[4] = math.Sin(h), math.Cos(h)
	x[5], x[6] = math.Sin(2*h), math.Cos(2*h)
	x[7] = math.Log(q.Seen) - 4
}

func (l *landscape) mean(q *Request) float64 {
	var x [landFeatures]float64
	landscapeFeatures(q, &x)
	m := 0.0
	for i := range x {
		m += l.w[i] * x[i]
	}
	return m
}

func density(z float64) float64 { return math.Exp(-z*z/2) / 2.5066282746310002 }
func normal(z float64) float64  { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// step follows the gradients of the log-likelihood in the mean and in ln sigma.
func (l *landscape) step(q *Request, mean, lnSigma float64) {
	var x [landFeatures]float64
	landscapeFeatures(q, &x)
	for i := range x {
		g := mean * x[i]
		if g == 0 {
			continue
		}
		l.g2[i] = l.g2[i]*0.99995 + g*g
		l.w[i] += 0.15 * g / math.Sqrt(l.g2[i]+20)
	}
	l.sigmaG2 = l.sigmaG2*0.99995 + lnSigma*lnSigma
	l.lnSigma += 0.10 * lnSigma / math.Sqrt(l.sigmaG2+20)
	l.lnSigma = math.Max(math.Log(0.25), math.Min(math.Log(2.5), l.lnSigma))
	if math.Abs(math.Exp(l.lnSigma)/l.sigma-1) > 0.03 {
		l.tabulate()
	}
}

// exact learns from a price that is known.
func (l *landscape) exact(q *Request, price float64) {
	s := math.Exp(l.lnSigma)
	r := (math.Log(price) - l.mean(q)) / s
	r = math.Max(-4, math.Min(4, r))
	l.step(q, r/s, r*r-1)
}

// lost learns that the price was above a bid.
func (l *landscape) lost(q *Request, bid float64) {
	s := math.Exp(l.lnSigma)
	z := (math.Log(bid) - l.mean(q)) / s
	hazard := z + 1/math.Max(z, 4)
	if z < 4 {
		hazard = density(z) / math.Max(1-normal(z), 1e-9)
	}
	l.step(q, hazard/s, hazard*z)
}

// won learns that the price was below a bid.
func (l *landscape) won(q *Request, bid float64) {
	s := math.Exp(l.lnSigma)
	z := (math.Log(bid) - l.mean(q)) / s
	g := -z
	if z > -4 {
		g = density(z) / math.Max(normal(z), 1e-9)
	}
	l.step(q, -g/s, -g*z)
}

// learn learns from what a bidder was told about its bid.
func (l *landscape) learn(q *Request, o *outcome, firstPrice bool) {
	switch {
	case o.toWin > 0:
		l.exact(q, o.toWin)
	case o.won && !firstPrice:
		l.exact(q, o.paid)
	case o.won:
		l.won(q, o.bid)
	default:
		l.lost(q, o.bid)
	}
}

// tabulate solves exp(u - s z) - 1 = s Phi(z) / phi(z) for z on a grid of
// u = ln worth - mean: the z of the best bid.
func (l *landscape) tabulate() {
	s := math.Exp(l.lnSigma)
	l.sigma = s
	for k := range l.table {
		u := -7 + 0.1*float64(k)
		low, high := -12.0, u/s
		for range 40 {
			z := (low + high) / 2
			mills := normal(z) / math.Max(density(z), 1e-300)
			if z < -8 {
				mills = -1 / z
			}
			if math.Exp(u-s*z)-1 > s*mills {
				low = z
			} else {
				high = z
			}
		}
		l.table[k] = (low + high) / 2
	}
}

// shade returns the bid that maximises the expected surplus of a worth.
func (l *landscape) shade(q *Request, worth float64) float64 { return l.shadeAt(worth, l.mean(q)) }

func (l *landscape) shadeAt(worth, mean float64) float64 {
	f := (math.Log(worth) - mean + 7) * 10
	if f < 0 {
		return worth * 0.9
	}
	f = min(f, 139.9)
	k := int(f)
	z := l.table[k] + (f-float64(k))*(l.table[k+1]-l.table[k])
	return math.Min(worth, math.Exp(mean+l.sigma*z))
}
