package pacing

import (
	"cmp"
	"math"
	"slices"
	"time"

	"rebound/rtb"
)

// table is the immutable data that the bid path reads. It is replaced as a
// whole when the plan or a day changes.
type table struct {
	lines    map[rtb.LineID]*tableLine
	byHandle []handleEntry // the same, by handle
	order    []*tableLine  // the same, in the plan's order, so that sums are reproducible
	until    rtb.Second    // when the first of its days ends
}

// handleEntry is what a handle refers to: nothing if the line is not in the plan. It has
// the terms, which many candidates need, without another pointer.
type handleEntry struct {
	line  *tableLine
	terms *terms
}

type tableLine struct {
	line     *line
	terms    *terms // of line
	order    int    // index in table.order; -1 if the line is refused
	caps     rtb.CapSet
	maxCPM   rtb.CPM // the highest price that the line bids
	currency rtb.Currency
	// refused is the reason why the line does not bid; NoBidNone if it does.
	refused rtb.NoBidReason
	days    [2]tableDay // the current one and the next
}

// tableDay is one civil day of a line in the advertiser's zone, or one hour of it where
// the line has a cap per hour: [from, to).
type tableDay struct {
	from, to rtb.Second
	accounts []*account // never changed
	kept     slotCaps   // the caps in the file of reservations
	longs    []*account // accounts of the same budgets, for bids that live longer than usual
}

// line returns the line of a handle, or nil if it is not in the plan.
func (t *table) line(h rtb.LineHandle) *tableLine {
	if uint(h) >= uint(len(t.byHandle)) {
		return nil
	}
	return t.byHandle[h].line
}

// on returns the day of a time; nil if it is neither of the two.
func (e *tableLine) on(at rtb.Second) *tableDay {
	for i := range e.days {
		if d := &e.days[i]; at >= d.from && at < d.to {
			return d
		}
	}
	return nil
}

// SetPlan replaces the plan. Spend is kept; a cap below it refuses bids at
// once. It appends nothing: the next Step cuts the grants.
func (p *Pacer) SetPlan(plan []LinePlan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan = slices.Clone(plan)
	for i := range p.plan {
		p.plan[i].Zone = p.plan[i].zone()
	}
	slices.SortFunc(p.plan, func(a, b LinePlan) int {
		return cmp.Or(cmp.Compare(a.Line.Advertiser, b.Line.Advertiser),
			cmp.Compare(a.Line.Campaign, b.Line.Campaign), cmp.Compare(a.Line.Line, b.Line.Line))
	})
	p.rebuild(p.o.Now())
	p.renew()
}

// rebuild builds the table for a time. p.mu is held.
func (p *Pacer) rebuild(now time.Time) {
	for _, accounts := range []map[rtb.BudgetID]*account{p.accounts, p.longs} {
		for id, a := range accounts {
			a.used, a.maxCost, a.span, a.lines = false, 0, span{}, a.lines[:0]
			if past(id, now) && a.reserved.Load() == 0 && len(a.doubts) == 0 {
				delete(accounts, id)
				p.sorted = nil
			}
		}
	}
	for _, c := range p.controls {
		c.bound = false
	}
	p.recheck, p.checked = false, now
	was := p.refused
	p.refused = map[rtb.LineID]bool{}
	t := &table{lines: make(map[rtb.LineID]*tableLine, len(p.plan)), until: maxSecond}
	for i := range p.plan {
		l := &p.plan[i]
		if !l.Active {
			continue
		}
		if b := p.foreign(l, now); b != nil {
			t.lines[l.Line] = p.refuse(l, b, was[l.Line])
		} else {
			e := p.tableLine(l, now)
			e.order = len(t.order)
			t.lines[l.Line], t.order = e, append(t.order, e)
			t.until = min(t.until, e.days[0].to)
		}
	}
	t.byHandle = make([]handleEntry, len(p.lines)+1)
	for id, e := range t.lines {
		t.byHandle[p.line(id).handle] = handleEntry{e, e.terms}
	}
	for _, a := range p.sortedAccounts() {
		a.refresh(p.budgetOf(a), p.now, p.stopping.Load())
	}
	p.agenda.everything()
	p.table.Store(t)
	p.publishLambda()
}

