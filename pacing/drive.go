package pacing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/rtb"
)

// moveControls collects the lines' observations, updates every cap's
// multiplier, and publishes the results to the bid path. p.mu is held.
func (p *Pacer) moveControls(now time.Time) {
	moved := p.moved[:0]
	for _, e := range p.linesDue(p.table.Load()) {
		var seen observed
		if e.line.observed {
			e.line.observed, seen = false, e.line.drain()
		}
		e.line.sample(seen.requests, now)
		day := e.on(rtb.SecondOf(now))
		if day == nil {
			continue
		}
		for _, a := range day.accounts {
			if !a.moving {
				a.moving = true
				moved = append(moved, a)
			}
			if a.id.Imps {
				a.seen.add(seen.impressions())
			} else {
				a.seen.add(seen)
			}
		}
	}
	for _, a := range moved {
		a.control.on(a.id.Day)
		h := p.horizon(a, now)
		h.taken = float64(a.tickTaken())
		if a.sibling != nil {
			h.taken += float64(a.sibling.tickTaken())
		}
		a.control.tick(a.seen, h, now)
		a.moving, a.seen = false, observed{}
		p.publishMoved(a)
		p.agenda.addTaken(a)
		p.agenda.addTaken(a.sibling)
	}
	p.moved = moved
}

