package sim

import "math"

// empiricalOracle is logNormalOracle with the day's true distribution of prices in each
// slot instead of the landscape, so it sees the floors that many auctions share.
func empiricalOracle(day []Request, budget float64) float64 {
	const steps, perUnit = 600, 80 // of ln worth
	var wins [len(slotMeans)][int(maxPrice) + 2]float64
	var n [len(slotMeans)]float64
	for i := range day {
		wins[day[i].Slot][int(math.Ceil(min(day[i].Price, maxPrice)))]++
		n[day[i].Slot]++
	}
	var best [len(slotMeans)][steps]float64
	for slot := range wins {
		for k := 1; k < len(wins[slot]); k++ {
			wins[slot][k] += wins[slot][k-1]
		}
		for g := range steps {
			worth, most := math.Exp(float64(g)/perUnit), 0.0
			for k := 1; k <= int(maxPrice); k++ {
				b := float64(k) + 0.01
				if b > worth {
					break
				}
				if u := (worth - b) * wins[slot][k] / n[slot]; u > most {
					most, best[slot][g] = u, b
				}
			}
		}
	}
	return bestMultiplier(day, budget, 0, func(q *Request, worth float64) float64 {
		g := int(perUnit * math.Log(worth))
		if g < 0 {
			return 0
		}
		return best[q.Slot][min(g, steps-1)]
	})
}
