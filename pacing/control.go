package pacing

import (
	"math"
	"time"

	"rebound/rtb"
)

// capControl moves the multiplier of one cap: entropic dual ascent on the
// expected spend of each matched request, towards the amount per request that
// the rest of the budget allows, which is recomputed at every tick. It persists
// across days. A cap that does not bind pushes ln lambda to 0, where the price
// is the full value.
//
// Money is in micros as float64, because none of it is written to a ledger.
type capControl struct {
	LnLambda float64 `json:"ln_lambda"`
	Boost    float64 `json:"boost"`    // extra gain after a cold start, decaying
	Actual   float64 `json:"actual"`   // decayed spend of matured bids
	Foretold float64 `json:"foretold"` // and the expected spend of the same bids
	Average  float64 `json:"average"`  // average price paid; 0 if unknown
	Traffic  traffic `json:"traffic"`
	Full     float64 `json:"full"`    // decayed expected cost at full price
	FullOf   float64 `json:"full_of"` // number of requests that Full is summed over
	DaySum   float64 `json:"day_sum"` // sum of ln lambda, weighted by requests
	DayCount float64 `json:"day_count"`
	Day      rtb.Day `json:"day"`

	even bool
	last time.Time // time of the last tick; zero if there was none
}

// The constants of the controller, from the reference simulation.
const (
	coldBoost     = 6.0
	boostLife     = 1800.0 // seconds
	trimMemory    = 5400.0 // seconds
	gainFactor    = 1.6
	minGain       = 20.0
	maxGain       = 250.0
	maxStep       = 0.05 // gain of one request
	maxRatio      = 60.0 // largest ratio of one request's spend to its target
	maxMove       = 0.5  // largest change of ln lambda in one tick
	maxLnLambda   = 7.0
	keepBack      = 0.999 // share of the budget
	fullMemory    = 600.0 // seconds
	leastHorizon  = 0.002 // share of the window, as seconds left
	leastRate     = 0.02  // share of the even rate
	warmRequests  = 60.0  // before a day's mean of ln lambda is used
	unknownGuests = 1e-4  // requests per second if none were seen
)

// horizon is the time over which a budget is spent.
type horizon struct {
	limit  float64 // the cap
	spent  float64
	flight float64 // expected cost of the bids in flight
	window float64 // seconds from its start to its end
	left   float64 // seconds to its end
}

// trim returns the measured correction of the expected cost.
func (c *capControl) trim(limit float64) float64 {
	prior := limit/50 + 8*c.price(limit)
	return min(max((prior+c.Actual)/(prior+c.Foretold), 0.3), 3)
}

func (c *capControl) price(limit float64) float64 {
	if c.Average > 0 {
		return c.Average
	}
	return max(limit/1000, 1)
}

// outcome counts a matured bid.
func (c *capControl) outcome(expected, paid float64) {
	c.Foretold += expected
	c.late(paid)
	if paid <= 0 {
		return
	}
	if c.Average == 0 {
		c.Average = paid
	}
	c.Average += (paid - c.Average) * 0.02
}

// late counts spend for a bid that had been counted as lost.
func (c *capControl) late(paid float64) { c.Actual += paid }

// observed holds the observations of a cap's lines since the last tick: matched
// requests, the expected cost of their bids, and the expected cost at full
// price, which is known only for priced requests.
type observed struct{ requests, expected, full, priced float64 }

func (o *observed) add(x observed) {
	o.requests += x.requests
	o.expected += x.expected
	o.full += x.full
	o.priced += x.priced
}

