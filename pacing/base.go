package pacing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// Reasons of the adjustments that this package creates.
const (
	reasonBalance  = "balance"  // the amount that a budget had settled in deleted log files
	reasonUnproven = "unproven" // possible spend in a lost part of the log
)

// ReasonReport is the reason of an adjustment that books what an exchange's report shows
// beyond its notices.
const ReasonReport = "report"

// foldAdjustment books an amount that is not from a bill, once per fact id.
func (p *Pacer) foldAdjustment(f *events.Fact) error {
	if _, seen := p.adjusted[f.ID]; seen {
		return nil
	}
	if _, seen, err := p.db.Get(nameKey(keyAdjust, f.ID)); seen || err != nil {
		return err
	}
	p.adjusted[f.ID] = struct{}{}
	x := f.Adjustment
	id := x.Budget
	if id.Window == rtb.WindowDay && id.Day == 0 {
		id.Day = x.Day
	}
	b := p.budget(id)
	p.counted(b, f)
	b.Settled += x.Amount
	b.Late += x.LateSpend
	if x.Reason == ReasonReport {
		b.Reported += x.Amount
		p.reported(b)
	}
	if id.Line != "" && id.Window == rtb.WindowTotal && !id.Imps { // every charge of a line counts in its total
		p.addTotal(rtb.LineID{Advertiser: id.Advertiser, Campaign: id.Campaign, Line: id.Line}, x.Amount, x.LateSpend, f.Currency)
	}
	return nil
}

// reported lets the caps of the owner of a day's budget hold back as much as reports have
// shown beyond the notices of that day. p.mu is held.
func (p *Pacer) reported(b *budget) {
	if b.id.Window != rtb.WindowDay || b.id.Imps {
		return
	}
	for _, w := range []rtb.Window{rtb.WindowDay, rtb.WindowTotal, rtb.WindowHour, rtb.WindowFlight} {
		id := controlOf(b.id)
		if id.window = w; w == rtb.WindowDay || p.controls[id] != nil {
			p.control(id).reported(float64(b.Settled), float64(b.Settled-b.Reported))
		}
	}
	p.recheck = true
}

// Base returns facts that recreate the view's money in an empty view: the balances
// of budgets, the grants that may still settle, and the pauses. The journal writes
// them before it deletes the log files that they come from. They do not include
// the state of single bids, so the log must reach back as far as notices are
// accepted.
//
// Seq is set on grants only: it is that of the budget's last grant, which the next
// grant of the budget has to name.
func (p *Pacer) Base() ([]events.Fact, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.Position()
	fact := func(kind events.Kind, what string) events.Fact {
		return events.Fact{V: 1, ID: fmt.Sprintf("base:%d:%s", at.Seq, what), TS: p.now, At: p.now, Kind: kind}
	}
	var facts []events.Fact
	for _, b := range p.countedBudgets() {
		if b.Settled != 0 || b.Late != 0 {
			f := fact(events.KindAdjust, b.id.String())
			f.Advertiser, f.Currency = b.id.Advertiser, b.Currency
			f.Adjustment = &events.Adjustment{Budget: b.id, Day: b.id.Day, Amount: b.Settled, LateSpend: b.Late, Reason: reasonBalance}
			facts = append(facts, f)
		}
		for i := range b.Grants {
			g := &b.Grants[i]
			if g.HeldUntil.Add(keepLapsed).Before(p.now) {
				continue
			}
			f := fact(events.KindGrant, g.Run+":"+b.id.String())
			f.Seq, f.Node, f.Advertiser, f.Currency = b.Seq, g.Node, b.id.Advertiser, b.Currency
			f.Grant = &events.Grant{Run: g.Run, Budget: b.id, Amount: g.Amount, Settled: g.Settled, Until: g.Until, HeldUntil: g.HeldUntil}
			facts = append(facts, f)
		}
	}
	for _, scope := range slices.Sorted(maps.Keys(p.pauses)) {
		if x := p.pauses[scope]; x.On {
			f := fact(events.KindPause, scope)
			f.At, f.Pause = x.At, &events.Pause{Scope: scope, On: true, By: x.By}
			facts = append(facts, f)
		}
	}
	return facts, nil
}

func (p *Pacer) sortedBudgets() []*budget {
	return slices.SortedFunc(maps.Values(p.budgets), func(a, b *budget) int { return cmp.Compare(a.id.String(), b.id.String()) })
}

