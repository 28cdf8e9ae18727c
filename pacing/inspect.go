package pacing

import (
	"cmp"
	"slices"
	"time"

	"rebound/rtb"
)

// FrequencyUse is how much of one frequency cap a visitor has used.
type FrequencyUse struct {
	Cap    rtb.FrequencyCap
	Count  int        // impressions within Cap.Per, and bids in flight
	Last   rtb.Second // most recent impression; 0 if there is none
	Flying int        // unanswered bids of the visitor within [FlightWindow]
	// Reason is why the cap refuses one more bid: NoBidNone, NoBidFrequency or
	// NoBidInFlight.
	Reason rtb.NoBidReason
	// Gap is set if the minimum time between two impressions is what refuses.
	Gap bool
	// Frees is when the cap takes a bid again, if nothing happens until then; 0 if it
	// takes one now, or if only a notice can free it.
	Frees rtb.Second
}

// FrequencyOf returns how much a visitor has used of each of a line's caps. It counts
// nothing.
func (p *Pacer) FrequencyOf(v *rtb.Visitor, caps []rtb.FrequencyCap, at time.Time) []FrequencyUse {
	now := rtb.SecondOf(at)
	sh := p.flights.shard(v.Key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slot := sh.visitor(&v.Key)
	if slot >= 0 {
		sh.handOver(sh.visitors.at(slot), v.Position)
	}
	var out []FrequencyUse
	for i := range caps {
		c := &caps[i]
		u := sh.use(v, slot, c, now)
		x := FrequencyUse{Cap: *c, Count: u.count, Last: u.last, Flying: sh.inFlight(slot, now), Reason: sh.allowed(v, slot, c, now)}
		switch {
		case x.Reason == rtb.NoBidFrequency && u.last > 0 && now < after(u.last, c.MinGap):
			x.Gap, x.Frees = true, after(u.last, c.MinGap)
		case x.Reason == rtb.NoBidFrequency:
			x.Frees = capFrees(v, c, u.count)
		case x.Reason == rtb.NoBidInFlight:
			x.Frees = after(now, FlightWindow)
		}
		out = append(out, x)
	}
	return out
}

// capFrees returns when the oldest impressions that are too many leave a cap's period; 0
// if bids in flight keep it full after all of them have left.
func capFrees(v *rtb.Visitor, c *rtb.FrequencyCap, count int) rtb.Second {
	s := v.Scope(c.Scope)
	if s == nil {
		return 0
	}
	for i := len(s.Buckets) - 1; i >= 0; i-- { // the oldest first
		b := &s.Buckets[i]
		if count -= int(b.Count); count < c.Max {
			return after(b.Start, time.Duration(b.Span)*time.Second+c.Per)
		}
	}
	return 0
}

// LineBudgets lists the caps that apply to a line at a time: its own, its campaign's
// and its advertiser's. The rows are those of [Pacer.Budgets].
func (p *Pacer) LineBudgets(id rtb.LineID, now time.Time) (rows []BudgetRow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := slices.BinarySearchFunc(p.plan, id, func(l LinePlan, id rtb.LineID) int {
		return cmp.Or(cmp.Compare(l.Line.Advertiser, id.Advertiser), cmp.Compare(l.Line.Campaign, id.Campaign), cmp.Compare(l.Line.Line, id.Line))
	})
	if !ok {
		return nil
	}
	l := &p.plan[i]
	at := l.periods(now)
	for _, c := range rtb.Caps {
		if l.Caps&c != 0 {
			rows = append(rows, p.row(l, c, &at, now))
		}
	}
	return rows
}
