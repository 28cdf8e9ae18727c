package sim

// history is a forecast of traffic: matched requests per minute of the day.
type history struct {
	minutes [dayMinutes]float64
}

// smoothing is the number of minutes on each side over which a day is averaged.
const smoothing = 15

// historyOf smooths the traffic of one day. Minutes without traffic stay empty, so that
// dayparts keep their edges.
func historyOf(day []Request) *history {
	var raw [dayMinutes]float64
	for i := range day {
		raw[int(day[i].At/60)%dayMinutes]++
	}
	h := &history{}
	for m := range raw {
		sum, n := 0.0, 0.0
		for k := max(m-smoothing, 0); k <= min(m+smoothing, dayMinutes-1); k++ {
			if (raw[m] == 0) == (raw[k] == 0) {
				sum += raw[k]
				n++
			}
		}
		h.minutes[m] = sum / n
	}
	return h
}

// flatHistory spreads a number of requests evenly over the day.
func flatHistory(requests float64) *history {
	h := &history{}
	for i := range h.minutes {
		h.minutes[i] = requests / dayMinutes
	}
	return h
}

func (h *history) total() float64 {
	s := 0.0
	for _, x := range h.minutes {
		s += x
	}
	return s
}

// until returns the traffic that is expected before a time.
func (h *history) until(t float64) float64 {
	m := int(t / 60)
	s := 0.0
	for i := range min(m, dayMinutes) {
		s += h.minutes[i]
	}
	if m < dayMinutes {
		s += h.minutes[m] * (t/60 - float64(m))
	}
	return s
}

// share returns the share of the day's traffic that is expected before a time.
func (h *history) share(t float64) float64 { return h.until(t) / h.total() }