func (p *Pacer) tableLine(l *LinePlan, now time.Time) *tableLine {
	e := &tableLine{line: p.line(l.Line), caps: l.Caps, maxCPM: l.MaxCPM, currency: l.Currency}
	e.terms = e.line.terms
	if e.maxCPM <= 0 {
		e.maxCPM = rtb.MaxCPM
	}
	from := now
	for i := range e.days {
		d := &e.days[i]
		at := l.periods(from)
		d.kept = slotCaps{owners: ownersOf(l.Line), caps: l.Caps, at: at}
		begin, end := at.Day.Start(l.Zone), (at.Day + 1).Start(l.Zone)
		if l.Caps.AnyIn(rtb.WindowHour) {
			begin, end = later(begin, at.Hour.Start()), earlier(end, at.Hour.End(l.zone()))
		}
		d.from, d.to = rtb.SecondOf(begin), rtb.SecondOf(end)
		from = end
		for _, c := range rtb.Caps {
			if l.Caps&c == 0 {
				continue
			}
			a := p.planAccount(l, c, &at, now)
			switch {
			case a.used && a.id.Window != rtb.WindowTotal && a.id.Window != rtb.WindowFlight: // the current day or hour of another line
			case i > 0 && (a.id.Window == rtb.WindowDay || a.id.Window == rtb.WindowHour):
				a.starts = d.from
			default:
				a.starts = 0
			}
			a.used = true
			d.accounts, d.longs = append(d.accounts, a), append(d.longs, p.longOf(a))
			if i == 0 {
				a.lines = append(a.lines, e)
			}
		}
	}
	return e
}

// planAccount returns the account of one of a line's caps, with the settings of the plan.
// p.mu is held.
func (p *Pacer) planAccount(l *LinePlan, c rtb.CapSet, at *rtb.Periods, now time.Time) *account {
	id := rtb.BudgetIn(c, l.Line, at)
	a := p.account(id)
	a.limit, a.holdback = l.limit(c), l.holdback(c)
	if id.Imps {
		a.maxCost = rtb.ImpressionUnit
	} else {
		a.currency, a.maxCost = l.Currency, max(a.maxCost, l.MaxCPM.Cost())
	}
	a.span.cover(spanOf(l, id, now))
	a.day.from, a.day.to = at.Day.Start(l.Zone), (at.Day + 1).Start(l.Zone)
	a.control.mode = l.mode(c.Owner())
	a.control.bound = a.control.mode != ASAP
	a.holdback = max(a.holdback, a.control.unreported(a.limit))
	return a
}

// past reports whether no bid can be made from a budget any more, and none that was made
// can be billed.
func past(id rtb.BudgetID, now time.Time) bool {
	switch id.Window {
	case rtb.WindowDay:
		return rtb.DayOf(now, time.UTC) > id.Day+2
	case rtb.WindowHour:
		return now.Sub(id.Hour.Start()) > 49*time.Hour
	}
	return false
}

// longOf is the account of the same budget for bids that live longer than usual.
// p.mu is held.
func (p *Pacer) longOf(a *account) *account {
	l := p.open(p.longs, a.id, longRun(p.o.Run))
	a.sibling = l
	l.long, l.limit, l.holdback, l.currency, l.maxCost, l.used, l.starts = true, a.limit, a.holdback, a.currency, a.maxCost, a.used, a.starts
	return l
}

// account returns this run's account of a budget, and opens it if necessary. p.mu is
// held.
func (p *Pacer) account(id rtb.BudgetID) *account { return p.open(p.accounts, id, p.o.Run) }

// accountOf is the account that a grant of a run fills; nil where it is another
// run's, or not open. p.mu is held.
func (p *Pacer) accountOf(run string, id rtb.BudgetID) *account {
	switch run {
	case p.o.Run:
		return p.accounts[id]
	case p.longRun:
		return p.longs[id]
	}
	return nil
}

// mine reports whether a run's name is this run's.
func (p *Pacer) mine(run string) bool { return run == p.o.Run || run == p.longRun }

func (p *Pacer) open(accounts map[rtb.BudgetID]*account, id rtb.BudgetID, run string) *account {
	if a := accounts[id]; a != nil {
		return a
	}
	a := &account{run: run, runHash: nameHash(run), id: id, limit: math.MaxInt64, control: p.control(controlOf(id))}
	if id.Imps {
		a.flags.Store(accountImps)
	}
	if b := p.budgetOf(a); b != nil {
		if g := b.run(run); g != nil {
			a.available.Store(g.Amount - g.Settled)
		}
	}
	if run == p.o.Run {
		a.asked.Store(rtb.SecondOf(p.o.Now())) // counts as requested, so that its first grants are cut before any bid
		before := id
		switch id.Window {
		case rtb.WindowDay:
			before.Day--
		case rtb.WindowHour:
			before.Hour -= rtb.QuartersPerHour
		}
		if x := accounts[before]; x != nil {
			a.asked.Store(x.asked.Load())
		}
	}
	accounts[id] = a
	p.sorted = nil
	p.agenda.add(a)
	return a
}

func (p *Pacer) control(id controlID) *capControl {
	c := p.controls[id]
	if c == nil {
		c = &capControl{Boost: coldBoost}
		p.controls[id] = c
	}
	return c
}

func (p *Pacer) line(id rtb.LineID) *line {
	l := p.lines[id]
	if l == nil {
		l = newLine(id, rtb.LineHandle(len(p.lines)+1), p.terms.next()) // lines are never removed
		l.total, l.list = p.total(id), &p.touched
		p.lines[id] = l
	}
	return l
}

func (p *Pacer) total(id rtb.LineID) *lineTotal {
	t := p.totals[id]
	if t == nil {
		t = &lineTotal{}
		p.totals[id] = t
	}
	return t
}
