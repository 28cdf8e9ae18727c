package pacing

import (
	"math"
	"time"

	"rebound/rtb"
)

// capControl moves the multiplier of one cap. It follows the expected cost of each
// matched request, at bid time, towards the amount per request that the rest of the
// budget allows for the rest of the day's traffic; that amount is recomputed at every
// tick. The multiplier persists across days. A cap that does not bind has multiplier 1.
//
// When the money that bids would reserve until their outcome is known exceeds what is left,
// only those that use it best are made (hold). It matters at the end of the day, and for
// budgets that are small against the time for which bids stay open.
//
// Money is in micros as float64, because none of it is written to a ledger.
type capControl struct {
	LnLambda float64 `json:"ln_lambda"`
	Boost    float64 `json:"boost"`    // extra speed after a cold start, decaying
	Actual   float64 `json:"actual"`   // decayed spend of matured bids
	Foretold float64 `json:"foretold"` // and the expected spend of the same bids
	Average  float64 `json:"average"`  // average price paid; 0 if unknown
	Traffic  traffic `json:"traffic"`
	Full     float64 `json:"full"`    // decayed expected cost at full price
	FullOf   float64 `json:"full_of"` // number of requests that Full is summed over
	Paced    float64 `json:"paced"`   // decayed expected cost at the multiplier
	DaySum   float64 `json:"day_sum"` // sum of ln lambda, weighted by requests
	DayCount float64 `json:"day_count"`
	Day      rtb.Day `json:"day"`
	Level    level   `json:"level"`
	Taken    float64 `json:"taken"`    // money that bids reserved, decayed over Life
	Life     float64 `json:"life"`     // mean seconds for which bids hold money
	Own      float64 `json:"own"`      // decayed charges of this node's bids
	All      float64 `json:"all"`      // and of all nodes' bids
	Unbilled float64 `json:"unbilled"` // share of the true bill that no notice showed, from reports

	mode  Mode
	bound bool    // a line of the plan has the cap, and its mode is not ASAP
	asks  asks    // money that bids would reserve now, by their use of it
	least float64 // the least use of money that bids must have
	// cached is the exponential of lnCached; it saves computing it for every line.
	lnCached, cached float64
	published        float64 // the multiplier that the lines had last; 0: none
	publishedLeast   float64 // the same of least
	limit            float64 // at the last tick
	last             time.Time
	history          history
}

// The constants of the controller. Those of the reference design keep their values; the
// others were chosen on seeds of the benchmark that are not among its reported ones.
const (
	coldBoost    = 6.0    // a cold start moves up to 1+5x6 times as fast, to find the level within minutes
	boostFactor  = 5.0    //
	boostLife    = 1800.0 // seconds in which the boost decays: two or three times the age of outcomes
	boostShare   = 0.0625 // share of the window in which it decays at the latest: a flight of minutes is not noisy to its end
	trimMemory   = 5400.0 // seconds: long enough for a few hundred outcomes, short enough for a change of the market
	relaxShare   = 0.04   // share of the remaining traffic in which an error is corrected; more is smoother and later
	fewRelax     = 20.0   // impressions over which an error is corrected at least, up to mostRelax: small budgets are noisy
	mostRelax    = 0.3    // share of the remaining traffic
	leastRelax   = 0.006  // share of the day's traffic (9 minutes), so that the last minutes do not swing
	maxStep      = 0.05   // largest change of ln lambda by one request of average cost
	maxRatio     = 60.0   // largest ratio of the spend of a tick's requests to the target, so that one outlier does not stop bidding
	maxMove      = 0.5    // largest change of ln lambda in one tick
	maxLnLambda  = 7.0    // a multiplier of about 1100
	usualElastic = 1.2    // fall of ln spend per rise of ln lambda, until it is measured
	fullMemory   = 600.0  // seconds
	leastRest    = 0.0005 // share of the day's traffic that always counts as left
	leastRate    = 0.02   // share of the even rate below which the target never falls
	warmRequests = 60.0   // before a day's mean of ln lambda is used
	edgeOfDay    = 1.0 / 12
	aheadLead    = 0.25   // a budget that is spent ahead plans this much more for the start of the day
	shareMemory  = 3600.0 // seconds of the charges that give a node's share
	unknownRate  = 1e-4   // requests per second if none were seen
	maxUnbilled  = 0.5    // a report beyond it is more likely wrong than a reason to spend half
	lostMargin   = 1.003  // on the measured ratio of billed to notified spend, for its variation from day to day
)

