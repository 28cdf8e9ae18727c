package pacing

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// pause is one stop by an operator, as stored.
type pause struct {
	On bool      `json:"on"`
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"`
}

// pauseSet is the immutable set of current pauses that the bid path reads.
type pauseSet struct {
	all       bool
	exchanges map[string]struct{}
	campaigns map[campaignID]struct{}
}

type campaignID struct{ advertiser, campaign string }

// parseScope adds a pause's scope to the set; false if it is not a valid scope.
func (s *pauseSet) parseScope(scope string) bool {
	kind, id, _ := strings.Cut(scope, ":")
	switch kind {
	case "all":
		s.all = true
		return scope == "all"
	case "exchange":
		s.exchanges[id] = struct{}{}
		return id != ""
	case "campaign":
		advertiser, campaign, ok := strings.Cut(id, "/")
		s.campaigns[campaignID{advertiser, campaign}] = struct{}{}
		return ok && advertiser != "" && campaign != ""
	}
	return false
}

func newPauseSet() *pauseSet {
	return &pauseSet{exchanges: map[string]struct{}{}, campaigns: map[campaignID]struct{}{}}
}

// publishPauses publishes the current pauses to the bid path. p.mu is held.
func (p *Pacer) publishPauses() {
	s := newPauseSet()
	for scope, x := range p.pauses {
		if x.On {
			s.parseScope(scope)
		}
	}
	p.pauseSet.Store(s)
}

func (p *Pacer) foldPause(f *events.Fact) {
	p.trustBilling(f.Pause)
	p.pauses[f.Pause.Scope] = pause{On: f.Pause.On, By: f.Pause.By, At: f.At}
	p.changed.pauses = append(p.changed.pauses, f.Pause.Scope)
	p.publishPauses()
}

// Stopped returns why bidding is stopped, everywhere or for an exchange: blind, paused
// or NoBidNone.
func (p *Pacer) Stopped(exchange string) rtb.NoBidReason {
	if p.blind.Load() || p.sight.stopped.Load() || p.unpaid(exchange) {
		return rtb.NoBidBlind
	}
	s := p.pauseSet.Load()
	if _, ok := s.exchanges[exchange]; ok || s.all {
		return rtb.NoBidPaused
	}
	return rtb.NoBidNone
}

// CampaignPaused reports whether an operator has paused a campaign.
func (p *Pacer) CampaignPaused(advertiser, campaign string) bool {
	s := p.pauseSet.Load()
	if len(s.campaigns) == 0 {
		return false
	}
	_, ok := s.campaigns[campaignID{advertiser, campaign}]
	return ok
}

// Paused returns why bidding is stopped: everywhere, for the exchange, or for the
// campaign.
func (p *Pacer) Paused(exchange, advertiser, campaign string) rtb.NoBidReason {
	if r := p.Stopped(exchange); r != rtb.NoBidNone || !p.CampaignPaused(advertiser, campaign) {
		return r
	}
	return rtb.NoBidPaused
}

// Pause appends a pause fact and applies it at once. Scope is "all",
// "exchange:<id>" or "campaign:<advertiser>/<id>"; by names who requested it.
// If the log accepts no facts, a stop still applies until the program ends, and
// the error says so.
func (p *Pacer) Pause(ctx context.Context, scope string, on bool, by string) error {
	if !newPauseSet().parseScope(scope) {
		return fmt.Errorf("cannot pause: got scope %q; want all, exchange:<id> or campaign:<advertiser>/<id>", scope)
	}
	now := p.o.Now()
	if on {
		p.pauseNow(scope, pause{On: true, By: by, At: now})
	}
	err := p.append(ctx, events.Fact{
		ID: p.factID("pause"), At: now, Kind: events.KindPause, Node: p.o.Node,
		Pause: &events.Pause{Scope: scope, On: on, By: by},
	})
	if err != nil {
		return fmt.Errorf("cannot store pause of %s: %w", scope, err)
	}
	if !on {
		p.pauseNow(scope, pause{By: by, At: now})
	}
	return nil
}

// PauseInForce is one stop by an operator that is in force now.
type PauseInForce struct {
	Scope string // all, exchange:<id> or campaign:<advertiser>/<id>
	By    string // who requested it
	At    time.Time
}

// Pauses lists the stops that are in force now, by scope.
func (p *Pacer) Pauses() []PauseInForce {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []PauseInForce
	for scope, x := range p.pauses {
		if x.On {
			list = append(list, PauseInForce{Scope: scope, By: x.By, At: x.At})
		}
	}
	slices.SortFunc(list, func(a, b PauseInForce) int { return strings.Compare(a.Scope, b.Scope) })
	return list
}

// pauseNow applies a pause before its fact is folded.
func (p *Pacer) pauseNow(scope string, x pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pauses[scope] = x
	p.publishPauses()
}

// SetBlind stops bidding as blind while on is true. It is not stored.
func (p *Pacer) SetBlind(on bool) { p.blind.Store(on) }

// factID returns a unique id for a fact of this run.
func (p *Pacer) factID(kind string) string {
	p.mu.Lock()
	p.ids++
	n := p.ids
	p.mu.Unlock()
	return kind + ":" + p.o.Run + ":" + strconv.FormatUint(n, 10)
}

func (p *Pacer) append(ctx context.Context, facts ...events.Fact) error {
	if p.o.Append == nil {
		return fmt.Errorf("cannot append: got no Options.Append")
	}
	err := p.o.Append(ctx, facts...)
	p.failing.Store(err != nil && !p.o.IsConflict(err))
	if p.failing.Load() {
		p.counts.appendErrors.Add(1)
	}
	return err
}
