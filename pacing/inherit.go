package pacing

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// inheritance holds this run's knowledge of the last run's bids in flight.
type inheritance struct {
	last    string    // name of the run that ended
	lost    bool      // its bids are unknown, so its grants stay held
	settled bool      // the takeover is complete
	taken   time.Time // when it was last tried
	budgets []*budget // of which earlier runs of this node hold something
	line    *line     // number of the bids, for metrics only
}

// openSlots opens the file of reservations and takes over the last run's bids
// in flight. p is not shared yet.
func (p *Pacer) openSlots() error {
	p.inherited = inheritance{line: newLine(rtb.LineID{}, 0, new(terms)), settled: true}
	if p.o.Reservations == "" {
		return nil
	}
	var unknown rtb.Second
	var err, failed error
	p.slots, p.inherited.last, unknown, err = openSlots(p.o.Reservations, p.o.Run, p.o.MaxReservations, func(r *slotRecord, slot int32) bool {
		keep, err := p.inherit(r, slot)
		failed = errors.Join(failed, err)
		return keep
	})
	if err != nil && !errors.Is(err, errSlots) || failed != nil {
		return errors.Join(err, failed)
	}
	p.inherited.settled = false
	if p.inherited.lost = err != nil; p.inherited.lost {
		p.reservations, p.flights = newReservations(p.o.MaxReservations), newFlights()
		p.unknownUntil.Store(maxSecond) // until the first Step has seen the grants
		if p.inherited.last != "" || len(p.budgets) > 0 {
			p.o.Logger.Warn("the last run's bids in flight are unknown: its grants stay held until they end, and lines with a frequency cap wait until then", zap.Error(err))
		}
		return nil
	}
	p.unknownUntil.Store(unknown)
	return nil
}

// inherit takes over one bid of an earlier run: its visitor's caps count it, and its
// grant holds its cost. It reports whether the bid can still be billed.
func (p *Pacer) inherit(x *slotRecord, slot int32) (bool, error) {
	r := reservation{
		bid: x.bid, line: p.inherited.line, cost: x.cost, issued: x.issued, winExpiry: x.winExpiry, billExpiry: x.billExpiry,
		due: x.winExpiry, heir: &heir{run: x.run, budgets: x.held()}, slot: slot,
	}
	if x.state == resWon || x.won {
		r.state, r.due = resWon, r.ends()
	}
	if now := rtb.SecondOf(p.now); now > r.due {
		return false, nil
	}
	value, exists, err := p.db.Get(noticeKey(x.bid))
	if err != nil {
		return false, fmt.Errorf("cannot take over reservations: %w", err)
	}
	var rec notice
	if exists {
		if err := rec.decode(value); err != nil {
			return false, err
		}
	}
	if !rec.charged.IsZero() {
		return false, nil
	}
	if x.n > 0 && x.state != resDoubted && !x.visitor.IsZero() {
		r.tracked = true
		r.inFlight = p.flights.restore(&scopeSet{ids: x.scopes, n: x.n, visitor: x.visitor}, x.issued)
	}
	if reason := p.reservations.add(&r); reason != rtb.NoBidNone { // the file has the bid twice
		if r.tracked {
			p.flights.drop(&r.inFlight)
		}
		return false, nil
	}
	r.line.reserved.Add(r.cost)
	return true, nil
}

