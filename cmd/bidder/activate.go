package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/collect"
	"rebound/config"
	"rebound/events"
)

// activateFirst makes the configuration of the start active.
func (a *app) activateFirst(ctx context.Context) error {
	s := a.bound
	for _, w := range s.Warnings {
		a.log.Warn("configuration: " + w.String())
	}
	a.logFeeds(s)
	return a.activate(ctx, s)
}

// activate makes a configuration active: first as a fact, so that the folds
// remember by its rules from here on, then everywhere else. When the fact cannot
// be stored nothing changes.
func (a *app) activate(ctx context.Context, s *config.Snapshot) error {
	now := a.now()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := a.journal.Append(ctx, events.Fact{
		ID: "config:" + a.run + ":" + strconv.FormatInt(now.UnixNano(), 36), At: now.UTC(), Kind: events.KindConfig, Node: nodeName,
		Config: &events.Config{Hash: s.Hash, ActivatedAt: now.UTC(), Rules: s.AudienceSet.Rules()},
	})
	if err != nil {
		return fmt.Errorf("cannot activate configuration: %w", err)
	}
	a.snapshot.Store(s)
	a.money.SetPlan(s.LinePlans())
	a.edge.Swap(a.edgeSetup(s))
	a.swap(s)
	a.log.Info("configuration active", zap.String("file", a.flags.config), zap.String("hash", s.Hash), zap.String("holds", summary(s)))
	return nil
}

// reload reads the configuration again. A bad one changes nothing.
func (a *app) reload(ctx context.Context) {
	old := a.snapshot.Load()
	s, _, err := a.prog.load(&a.flags, old)
	if err != nil {
		a.refuse(err)
		return
	}
	changes := config.Diff(old, s)
	if err := a.activate(ctx, s); err != nil {
		a.refuse(err)
		return
	}
	a.reloads[0].Add(1)
	a.logFeeds(s)
	if s.Listen != a.bound.Listen || s.Data != a.bound.Data {
		a.log.Warn("listeners and data folder stay as they were at the start; restart to move them")
	}
	a.log.Info("configuration reloaded", zap.String("hash", s.Hash), zap.Strings("changes", changes))
	if len(changes) == 0 {
		a.console.line("reloaded: nothing changed")
	}
	for _, c := range changes {
		a.console.line("reloaded: " + c)
	}
}

func (a *app) refuse(err error) {
	a.reloads[1].Add(1)
	var problems config.Problems
	if errors.As(err, &problems) {
		list := make([]string, len(problems))
		for i := range problems {
			list[i] = problems[i].String()
		}
		a.log.Error("configuration refused; the last good one stays active", zap.Strings("problems", list))
		a.console.line("configuration refused; the last good one stays active:")
		for _, p := range list {
			a.console.line("  " + p)
		}
		return
	}
	a.log.Error("configuration refused; the last good one stays active", zap.Error(err))
	a.console.line("configuration refused; the last good one stays active: " + err.Error())
}

func (a *app) logFeeds(s *config.Snapshot) {
	for id, f := range s.FeedIndex {
		fields := []zap.Field{zap.String("feed", id), zap.Int("products", f.Good), zap.Int("skipped", f.Bad)}
		switch rows := s.Rows[id]; {
		case f.Kept:
			a.log.Warn("feed is much smaller than before; the products of the last good one stay", fields...)
		case len(rows) > 0:
			a.log.Warn("feed has bad rows", append(fields, zap.Stringer("first", rows[0]))...)
		}
	}
}

func (a *app) edgeSetup(s *config.Snapshot) *collect.Setup {
	set := &collect.Setup{Policy: s.Policy, EIDSources: s.EIDSources, Exchanges: make(map[string]string, len(s.Profiles))}
	for id, p := range s.Profiles {
		set.Exchanges[id] = p.IDSpace
	}
	for _, adv := range s.Index.Advertisers() {
		set.Advertisers = append(set.Advertisers, &collect.Advertiser{ID: adv.ID, Currency: adv.Currency})
	}
	index := s.Index
	set.Authenticate = func(key []byte) (string, bool) {
		adv, scopes := index.Authenticate(key)
		if adv == nil || !scopes.Has(campaigns.ScopeEvents) {
			return "", false
		}
		return adv.ID, true
	}
	if u, err := url.Parse(a.public); err == nil {
		set.PublicHost, set.HTTPS = u.Host, strings.EqualFold(u.Scheme, "https")
	}
	return set
}
