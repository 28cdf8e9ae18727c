package bidder

import (
	"rebound/campaigns"
	"rebound/rtb"
)

// A round evaluates the candidate lines of a request, the one with the highest bound
// first, and reserves the best option as soon as no line that was not evaluated can
// have a better one. The bids are those that evaluating every line would give.
//
// A round is settled when no further line can change the response: there is no room
// left on any impression, or the rest of the lines cannot reach a floor. Most rounds
// end there. The others evaluate a sample of the rest as well, so that the reasons of lines that
// do not bid are known, and tell pacing about them with the weight of the rounds that
// do not. What pacing observes of each line is thereby right in expectation. The more
// lines a request has, and the more requests a line has, the rarer it is sampled: the
// noise of what pacing observes is then spread over more requests. Dry runs, traced
// requests, and rounds of few lines evaluate every line.
const (
	fewLines  = 4  // up to which every line is evaluated
	someLines = 16 // up to which lines are sampled in one of everyOfSome rounds, and above it in one of everyOfMany

	everyOfSome = 4
	everyOfMany = 16
)

// sampleEvery returns in one of how many rounds of n candidate lines any are sampled.
func sampleEvery(n int) uint64 {
	switch {
	case n <= fewLines:
		return 1
	case n <= someLines:
		return everyOfSome
	}
	return everyOfMany
}

// sample leaves out the lines of a settled round that need not be evaluated, weights the
// others, and returns the number of those that it left out. Whether a line is in the
// sample depends on the request's id, the number of lines, and pacing. A recorded
// decision is repeated as it was.
func (d *Decision) sample() (skipped int) {
	r := &d.ranking
	every, request := sampleEvery(len(r.list)), hash(d.opportunity.ID)
	switch {
	case d.recorded != nil && !d.recorded.full:
		return r.keep(func(x *ranked) bool { return d.recorded.wasEvaluated(d.handles[x.ordinal]) })
	case d.recorded != nil || d.dry || d.request.Full || d.request.Trace != nil || every == 1:
		return 0
	case request%every != 0:
		return r.skip()
	}
	return r.keep(func(x *ranked) bool {
		of := max(every, uint64(d.budgets.SampleEvery(d.handles[x.ordinal])))
		x.weight = uint16(of)
		return request%of == 0
	})
}

// runRound makes bids, or sets the reason why there are none.
func (d *Decision) runRound(lines []int32) {
	d.paths = append(d.paths[:0], make([]pathEntry, len(d.opportunity.Imps))...)
	d.round++ // forgets what is remembered of the round before
	d.rank(lines)
	settled := false
	for !d.timedOut {
		next, more := d.peekLine()
		if !more || d.queue.before(next) {
			if len(d.queue) == 0 {
				break
			}
			d.tryOption(d.queue.pop())
			continue
		}
		if !settled && d.isSettled(next.key) {
			settled, d.out.Skipped = true, d.sample()
			continue
		}
		d.ranking.next++
		d.weight = int64(next.weight)
		if !d.spend(1) {
			d.matchLine(next.ordinal)
		}
	}
	if len(d.out.Bids) > 0 {
		d.out.Reason = rtb.NoBidNone
	} else if !d.timedOut {
		d.timedOut = d.pastDeadline()
	}
	d.leavePaths()
}

// isSettled reports whether neither a line with the key nor any after it can change
// the response.
func (d *Decision) isSettled(key uint64) bool {
	switch {
	case key == keyFloor:
		return len(d.out.Bids) > 0 || d.out.Reason >= rtb.NoBidFloor
	case key == keyPaced:
		return len(d.out.Bids) > 0 || d.out.Reason >= rtb.NoBidPaced
	}
	return len(d.out.Bids) > 0 && !d.roomLeft()
}

// roomLeft reports whether any impression may take one more bid of some line.
func (d *Decision) roomLeft() bool {
	for i := range d.opportunity.Imps {
		if d.roomOn(i) {
			return true
		}
	}
	return false
}

// roomOn reports whether an impression may take one more bid of some line.
func (d *Decision) roomOn(i int) bool {
	imp := &d.opportunity.Imps[i]
	if imp.Formats&d.catalog.Index.Formats() == 0 {
		return false // no creative can be shown
	}
	var count bidCount
	for j := range d.out.Bids {
		if b := &d.out.Bids[j]; b.Offer.Imp == i {
			count.add(len(b.Offer.Deal) > 0)
		}
	}
	if count == (bidCount{}) || imp.Video.PodDur > 0 || imp.Audio.PodDur > 0 {
		return true
	}
	most := d.profile.MultibidMax
	return count.hasRoom(most, false, imp.PrivateAuction) && !imp.PrivateAuction && !imp.DealsBad ||
		len(imp.Deals) > 0 && count.hasRoom(most, true, imp.PrivateAuction)
}

// queued is an option that was not tried.
type queued struct {
	key    uint64
	tie    uint64 // of equal keys the lowest is first: line, impression, deal
	option int32  // index into the options
}

// queue is a heap of options, the best first.
type queue []queued

// before reports whether the best option comes before every option of a line.
func (q queue) before(next ranked) bool {
	if len(q) == 0 || next.key&keyGuaranteed != 0 {
		return false
	}
	return ranked{key: q[0].key, ordinal: int32(q[0].tie >> 32)}.before(next)
}

func (a *queued) first(b *queued) bool { return a.key > b.key || a.key == b.key && a.tie < b.tie }

func (q *queue) push(x queued) {
	h := append(*q, x)
	*q = h
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !x.first(&h[up]) {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = x
}

func (q *queue) pop() int32 {
	h := *q
	top, x := h[0].option, h[len(h)-1]
	h = h[:len(h)-1]
	*q = h
	i := 0
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].first(&h[c]) {
			c++
		}
		if !h[c].first(&x) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = x
	}
	return top
}

// keyOf returns the key of an option of a line.
func (o *option) keyOf(l *campaigns.Line) uint64 {
	key := uint64(l.Priority)<<keyPriority | keyReaches | uint64(o.pricing.price)
	if o.pricing.guaranteed {
		key |= keyGuaranteed
	}
	if o.deal > 0 {
		key |= keyDeal
	}
	return key
}