// horizon is the time over which a budget is spent.
type horizon struct {
	limit  float64 // the cap without its holdback
	spent  float64
	flight float64 // expected cost of the bids in flight
	held   float64 // money that this node's bids hold, lost ones in doubt included
	taken  float64 // money that its bids reserved since the last tick
	window float64 // seconds from its start to its end; for a flight or total from now, once it has begun
	length float64 // seconds from its start to its end, as far as its start is known
	left   float64 // seconds to its end
	nodes  float64 // number of nodes with a current grant, this one included
	// from and to are its part of the civil day, 0 to 1, and at is now; to is 0 for
	// budgets that are not daily.
	from, to, at float64
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

// charged counts a charge, from which a node's share of the spend is known.
func (c *capControl) charged(amount float64, mine bool) {
	c.All += amount
	if mine {
		c.Own += amount
	}
}

// unreported returns the part of a cap that is kept because notices get lost: where an
// exchange's report shows more spend than its notices, as much again is expected today.
func (c *capControl) unreported(limit rtb.Micros) rtb.Micros {
	if c.Unbilled <= 0 {
		return 0
	}
	return rtb.Micros(math.Ceil(float64(limit) * (1 - (1-c.Unbilled)/lostMargin)))
}

// reported takes the true and the notified spend of a day.
func (c *capControl) reported(billed, notified float64) {
	if billed <= 0 {
		return
	}
	c.Unbilled = min(max(1-notified/billed, 0), maxUnbilled)
}

// share returns this node's share of what the cap has left: its share of recent charges,
// drawn towards equal shares.
func (c *capControl) share(h *horizon) float64 {
	if h.nodes <= 1 {
		return 1
	}
	prior := h.limit / 50
	return (c.Own + prior/h.nodes) / (c.All + prior)
}

// observed holds the observations of a cap's lines since the last tick: matched
// requests, the expected cost of their bids (those that a cap refused included, because
// they are demand), the expected cost at full price, which is known only for priced
// requests, the money that their bids asked to reserve, and that times the seconds.
type observed struct {
	requests, expected, full, priced, held float64
	asks                                   asks
	chance                                 float64 // expected impressions, in millionths, for each micro of expected cost
}

// impressions returns the same observations with impressions instead of money.
func (o observed) impressions() observed {
	o.expected, o.full, o.held = o.expected*o.chance, o.full*o.chance, o.held*o.chance
	o.asks.scale(o.chance)
	return o
}

func (o *observed) add(x observed) {
	o.requests += x.requests
	o.expected += x.expected
	o.full += x.full
	o.priced += x.priced
	o.held += x.held
	o.asks.add(&x.asks)
}

// tick applies the observations.
func (c *capControl) tick(o observed, h horizon, now time.Time) {
	dt := 1.0
	if !c.last.IsZero() {
		dt = max(now.Sub(c.last).Seconds(), 0)
	}
	c.last = now
	if h.window > 0 && h.left > h.window { // it has not begun: that there is no traffic says nothing
		return
	}
	c.fade(dt, h.length)
	n := o.requests
	c.Traffic.add(n, dt)
	c.Full, c.FullOf, c.Paced = c.Full+o.full, c.FullOf+o.priced, c.Paced+o.expected
	if h.to > 0 {
		c.history.add(h.at, n)
		c.Level.add(n, c.history.forecast.between(h.at-dt/86400, h.at), now)
		if h.at > edgeOfDay && h.at < 1-edgeOfDay {
			c.DaySum, c.DayCount = c.DaySum+c.LnLambda*n, c.DayCount+n
		}
	}
	left := h.limit - h.spent - h.flight*c.trim(h.limit)
	c.limitChanged(h.limit, left)
	c.hold(&o, &h)
	if n <= 0 || h.window <= 0 {
		return
	}
	rest, whole := c.rest(&h)
	left *= c.share(&h)
	trim := c.trim(h.limit)
	if rest*trim*c.Full < left*c.FullOf { // the budget covers all of the traffic at full price
		c.LnLambda = 0
		return
	}
	target := left / rest
	if c.mode == Ahead {
		target *= 1 + aheadLead*rest/whole
	}
	if target = max(target, leastRate*h.limit/whole); !(target > 0) {
		return
	}
	share := min(max(relaxShare, fewRelax*c.price(h.limit)/max(left, 1)), mostRelax)
	relax := max(share*rest, leastRelax*whole) / (1 + boostFactor*c.Boost)
	step := min(1/(relax*c.elasticity()), maxStep)
	move := step * (min(trim*o.expected/target, maxRatio*n) - n)
	c.LnLambda = min(max(c.LnLambda+min(max(move, -maxMove), maxMove), 0), maxLnLambda)
}

// fade lets the measurements of a cap that is spread over a length of time age.
func (c *capControl) fade(dt, length float64) {
	f := math.Exp(-dt / trimMemory)
	c.Actual, c.Foretold = c.Actual*f, c.Foretold*f
	f = math.Exp(-dt / fullMemory)
	c.Full, c.FullOf, c.Paced = c.Full*f, c.FullOf*f, c.Paced*f
	f = math.Exp(-dt / shareMemory)
	c.Own, c.All = c.Own*f, c.All*f
	boost := boostLife
	if length > 0 {
		boost = min(boost, boostShare*length)
	}
	c.Boost *= math.Exp(-dt / boost)
	f = math.Exp(-dt / max(c.Life, leastLife))
	c.asks.scale(f)
	c.Taken *= f
}

// limitChanged moves the multiplier at once when the cap is edited, by as much as the
// money left changed.
func (c *capControl) limitChanged(limit, left float64) {
	if c.limit > 0 && limit != c.limit {
		if was := left - (limit - c.limit); was > 0 && left > 0 {
			c.LnLambda = min(max(c.LnLambda-math.Log(left/was)/c.elasticity(), 0), maxLnLambda)
		}
	}
	c.limit = limit
}

// elasticity returns by how much ln spend falls when ln lambda rises, from the expected
// costs at full price and at the multiplier.
func (c *capControl) elasticity() float64 {
	if c.LnLambda < 0.2 || c.Full <= 0 || c.Paced <= 0 {
		return usualElastic
	}
	return min(max(math.Log(c.Full/c.Paced)/c.LnLambda, 0.5), 3)
}

// rest returns the requests that are expected in the rest of the window, and in all
// of it.
func (c *capControl) rest(h *horizon) (rest, whole float64) {
	early := min(endEarly*c.Life, mostEarly*h.length)
	if f := &c.history.forecast; h.to > 0 && f.known() {
		whole = f.between(h.from, h.to) * c.Level.ratio()
		rest = f.between(min(h.at+early/86400, h.to), h.to) * c.Level.ratio()
		if whole > 0 {
			return max(rest, leastRest*whole), whole
		}
	}
	rate := max(c.Traffic.rate(h.length), unknownRate)
	whole = rate * h.window
	return max(rate*(h.left-early), leastRest*whole), whole
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
	c.DaySum, c.DayCount, c.limit = 0, 0, 0
	c.Level = level{}
	c.history.turn(day)
}

// lambda returns the cap's multiplier.
func (c *capControl) lambda() float64 {
	if c == nil || !c.bound {
		return 1
	}
	if ln := c.LnLambda; ln != c.lnCached || c.cached == 0 {
		c.lnCached, c.cached = ln, math.Exp(ln)
	}
	return c.cached
}

// controlID identifies a controller: a cap without its day.
type controlID struct {
	advertiser, campaign, line string
	window                     rtb.Window
	imps                       bool
}

func controlOf(b rtb.BudgetID) controlID {
	return controlID{b.Advertiser, b.Campaign, b.Line, b.Window, b.Imps}
}
