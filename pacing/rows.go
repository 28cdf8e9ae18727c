package pacing

import (
	"cmp"
	"slices"
	"time"

	"rebound/rtb"
)

// BudgetsReport is the body of GET /admin/budgets.
type BudgetsReport struct {
	At      time.Time   `json:"at"`
	Budgets []BudgetRow `json:"budgets"`
}

// UnitImpressions is the unit of caps on impressions.
const UnitImpressions = "impressions"

// BudgetRow is one cap in the response of GET /admin/budgets. The caps of a campaign have
// an empty line, those of an advertiser an empty campaign too. Amounts are micros of
// Currency, or millionths of an impression.
type BudgetRow struct {
	Advertiser string       `json:"advertiser"`
	Campaign   string       `json:"campaign"`
	Line       string       `json:"line"`
	Window     string       `json:"window"`         // hour, day, flight or total
	Day        rtb.Day      `json:"day"`            // the first day of a flight; empty for an hour or total
	Unit       string       `json:"unit,omitempty"` // impressions, or empty for money
	Currency   rtb.Currency `json:"currency"`
	Cap        rtb.Micros   `json:"cap_micros"`
	Spent      rtb.Micros   `json:"spent_micros"` // everything charged, late spend included
	// Planned is how much is to be spent by now, if spend follows the expected traffic of the
	// window. It is absent for a cap that is not spread over time: of a line that bids as fast
	// as possible, or without an end, or of a total next to a cap per day.
	Planned    rtb.Micros `json:"plan_micros,omitempty"`
	Reserved   rtb.Micros `json:"reserved_micros"` // reserved by this run's bids in flight
	Granted    rtb.Micros `json:"granted_micros"`  // the amount that grants of all runs may still settle
	Late       rtb.Micros `json:"late_spend_micros"`
	Doubted    rtb.Micros `json:"doubted_micros"` // reserved by this run's bids that were reported lost or are overdue, but may still be billed
	Multiplier float64    `json:"multiplier"`     // 1 if the cap does not lower prices
	Paused     bool       `json:"paused"`
	// Idle is the part of Granted that is not expected to be spent: granted and not
	// reserved, or reserved beyond what the bids in flight are expected to cost.
	Idle  rtb.Micros `json:"idle_micros"`
	Binds bool       `json:"binds"`             // it lowers the prices of its lines most, or has no room
	Frees time.Time  `json:"frees_at,omitzero"` // when an hour or day ends
	// SpentCurrency is the currency of all amounts but the cap, if it differs from
	// the plan's. The line does not bid then.
	SpentCurrency rtb.Currency `json:"spent_currency,omitzero"`
}

// LineStats are one line's figures for metrics.
type LineStats struct {
	Line     rtb.LineID
	Spend    rtb.Micros // charged since the view began, late spend included
	Late     rtb.Micros
	Reserved rtb.Micros // reserved by this run's bids in flight
	// Idle is the money of the line's own caps that this run holds and does not expect to
	// spend: granted and not reserved, or reserved beyond the expected cost of bids.
	Idle       rtb.Micros
	Multiplier float64
}

// Stats are a Pacer's figures for metrics. Counts are since Open.
type Stats struct {
	Lines        []LineStats
	Reservations int    // in memory now
	Refused      uint64 // bids refused because MaxReservations was reached
	Grants       uint64 // appended
	Conflicts    uint64 // grants refused because another run had a newer one
	AppendErrors uint64 // grants, ticks and pauses that could not be stored
	LateBills    uint64
	Duplicates   uint64 // bills that repeated an earlier charge
	BilledLosses uint64 // bids of this run that were billed after their loss notice
	Expired      uint64 // reservations that ended without a notice
	// ClockBehind is how far our clock was behind the log's time at the last
	// Step; 0 when it was not. Bids stop while it is behind.
	ClockBehind time.Duration
	Billing     []Billing // by exchange
	Doubted     []Doubted // by exchange
	Overdue     []Overdue // by exchange and format
	Paths       PathStats
	Estimates   []EstimateStats
}

// EstimateStats are the figures of one model: how many of the outcomes that it predicted for
// the last days happened. Unconverted exposures count as far as their conversions are known.
type EstimateStats struct {
	Model     string // click, view (conversions of impressions), buy (conversions of clicks)
	Predicted float64
	Observed  float64
}

// Budgets lists every cap of the plan at now, sorted by advertiser, campaign and line (a
// campaign's own caps first) and window.
func (p *Pacer) Budgets(now time.Time) []BudgetRow {
	p.mu.Lock()
	defer p.mu.Unlock()
	var rows []BudgetRow
	done := map[rtb.BudgetID]bool{}
	for i := range p.plan {
		l := &p.plan[i]
		at := l.periods(now)
		for _, c := range rtb.Caps {
			id := rtb.BudgetIn(c, l.Line, &at)
			if l.Caps&c == 0 || done[id] {
				continue
			}
			done[id] = true
			rows = append(rows, p.row(l, c, &at, now))
		}
	}
	slices.SortStableFunc(rows, func(a, b BudgetRow) int {
		return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Window, b.Window), cmp.Compare(a.Unit, b.Unit))
	})
	return rows
}

