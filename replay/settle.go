package replay

import (
	"math"

	"rebound/events"
	"rebound/rtb"
)

// competition is what the log tells about the impressions of one record.
type competition struct {
	survey *Survey
	rec    *events.BidRecord
	key    uint64 // of the record, from which its draws are made
	seen   map[string]sighting
	told   map[string]*told
}

// about reads what the notices tell about a record.
func (c *competition) about(rec *events.BidRecord, key uint64, j *joiner, o *Options) {
	c.rec, c.key = rec, key
	clear(c.seen)
	clear(c.told)
	if c.survey == nil || rec.Decision == nil || j == nil {
		return
	}
	for i := range rec.Decision.Bids {
		b := &rec.Decision.Bids[i]
		t := j.of(b.BidID)
		c.seen[b.ImpID] = o.sighting(rec, b, t, j)
		if t != nil {
			c.told[b.ImpID] = t
		}
	}
}

// settlement is the auction of one simulated bid.
type settlement struct {
	certainty certainty
	held      bool // there is a market; otherwise nothing is known of the auction
	won       bool
	billed    bool
	paid      rtb.CPM
	least     rtb.CPM // the price to beat, if the exchange tells it; 0: it does not
	clicked   bool
	converted bool
	// chance and cost are the probability to win and the expected price paid, under
	// every resample of the prices; used where the price is not known.
	drawn  bool
	chance [replicas]float64
	cost   [replicas]float64
}

// settle holds the auction of a simulated bid.
func (c *competition) settle(bid *events.DecisionBid, claims *rtb.Claims) (s settlement) {
	if m, ok := c.rec.Market[bid.ImpID]; ok {
		s.certainty, s.held, s.billed, s.clicked, s.converted = exact, true, true, m.Clicked, m.Converted
		if t := c.told[bid.ImpID]; t != nil {
			s.clicked, s.converted = s.clicked || t.clicked, s.converted || t.converted
		}
		s.paid, s.won = won(m, claims)
		return s
	}
	if c.survey == nil {
		return s
	}
	seen := c.seen[bid.ImpID]
	s.certainty = seen.certainty
	at := c.survey.find(claims.Exchange, slotKind(c.rec.Request, bid.ImpID))
	least := seen.price
	switch {
	case seen.certainty == unwinnable:
		s.held = true
		return s
	case seen.certainty != exact && at == nil:
		return s
	case seen.certainty != exact:
		floor := bid.Factors.Floor
		least = c.draw(at, &seen, floor, bid.ImpID)
		s.estimate(at, &seen, floor, claims)
	}
	s.held = true
	s.paid, s.won = won(events.Market{MinToWin: least}, claims)
	if at != nil && at.told {
		s.least = least
	}
	c.afterwards(&s, at, bid.ImpID)
	if seen.certainty == unknown && at.unwinnable > 0 && c.uniform("unwinnable", bid.ImpID)*float64(at.tried) < float64(at.unwinnable) {
		s.won = false
	}
	return s
}

// afterwards sets what follows a won auction: as it was recorded, or drawn at the rates of
// the place.
func (c *competition) afterwards(s *settlement, at *cell, imp string) {
	if t := c.told[imp]; t != nil && t.won {
		s.billed, s.clicked, s.converted = t.billed, t.clicked, t.converted
		return
	}
	s.billed = at == nil || at.wins == 0 || c.uniform("bill", imp)*float64(at.wins) < float64(at.billed)
	if at == nil || at.wins == 0 {
		return
	}
	s.clicked = c.uniform("click", imp)*float64(at.wins) < float64(at.clicks)
	s.converted = s.clicked && at.clicks > 0 && c.uniform("conversion", imp)*float64(at.clicks) < float64(at.conversions)
}

