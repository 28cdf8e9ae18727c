package pacing

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// The reference market of docs on pacing, drawn as the reference simulator draws
// it: one day of auctions whose highest competing price is known. Prices and
// values are CPM in units; the unit is irrelevant.

// auction is one request.
type auction struct {
	at    float64 // seconds since midnight
	value float64
	price float64 // the highest competing bid; only the market may read it
}

// market describes a day.
type market struct {
	requests float64 // expected
	budget   float64 // share of what bidding the value would spend
	drift    float64 // sd of the log of the day's traffic against yesterday's
	volume   float64 // traffic after stepAt is multiplied by it; 0 none
	prices   float64 // and prices between stepAt and stepEnd
	stepAt   float64
	stepEnd  float64
}

// diurnal is the relative traffic of an hour: least about 4, most about 21.
func diurnal(h float64) float64 {
	return max(1+0.55*math.Cos(2*math.Pi*(h-19.5)/24)+0.22*math.Cos(4*math.Pi*(h-11)/24), 0.08)
}

var (
	floorPrices  = [...]float64{20, 40, 50, 70, 80}
	floorWeights = [...]float64{0.26, 0.12, 0.20, 0.28, 0.14}
	segmentMeans = [...]float64{-0.45, 0.25, 1.05, 1.75}
	slotMeans    = [...]float64{-0.35, 0, 0.30}
)

// day draws one day. yesterday has no shocks.
func (m *market) day(seed uint64, yesterday bool) []auction {
	r := rand.New(rand.NewPCG(seed, 77))
	drift := 1.0
	if !yesterday {
		drift = math.Exp(r.NormFloat64() * m.drift)
	}
	norm := 0.0
	for i := range 1440 {
		norm += diurnal(float64(i) / 60)
	}
	noise, wander := 0.0, 0.0
	var out []auction
	for minute := range 1440 {
		h := float64(minute) / 60
		noise = 0.97*noise + 0.03*r.NormFloat64()
		wander = 0.995*wander + 0.012*r.NormFloat64()
		rate := m.requests * drift * diurnal(h) / norm * math.Exp(noise)
		t0 := float64(minute) * 60
		if !yesterday && m.volume != 0 && t0 >= m.stepAt {
			rate *= m.volume
		}
		for sec := range 60 {
			for range poisson(r, rate/60) {
				a := draw(r, t0+float64(sec), h, wander)
				if !yesterday && m.prices != 0 && a.at >= m.stepAt && a.at < m.stepEnd {
					a.price *= m.prices
				}
				a.price = min(300, max(1, a.price))
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b auction) int { return cmp.Compare(a.at, b.at) })
	return out
}

func draw(r *rand.Rand, t, h, wander float64) auction {
	a := auction{at: t + r.Float64()}
	slot := r.IntN(3)
	segment := 3
	switch u := r.Float64(); {
	case u < 0.55:
		segment = 0
	case u < 0.85:
		segment = 1
	case u < 0.97:
		segment = 2
	}
	z := 0.90 * r.NormFloat64()
	season := math.Cos(2 * math.Pi * (h - 20) / 24)
	a.value = math.Exp(math.Log(55) + segmentMeans[segment] + z + 0.12*season)
	lnPrice := 3.85 + slotMeans[slot] + 0.10*season + 0.10*(segmentMeans[segment]+z) + wander + 0.80*r.NormFloat64()
	if r.Float64() >= 0.33 {
		a.price = math.Exp(lnPrice)
		return a
	}
	x, i := r.Float64(), 0
	for i < len(floorWeights)-1 && x > floorWeights[i] {
		x -= floorWeights[i]
		i++
	}
	a.price = floorPrices[i]
	return a
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

// free is the spend of bidding the full value in second price.
func free(day []auction) float64 {
	sum := 0.0
	for _, a := range day {
		if a.value > a.price {
			sum += a.price
		}
	}
	return sum
}

// clairvoyant is the most value that a budget can buy in second price: the
// fractional knapsack over what is worth its price.
func clairvoyant(day []auction, budget float64) float64 {
	var worth []auction
	for _, a := range day {
		if a.value >= a.price {
			worth = append(worth, a)
		}
	}
	slices.SortFunc(worth, func(a, b auction) int { return cmp.Compare(b.value/b.price, a.value/a.price) })
	value := 0.0
	for _, a := range worth {
		if a.price >= budget {
			return value + a.value*budget/a.price
		}
		budget -= a.price
		value += a.value
	}
	return value
}
