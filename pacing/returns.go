package pacing

import (
	"math"
	"sync/atomic"

	"rebound/rtb"
)

const (
	// returnMemory is the mean age, in seconds, of the impressions whose spend is compared
	// with what they earned. A long memory has the line pay back what it overspent while its
	// estimates were wrong: it stops for weeks after they are right again.
	returnMemory = 86400.0
	// orderMemory is the mean age of the orders whose values count.
	orderMemory = 30 * 86400.0
	// orderPrior is the number of orders of a line that the advertiser's average counts
	// as.
	orderPrior = 10.0
	// orderVariance is the variance of the logarithm of an average over one order.
	orderVariance = 1.0
	// goalPrior is the number of conversions that count as bought at the target cost.
	goalPrior = 20.0
	// maxGoalMultiplier bounds what the goal does to values.
	maxGoalMultiplier = 10.0
)

// returns is what a line, or all lines of an advertiser, spent and earned. Amounts are
// micros of the line's currency; the sums fade with the age of the impression. The
// advertiser's have orders only.
type returns struct {
	Orders      float64    `json:"orders"`      // with a value in the currency
	Value       float64    `json:"value"`       // of these orders
	Spend       float64    `json:"spend"`       // for impressions that visitors were known for
	Conversions float64    `json:"conversions"` // that are known
	Revenue     float64    `json:"revenue"`     // of these
	Pending     float64    `json:"pending"`     // conversions that are expected and not known yet
	At          rtb.Second `json:"at"`
	// Purchased is set for an advertiser once its server has reported a purchase.
	Purchased bool `json:"purchased,omitempty"`
}

func (r *returns) fade(at rtb.Second) {
	if at <= r.At {
		return
	}
	if r.At != 0 {
		age := float64(at - r.At)
		orders, rest := math.Exp(-age/orderMemory), math.Exp(-age/returnMemory)
		r.Orders, r.Value = r.Orders*orders, r.Value*orders
		r.Spend, r.Conversions, r.Revenue, r.Pending = r.Spend*rest, r.Conversions*rest, r.Revenue*rest, r.Pending*rest
	}
	r.At = at
}

// order adds the value of an order, or removes it if sign is -1.
func (r *returns) order(value rtb.Micros, sign float64, at rtb.Second) {
	r.fade(at)
	r.Orders = max(r.Orders+sign, 0)
	r.Value = max(r.Value+sign*float64(value), 0)
}

// liveReturns are returns that the bid path reads.
type liveReturns struct {
	returns
	stale     bool // published is out of date
	published atomic.Pointer[returns]
}

func (r *liveReturns) publish() {
	if r.stale {
		x := r.returns
		r.published.Store(&x)
		r.stale = false
	}
}

// read returns the published state.
func (r *liveReturns) read() returns {
	if r != nil {
		if x := r.published.Load(); x != nil {
			return *x
		}
	}
	return returns{}
}

// orderValue returns the expected value of an order of a line and the variance of its
// logarithm; 0 if no order of the advertiser is known.
func orderValue(line, advertiser *returns) (value, variance float64) {
	if advertiser.Orders <= 0 {
		return 0, 0
	}
	of := advertiser.Value / advertiser.Orders
	return (line.Value + orderPrior*of) / (line.Orders + orderPrior), orderVariance / (1 + line.Orders)
}

// goalMultiplier returns the least number by which the values of a line are divided, so
// that its conversions do not cost more than they are worth: the ratio of what was spent to
// what it was worth. A higher power of it, or a longer memory, makes lines swing between
// too much and nothing (TestGoalIsKept). worth is that of one
// conversion, known the worth of those that are known.
func (r *returns) goalMultiplier(worth, known float64) float64 {
	prior := goalPrior * worth
	if prior <= 0 {
		return 1
	}
	ratio := (r.Spend + prior) / (known + r.Pending*worth + prior)
	return min(max(ratio, 1), maxGoalMultiplier)
}
