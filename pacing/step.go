package pacing

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Constants that determine how Run and Step keep grants ahead of need.
const (
	stepEvery  = 250 * time.Millisecond
	tickEvery  = 5 * time.Second // between tick facts, while something has yet to expire
	saveEvery  = 10 * time.Second
	saveMost   = time.Minute           // between two times that the controllers are stored
	saveOne    = 30 * time.Millisecond // the same for each controller: they are one value, so the more there are, the less often
	grantLife  = 10 * time.Minute      // from a grant to its Until; renewed at half of it
	dayAhead   = 10 * time.Minute      // how long before midnight tomorrow's grants are cut
	askAgain   = 5 * time.Second       // after this time an append whose fact is not folded yet is no longer waited for
	aheadFor   = 10.0                  // seconds of reserving for which a grant suffices
	reserveFor = 300.0                 // seconds from a bid until its loss is known
	winShare   = 0.2                   // share of bids that win, assumed before any outcome is known
	safety     = 1.5
	shareLeft  = 0.05 // share of a cap's remainder: the most that one run has available
	rateMemory = 10.0 // seconds over which the rate of reserving is smoothed

	recheckEvery = 5 * time.Second // between checks of lines in another currency
	idleAfter    = 25 * time.Hour  // a grant that no bid asked for in this time is not renewed
	longLife     = time.Hour       // how long grants are held longer after a bid with a long life
)

// Run keeps grants ahead of need, advances the time of the log while
// reservations are outstanding, and updates the multipliers, until ctx ends.
// Call [Pacer.Stop] before the log closes.
func (p *Pacer) Run(ctx context.Context) error {
	t := time.NewTicker(stepEvery)
	defer t.Stop()
	for {
		p.Step(ctx, p.o.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		case <-p.wake:
		}
	}
}

// Step does one round of Run at a time of the caller's clock. Replay calls it instead of
// Run.
func (p *Pacer) Step(ctx context.Context, now time.Time) {
	p.stepMu.Lock()
	defer p.stepMu.Unlock()
	p.wanted.Store(false)
	p.appendGrants(ctx, p.round(now))
	p.tick(ctx, now)
	if now.Sub(p.saved) >= saveEvery && !p.o.InMemory {
		p.saved = now
		p.mu.Lock()
		err := p.saveLearned(now)
		p.mu.Unlock()
		if err != nil {
			p.o.Logger.Error("pacing state was not stored", zap.Error(err))
		}
	}
}

// round updates the controllers and returns the grants that are due.
func (p *Pacer) round(now time.Time) []events.Fact {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchClock(now)
	if rtb.SecondOf(now) >= p.table.Load().until || p.recheck || len(p.refused) > 0 && now.Sub(p.checked) >= recheckEvery {
		p.rebuild(now)
	}
	p.agenda.begin(now)
	if p.agenda.moves {
		p.moveControls(now)
	}
	p.openPlaces()
	p.refreshPlaces(now)
	p.publishValues(rtb.SecondOf(now))
	p.usualLife(now)
	if p.stopping.Load() || p.sight.stopped.Load() {
		return nil
	}
	if p.slots != nil {
		if err := p.slots.grow(); err != nil {
			p.o.Logger.Error("no more bids can be kept in flight", zap.Error(err))
		}
	}
	if due := p.takeOver(now); len(due) > 0 {
		p.agenda.everything()
		p.renew() // this run's own grants of the same budgets follow at once
		return due
	}
	var due []events.Fact
	for _, a := range p.accountsDue() {
		b := p.budgetOf(a)
		a.refresh(b, p.now, false)
		if g, ok := p.grantDue(a, b, now); ok {
			due = append(due, p.grantFact(a, b, g, now))
		}
	}
	return due
}

// usualLife resets the bid life that grants allow for to the usual one if there
// has been no longer bid for a while.
func (p *Pacer) usualLife(now time.Time) {
	usual, have := p.o.BidLife, p.life.Load()
	if have > usual && rtb.SecondOf(now) > after(p.longBid.Load(), longLife) {
		p.life.CompareAndSwap(have, usual)
	}
}

