package sim

import (
	"math"
	"math/rand/v2"
)

// The baselines, with the constants of the reference simulator.

// memoryless is the part of a policy that learns nothing.
type memoryless struct{ forecast *history }

func (p *memoryless) outcome(*Request, outcome, *ledger) {}
func (p *memoryless) tick(float64, *ledger)              {}
func (p *memoryless) newDay(h *history)                  { p.forecast = h }
func (p *memoryless) restart()                           {}

// constant bids the value divided by a fixed multiplier: ASAP with 1, else the best
// one of yesterday in hindsight.
type constant struct {
	memoryless
	multiplier float64
}

func (p *constant) bid(q *Request, _ *ledger) float64 { return q.Seen / p.multiplier }

// throttle bids the value on a random share of the requests (Agarwal et al., KDD 2014).
type throttle struct {
	memoryless
	share float64
	r     *rand.Rand
}

func (p *throttle) bid(q *Request, _ *ledger) float64 {
	if p.r.Float64() > p.share {
		return 0
	}
	return q.Seen
}

func (p *throttle) tick(t float64, l *ledger) {
	if int(t)%60 != 0 {
		return
	}
	if l.spent > l.budget*p.forecast.share(t) {
		p.share *= 0.9
	} else {
		p.share *= 1.1
	}
	p.share = math.Min(1, math.Max(1e-4, p.share))
}

func (p *throttle) restart() { p.share = 0.1 }

// pid controls ln of the bid's share of the value (Zhang et al., WSDM 2016).
type pid struct {
	memoryless
	lnShare, sum, last float64
}

const pidProportional, pidIntegral, pidDerivative = 20.0, 0.3, 20.0

func (p *pid) bid(q *Request, _ *ledger) float64 { return q.Seen * math.Exp(p.lnShare) }

func (p *pid) tick(t float64, l *ledger) {
	if int(t)%60 != 0 {
		return
	}
	e := p.forecast.share(t) - l.spent/l.budget
	p.sum += e
	u := pidProportional*e + pidIntegral*p.sum + pidDerivative*(e-p.last)
	p.last = e
	if u < -5 || u > 0 { // no windup
		p.sum -= e
	}
	p.lnShare = math.Max(-5, math.Min(0, u))
}

func (p *pid) newDay(h *history) { p.forecast, p.last = h, 0 }
func (p *pid) restart()          { p.lnShare, p.sum, p.last = -1, 0, 0 }

// stepwise raises or lowers the bid's share of the value every half hour (AuctionNet).
type stepwise struct {
	memoryless
	share, spent float64
}

func (p *stepwise) bid(q *Request, _ *ledger) float64 { return q.Seen * p.share }

func (p *stepwise) tick(t float64, l *ledger) {
	if t < 1800 || int(t)%1800 != 0 {
		return
	}
	k := int(t / 1800)
	cost := l.spent - p.spent
	p.spent = l.spent
	left := math.Max(1e-9, l.budget-l.spent)
	f := (1 - p.forecast.share(t)) / math.Max(1e-6, p.forecast.share(t)-p.forecast.share(t-1800))
	if cost*f/left < 0.7 {
		p.share *= 1.2
	} else if cost*float64(48-k)/left > 1.1 {
		p.share *= 0.7
	}
	p.share = math.Min(1, p.share)
}

func (p *stepwise) newDay(h *history) { p.forecast, p.spent = h, 0 }
func (p *stepwise) restart()          { p.share = 0.5 }

// adaptive is adaptive pacing (Balseiro and Gur, 2019).
type adaptive struct {
	memoryless
	mu float64
}

const adaptiveStep = 0.001

func (p *adaptive) bid(q *Request, _ *ledger) float64 {
	p.mu = math.Max(0, p.mu-adaptiveStep)
	return q.Seen / (1 + p.mu)
}

func (p *adaptive) outcome(_ *Request, o outcome, l *ledger) {
	if o.won {
		p.mu = math.Min(60, p.mu+adaptiveStep*o.paid/(l.budget/p.forecast.total()))
	}
}

func (p *adaptive) restart() { p.mu = 1 }

// mirror is entropic dual mirror descent (Balseiro, Lu and Mirrokni): with a fixed or a
// re-solved target per request, and with or without shading.
type mirror struct {
	memoryless
	lnMultiplier float64
	target       float64 // spend of one request; 0 until it is known
	resolve      bool
	firstPrice   bool
	land         *landscape // shades; nil: no shading
}

const mirrorStep = 0.0005

func (p *mirror) bid(q *Request, l *ledger) float64 {
	if p.target == 0 {
		p.target = l.budget / p.forecast.total()
	}
	p.lnMultiplier = math.Max(0, p.lnMultiplier-mirrorStep)
	worth := q.Seen * math.Exp(-p.lnMultiplier)
	if p.land != nil {
		return p.land.shade(q, worth)
	}
	return worth
}

func (p *mirror) outcome(q *Request, o outcome, _ *ledger) {
	if o.won {
		p.lnMultiplier = math.Min(4.5, p.lnMultiplier+math.Min(0.3, mirrorStep*o.paid/p.target))
	}
	if p.land != nil {
		p.land.learn(q, &o, p.firstPrice)
	}
}

func (p *mirror) tick(t float64, l *ledger) {
	if p.resolve && int(t)%60 == 0 {
		left := math.Max(p.forecast.total()-p.forecast.until(t), p.forecast.total()*0.002)
		p.target = math.Max(1e-6, (l.budget-l.spent)/left)
	} else if p.target == 0 {
		p.target = l.budget / p.forecast.total()
	}
}

func (p *mirror) newDay(h *history) { p.forecast, p.target = h, 0 }

func (p *mirror) restart() {
	p.lnMultiplier, p.target = 0.7, 0
	if p.land != nil {
		p.land = newLandscape()
	}
}
