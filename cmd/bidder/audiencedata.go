package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/audiences"
	"rebound/campaigns"
	"rebound/events"
	"rebound/rtb"
	"rebound/segments"
	"rebound/server"
)

// audienceRow is what a survey of all visitors found about one audience.
type audienceRow struct {
	ID         string `json:"id"`
	Name       string `json:"name,omitempty"`
	Advertiser string `json:"advertiser"`
	Recipe     string `json:"recipe,omitempty"`
	Size       int    `json:"size"`     // visitors in it now
	Excluded   int    `json:"excluded"` // kept out by the exclusion only
	// Adds and Removes are the visitors who are in now and were not 24 hours ago, and the
	// reverse, as far as profiles remember.
	Adds    int `json:"adds_24h"`
	Removes int `json:"removes_24h"`
	// Biddable are those whom a bid request can name by an identifier of an exchange, a
	// device id or an extended id; Reach counts them by exchange, ifa and eid.
	Biddable    int            `json:"biddable"`
	BiddablePct float64        `json:"biddable_pct"`
	Reach       map[string]int `json:"reach"`
	Identified  map[string]int `json:"identified"` // by em, ph, xid
	// Request is set if the rule needs a bid request, so that Size counts none by it.
	Request    bool `json:"needs_request,omitempty"`
	Rebuilding bool `json:"rebuilding,omitempty"`
	// Sample is why one of the visitors is in it.
	Sample []string `json:"sample,omitempty"`
}

// audienceReport is the response of GET /admin/audiences.
type audienceReport struct {
	At         time.Time     `json:"at"`
	TookMS     int64         `json:"took_ms"`
	Visitors   int           `json:"visitors"`
	RebuiltPct float64       `json:"rebuilt_pct,omitempty"` // of a rebuild in progress
	Failed     string        `json:"rebuild_failed,omitempty"`
	Audiences  []audienceRow `json:"audiences"`
}

// surveys keeps the last report, because a survey reads every profile.
type surveys struct {
	mu   sync.Mutex // held during a survey: a second request waits for the first
	last *audienceReport
}

// surveyAge is how old a report may be.
const surveyAge = 10 * time.Second

// audienceData handles GET /admin/audiences.
func (a *app) audienceData(ctx *fasthttp.RequestCtx) {
	r, err := a.surveyAudiences(context.Background())
	if err != nil {
		sendError(ctx, fasthttp.StatusServiceUnavailable, "unreadable", err.Error())
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, r)
}

func (a *app) surveyAudiences(ctx context.Context) (*audienceReport, error) {
	a.surveys.mu.Lock()
	defer a.surveys.mu.Unlock()
	began := a.now()
	set := a.snapshot.Load().AudienceSet
	if r := a.surveys.last; r == nil || began.Sub(r.At) > surveyAge {
		r, err := surveyOf(ctx, a.visitors, set, set.IDs(), began)
		if err != nil {
			return nil, err
		}
		r.TookMS = a.now().Sub(began).Milliseconds()
		a.surveys.last = r
	}
	r := *a.surveys.last
	pending, done, failed := a.rebuilder.state()
	r.RebuiltPct, r.Failed, r.Audiences = done, failed, slices.Clone(r.Audiences)
	for i := range r.Audiences {
		row := &r.Audiences[i]
		if p := set.Audience(row.ID); p != nil {
			row.Rebuilding = slices.ContainsFunc(p.Segments(), func(id rtb.SegmentID) bool { return slices.Contains(pending, set.Text(id)) })
		}
	}
	return &r, nil
}

// surveyOf evaluates audiences for all visitors of a store.
func surveyOf(ctx context.Context, s *segments.Store, set *audiences.Set, ids []string, now time.Time) (*audienceReport, error) {
	r := &audienceReport{At: now.UTC()}
	var programs []*audiences.Program
	for _, id := range ids {
		p := set.Audience(id)
		if p == nil || strings.HasPrefix(id, campaigns.BuiltinPrefix) {
			continue
		}
		programs = append(programs, p)
		r.Audiences = append(r.Audiences, audienceRow{ID: id, Name: p.Name(), Advertiser: p.Advertiser(), Recipe: p.Recipe(),
			Request: len(p.Triggers()) == 0, Reach: map[string]int{}, Identified: map[string]int{}})
	}
	var before rtb.Visitor
	yesterday := now.Add(-24 * time.Hour)
	err := s.Survey(ctx, func(v *rtb.Visitor, links []events.LinkKey) error {
		r.Visitors++
		before.CopyFrom(v)
		segments.Before(&before, rtb.SecondOf(yesterday))
		for i, p := range programs {
			row := &r.Audiences[i]
			is, was := p.Eval(v, now, audiences.Window{}), p.Eval(&before, yesterday, audiences.Window{}).In
			row.count(is, was, links)
			if is.In && row.Sample == nil {
				row.Sample = reasons(set, p, v)
			}
		}
		return nil
	})
	for i := range r.Audiences {
		if row := &r.Audiences[i]; row.Size > 0 {
			row.BiddablePct = math.Round(1000*float64(row.Biddable)/float64(row.Size)) / 10
		}
	}
	return r, err
}

// count counts one visitor.
func (row *audienceRow) count(is audiences.Verdict, was bool, links []events.LinkKey) {
	if is.Excluded {
		row.Excluded++
	}
	if was && !is.In {
		row.Removes++
	}
	if !is.In {
		return
	}
	row.Size++
	if !was {
		row.Adds++
	}
	seen := map[string]bool{}
	for _, l := range links {
		by := segments.ReachableBy(l.KeyKind)
		switch {
		case by != "" && !seen[by]:
			seen[by] = true
			row.Reach[by]++
		case by == "" && !seen[l.KeyKind]:
			seen[l.KeyKind] = true
			row.Identified[l.KeyKind]++
		}
	}
	if slices.ContainsFunc(links, func(l events.LinkKey) bool { return segments.ReachableBy(l.KeyKind) != "" }) {
		row.Biddable++
	}
}

// reasons lists what a visitor did that a program counts.
func reasons(set *audiences.Set, p *audiences.Program, v *rtb.Visitor) (out []string) {
	for _, id := range p.Segments() {
		if s := v.Segment(id); s != nil {
			out = append(out, fmt.Sprintf("%s: %d times, last at %s", set.Text(id), s.Count, s.Last.Time().Format(time.RFC3339)))
		}
	}
	return out
}

const audiencesPrefix = "/admin/audiences/"

// rebuildAudience handles POST /admin/audiences/{id}/rebuild.
func (a *app) rebuildAudience(ctx *fasthttp.RequestCtx) {
	id, ok := strings.CutSuffix(string(server.Tail(ctx, audiencesPrefix)), "/rebuild")
	p := a.snapshot.Load().AudienceSet.Audience(id)
	if !ok || p == nil {
		sendError(ctx, fasthttp.StatusNotFound, "no_audience", "want POST /admin/audiences/{id}/rebuild with the id of an audience")
		return
	}
	a.rebuildRules(ctx, id, p)
}

// rebuildRules counts the rules of an audience from the log again.
func (a *app) rebuildRules(ctx *fasthttp.RequestCtx, id string, p *audiences.Program) {
	var rules []string
	for _, segment := range p.Segments() {
		rules = append(rules, a.snapshot.Load().AudienceSet.Text(segment))
	}
	a.rebuilder.ask(rules)
	sendJSON(ctx, fasthttp.StatusAccepted, map[string]any{"audience": id, "rules": rules})
}