// sortedAccounts lists the accounts in a stable order.
func (p *Pacer) sortedAccounts() []*account {
	if p.sorted == nil {
		var longs []*account
		p.sorted = slices.SortedFunc(maps.Values(p.accounts), func(a, b *account) int {
			return cmp.Compare(a.id.String(), b.id.String())
		})
		for _, a := range p.sorted { // the accounts for long bids follow in a second pass
			if l := p.longs[a.id]; l != nil {
				longs = append(longs, l)
			}
		}
		p.sorted = append(p.sorted, longs...)
		for i, a := range p.sorted {
			a.order = i
		}
	}
	return p.sorted
}

// wantedGrant is the content of a grant fact to be appended.
type wantedGrant struct {
	amount    rtb.Micros
	until     time.Time
	heldUntil time.Time
}

// grantDue returns the grant that an account needs, and whether it needs one.
func (p *Pacer) grantDue(a *account, b *budget, now time.Time) (wantedGrant, bool) {
	a.smooth(now)
	if !a.sent.IsZero() && now.Sub(a.sent) < askAgain {
		return wantedGrant{}, false
	}
	g := grant{}
	if b != nil {
		if mine := b.run(a.run); mine != nil {
			g = *mine
		}
	}
	life := p.o.BidLife
	if a.long {
		life = p.life.Load()
	}
	until := now.Add(grantLife).Truncate(time.Second)
	w := wantedGrant{amount: g.Amount, until: until, heldUntil: later(until.Add(life), g.HeldUntil)} // bids in flight rely on HeldUntil
	if a.withheld > 0 {                                                                              // the cap was lowered, or late spend was charged
		w.amount -= a.withheld
		return w, true
	}
	idle := rtb.SecondOf(now) > after(a.asked.Load(), idleAfter) // no line bids from it
	if !a.used || rtb.SecondOf(now.Add(dayAhead)) < a.starts || idle && (a.long || g.Amount > 0) {
		return w, false
	}
	held := g.open()
	if g.HeldUntil.Before(p.now) {
		held = 0 // lapsed: the amount that it held is free again
	}
	room := a.free.Load() + held
	available := max(a.available.Load(), 0)
	target := a.target(available)
	open := min(max(a.reserved.Load(), 0)+a.kept.Load()+target, room)
	if rest := room - open; rest > 0 && rest < a.cost() {
		open = room // the whole remainder at the end
	}
	a.low.Store(target / 2)
	w.amount = max(g.Settled+open, g.Amount)
	if held == 0 && g.Amount > 0 {
		w.amount = g.Settled + open
	}
	stale := g.Until.Sub(now) < grantLife/2 || g.HeldUntil.Before(g.Until.Add(life))
	grows := w.amount > g.Amount && (available < target/2 || available < a.cost())
	return w, open > 0 && (stale || grows)
}

// cost returns the highest cost of one bid that the account has to expect.
func (a *account) cost() rtb.Micros { return max(a.worst.Load(), a.maxCost, 1) }

// target is how much should be available: the plan's rate over a reservation's
// life times the bids that it takes to win, or the amount that is being
// reserved; at least two worst bids, at most a small share of what is left.
func (a *account) target(available rtb.Micros) rtb.Micros {
	left := max(a.free.Load(), 0) + available + max(a.reserved.Load(), 0) + a.kept.Load()
	window := 86400.0 // seconds
	if a.id.Window == rtb.WindowHour {
		window = 3600
	}
	plan := float64(a.limit) / window * reserveFor / winShare
	if a.long {
		plan = 0
	}
	want := rtb.Micros(safety * max(plan, a.rate*aheadFor))
	want = min(want, rtb.Micros(shareLeft*float64(left)))
	return max(want, 2*a.cost())
}