// horizon returns the time over which an account's budget is spent, as of now, without what
// bids have reserved since the last tick. It changes nothing. A window of 0 means that the budget is not spread: a total that also has a
// day cap, or has no end.
func (p *Pacer) horizon(a *account, now time.Time) horizon {
	h := horizon{limit: float64(a.limit - a.holdback), flight: float64(a.expected.Load()),
		held: float64(a.reserved.Load() + a.kept.Load())}
	if l := a.sibling; l != nil {
		h.flight += float64(l.expected.Load())
		h.held += float64(l.reserved.Load() + l.kept.Load())
	}
	h.nodes = 1
	if b := p.budgetOf(a); b != nil {
		h.spent, h.nodes = float64(b.Settled), float64(b.nodes(p.o.Run, now))
	}
	from := a.span.from
	if (a.id.Window == rtb.WindowTotal || a.id.Window == rtb.WindowFlight) && now.After(from) {
		from = now
	}
	if a.span.to.After(from) {
		h.length = a.span.to.Sub(a.span.from).Seconds()
		h.window, h.left = a.span.to.Sub(from).Seconds(), a.span.to.Sub(now).Seconds()
	}
	if a.id.Window == rtb.WindowDay && h.window > 0 {
		start, length := a.day.from, a.day.to.Sub(a.day.from).Seconds()
		part := func(t time.Time) float64 { return min(max(t.Sub(start).Seconds()/length, 0), 1) }
		h.from, h.to, h.at = part(a.span.from), part(a.span.to), part(now)
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

// ownerOf returns who has a cap.
func ownerOf(id rtb.BudgetID) rtb.Owner {
	switch {
	case id.Campaign == "":
		return rtb.OwnAdvertiser
	case id.Line == "":
		return rtb.OwnCampaign
	}
	return rtb.OwnLine
}

// spanOf returns a line's part of a day or hour, or of its lifetime if a total or flight
// has an end and no day cap. It is empty if the budget is not spread.
func spanOf(l *LinePlan, id rtb.BudgetID, now time.Time) span {
	var s span
	switch id.Window {
	case rtb.WindowDay:
		s = span{id.Day.Start(l.Zone), (id.Day + 1).Start(l.Zone)}
	case rtb.WindowHour:
		s = span{id.Hour.Start(), id.Hour.End(l.zone())}
	default:
		daily := rtb.CapOf(ownerOf(id), rtb.WindowDay, false)
		if l.Caps&(daily|daily.Imps()) != 0 || l.End.IsZero() {
			return span{}
		}
		s = span{now, l.End}
		if !l.Start.IsZero() {
			s.from = l.Start
		}
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
	for _, c := range p.controls {
		c.published, c.publishedLeast = c.lambda(), c.leastUse()
	}
	for _, e := range p.table.Load().order {
		e.publishLambda()
	}
}

// publishMoved publishes the multipliers of an account's lines if its own has changed
// since it was last published. p.mu is held.
func (p *Pacer) publishMoved(a *account) {
	lambda, least := a.control.lambda(), a.control.leastUse()
	if lambda == a.control.published && least == a.control.publishedLeast {
		return
	}
	a.control.published, a.control.publishedLeast = lambda, least
	for _, e := range a.lines {
		e.publishLambda()
	}
}

// publishLambda gives the line the largest multiplier of its caps.
func (e *tableLine) publishLambda() {
	lambda, least := 1.0, 0.0
	for _, a := range e.days[0].accounts {
		lambda, least = max(lambda, a.control.lambda()), max(least, a.control.leastUse())
	}
	e.terms.multiplier.set(lambda)
	e.line.least.set(least)
}

// controlState is the stored state of the controllers. It is not part of the
// fold: losing it costs a cold start, never money.
type controlState struct {
	Controls map[string]*capControl  `json:"controls"`
	Losses   map[string]*lossClaims  `json:"losses,omitempty"`
	Overdue  map[string]*overdueBids `json:"overdue,omitempty"` // by source
}

func (c controlID) String() string {
	window := c.window.String()
	if c.imps {
		window = "imps_" + window
	}
	return c.advertiser + "/" + c.campaign + "/" + c.line + "/" + window
}

func parseControlID(name string) (id controlID, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return id, false
	}
	id = controlID{advertiser: parts[0], campaign: parts[1], line: parts[2]}
	window := parts[3]
	window, id.imps = strings.CutPrefix(window, "imps_")
	for _, w := range []rtb.Window{rtb.WindowDay, rtb.WindowTotal, rtb.WindowHour, rtb.WindowFlight} {
		if w.String() == window {
			id.window = w
			return id, true
		}
	}
	return id, false
}

// saveLearned stores what changed: the controllers if it is time for them, and some of the
// rest. p.mu is held.
func (p *Pacer) saveLearned(now time.Time) error {
	every := min(max(time.Duration(len(p.controls))*saveOne, saveEvery), saveMost)
	if now.Sub(p.savedControls) >= every {
		p.savedControls = now
		if err := p.saveControls(); err != nil {
			return err
		}
	}
	if err := errors.Join(p.saveHistories(saveAtOnce), p.savePlaces(saveAtOnce), p.saveMarkets(saveAtOnce)); err != nil {
		return err
	}
	return p.db.StartFlush()
}

// saveControls stores the controllers. p.mu is held.
func (p *Pacer) saveControls() error {
	s := controlState{Controls: map[string]*capControl{}}
	for id, c := range p.controls {
		s.Controls[id.String()] = c
	}
	s.Losses, s.Overdue = p.losses, p.storedOverdue()
	text, err := json.Marshal(&s)
	if err != nil {
		return fmt.Errorf("cannot encode controllers: %w", err)
	}
	if err := p.db.Put([]byte{keyControl}, text); err != nil {
		return fmt.Errorf("cannot store controllers: %w", err)
	}
	return nil
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
		if id, ok := parseControlID(name); ok && c != nil {
			p.controls[id] = c
		}
	}
	for exchange, c := range s.Losses {
		if c != nil && c.Matured >= 0 && c.Billed >= 0 && c.Bills.Losses >= 0 && c.Bills.Foretold >= 0 && c.Bills.Billed >= 0 {
			c.share = c.doubtedShare()
			p.losses[exchange] = c
		}
	}
	p.loadOverdue(s.Overdue)
	return errors.Join(p.loadHistories(), p.loadPlaces(), p.loadMarkets())
}

// saveAtOnce bounds the histories and places that are stored at a time; the others
// follow the next time.
const saveAtOnce = 256

// saveHistories stores up to a number of histories that changed. p.mu is held.
func (p *Pacer) saveHistories(most int) error {
	for id, c := range p.controls {
		if !c.history.dirty || most == 0 {
			continue
		}
		most--
		if err := p.db.Put(nameKey(keyHistory, id.String()), c.history.encode()); err != nil {
			return fmt.Errorf("cannot store traffic of %s: %w", id, err)
		}
		c.history.dirty = false
	}
	return nil
}

// loadHistories reads the histories of the controllers. Those that cannot be read are
// forgotten.
func (p *Pacer) loadHistories() error {
	return each(p.db, keyHistory, func(k, v []byte) error {
		id, ok := parseControlID(string(k))
		c := p.controls[id]
		if !ok || c == nil {
			return nil
		}
		if !c.history.decode(v) {
			p.o.Logger.Warn("a budget has no forecast: the traffic of the last days cannot be read", zap.ByteString("budget", k))
			return nil
		}
		c.history.turn(c.Day)
		return nil
	})
}
