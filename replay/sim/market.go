package sim

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Request is a matched request with one impression.
type Request struct {
	At      float64 // seconds since midnight
	Value   float64 // what the impression is really worth
	Seen    float64 // the value that the bidder's model gives; Value unless the scenario says otherwise
	Other   float64 // value for the second campaign, if the scenario has one
	Price   float64 // highest competing bid; policies must not read it
	Slot    uint8   // 0 to 2
	Segment uint8   // 0 to 3, from the weakest to the strongest intent
	Paths   []uint8 // supply paths in the order of their offers, if there are several; Price is without their fees
}

// Length of a day, in minutes and in seconds.
const (
	dayMinutes = 1440
	daySeconds = 86400.0
)

// Price bounds and the floors that many auctions share, with their frequencies.
const (
	minPrice, maxPrice = 1.0, 300.0
	floorShare         = 0.33
)

var (
	floorPrices  = [...]float64{20, 40, 50, 70, 80}
	floorWeights = [...]float64{0.26, 0.12, 0.20, 0.28, 0.14}
	segmentMeans = [...]float64{-0.45, 0.25, 1.05, 1.75}
	slotMeans    = [...]float64{-0.35, 0, 0.30}
)

// diurnal is the relative traffic of an hour of the day: lowest about 4, highest about
// 21.
func diurnal(h float64) float64 {
	return max(1+0.55*math.Cos(2*math.Pi*(h-19.5)/24)+0.22*math.Cos(4*math.Pi*(h-11)/24), 0.08)
}

// Traffic of the days of a week, from Monday on, and by how many hours a weekend's day
// is later.
var weekdayTraffic = [...]float64{1, 1.05, 1.05, 1, 0.9, 0.55, 0.65}

const weekendDelay = 2

// day draws one day of a scenario. Yesterday (base) has neither drift nor shocks. The
// weekday counts from Monday, and matters if the scenario has weekdays.
func (s *Scenario) day(seed uint64, base bool, weekday int) []Request {
	r := rand.New(rand.NewPCG(seed, 77))
	drift, bursts := 1.0, []float64(nil)
	if !base {
		drift = math.Exp(r.NormFloat64() * s.DayDrift)
		for range s.Bursts {
			bursts = append(bursts, 8*3600+r.Float64()*14*3600)
		}
	}
	if !base && s.VolumeToday > 0 {
		drift *= s.VolumeToday
	}
	delay := 0.0
	if s.Weekly {
		drift *= weekdayTraffic[weekday%7]
		if weekday%7 >= 5 {
			delay = weekendDelay
		}
	}
	norm := 0.0
	for m := range dayMinutes {
		norm += diurnal(float64(m) / 60)
	}
	noise, wander := 0.0, 0.0 // of the minute's traffic, and of prices over hours
	var out []Request
	for m := range dayMinutes {
		h := float64(m) / 60
		noise = 0.97*noise + 0.03*r.NormFloat64()
		wander = 0.995*wander + 0.012*r.NormFloat64()
		rate := s.Requests * drift * diurnal(h-delay) / norm * math.Exp(noise)
		start := float64(m) * 60
		if !base && s.VolumeStep != 0 && start >= s.StepAt {
			rate *= s.VolumeStep
		}
		for sec := range 60 {
			t := start + float64(sec)
			l := rate / 60
			for _, b := range bursts {
				if t >= b && t < b+burstSeconds {
					l *= s.BurstTimes
				}
			}
			for range poisson(r, l) {
				q := draw(r, t, h, wander)
				if !base && s.PriceStep != 0 && q.At >= s.StepAt && q.At < s.StepEnd {
					q.Price *= s.PriceStep
				}
				q.Price = min(maxPrice, max(minPrice, q.Price))
				if s.DayTo > 0 && (h < s.DayFrom || h >= s.DayTo) {
					continue
				}
				out = append(out, q)
			}
		}
	}
	slices.SortFunc(out, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	s.extend(out, seed, base)
	return out
}

const burstSeconds = 60

// draw draws one request.
func draw(r *rand.Rand, t, h, wander float64) Request {
	q := Request{At: t + r.Float64(), Slot: uint8(r.IntN(3)), Segment: 3}
	switch u := r.Float64(); {
	case u < 0.55:
		q.Segment = 0
	case u < 0.85:
		q.Segment = 1
	case u < 0.97:
		q.Segment = 2
	}
	mean, z := segmentMeans[q.Segment], 0.90*r.NormFloat64()
	q.Value = math.Exp(math.Log(55) + mean + z + 0.12*math.Cos(2*math.Pi*(h-20)/24))
	q.Seen = q.Value
	lnPrice := 3.85 + slotMeans[q.Slot] + 0.10*math.Cos(2*math.Pi*(h-20)/24) + 0.10*(mean+z) + wander + 0.80*r.NormFloat64()
	if r.Float64() >= floorShare {
		q.Price = math.Exp(lnPrice)
		return q
	}
	x, i := r.Float64(), 0
	for i < len(floorWeights)-1 && x > floorWeights[i] {
		x -= floorWeights[i]
		i++
	}
	q.Price = floorPrices[i]
	return q
}

// extend applies the features of the scenarios that the reference market does not
// have. They draw from a generator of their own, so that the rest of the day is the
// same.
func (s *Scenario) extend(day []Request, seed uint64, base bool) {
	r := rand.New(rand.NewPCG(seed, 78))
	for i := range day {
		q := &day[i]
		if s.TailIndex > 0 { // Pareto
			q.Value *= math.Pow(1-r.Float64(), -1/s.TailIndex)
		}
		if s.PriceDrift != 0 {
			q.Price *= math.Exp(s.PriceDrift * (q.At/daySeconds - 0.5))
		}
		if !base && s.PricesToday != 0 {
			q.Price *= s.PricesToday
		}
		q.Seen = q.Value
		if s.ValueNoise > 0 {
			q.Seen *= math.Exp(s.ValueNoise * r.NormFloat64())
			if q.Segment == 2 {
				q.Seen *= s.SegmentBias
			}
		}
		if len(s.PathFees) > 0 {
			for _, path := range r.Perm(len(s.PathFees)) {
				q.Paths = append(q.Paths, uint8(path))
			}
		}
		if s.Campaigns > 1 {
			q.Other = 55 * math.Exp(1.1*r.NormFloat64())
		}
	}
}

func poisson(r *rand.Rand, l float64) int {
	if l > 30 {
		return max(int(math.Round(l+math.Sqrt(l)*r.NormFloat64())), 0)
	}
	limit, k, p := math.Exp(-l), 0, 1.0
	for {
		p *= r.Float64()
		if p <= limit {
			return k
		}
		k++
	}
}

// unlimited is what a day would cost at bids of the full value in second price.
func unlimited(day []Request) float64 {
	sum := 0.0
	for i := range day {
		if day[i].Value > day[i].Price {
			sum += day[i].Price
		}
	}
	return sum
}