// smooth updates the rate at which money is reserved from the account.
func (a *account) smooth(now time.Time) {
	if a.smoothedAt.IsZero() {
		a.smoothedAt = now
		return
	}
	dt := now.Sub(a.smoothedAt).Seconds()
	if dt <= 0 {
		return
	}
	a.smoothedAt = now
	w := 1 - math.Exp(-dt/rateMemory)
	a.collect()
	a.rate += (float64(a.unsmoothed)/dt - a.rate) * w
	a.unsmoothed = 0
}

// longRun names a run's grants for bids that live longer than usual.
func longRun(run string) string { return run + longSuffix }

const longSuffix = ":long"

func (p *Pacer) grantFact(a *account, b *budget, w wantedGrant, now time.Time) events.Fact {
	a.sent = now
	p.ids++
	f := events.Fact{
		ID: fmt.Sprintf("grant:%s:%d", p.o.Run, p.ids), At: now, Kind: events.KindGrant,
		Advertiser: a.id.Advertiser, Node: p.o.Node, Currency: a.currency,
		Grant: &events.Grant{
			Run: a.run, Budget: a.id, Amount: w.amount, Cap: a.limit, Until: w.until, HeldUntil: w.heldUntil,
		},
	}
	if b != nil {
		f.Grant.ExpectSeq = b.Seq
	}
	return f
}

// maxGrants is how many grants one append stores at most.
const maxGrants = 512

// appendGrants appends grants, many at a time, so that a plan of thousands of lines gets
// its first grants within a few syncs of the log. An append has one grant of a budget at
// most, because each grant names the one before it.
func (p *Pacer) appendGrants(ctx context.Context, due []events.Fact) {
	for len(due) > 0 {
		n := 1
		for n < min(len(due), maxGrants) && due[n].Grant.Budget != due[n-1].Grant.Budget {
			n++
		}
		p.appendTogether(ctx, due[:n])
		due = due[n:]
	}
}

// appendTogether appends grants of different budgets. If one of them conflicts with
// another run's, it is not known which were stored, so they are appended again one by
// one: the log stores a repeated fact once.
func (p *Pacer) appendTogether(ctx context.Context, due []events.Fact) {
	err := p.append(ctx, due...)
	switch {
	case err == nil:
		p.counts.grants.Add(uint64(len(due)))
		return
	case len(due) > 1 && p.o.IsConflict(err):
		for i := range due {
			p.appendTogether(ctx, due[i:i+1])
		}
		return
	}
	p.mu.Lock()
	for i := range due {
		if a := p.accountOf(due[i].Grant.Run, due[i].Grant.Budget); a != nil {
			a.sent = time.Time{}
			p.agenda.add(a)
		}
	}
	p.mu.Unlock()
	if p.o.IsConflict(err) { // the next Step tries again, once the other grant is folded
		p.counts.conflicts.Add(1)
		return
	}
	p.o.Logger.Warn("grants were not stored", zap.Int("grants", len(due)), zap.Stringer("budget", due[0].Grant.Budget), zap.Error(err))
}

// tick advances the time of the log while something depends on it; without new
// facts nothing would ever expire.
func (p *Pacer) tick(ctx context.Context, now time.Time) {
	p.mu.Lock()
	due := now.Sub(p.now) >= tickEvery && now.Sub(p.ticked) >= tickEvery && p.waiting()
	p.mu.Unlock()
	if !due {
		return
	}
	p.ticked = now
	err := p.append(ctx, events.Fact{ID: p.factID("tick"), At: now, Kind: events.KindTick, Node: p.o.Node})
	if err != nil {
		p.o.Logger.Warn("tick was not stored", zap.Error(err))
	}
}

// waiting reports whether anything has yet to expire: a bid in flight, or an
// amount that a dead run holds of a budget in use.
func (p *Pacer) waiting() bool {
	if p.reservations.live.Load() > 0 {
		return true
	}
	for _, a := range p.accounts {
		b := p.budgetOf(a)
		if b == nil || !a.used {
			continue
		}
		for i := range b.Grants {
			if g := &b.Grants[i]; !p.mine(g.Run) && !g.HeldUntil.Before(p.now) && g.open() > 0 {
				return true
			}
		}
	}
	return false
}