// takeOver returns grants that reduce what earlier runs of this node hold to what their bids
// in flight may still cost: at once when the log is folded, and again while such bids end.
// p.mu is held.
func (p *Pacer) takeOver(now time.Time) []events.Fact {
	h := &p.inherited
	if h.settled || !h.taken.IsZero() && now.Sub(h.taken) < takeOverEvery {
		return nil
	}
	if h.taken.IsZero() {
		if p.listRuns() && !h.lost {
			h.lost = true
			p.o.Logger.Warn("the file of reservations is an older copy, and bids in flight of later runs are unknown: their grants stay held until they end, and lines with a frequency cap wait until then")
		}
		if h.lost {
			h.settled = true
			p.waitForUnknown()
			return nil
		}
		p.writeSlotHeader(p.unknownUntil.Load())
		h.budgets = p.sortedBudgets()
	}
	h.taken = now
	holds := p.inheritedHolds()
	unknown := p.unknownUntil.Load() >= rtb.SecondOf(p.now)
	var facts []events.Fact
	left := h.budgets[:0]
	for _, b := range h.budgets {
		open, granted := false, false
		for i := range b.Grants {
			g := &b.Grants[i]
			last := g.Run == h.last || g.Run == longRun(h.last)
			earlier := g.Node == p.o.Node && !p.mine(g.Run) && !unknown // of such a run all bids are known
			if !last && !earlier || g.HeldUntil.Before(p.now) || g.open() == 0 {
				continue
			}
			open = true
			hold := holds[inheritedShare{nameHash(g.Run), nameHash(b.id.String())}]
			if g.open() <= hold {
				continue
			}
			if granted { // each grant names the one before it: the next run of this budget follows soon
				h.taken = now.Add(time.Second - takeOverEvery)
				continue
			}
			granted = true
			p.ids++
			facts = append(facts, events.Fact{
				ID: fmt.Sprintf("grant:%s:%d", p.o.Run, p.ids), At: now, Kind: events.KindGrant, Advertiser: b.id.Advertiser, Node: p.o.Node, Currency: b.Currency,
				Grant: &events.Grant{Run: g.Run, Budget: b.id, Amount: g.Settled + hold, Until: now.Truncate(time.Second), HeldUntil: g.HeldUntil, ExpectSeq: b.Seq},
			})
		}
		if open && p.budgets[b.id] == b {
			left = append(left, b)
		}
	}
	h.budgets, h.settled = left, len(left) == 0
	return facts
}

// listRuns lists the runs of this node that hold something in the file of reservations. It
// reports whether the file did not list one of them, whose bids in flight are not in it
// then. p.mu is held.
func (p *Pacer) listRuns() (missing bool) {
	known, listed := p.slots.known, p.slots.listed
	p.slots.known, p.slots.listed = nil, true
	for _, b := range p.budgets {
		for i := range b.Grants {
			g := &b.Grants[i]
			if g.Node != p.o.Node || p.mine(g.Run) || g.HeldUntil.Before(p.now) || g.open() == 0 {
				continue
			}
			run := nameHash(strings.TrimSuffix(g.Run, longSuffix))
			missing = missing || listed && !slices.Contains(known, run)
			p.slots.know(run)
		}
	}
	return missing
}

// writeSlotHeader stores the header of the file of reservations, with the time until which
// frequency caps wait. p.mu is held.
func (p *Pacer) writeSlotHeader(unknown rtb.Second) {
	if err := p.slots.writeHeader(p.o.Run, false, unknown); err != nil {
		p.o.Logger.Error("cannot store until when frequency caps wait", zap.Error(err))
	}
}

// takeOverEvery is how often a run looks whether bids of earlier runs have ended.
const takeOverEvery = 5 * time.Second

// inheritedShare identifies what the bids of an earlier run hold of a budget, by hashes.
type inheritedShare struct{ run, budget uint64 }

// inheritedHolds sums what inherited bids hold.
func (p *Pacer) inheritedHolds() map[inheritedShare]rtb.Micros {
	holds := map[inheritedShare]rtb.Micros{}
	p.reservations.each(func(r *reservation) {
		if r.heir != nil && r.holds() {
			for _, h := range r.heir.budgets {
				holds[inheritedShare{r.heir.run, h.hash}] += h.amount
			}
		}
	})
	return holds
}

// waitForUnknown determines until when unknown bids of earlier runs of this
// node may still be shown. p.mu is held.
func (p *Pacer) waitForUnknown() {
	var until rtb.Second
	for _, b := range p.budgets {
		for i := range b.Grants {
			g := &b.Grants[i]
			if p.mine(g.Run) || g.Node != "" && g.Node != p.o.Node || g.open() == 0 {
				continue
			}
			until = max(until, rtb.SecondOf(g.HeldUntil))
		}
	}
	if until < rtb.SecondOf(p.now) {
		until = 0
	}
	p.unknownUntil.Store(until)
	p.writeSlotHeader(until)
}
