package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/campaigns"
	"rebound/collect"
	"rebound/config"
	"rebound/events"
	"rebound/internal/spec"
)

// activateFirst activates the configuration that was loaded at startup.
func (a *app) activateFirst(ctx context.Context) error {
	return a.activate(ctx, a.snapshot.Load())
}

// warn logs the warnings about a configuration that is being activated. On a
// terminal it prints only their number; "bidder check" prints the texts.
func (a *app) warn(s *config.Snapshot) {
	list := warningsOf(s)
	if a.console.terminal && len(list) > 0 {
		a.console.line(count(len(list), "warning") + ", see: bidder check --config " + a.flags.config)
		return
	}
	for _, w := range list {
		a.log.Warn("configuration: " + w.String())
	}
}

// warningsOf returns the warnings that matter while the bidder runs. An
// exchange without a secret is not one if only this machine can send its
// requests.
func warningsOf(s *config.Snapshot) []spec.Problem {
	quiet := map[string]bool{}
	for i := range s.Exchanges {
		quiet["exchanges["+strconv.Itoa(i)+"].secret"] = config.OnlyLoopback(s.Exchanges[i].Sources)
	}
	var list []spec.Problem
	for _, w := range s.Warnings {
		if !quiet[w.Path] {
			list = append(list, w)
		}
	}
	return list
}

// activateTime bounds the append of each fact of a configuration.
const activateTime = 10 * time.Second

// activate makes a configuration active: first as facts, so that the folds
// apply its rules from then on, then everywhere else. If a fact cannot be
// stored, nothing changes.
func (a *app) activate(ctx context.Context, s *config.Snapshot) error {
	now := a.now()
	id := "config:" + a.run + ":" + strconv.FormatInt(now.UnixNano(), 36)
	whole := events.Config{Hash: s.Hash, ActivatedAt: now.UTC(), Rules: s.AudienceSet.Rules()}
	for _, part := range whole.Split() {
		f := events.Fact{ID: id, At: now.UTC(), Kind: events.KindConfig, Node: a.node(), Config: &part}
		if part.Part > 1 {
			f.ID += ":" + strconv.Itoa(part.Part)
		}
		if err := a.appendWithin(ctx, activateTime, f); err != nil {
			return fmt.Errorf("cannot activate configuration: %w", err)
		}
	}
	a.snapshot.Store(s)
	a.money.SetPlan(s.LinePlans())
	a.edge.Swap(a.edgeSetup(s))
	a.swap(s)
	a.bidder.SetNoBidShares(noBidShares(&s.Logs.Bids))
	a.log.Info("configuration active", zap.String("file", a.flags.config), zap.String("hash", s.Hash), zap.String("holds", summary(s)))
	a.warn(s)
	return nil
}

func (a *app) appendWithin(ctx context.Context, limit time.Duration, f events.Fact) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return a.journal.Append(ctx, f)
}

// reload makes a configuration that was read again active. A bad one changes nothing,
// nor does one that is complete when the bidder stops.
func (a *app) reload(ctx context.Context, l loaded) {
	if ctx.Err() != nil {
		return
	}
	old, s, err := a.snapshot.Load(), l.snapshot, l.err
	if err != nil {
		a.refuse(err)
		return
	}
	changes, _ := splitChanges(config.Diff(old, s))
	_, fixed := splitChanges(config.Diff(a.bound, s.StartSettings()))
	err = a.money.CheckPlan(s.LinePlans())
	if err == nil {
		err = a.activate(ctx, s)
	}
	if err != nil {
		a.refuse(err)
		return
	}
	a.reloads[0].Add(1)
	for _, r := range config.Risks(old, s) {
		a.log.Warn("reload: " + r.String())
		a.console.line("warning: " + r.String())
	}
	for _, c := range fixed {
		a.log.Warn("setting stays as it was at the start; restart to change it", zap.String("setting", c))
	}
	debug.FreeOSMemory() // loading a large configuration needs several times the memory that it keeps
	a.log.Info("configuration reloaded", zap.String("hash", s.Hash), zap.Strings("changes", changes))
	if len(changes) == 0 {
		a.console.line("reloaded: nothing changed")
	}
	for _, c := range changes {
		a.console.line("reloaded: " + c)
	}
}

// splitChanges splits the lines of [config.Diff] into those that a reload
// applies and those of settings that are read only at startup.
func splitChanges(lines []string) (live, fixed []string) {
	for _, line := range lines {
		path := strings.TrimPrefix(strings.TrimPrefix(line, "added "), "removed ")
		path, _, _ = strings.Cut(path, ":")
		if atStart(path) {
			fixed = append(fixed, line)
		} else {
			live = append(live, line)
		}
	}
	return live, fixed
}

func atStart(path string) bool {
	switch path {
	case "logs.bids.known_nobid_pct", "logs.bids.unknown_nobid_pct":
		return false
	case "privacy.notice_ttl":
		return true
	}
	section, _, _ := strings.Cut(path, ".")
	return section == "listen" || section == "data" || section == "logs"
}

func (a *app) refuse(err error) {
	a.reloads[1].Add(1)
	var problems spec.Problems
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

func (a *app) edgeSetup(s *config.Snapshot) *collect.Setup {
	set := &collect.Setup{Policy: s.Policy, EIDSources: s.EIDSources, Exchanges: make(map[string]*collect.Exchange, len(s.Profiles))}
	for id, p := range s.Profiles {
		set.Exchanges[id] = &collect.Exchange{
			IDSpace: p.IDSpace, MatchURL: p.MatchURL, RedirectHosts: p.RedirectHosts, UserMacro: p.MatchMacro,
			PassParams: p.MatchParams, Resync: p.Resync,
		}
	}
	for _, adv := range s.Index.Advertisers() {
		set.Advertisers = append(set.Advertisers, &collect.Advertiser{ID: adv.ID, Currency: adv.Currency, Domains: adv.Domains})
	}
	set.EventNames = s.AudienceSet.Events()
	set.Enters = a.enters(s)
	set.Limits = collect.Limits{
		VisitorPerHour: s.Collect.EventsPerVisitor, AddressPerMinute: s.Collect.CallsPerAddress, AdvertiserPerSecond: s.Collect.EventsPerAdvertiser,
	}
	index := s.Index
	set.Authenticate = func(key []byte) (string, bool, bool) {
		adv, scopes := index.Authenticate(key)
		if adv == nil {
			return "", false, false
		}
		return adv.ID, scopes.Has(campaigns.ScopeEvents) || scopes.Has(campaigns.ScopeEventsConsented), true
	}
	set.Vouches = func(key []byte) bool {
		_, scopes := index.Authenticate(key)
		return scopes.Has(campaigns.ScopeEventsConsented)
	}
	if u, err := url.Parse(a.public); err == nil {
		set.PublicHost, set.HTTPS = u.Host, strings.EqualFold(u.Scheme, "https")
	}
	return set
}