// countedBudgets returns the budgets, and those of impressions that would begin with what
// their budget of money has counted.
func (p *Pacer) countedBudgets() []*budget {
	for _, b := range p.sortedBudgets() {
		if b.Imps == 0 {
			continue
		}
		id := b.id
		if id.Imps = true; p.budgets[id] == nil {
			p.newBudget(id)
		}
	}
	return p.sortedBudgets()
}

// foldStep is the number of facts that FoldBase folds at a time.
const foldStep = 512

// FoldBase folds facts in memory, in the order of the log, and returns what [Pacer.Base]
// returns for the result. The facts must not change until FoldBase returns.
func FoldBase(facts iter.Seq2[*events.Fact, error]) (base []events.Fact, err error) {
	p, err := Open(Options{InMemory: true, Run: "base"})
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := p.Close(); err == nil {
			err = cerr
		}
	}()
	step := make([]events.Fact, 0, foldStep)
	for f, err := range facts {
		if err != nil {
			return nil, fmt.Errorf("cannot read facts for the base: %w", err)
		}
		if step = append(step, *f); len(step) == foldStep {
			if err := p.applyAll(step); err != nil {
				return nil, err
			}
			step = step[:0]
		}
	}
	if err := p.applyAll(step); err != nil {
		return nil, err
	}
	return p.Base()
}

// applyAll folds facts regardless of their sequences, because the facts of an older base
// come before the others and have their own numbering.
func (p *Pacer) applyAll(facts []events.Fact) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.apply(facts, 0)
}

// witness holds the balances of a view before it was restored to an earlier
// position, as JSON in blind.json.
type witness struct {
	Position events.Position `json:"position"`
	Budgets  []witnessBudget `json:"budgets"`
}

// witnessBudget holds the amounts of one budget, in micros of Currency.
type witnessBudget struct {
	Budget   rtb.BudgetID `json:"budget"`
	Currency rtb.Currency `json:"currency,omitzero"`
	Settled  rtb.Micros   `json:"settled_micros"`
	Held     rtb.Micros   `json:"held_micros"`
	Late     rtb.Micros   `json:"late_spend_micros,omitempty"`
}

// Witness returns, as JSON, what was settled and held per budget. It is stored
// before the view is restored to an earlier position; [Pacer.Unproven] reads
// it.
func (p *Pacer) Witness() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := witness{Position: p.Position()}
	for _, b := range p.countedBudgets() {
		held := b.held(p.now)
		if b.Settled != 0 || held != 0 {
			w.Budgets = append(w.Budgets, witnessBudget{b.id, b.Currency, b.Settled, held, b.Late})
		}
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the balances of the money view: %w", err)
	}
	return text, nil
}

// Unproven returns the adjustments that book the amounts that were settled and held
// according to a witness but are missing from the view. Settled and held money is
// compared separately, because what a grant holds now may not cover the bills that
// were lost. The same witness gives facts of the same ids, so that they count once.
func (p *Pacer) Unproven(text []byte) ([]events.Fact, error) {
	var w witness
	if err := json.Unmarshal(text, &w); err != nil {
		return nil, fmt.Errorf("cannot read the balances before the loss: got %.100q: %w", text, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var facts []events.Fact
	for _, x := range w.Budgets {
		var settled, held, late rtb.Micros
		b := p.budgets[x.Budget]
		if b == nil && x.Budget.Imps {
			b = p.newBudget(x.Budget)
		}
		if b != nil {
			settled, held, late = b.Settled, b.held(p.now), b.Late
		}
		amount := max(x.Settled-settled, 0) + max(x.Held-held, 0)
		if amount == 0 {
			continue
		}
		facts = append(facts, events.Fact{
			V: 1, ID: fmt.Sprintf("unproven:%d:%s:%s", w.Position.Seq, w.Position.Hash, x.Budget), At: p.now, Kind: events.KindAdjust,
			Advertiser: x.Budget.Advertiser, Currency: x.Currency,
			Adjustment: &events.Adjustment{
				Budget: x.Budget, Day: x.Budget.Day, Amount: amount,
				LateSpend: min(max(x.Late-late, 0), amount), Reason: reasonUnproven,
			},
		})
	}
	return facts, nil
}