// tick applies the observations.
func (c *capControl) tick(o observed, h horizon, now time.Time) {
	dt := 1.0
	if !c.last.IsZero() {
		dt = max(now.Sub(c.last).Seconds(), 0)
	}
	c.last = now
	n := o.requests
	c.Traffic.add(n, dt)
	fade := math.Exp(-dt / trimMemory)
	c.Actual, c.Foretold = c.Actual*fade, c.Foretold*fade
	fade = math.Exp(-dt / fullMemory)
	c.Full, c.FullOf = c.Full*fade+o.full, c.FullOf*fade+o.priced
	c.Boost *= math.Exp(-dt / boostLife)
	c.DaySum, c.DayCount = c.DaySum+c.LnLambda*n, c.DayCount+n
	if n <= 0 || h.window <= 0 {
		return
	}
	trim := c.trim(h.limit)
	rate := max(c.Traffic.rate(), unknownGuests)
	whole := rate * h.window
	rest := rate * max(h.left, leastHorizon*h.window)
	left := keepBack*h.limit - h.spent - h.flight*trim
	if rest*trim*c.Full < left*c.FullOf { // the budget covers all of the traffic at full price
		c.LnLambda = 0
		return
	}
	rho := max(left/rest, leastRate*h.limit/whole)
	if !(rho > 0) {
		return
	}
	gain := min(max(gainFactor*math.Sqrt(h.limit/c.price(h.limit)), minGain), maxGain)
	step := min(gain/whole, maxStep) * (1 + c.Boost)
	move := step * (min(trim*o.expected/rho, maxRatio*n) - n)
	c.LnLambda = min(max(c.LnLambda+min(max(move, -maxMove), maxMove), 0), maxLnLambda)
}

// on carries the multiplier over to a new day. It uses the old day's
// traffic-weighted mean, because the value at midnight reflects the end of a
// budget.
func (c *capControl) on(day rtb.Day) {
	if c.Day == day {
		return
	}
	c.Day = day
	if c.DayCount > warmRequests {
		c.LnLambda = c.DaySum / c.DayCount
	}
	c.DaySum, c.DayCount = 0, 0
}

// lambda returns the cap's multiplier.
func (c *capControl) lambda() float64 {
	if c == nil || !c.even {
		return 1
	}
	return math.Exp(c.LnLambda)
}

// traffic estimates the rate of matched requests without a forecast: the
// highest slow average of the last hours, and never below the mean so far. A
// day that grows towards the evening is then not spent in its first half; the
// hold spans the night, and after it the estimate follows traffic down. It is
// never far above the current rate, so that a burst is not mistaken for the
// day's level.
type traffic struct {
	Count   float64 `json:"count"`
	Elapsed float64 `json:"elapsed"`
	Slow    float64 `json:"slow"`
	Weight  float64 `json:"weight"`
	Now     float64 `json:"now"`
	NowSpan float64 `json:"now_span"`
	Peak    float64 `json:"peak"`
	PeakAge float64 `json:"peak_age"` // seconds
}

const (
	trafficPrior  = 120.0   // seconds without requests before the first one
	trafficMemory = 7200.0  // seconds of the slow average
	presentMemory = 600.0   // seconds of the current rate
	meanMemory    = 86400.0 // seconds of the mean
	peakHold      = 36000.0
	peakFall      = 21600.0
	aboveNow      = 6.0 // how far the estimate may exceed the current rate
)

func (t *traffic) add(n, dt float64) {
	fade := math.Exp(-dt / trafficMemory)
	t.Slow, t.Weight = t.Slow*fade+n, t.Weight*fade+dt
	fade = math.Exp(-dt / presentMemory)
	t.Now, t.NowSpan = t.Now*fade+n, t.NowSpan*fade+dt
	if t.Elapsed > meanMemory {
		fade = math.Exp(-dt / meanMemory)
		t.Count, t.Elapsed = t.Count*fade, t.Elapsed*fade
	}
	t.Count, t.Elapsed = t.Count+n, t.Elapsed+dt
	t.PeakAge += dt
	if t.PeakAge > peakHold {
		t.Peak *= math.Exp(-dt / peakFall)
	}
	if r := t.Slow / (t.Weight + trafficPrior); r > t.Peak {
		t.Peak, t.PeakAge = r, 0
	}
}

// rate returns the estimate in matched requests per second.
func (t *traffic) rate() float64 {
	usual := max(t.Peak, t.Count/(t.Elapsed+trafficPrior))
	return min(usual, aboveNow*t.Now/(t.NowSpan+trafficPrior))
}

// controlID identifies a controller: a cap without its day.
type controlID struct {
	advertiser, campaign, line string
	window                     rtb.Window
}

func controlOf(b rtb.BudgetID) controlID {
	return controlID{b.Advertiser, b.Campaign, b.Line, b.Window}
}
