package pacing

import (
	"math"
)

// Win rates of a place by the price of the bid, for first-price auctions. Bids are
// counted in bins; the rates are the closest ones to the counts that never fall as the
// price rises (isotonic regression, which is the maximum likelihood estimate when only
// wins and losses are known). Floors that many auctions share show as steps, so that the
// best bid is often just above one of them. Few outcomes leave the log-normal
// landscape's rates as they are.

// The bins of prices, in micros of one impression.
const (
	rateBins  = 1024
	binWidth  = 0.015 // of ln price: a bid is at most 1.5 % above the floor that it is meant to beat
	lowestBin = 2.3   // ln of the first bin's lower edge: 10 micros, a CPM of 0.01
	// priorTrials is the number of outcomes of one bin whose weight the landscape has.
	priorTrials = 1.5
	// lossMemory is the number of outcomes over which two memories are compared.
	lossMemory = 3000.0
)

// rateMemories are the times, in seconds, over which outcomes lose their weight. The
// short one follows the market, the long one finds smaller floors. Their rates are mixed
// by how well they predicted the latest outcomes.
var rateMemories = [2]float64{3 * 3600, 24 * 3600}

// rateCounts are the outcomes by bin. They fade as time passes.
type rateCounts struct {
	Trials [rateBins]float32 `json:"trials"` // bids of the bin's price
	Wins   [rateBins]float32 `json:"wins"`
	// Prices are competing prices that are known: each is an outcome for all bins.
	Prices [rateBins]float32 `json:"prices"`
	Known  float64           `json:"known"`
	Seen   float64           `json:"seen"` // outcomes; they do not fade
}

// leastOutcomes is the number of outcomes from which bids are shaded.
const leastOutcomes = 200

// binOf returns the bin of a price.
func binOf(price float64) int {
	return min(max(int((math.Log(price)-lowestBin)/binWidth), 0), rateBins-1)
}

// binPrices are the upper edges of the bins: a bid at the edge beats every price in it.
var binPrices = func() (edges [rateBins]float64) {
	for i := range edges {
		edges[i] = math.Exp(lowestBin + float64(i+1)*binWidth)
	}
	return edges
}()

// roundOff keeps a bid at the edge of a bin in that bin.
const roundOff = 1 - 1e-4

// bid counts the outcome of a bid whose competing price is not known.
func (r *rateCounts) bid(price float64, won bool) {
	r.Seen++
	i := binOf(price * roundOff)
	r.Trials[i]++
	if won {
		r.Wins[i]++
	}
}

// price counts a competing price.
func (r *rateCounts) price(price float64) {
	r.Seen++
	r.Prices[binOf(price)]++
	r.Known++
}

// fade lets the outcomes age by a number of seconds.
func (r *rateCounts) fade(dt, memory float64) {
	f := float32(math.Exp(-dt / memory))
	for i := range r.Trials {
		r.Trials[i] *= f
		r.Wins[i] *= f
		r.Prices[i] *= f
	}
	r.Known *= float64(f)
}

// winRates are the rates and the best bids, frozen for the bid path.
type winRates struct {
	rate [rateBins]float32 // that a bid at the bin's upper edge wins
	best [rateBins]uint16  // the bin of the best bid for a worth in this bin
}

// at returns the win rate of a price.
func (w *winRates) at(price float64) float64 { return float64(w.rate[binOf(price*roundOff)]) }

// bestBid returns the bid that maximises the expected surplus of a worth.
func (w *winRates) bestBid(worth float64) float64 {
	return min(binPrices[w.best[binOf(worth)]], worth)
}

// solve computes the rates, without the best bids, from the counts and a prior for each
// bin.
func (r *rateCounts) solve(prior func(lnPrice float64) float64) *winRates {
	w := &winRates{}
	// Pools of adjacent bins whose rates would fall are merged to their mean.
	var rate, weight [rateBins]float64
	var size [rateBins]int
	pools, known := 0, 0.0
	for i := range rateBins {
		known += float64(r.Prices[i])
		trials := float64(r.Trials[i]) + r.Known + priorTrials
		wins := float64(r.Wins[i]) + known + priorTrials*prior(lowestBin+float64(i+1)*binWidth)
		rate[pools], weight[pools], size[pools] = wins/trials, trials, 1
		for pools > 0 && rate[pools-1] > rate[pools] {
			sum := weight[pools-1] + weight[pools]
			rate[pools-1] = (rate[pools-1]*weight[pools-1] + rate[pools]*weight[pools]) / sum
			weight[pools-1] = sum
			size[pools-1] += size[pools]
			pools--
		}
		pools++
	}
	i := 0
	for p := range pools {
		for range size[p] {
			w.rate[i] = float32(rate[p])
			i++
		}
	}
	return w
}

// surprise returns the negative logarithm of the probability that the rates gave to the
// outcome of a bid.
func (w *winRates) surprise(price float64, won bool) float64 {
	p := min(max(w.at(price), 1e-3), 1-1e-3)
	if !won {
		p = 1 - p
	}
	return -math.Log(p)
}

// mix returns the rates of two memories, weighted by how well each predicted the latest
// outcomes, with their best bids.
func mix(of [2]*winRates, surprise [2]float64) *winRates {
	first := 1 / (1 + math.Exp(surprise[0]-surprise[1]))
	w := &winRates{}
	for i := range w.rate {
		w.rate[i] = float32(first)*of[0].rate[i] + float32(1-first)*of[1].rate[i]
	}
	w.optimise(0, rateBins-1, 0, rateBins-1)
	return w
}

// optimise finds the best bids of the worths from..to, which are between the bids
// low..high: the best bid never falls as the worth rises.
func (w *winRates) optimise(from, to, low, high int) {
	if from > to {
		return
	}
	mid := (from + to) / 2
	worth := binPrices[mid] / (1 + binWidth/2) // the middle of the bin
	best, most := low, -1.0
	for k := low; k <= min(high, mid-1); k++ {
		if u := (worth - binPrices[k]) * float64(w.rate[k]); u > most {
			best, most = k, u
		}
	}
	w.best[mid] = uint16(best)
	w.optimise(from, mid-1, low, best)
	w.optimise(mid+1, to, best, high)
}
