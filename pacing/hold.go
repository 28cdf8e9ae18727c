package pacing

import "math"

// The constants of holding money.
const (
	lifeShare = 0.02 // weight of a tick's bids in the mean life of bids
	leastLife = 1.0  // second
	endEarly  = 1.0  // part of a bid's life by which the plan is fulfilled before the end
	mostEarly = 0.05 // share of the window by which it is at most: a flight may be shorter than the life of a bid
	leastPart = 0.01 // of a bid's life that always counts as left
)

// hold sets the least use of money that bids must have, so that what they reserve fits into
// the free money. A bid that hardly ever wins reserves as much as one that usually does, so
// the others would be refused at random.
//
// Bids ask for money until they can no longer be billed, but loss notices free most of it
// earlier, so the time for which they hold it is measured: it is what is held for what was
// reserved (Little's law). Near the end of the window less is still to be asked for, but
// less of what is held will be free again in time.
func (c *capControl) hold(o *observed, h *horizon) {
	c.Taken += h.taken
	if asked := o.asks.sum(); asked > 0 {
		longest := max(o.held/asked, leastLife)
		if c.Life == 0 {
			c.Life = longest
		}
		measured := longest
		if c.Taken > 0 {
			measured = min(c.Life*h.held/c.Taken, longest)
		}
		c.Life = max(c.Life+(measured-c.Life)*lifeShare, leastLife)
		c.asks.add(&o.asks)
	}
	part := 1.0 // of a bid's life, until the end of the window
	if h.window > 0 && c.Life > 0 {
		part = min(h.left/c.Life, 1)
	}
	free := (h.limit-h.spent)*c.share(h) - h.held*(1-part)
	c.least = c.asks.least(free / max(part, leastPart))
}

// leastUse returns the least use of money that bids must have.
func (c *capControl) leastUse() float64 {
	if c == nil || !c.bound {
		return 0
	}
	return c.least
}

// asks is money that bids ask to reserve, by their use of it, in two classes for each halving.
// The use is the expected cost as a share of the money that the bid reserves.
type asks [askBins]float64

const askBins = 16

// askBin returns the class of a use.
func askBin(use float64) int { return min(max(int(-2*math.Log2(use)), 0), askBins-1) }

func (a *asks) add(x *asks) {
	for i := range a {
		a[i] += x[i]
	}
}

func (a *asks) scale(f float64) {
	for i := range a {
		a[i] *= f
	}
}

func (a *asks) sum() float64 {
	sum := 0.0
	for _, x := range a {
		sum += x
	}
	return sum
}

// least returns the least use of those that fit into an amount if the best come first; 0 if
// all of them do.
func (a *asks) least(free float64) float64 {
	for i, x := range a {
		if x > free {
			return math.Exp2(-(float64(i) + max(free, 0)/x) / 2)
		}
		free -= x
	}
	return 0
}
