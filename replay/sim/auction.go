package sim

import (
	"math"
	"math/rand/v2"
)

// bidder takes part in the auctions of one day. Times are seconds since midnight.
type bidder interface {
	// advance lets time pass.
	advance(t float64)
	// bid returns the price of a bid on a request, whose cost is covered; 0 means no bid.
	bid(request int) float64
	// billed is called with the notice of a win.
	billed(t float64, n *notice)
	// won is called after the bid on a request has won. The bidder must not learn from it.
	won(request int)
	// setBudget changes the day's budget.
	setBudget(budget float64)
	// restart loses what is in memory.
	restart(t float64) error
	// multiplier returns what values are divided by now; 0 if there is no such figure.
	multiplier() float64
	// err returns the first error of the bidder.
	err() error
}

// entrant is a campaign in the auctions of a day.
type entrant struct {
	bidder bidder
	day    []Request // the same requests for all entrants, with each one's own values
	budget float64   // in the morning
	result result

	notices noticeHeap
	delays  *rand.Rand
	window  int
}

// windows is the number of points of a curve.
const windows = 96

// result is what one campaign achieved on one day.
type result struct {
	value, spend float64 // true spend, notified or not
	lost         float64 // the part of it whose notices were lost
	budget       float64 // in the evening
	wins, bids   int
	exhausted    float64 // hour at which 99.5 % of the budget was spent; 0: never
	spendCurve   [windows]float64
	traffic      [windows]float64
	multipliers  [windows]float64
}

// auctions runs one day. Shocks are the restart and the change of the budget.
func (s *Scenario) auctions(entrants []*entrant, shocks bool, seed uint64) error {
	for i, e := range entrants {
		e.delays = rand.New(rand.NewPCG(seed+uint64(i)<<32, 991))
		e.result.budget = e.budget
		if shocks && s.BudgetAt > 0 {
			e.result.budget *= s.BudgetTimes
		}
	}
	restarted, changed := !shocks || s.RestartAt == 0, !shocks || s.BudgetAt == 0
	for i := range entrants[0].day {
		t := entrants[0].day[i].At
		restartNow, changeNow := !restarted && t >= s.RestartAt, !changed && t >= s.BudgetAt
		restarted, changed = restarted || restartNow, changed || changeNow
		for _, e := range entrants {
			e.record(t)
			if restartNow {
				if err := e.bidder.restart(t); err != nil {
					return err
				}
			}
			if changeNow {
				e.bidder.setBudget(e.result.budget)
			}
			e.deliver(t)
		}
		s.auction(entrants, i)
	}
	for _, e := range entrants {
		e.record(math.Inf(1))
		for _, n := range e.notices {
			if carry, ok := e.bidder.(interface{ overnight(notice) }); ok {
				carry.overnight(n)
			}
		}
		if err := e.bidder.err(); err != nil {
			return err
		}
	}
	return nil
}

// deliver passes the notices that are due by t, and then the time.
func (e *entrant) deliver(t float64) {
	for len(e.notices) > 0 && e.notices[0].at <= t {
		n := e.notices.first()
		e.bidder.advance(n.at)
		e.bidder.billed(n.at, &n)
	}
	e.bidder.advance(t)
}

// record fills the points of the curves before t.
func (e *entrant) record(t float64) {
	for e.window < windows && t >= float64(e.window+1)*daySeconds/windows {
		e.result.spendCurve[e.window] = e.result.spend
		e.result.multipliers[e.window] = e.bidder.multiplier()
		e.window++
	}
}

// auction sells one impression to the highest bid. An entrant never raises the price
// for another one: all of them have the same seat.
func (s *Scenario) auction(entrants []*entrant, i int) {
	var winner *entrant
	best := 0.0
	for _, e := range entrants {
		e.result.traffic[min(int(e.day[i].At/(daySeconds/windows)), windows-1)]++
		b := e.bidder.bid(i)
		if b <= 0 {
			continue
		}
		e.result.bids++
		if b > best && b > e.day[i].Price {
			winner, best = e, b
		}
	}
	if winner == nil {
		return
	}
	q, r := &winner.day[i], &winner.result
	paid := q.Price
	if s.FirstPrice {
		paid = best
	}
	r.spend += paid
	r.value += q.Value
	r.wins++
	winner.bidder.won(i)
	if r.exhausted == 0 && r.spend >= 0.995*r.budget {
		r.exhausted = q.At / 3600
	}
	if winner.delays.Float64() < s.LostShare {
		r.lost += paid
		return
	}
	d := 0.3 + winner.delays.ExpFloat64()*s.DelayMean
	if winner.delays.Float64() < s.SlowShare {
		d += winner.delays.ExpFloat64() * s.SlowMean
	}
	winner.notices.add(notice{at: q.At + d, request: i, bid: best, paid: paid})
}

// rmse returns the root mean square of the difference between the shares of the budget
// that was spent and of the traffic that had passed.
func (r *result) rmse() float64 {
	total, passed, sum := 0.0, 0.0, 0.0
	for _, n := range r.traffic {
		total += n
	}
	for w, n := range r.traffic {
		passed += n
		d := r.spendCurve[w]/r.budget - passed/total
		sum += d * d
	}
	return math.Sqrt(sum / windows)
}