// row returns the row of one of a line's caps. p.mu is held.
func (p *Pacer) row(l *LinePlan, c rtb.CapSet, at *rtb.Periods, now time.Time) BudgetRow {
	id := rtb.BudgetIn(c, l.Line, at)
	r := BudgetRow{
		Advertiser: id.Advertiser, Campaign: id.Campaign, Line: id.Line, Window: id.Window.String(), Day: id.Day,
		Cap: l.limit(c), Multiplier: p.controls[controlOf(id)].lambda(),
		Paused: p.Paused("", id.Advertiser, id.Campaign) != rtb.NoBidNone,
	}
	switch id.Window {
	case rtb.WindowDay:
		r.Frees = (id.Day + 1).Start(l.Zone).UTC()
	case rtb.WindowHour:
		r.Frees = id.Hour.End(l.zone())
	}
	if r.Unit = UnitImpressions; !id.Imps {
		r.Unit, r.Currency = "", l.Currency
	}
	b := p.budgets[id]
	if b == nil && id.Imps {
		b = p.newBudget(id)
	}
	if b != nil {
		r.Spent, r.Late, r.Granted = b.Settled, b.Late, b.held(p.now)
		if !id.Imps && b.Currency != l.Currency && (r.Spent != 0 || r.Granted != 0) {
			r.SpentCurrency = b.Currency
		}
	}
	if a := p.accounts[id]; a != nil {
		r.Planned = p.planned(l, a, now)
	}
	for _, a := range []*account{p.accounts[id], p.longs[id]} {
		if a != nil {
			r.Reserved, r.Doubted = r.Reserved+max(a.reserved.Load(), 0), r.Doubted+a.doubted.Load()
			r.Idle += max(a.available.Load(), 0)
			r.Binds = r.Binds || a.blocked()
		}
	}
	r.Binds = r.Binds || p.binding(l) == id
	r.Idle += max(r.Reserved-p.costInFlight(id), 0)
	return r
}

// Stats returns the current figures.
func (p *Pacer) Stats() Stats {
	s := Stats{
		Reservations: int(p.reservations.live.Load()),
		Refused:      p.counts.refused.Load(), Grants: p.counts.grants.Load(), Conflicts: p.counts.conflicts.Load(),
		AppendErrors: p.counts.appendErrors.Load(), LateBills: p.counts.late.Load(),
		Duplicates: p.counts.duplicates.Load(), BilledLosses: p.counts.billedLosses.Load(), Expired: p.counts.expired.Load(), Paths: p.paths.stats(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.ClockBehind, s.Billing, s.Doubted, s.Overdue = p.sight.behind, p.billings(), p.doubtsByExchange(), p.overdueBySource()
	for m, name := range modelNames {
		c := &p.values.all[m]
		s.Estimates = append(s.Estimates, EstimateStats{name, c.Predicted, c.Observed})
	}
	for i := range p.plan {
		l := p.lines[p.plan[i].Line]
		if l == nil { // never active, but it may have spent
			l = p.line(p.plan[i].Line)
		}
		s.Lines = append(s.Lines, LineStats{
			Line: l.id, Spend: l.total.Spend, Late: l.total.Late,
			Reserved: l.reserved.Load(), Idle: p.idle(l.id), Multiplier: l.terms.multiplier.get(),
		})
	}
	return s
}

// idle returns the idle money of a line's own caps. Each cap holds the same money, so the
// largest amount counts. p.mu is held.
func (p *Pacer) idle(id rtb.LineID) (most rtb.Micros) {
	e := p.table.Load().lines[id]
	if e == nil {
		return 0
	}
	for _, a := range e.days[0].accounts {
		if a.id.Line == "" || a.id.Imps {
			continue
		}
		idle := max(a.available.Load(), 0) + max(a.reserved.Load()-a.expected.Load(), 0)
		if l := a.sibling; l != nil {
			idle += max(l.available.Load(), 0) + max(l.reserved.Load()-l.expected.Load(), 0)
		}
		most = max(most, idle)
	}
	return most
}

// binding returns the cap whose multiplier applies to a line; the zero value if prices
// are not lowered. p.mu is held.
func (p *Pacer) binding(l *LinePlan) (id rtb.BudgetID) {
	e := p.table.Load().lines[l.Line]
	if e == nil {
		return id
	}
	most := 1.0
	for _, a := range e.days[0].accounts {
		if m := a.control.lambda(); m > most {
			most, id = m, a.id
		}
	}
	return id
}

// costInFlight returns what this run's bids in flight are expected to cost a budget.
func (p *Pacer) costInFlight(id rtb.BudgetID) (sum rtb.Micros) {
	for _, a := range []*account{p.accounts[id], p.longs[id]} {
		if a != nil {
			sum += max(a.expected.Load(), 0)
		}
	}
	return sum
}
