package replay

import (
	"container/heap"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// won settles one bid against the competition for its impression. A bid wins at or
// above the minimum to win; a second-price auction charges that minimum, a
// first-price auction the bid.
func won(m events.Market, c *rtb.Claims) (paid rtb.CPM, ok bool) {
	if c.Price < m.MinToWin {
		return 0, false
	}
	if c.FirstPrice {
		return c.Price, true
	}
	return m.MinToWin, true
}

// due is the outcome of an auction whose notices have not arrived yet.
type due struct {
	at     time.Time
	seq    int // order of the outcomes, which breaks ties
	claims rtb.Claims
	lost   bool
	paid   rtb.CPM // 0 if lost
	least  rtb.CPM // the price to beat, where the exchange tells it
}

// notices is a heap of the outstanding notices, the earliest first.
type notices struct {
	queue []due
	made  int
}

func (n *notices) Len() int { return len(n.queue) }
func (n *notices) Less(i, j int) bool {
	if !n.queue[i].at.Equal(n.queue[j].at) {
		return n.queue[i].at.Before(n.queue[j].at)
	}
	return n.queue[i].seq < n.queue[j].seq
}
func (n *notices) Swap(i, j int) { n.queue[i], n.queue[j] = n.queue[j], n.queue[i] }
func (n *notices) Push(x any)    { n.queue = append(n.queue, x.(due)) }
func (n *notices) Pop() any {
	last := len(n.queue) - 1
	d := n.queue[last]
	n.queue = n.queue[:last]
	return d
}

// add schedules the notices of an auction.
func (n *notices) add(at time.Time, c *rtb.Claims, paid rtb.CPM, lost bool, least rtb.CPM) {
	n.made++
	heap.Push(n, due{at: at, seq: n.made, claims: *c, paid: paid, lost: lost, least: least})
}

// before removes and returns the earliest notice that is due by t.
func (n *notices) before(t time.Time) (due, bool) {
	if len(n.queue) == 0 || n.queue[0].at.After(t) {
		return due{}, false
	}
	return heap.Pop(n).(due), true
}

// facts returns the win and the bill of a won impression, or the loss of a lost one. The
// bill is of the kind that the exchange's profile bills on.
func (d *due) facts(at time.Time) []events.Fact {
	if d.lost {
		loss := events.NoticeFact(rtb.NoticeLoss, &d.claims, at)
		loss.Notice.MinToWin = d.least
		return []events.Fact{loss}
	}
	win := events.NoticeFact(rtb.NoticeWin, &d.claims, at)
	win.Notice.MinToWin = d.least
	bill := win
	if kind := d.claims.BillOn.Notice(); kind != rtb.NoticeWin {
		bill = events.NoticeFact(kind, &d.claims, at)
	}
	bill.Notice.MinToWin = d.least
	bill.Notice.Price, bill.Notice.PriceTold, bill.Notice.Bills = d.paid, true, true
	bill.Notice.Charge = d.claims.Charge(d.paid)
	if bill.ID == win.ID {
		return []events.Fact{bill}
	}
	return []events.Fact{win, bill}
}
