package pacing

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"rebound/rtb"
)

// moveControls collects the lines' observations, updates every cap's
// multiplier, and publishes the results to the bid path. p.mu is held.
func (p *Pacer) moveControls(now time.Time) {
	moved := p.moved[:0]
	for _, e := range p.table.Load().order {
		seen := e.line.drain()
		e.line.refresh(now)
		day := e.on(rtb.SecondOf(now))
		if day == nil {
			continue
		}
		for _, a := range day.accounts {
			if a == nil {
				break
			}
			if !a.moving {
				a.moving = true
				moved = append(moved, a)
			}
			a.seen.add(seen)
		}
	}
	for _, a := range moved {
		a.control.on(a.id.Day)
		a.control.tick(a.seen, p.horizon(a, now), now)
		a.moving, a.seen = false, observed{}
	}
	p.moved = moved
	p.publishLambda()
}

// horizon returns the time over which an account's budget is spent, as of now.
// A window of 0 means that the budget is not spread: a total that also has a
// day cap, or has no end.
func (p *Pacer) horizon(a *account, now time.Time) horizon {
	h := horizon{limit: float64(a.limit - a.holdback), flight: float64(a.expected.Load())}
	if l := p.longs[a.id]; l != nil {
		h.flight += float64(l.expected.Load())
	}
	if b := p.budgets[a.id]; b != nil {
		h.spent = float64(b.Settled)
	}
	from := a.span.from
	if a.id.Window == rtb.WindowTotal && now.After(from) {
		from = now
	}
	if a.span.to.After(from) {
		h.window, h.left = a.span.to.Sub(from).Seconds(), a.span.to.Sub(now).Seconds()
	}
	return h
}

// span is the time that a budget is spread over.
type span struct{ from, to time.Time }

// cover extends a span to include another.
func (s *span) cover(o span) {
	if !o.to.After(o.from) {
		return
	}
	if s.to.IsZero() || o.from.Before(s.from) {
		s.from = o.from
	}
	if o.to.After(s.to) {
		s.to = o.to
	}
}

// spanOf returns a line's part of a day, or of its lifetime if a total has an
// end and no day cap. It is empty if the budget is not spread.
func spanOf(l *LinePlan, id rtb.BudgetID, now time.Time) span {
	var s span
	if id.Window == rtb.WindowDay {
		s = span{id.Day.Start(l.Zone), (id.Day + 1).Start(l.Zone)}
	} else {
		daily := rtb.CapLineDay
		if id.Line == "" {
			daily = rtb.CapCampaignDay
		}
		if l.Caps&daily != 0 || l.End.IsZero() {
			return span{}
		}
		s = span{now, l.End}
	}
	if l.Start.After(s.from) {
		s.from = l.Start
	}
	if !l.End.IsZero() && l.End.Before(s.to) {
		s.to = l.End
	}
	return s
}

// publishLambda gives each line the largest multiplier of its caps. p.mu is held.
func (p *Pacer) publishLambda() {
	for _, e := range p.table.Load().order {
		lambda := 1.0
		for _, a := range e.days[0].accounts {
			if a == nil {
				break
			}
			lambda = max(lambda, a.control.lambda())
		}
		e.line.multiplier.Store(math.Float64bits(lambda))
	}
}

// controlState is the stored state of the controllers. It is not part of the
// fold: losing it costs a cold start, never money.
type controlState struct {
	Controls map[string]*capControl `json:"controls"`
	Lines    map[string]*landscape  `json:"lines"`
	Losses   map[string]*lossClaims `json:"losses,omitempty"`
}

func (c controlID) String() string {
	return c.advertiser + "/" + c.campaign + "/" + c.line + "/" + c.window.String()
}

// saveControl stores the controllers. p.mu is held.
func (p *Pacer) saveControl() error {
	if p.o.InMemory {
		return nil
	}
	s := controlState{Controls: map[string]*capControl{}, Lines: map[string]*landscape{}}
	for id, c := range p.controls {
		s.Controls[id.String()] = c
	}
	for id, l := range p.lines {
		if l.land.Ref != 0 {
			s.Lines[id.String()] = &l.land
		}
	}
	s.Losses = p.losses
	text, err := json.Marshal(&s)
	if err != nil {
		return fmt.Errorf("cannot encode controllers: %w", err)
	}
	if err := p.db.Put([]byte{keyControl}, text); err != nil {
		return fmt.Errorf("cannot store controllers: %w", err)
	}
	return p.db.StartFlush()
}

// loadControl reads the controllers. Those that cannot be read start cold.
func (p *Pacer) loadControl() error {
	var s controlState
	text, exists, err := p.db.Get([]byte{keyControl})
	if err != nil {
		return err
	}
	if exists && json.Unmarshal(text, &s) != nil {
		s = controlState{}
		p.o.Logger.Warn("pacing starts cold: its stored state cannot be read")
	}
	for name, c := range s.Controls {
		parts := strings.Split(name, "/")
		if len(parts) != 4 || c == nil {
			continue
		}
		id := controlID{advertiser: parts[0], campaign: parts[1], line: parts[2]}
		if parts[3] == rtb.WindowTotal.String() {
			id.window = rtb.WindowTotal
		}
		p.controls[id] = c
	}
	for exchange, c := range s.Losses {
		if c != nil && c.Matured >= 0 && c.Billed >= 0 {
			c.share = c.doubtedShare()
			p.losses[exchange] = c
		}
	}
	for name, land := range s.Lines {
		parts := strings.Split(name, "/")
		if len(parts) != 3 || land == nil {
			continue
		}
		l := p.line(rtb.LineID{Advertiser: parts[0], Campaign: parts[1], Line: parts[2]})
		l.land, l.learned = *land, true
		l.firstValue.Store(math.Float64bits(land.Ref))
	}
	return nil
}