// uniform returns the draw in [0, 1) of an impression for a purpose. It depends on the
// record alone, so that two configurations meet the same competition.
func (c *competition) uniform(purpose, imp string) float64 {
	x := c.key ^ hashOf(purpose, imp)
	return float64(mix(x)>>11) / (1 << 53)
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// bounds returns the probabilities between which the price must lie.
func (s *sighting) bounds(d *distribution) (low, high float64) {
	switch s.certainty {
	case above:
		return d.atMost(s.price), 1
	case atMost:
		return 0, d.atMost(s.price)
	}
	return 0, 1
}

// draw draws the price to beat from the prices of a place, within what is known of it.
func (c *competition) draw(at *cell, seen *sighting, floor rtb.CPM, imp string) rtb.CPM {
	low, high := seen.bounds(&at.prices)
	p := at.prices.quantile(low + c.uniform("price", imp)*(high-low))
	switch seen.certainty {
	case above:
		p = max(p, seen.price+1)
	case atMost:
		p = min(p, seen.price)
	}
	return max(p, floor, 1)
}

// estimate sets the chance and the expected cost under every resample of the prices.
func (s *settlement) estimate(at *cell, seen *sighting, floor rtb.CPM, claims *rtb.Claims) {
	s.drawn = true
	for k := range replicas {
		d := &at.resample[k]
		low, high := seen.bounds(d)
		p := d.atMost(claims.Price)
		switch {
		case claims.Price < floor:
			continue
		case seen.certainty == above && claims.Price <= seen.price:
			continue
		case seen.certainty == atMost && claims.Price >= seen.price:
			s.chance[k] = 1
		case high-low < 1e-9:
			s.chance[k] = float64(count(seen.certainty == atMost))
		default:
			s.chance[k] = min(max((p-low)/(high-low), 0), 1)
		}
		paid := claims.Price.Units()
		if !claims.FirstPrice {
			middle := d.quantile(low + (min(p, high)-low)/2)
			paid = min(max(middle, floor).Units(), paid)
		}
		s.cost[k] = s.chance[k] * paid
	}
}

// estimates are the sums over the auctions of a line, or the differences of two lines.
type estimates struct {
	squares [figures]float64 // of the amounts of single auctions
	shifts  [replicas][figures]float64
}

// The figures that have an interval.
const (
	figWins = iota
	figSpend
	figValue
	figClicks
	figConversions
	figures
)

type amounts [figures]float64

func (e *estimates) add(x *amounts) {
	for i := range x {
		e.squares[i] += x[i] * x[i]
	}
}

// shift adds the expected amounts of one auction under the resamples.
func (e *estimates) shift(s *settlement, perCPM, value, sign float64) {
	if !s.drawn {
		return
	}
	for k := range replicas {
		e.shifts[k][figWins] += sign * s.chance[k]
		e.shifts[k][figSpend] += sign * s.cost[k] * perCPM
		e.shifts[k][figValue] += sign * s.chance[k] * value
	}
}

// modelError is the relative standard error of what is drawn that no resample shows: the
// shape of the prices just above the recorded bids is not observed, and may differ from
// that of other bids. 0.2 covers the errors found in synthetic markets whose prices come
// at round numbers and follow the visitor's value (market_test.go).
const modelError = 0.2

// deviation returns the standard deviation of a figure: of the auctions themselves, of the
// estimate of the prices, and of its model.
func (e *estimates) deviation(i int) float64 {
	mean, square := 0.0, 0.0
	for k := range replicas {
		mean += e.shifts[k][i] / replicas
	}
	for k := range replicas {
		d := e.shifts[k][i] - mean
		square += d * d / (replicas - 1)
	}
	return math.Sqrt(e.squares[i] + square + modelError*modelError*mean*mean)
}

// Interval is a range that holds a figure with 95 % probability.
type Interval [2]int64

// twoSided is the quantile of the normal distribution for 95 %.
const twoSided = 1.96

func (e *estimates) interval(i int, at int64, least int64) Interval {
	d := twoSided * max(e.deviation(i), 0)
	return Interval{max(int64(math.Floor(float64(at)-d)), least), int64(math.Ceil(float64(at) + d))}
}

// Intervals are the ranges of a line's figures. They hold for a run of the configuration
// over such traffic: they include the chance of single auctions and the uncertainty of
// prices that the log does not tell.
type Intervals struct {
	Wins        Interval `json:"wins"`
	Spend       Interval `json:"spend_micros"`
	Value       Interval `json:"value_micros"`
	Clicks      Interval `json:"clicks"`
	Conversions Interval `json:"conversions"`
}

func (e *estimates) intervals(at *[figures]int64, least int64) Intervals {
	f := func(i int) Interval { return e.interval(i, at[i], least) }
	return Intervals{Wins: f(figWins), Spend: f(figSpend), Value: f(figValue), Clicks: f(figClicks), Conversions: f(figConversions)}
}
