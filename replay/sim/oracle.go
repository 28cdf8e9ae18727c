package sim

import (
	"cmp"
	"math"
	"slices"
)

// clairvoyant returns the most value that a budget can buy by paying the competing
// prices, with the last impression bought in part: the fractional knapsack over the
// impressions that are worth their price. In second price this is the optimum; in first
// price it cannot be reached. It ranks by the value that the bidder sees and counts
// what the impressions are really worth.
func clairvoyant(day []Request, budget float64) (value, multiplier float64) {
	var worth []int
	for i := range day {
		if day[i].Seen >= day[i].Price {
			worth = append(worth, i)
		}
	}
	ratio := func(i int) float64 { return day[i].Seen / day[i].Price }
	slices.SortFunc(worth, func(a, b int) int { return cmp.Compare(ratio(b), ratio(a)) })
	spend := 0.0
	for _, i := range worth {
		p := day[i].Price
		multiplier = ratio(i)
		if spend+p > budget {
			return value + (budget-spend)/p*day[i].Value, multiplier
		}
		spend += p
		value += day[i].Value
	}
	return value, 1
}

// logNormalOracle returns the value of the best single multiplier in hindsight in a
// first-price auction, shaded on a log-normal landscape that was fitted on the whole
// day with every price known.
func logNormalOracle(day []Request, budget float64) float64 {
	l := newLandscape()
	for range 2 {
		for i := range day {
			l.exact(&day[i], day[i].Price)
		}
	}
	l.tabulate()
	return bestMultiplier(day, budget, 1e-9, func(q *Request, worth float64) float64 {
		if b := l.shade(q, worth); b >= 1 {
			return b
		}
		return 0
	})
}

// bestMultiplier returns the value bought with the smallest single multiplier whose
// spend stays within the budget. bid returns the price for a request and its worth
// (value divided by the multiplier); 0 means no bid. With a positive slack, a
// multiplier of 1 is tried first.
func bestMultiplier(day []Request, budget, slack float64, bid func(q *Request, worth float64) float64) float64 {
	buy := func(multiplier float64) (value, cost float64) {
		for i := range day {
			if b := bid(&day[i], day[i].Seen/multiplier); b > day[i].Price {
				value += day[i].Value
				cost += b
			}
		}
		return value, cost
	}
	if slack > 0 {
		if value, cost := buy(1); cost <= budget {
			return value
		}
	}
	low, high := 0.0, 6.0
	for range 25 {
		mid := (low + high) / 2
		if _, cost := buy(math.Exp(mid)); cost > budget {
			low = mid
		} else {
			high = mid
		}
	}
	value, _ := buy(math.Exp(high))
	return value
}
