package replay

import (
	"iter"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// DefaultWindow is how long after a bid its notices are looked for.
const DefaultWindow = time.Hour

// keepTold is how long the notices of a bid are kept, so that a record that is late in
// its file still finds them.
const keepTold = 10 * time.Minute

// told is what the notices of one bid say.
type told struct {
	first      time.Time // log time of the first notice
	line       rtb.LineID
	won, lost  bool
	billed     bool
	firstPrice bool
	used       bool // a record has this bid
	clicked    bool
	converted  bool
	lossReason int
	price      rtb.CPM // as reported; 0: not reported
	minToWin   rtb.CPM // as reported; 0: not reported
	currency   rtb.Currency
	charge     rtb.Micros
	value      rtb.Micros
}

// joiner finds the notices of bids in the log of facts. It reads ahead of the records by
// the window and forgets what is older, so that its memory does not grow with the log.
type joiner struct {
	window time.Duration
	next   func() (*events.Fact, error, bool)
	stop   func()
	bad    func(error)
	ahead  *events.Fact // read, but beyond the window
	last   time.Time    // of the facts
	bids   map[rtb.BidID]*told
	order  []rtb.BidID // by first
	// orphans counts won bids whose notices were read, but whose record was not.
	orphans int
}

func newJoiner(facts iter.Seq2[*events.Fact, error], window time.Duration, bad func(error)) *joiner {
	j := &joiner{window: window, bids: map[rtb.BidID]*told{}, bad: bad}
	j.next, j.stop = iter.Pull2(facts)
	return j
}

// until reads the facts that a record of time t needs.
func (j *joiner) until(t time.Time) {
	for j.next != nil {
		if j.ahead == nil {
			f, err, ok := j.next()
			if !ok {
				j.stop()
				j.next = nil
				break
			}
			if err != nil {
				j.bad(err)
				continue
			}
			j.ahead = f
		}
		if j.ahead.TS.After(t.Add(j.window)) {
			break
		}
		j.take(j.ahead)
		j.ahead = nil
	}
	for len(j.order) > 0 && j.bids[j.order[0]].first.Before(t.Add(-keepTold)) {
		j.forget(j.order[0])
		j.order = j.order[1:]
	}
}

func (j *joiner) forget(id rtb.BidID) {
	if t := j.bids[id]; !t.used && t.won {
		j.orphans++
	}
	delete(j.bids, id)
}

// take adds one fact.
func (j *joiner) take(f *events.Fact) {
	j.last = f.TS
	n := f.Notice
	if n == nil || n.BidID == (rtb.BidID{}) {
		return
	}
	t := j.bids[n.BidID]
	if t == nil {
		t = &told{first: f.TS, line: rtb.LineID{Advertiser: f.Advertiser, Campaign: n.Campaign, Line: n.Line}, firstPrice: n.FirstPrice, value: n.Value}
		j.bids[n.BidID] = t
		j.order = append(j.order, n.BidID)
	}
	switch f.Kind {
	case events.KindWin, events.KindBill:
		t.won = true
	case events.KindLoss:
		t.lost, t.lossReason = true, n.LossReason
	case events.KindClick:
		t.clicked = true
	case events.KindConvert:
		t.converted = true
	}
	if n.Bills {
		t.won, t.billed, t.charge = true, true, n.Charge
	}
	if n.PriceTold && n.Price > 0 && f.Kind != events.KindLoss {
		t.price = n.Price
	}
	if n.MinToWin > 0 {
		t.minToWin = n.MinToWin
	}
	t.currency = n.BidCur
}

// of returns what the notices say about a bid; nil: none came.
func (j *joiner) of(id rtb.BidID) *told {
	t := j.bids[id]
	if t != nil {
		t.used = true
	}
	return t
}

// complete reports whether a notice about a bid of time t would be in the log.
func (j *joiner) complete(t time.Time) bool {
	return j.next != nil || j.last.After(t.Add(time.Minute))
}

// end counts what is left.
func (j *joiner) end() {
	for id := range j.bids {
		j.forget(id)
	}
	if j.next != nil {
		j.stop()
	}
}

// certainty says how well the price to beat of an impression is known.
type certainty uint8

const (
	unknown    certainty = iota // nothing was told
	exact                       // the price is known
	atMost                      // a first-price win: the price is at most the bid
	above                       // a loss: the price is above the bid
	unwinnable                  // refused for another reason than its price
)

// sighting is what one recorded bid tells about the price to beat.
type sighting struct {
	certainty    certainty
	price, floor rtb.CPM // in the bid's currency
}

// tooLow reports whether a loss with the reason means that the price was too low
// (OpenRTB 2.6, loss reason codes of AdCOM 1.0: 100 to 103).
func tooLow(reason int) bool { return reason <= 0 || reason >= 100 && reason <= 103 }

// sightingOf returns what the notices of a recorded bid tell. reportsLosses reports
// whether the exchange reports losses; complete, whether its notices would be in the log.
func sightingOf(b *events.DecisionBid, t *told, reportsLosses, complete bool) sighting {
	s := sighting{floor: b.Factors.Floor, price: b.Price}
	switch {
	case t == nil && complete && !reportsLosses:
		s.certainty = above
	case t == nil:
	case t.minToWin > 0 && !(t.won && t.minToWin > b.Price):
		s.certainty, s.price = exact, t.minToWin
	case t.won && !t.firstPrice && t.price > 0:
		s.certainty, s.price = exact, t.price
	case t.won:
		s.certainty = atMost
	case t.lost && tooLow(t.lossReason):
		s.certainty = above
	case t.lost:
		s.certainty = unwinnable
	}
	return s
}
