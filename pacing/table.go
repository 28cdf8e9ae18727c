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
	byHandle []*tableLine // the same, by handle; nil for lines that are not in the plan
	order    []*tableLine // the same, in the plan's order, so that sums are reproducible
	until    rtb.Second   // when the first of its days ends
}

type tableLine struct {
	line     *line
	order    int // index in table.order; -1 if the line is refused
	caps     rtb.CapSet
	maxCPM   rtb.CPM // the highest price that the line bids
	currency rtb.Currency
	// refused is the reason why the line does not bid; NoBidNone if it does.
	refused rtb.NoBidReason
	days    [2]tableDay // today's and tomorrow's, in the advertiser's zone
}

// tableDay is one civil day of a line: [from, to).
type tableDay struct {
	day      rtb.Day
	from, to rtb.Second
	accounts [len(rtb.Caps)]*account // unused entries are nil
	longs    [len(rtb.Caps)]*account // accounts of the same budgets, for bids that live longer than usual
}

// line returns the line of a handle, or nil if it is not in the plan.
func (t *table) line(h rtb.LineHandle) *tableLine {
	if uint(h) >= uint(len(t.byHandle)) {
		return nil
	}
	return t.byHandle[h]
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
			if id.Window == rtb.WindowDay && a.reserved.Load() == 0 && len(a.doubts) == 0 && rtb.DayOf(now, time.UTC) > id.Day+2 {
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
		if b := p.foreign(l, rtb.DayOf(now, l.Zone)); b != nil {
			t.lines[l.Line] = p.refuse(l, b, was[l.Line])
		} else {
			e := p.tableLine(l, now)
			e.order = len(t.order)
			t.lines[l.Line], t.order = e, append(t.order, e)
			t.until = min(t.until, e.days[0].to)
		}
	}
	t.byHandle = make([]*tableLine, len(p.lines)+1)
	for id, e := range t.lines {
		t.byHandle[p.line(id).handle] = e
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
	if e.maxCPM <= 0 {
		e.maxCPM = rtb.MaxCPM
	}
	day := rtb.DayOf(now, l.Zone)
	for i := range e.days {
		d := &e.days[i]
		d.day = day + rtb.Day(i)
		d.from, d.to = rtb.SecondOf(d.day.Start(l.Zone)), rtb.SecondOf((d.day + 1).Start(l.Zone))
		n := 0
		for _, c := range rtb.Caps {
			if l.Caps&c == 0 {
				continue
			}
			id := rtb.BudgetOf(c, l.Line.Advertiser, l.Line.Campaign, l.Line.Line, d.day)
			a := p.account(id)
			a.limit, a.holdback, a.currency = l.limit(c), l.holdback(c), l.Currency
			a.maxCost = max(a.maxCost, l.MaxCPM.Cost())
			if !a.used || id.Window == rtb.WindowTotal {
				a.starts = 0
				if i > 0 && id.Window == rtb.WindowDay {
					a.starts = d.from
				}
			}
			a.used = true
			a.span.cover(spanOf(l, id, now))
			a.day.from, a.day.to = d.day.Start(l.Zone), (d.day + 1).Start(l.Zone)
			a.control.mode = l.Mode
			if id.Line == "" {
				a.control.mode = l.CampaignMode
			}
			a.control.bound = a.control.mode != ASAP
			a.holdback = max(a.holdback, a.control.unreported(a.limit))
			d.accounts[n], d.longs[n] = a, p.longOf(a)
			if i == 0 {
				a.lines = append(a.lines, e)
			}
			n++
		}
	}
	return e
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
	a := &account{run: run, id: id, hash: nameHash(id.String()), limit: math.MaxInt64, control: p.control(controlOf(id))}
	if b := p.budgetOf(a); b != nil {
		if g := b.run(run); g != nil {
			a.available.Store(g.Amount - g.Settled)
		}
	}
	if run == p.o.Run {
		a.asked.Store(rtb.SecondOf(p.o.Now())) // counts as requested, so that its first grants are cut before any bid
		yesterday := id
		if yesterday.Day--; id.Window == rtb.WindowDay && accounts[yesterday] != nil {
			a.asked.Store(accounts[yesterday].asked.Load())
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
		l = newLine(id, rtb.LineHandle(len(p.lines)+1)) // lines are never removed
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
