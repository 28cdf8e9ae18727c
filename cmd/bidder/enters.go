package main

import (
	"strings"

	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/collect"
	"rebound/config"
	"rebound/events"
	"rebound/rtb"
)

// enters returns the function that says which audiences of an advertiser an event would
// make its visitor enter or leave, for dry runs of events.
func (a *app) enters(s *config.Snapshot) func(*events.Fact) collect.Effect {
	matcher, err := audiences.NewMatcher(s.AudienceSet.Rules())
	if err != nil { // the set made the rules
		a.log.Error("cannot compile the rules for dry runs", zap.Error(err))
		return nil
	}
	set := s.AudienceSet
	return func(f *events.Fact) collect.Effect {
		e := collect.Effect{Enters: []string{}}
		var before, after rtb.Visitor
		if err := a.visitors.Preview(matcher, f, &before, &after); err != nil {
			a.log.Warn("cannot read the visitor of a dry run", zap.Error(err))
			return e
		}
		now := a.now()
		for _, id := range set.IDs() {
			p := set.Audience(id)
			if p.Advertiser() != "" && p.Advertiser() != f.Advertiser || strings.HasPrefix(id, campaigns.BuiltinPrefix) {
				continue
			}
			was, is := p.Eval(&before, now, audiences.Window{}).In, p.Eval(&after, now, audiences.Window{}).In
			switch {
			case is && !was:
				e.Enters = append(e.Enters, id)
			case was && !is:
				e.Leaves = append(e.Leaves, id)
			case is:
				e.Stays = append(e.Stays, id)
			}
		}
		return e
	}
}
