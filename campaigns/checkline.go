package campaigns

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"rebound/audiences"
	"rebound/creatives"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Defaults of a line (domain rules c10 and c14).
const (
	defaultPriority   = 50
	defaultConverters = 30 * 24 * time.Hour
	defaultMinGap     = time.Minute
)

var defaultFrequency = Frequency{{Max: 10, Per: 24 * time.Hour}}

// maxFactor is the largest factor of a price. rtb.MaxCPM leaves room for it.
const maxFactor = 100

func (c *compiler) campaign(path string, s *CampaignSpec) {
	c.ID(path+".id", s.ID)
	a := c.x.byID[s.Advertiser]
	if a == nil {
		ids := make([]string, 0, len(c.x.advertisers))
		for _, a := range c.x.advertisers {
			ids = append(ids, a.ID)
		}
		c.Known(path+".advertiser", s.Advertiser, "an advertiser", ids)
		a = &Advertiser{Zone: time.UTC, Currency: rtb.USD}
	}
	start, end := within(s.Start, s.End, a.Start, a.End)
	k := &Campaign{ID: s.ID, Advertiser: a, Start: start, End: end,
		Status:      Status(c.choose(path+".status", s.Status, statusNames, int(StatusDraft))),
		Pacing:      Pacing(c.choose(path+".budget.pacing", s.Budget.Pacing, pacingNames, int(a.Pacing))),
		HoldbackPct: c.holdback(path, &s.Budget, a.HoldbackPct)}
	if s.Status == "" {
		c.Warn(path+".status", "nothing, which means draft", "status: active; a draft bids on nothing")
	}
	c.dates(path, s.Start, s.End)
	k.Limits = c.limits(path, rtb.OwnCampaign, &s.Budget, k.Start)
	k.Daily, k.Total = k.Limits.Of(rtb.CapCampaignDay), k.Limits.Of(rtb.CapCampaignTotal)
	if k.Total > 0 && k.Daily == 0 && k.End.IsZero() && k.Pacing == PacingEven {
		c.Warn(path+".budget.pacing", "even, with a total but neither a daily budget nor an end", "daily, end, or pacing: asap; without an end there is no time over which the total could be spread")
	}
	if !s.Budget.limited() {
		c.Add(path+".budget", "no cap per day, per flight or in total", "at least one of daily, flight, total, imps_daily, imps_flight and imps_total, to limit spending")
	}
	c.frequency(path+".frequency", s.Frequency)
	c.level(path, a, s)
	if len(s.Lines) == 0 {
		c.Add(path+".lines", "none", "at least one line")
	}
	seen := map[string]bool{}
	for i := range s.Lines {
		p := spec.At(path+".lines", i)
		if id := s.Lines[i].ID; id != "" && seen[id] {
			c.Add(p+".id", spec.Quote(id)+" again", "an id that no other line of the campaign has")
		}
		seen[s.Lines[i].ID] = true
		c.line(p, k, s, &s.Lines[i])
	}
}

// lineBudget checks a line's caps against each other and against the campaign's.
func (c *compiler) lineBudget(path string, l *Line) {
	k := l.Campaign
	for _, x := range []struct {
		field, what string
		own, above  rtb.Micros
	}{{"daily", "daily budget", l.Daily, k.Daily}, {"total", "total", l.Total, k.Total}, {"daily", "total", l.Daily, k.Total}} {
		if x.above > 0 && x.own > x.above {
			c.Warn(path+"."+x.field, x.own.String(), "at most the campaign's "+x.what+", "+x.above.String()+", which limits the line anyway")
			break
		}
	}
	if l.Total > 0 && l.Daily == 0 && k.Daily == 0 && l.End.IsZero() && l.Pacing == PacingEven {
		c.Warn(path+".pacing", "even, with a total but neither a daily budget nor an end", "daily, end, or pacing: asap; without an end there is no time over which the total could be spread")
	}
}

func (c *compiler) dates(path string, start, end time.Time) {
	if !start.IsZero() && !end.IsZero() && !end.After(start) {
		c.Add(path+".end", end.Format(time.RFC3339), "a time after start, "+start.Format(time.RFC3339))
	}
}

// holdback returns the percentage of a budget that is held back for late bills.
func (c *compiler) holdback(path string, s *BudgetSpec, fallback int) int {
	if s.HoldbackPct == nil {
		return fallback
	}
	c.Range(path+".budget.holdback_pct", *s.HoldbackPct, 0, 90)
	return *s.HoldbackPct
}

func (c *compiler) line(path string, k *Campaign, cs *CampaignSpec, s *LineSpec) {
	c.ID(path+".id", s.ID)
	l := &Line{ID: rtb.LineID{Advertiser: k.Advertiser.ID, Campaign: k.ID, Line: s.ID},
		Advertiser: k.Advertiser, Campaign: k, Priority: defaultPriority, Start: s.Start, End: s.End,
		Pacing:      Pacing(c.choose(path+".budget.pacing", s.Budget.Pacing, pacingNames, int(k.Pacing))),
		HoldbackPct: c.holdback(path, &s.Budget, k.HoldbackPct)}
	l.Scope = rtb.ScopeOf("line", l.ID.String())
	l.Status = max(k.Status, Status(c.choose(path+".status", s.Status, statusNames, int(k.Status))))
	if s.Priority != nil {
		l.Priority = *s.Priority
		c.Range(path+".priority", l.Priority, 0, 100)
	}
	c.dates(path, s.Start, s.End)
	l.Start, l.End = within(l.Start, l.End, k.Start, k.End)
	l.Limits = c.limits(path, rtb.OwnLine, &s.Budget, l.Start)
	l.Daily, l.Total = l.Limits.Of(rtb.CapLineDay), l.Limits.Of(rtb.CapLineTotal)
	c.lineBudget(path+".budget", l)
	limits := limitsOf(l)
	l.Caps = limits.Caps()
	if l.Contextual, l.ChildSafe = s.Contextual, s.ChildSafe; l.Contextual {
		c.contextual(path, s)
	} else {
		c.audience(path+".audience", l, &s.Audience)
		if s.ChildSafe {
			c.Add(path+".child_safe", "child_safe on a line with an audience", "a contextual line, because children are never identified")
		}
	}
	c.converters(path+".exclude_converters", l, s.ExcludeConverters)
	c.bid(path+".bid", l, &s.Bid)
	l.Frequency = c.caps(path, l, cs, s)
	if l.MaxPerRequest = s.MaxPerRequest; l.MaxPerRequest < 0 {
		c.Add(path+".max_per_request", strconv.Itoa(s.MaxPerRequest), "at least 1, or nothing for as many as the frequency cap leaves")
	}
	c.exchanges(path+".exchanges", l, s.Exchanges)
	c.creatives(path+".creatives", l, s.Creatives)
	c.target(path, l, cs, s)
	c.x.lines = append(c.x.lines, l)
	k.Lines = append(k.Lines, l)
}

func (c *compiler) audience(path string, l *Line, s *AudienceSpec) {
	if len(s.Include) == 0 && len(s.AnyOf) == 0 {
		c.Add(path, "neither include nor any_of", "at least one audience")
	}
	l.Audience.Include = c.programs(path+".include", l, s.Include)
	l.Audience.AnyOf = c.programs(path+".any_of", l, s.AnyOf)
	l.Audience.Exclude = c.programs(path+".exclude", l, s.Exclude)
	l.Audience.Window = audiences.Window{Within: s.Within, NotWithin: s.NotWithin}
	if s.Within > 0 && s.NotWithin >= s.Within {
		c.Add(path+".not_within", spec.FormatDuration(s.NotWithin), "less than within, "+spec.FormatDuration(s.Within))
	}
}

// contextual checks a line that bids without knowing the visitor: it can have
// no audience, and its caps count only known visitors.
func (c *compiler) contextual(path string, s *LineSpec) {
	if a := &s.Audience; len(a.Include)+len(a.AnyOf)+len(a.Exclude) > 0 || a.Within != 0 || a.NotWithin != 0 {
		c.AddHint(path+".audience", "an audience", "none, because the line is contextual", "remove contextual to bid on visitors")
	}
	if len(s.Frequency) > 0 {
		c.Warn(path+".frequency", "a cap on a contextual line", "no cap: it counts known visitors only")
	}
}

func (c *compiler) programs(path string, l *Line, ids []string) []*audiences.Program {
	var out []*audiences.Program
	for i, id := range ids {
		if !spec.KnownIn(&c.Report, spec.At(path, i), id, "an audience", c.audienceIDs) || c.in.Audiences == nil {
			continue
		}
		p := c.in.Audiences.Audience(id)
		if p == nil {
			continue // it has problems of its own
		}
		if p.Advertiser() != l.Advertiser.ID {
			c.Add(spec.At(path, i), fmt.Sprintf("an audience of advertiser %q", p.Advertiser()), "an audience of "+spec.Quote(l.Advertiser.ID))
		}
		out = append(out, p)
	}
	return out
}

// converters excludes recent buyers, unless that is off or the line is for
// buyers.
func (c *compiler) converters(path string, l *Line, o OffDuration) {
	if c.in.Audiences == nil {
		return
	}
	l.Audience.Suppressed = c.in.Audiences.Audience(SuppressedID(l.Advertiser.ID))
	buyers := c.in.Audiences.Audience(BuyersID(l.Advertiser.ID))
	d := o.D
	if !o.Set && !seeksBuyers(&l.Audience) {
		d = defaultConverters
	}
	if d > maxConverters {
		c.Add(path, spec.FormatDuration(d), "at most 540d, or off")
	}
	if d > 0 && buyers != nil {
		l.Audience.Buyers, l.Audience.Converters = buyers, d
	}
}

func (c *compiler) bid(path string, l *Line, s *BidSpec) {
	goal := rtb.Goal{Kind: rtb.GoalKind(c.choose(path+".strategy", s.Strategy, strategies, 0)), Target: s.Target, Prior: s.CPM}
	c.goal(path, &goal, s)
	most := rtb.MaxCPM
	if s.MaxCPM != 0 {
		c.cpm(path+".max_cpm", s.MaxCPM)
		most = s.MaxCPM
	}
	if s.CPM > 0 && s.MaxCPM > 0 && s.MaxCPM < s.CPM {
		c.Add(path+".max_cpm", s.MaxCPM.String(), "at least cpm, "+s.CPM.String())
	}
	for i, r := range s.Recency {
		p := spec.At(path+".recency", i)
		if r.Within <= 0 {
			c.Add(p+".within", spec.FormatDuration(r.Within), "a duration such as 24h")
		}
		if i > 0 && r.Within <= s.Recency[i-1].Within {
			c.Add(p+".within", spec.FormatDuration(r.Within), "more than in the previous step, "+spec.FormatDuration(s.Recency[i-1].Within))
		}
		c.factor(p+".x", r.X)
	}
	for i, r := range s.Intensity {
		p := spec.At(path+".intensity", i)
		if r.MinCount < 1 || i > 0 && r.MinCount <= s.Intensity[i-1].MinCount {
			c.Add(p+".min_count", strconv.Itoa(r.MinCount), "1 or more, and more than in the previous step")
		}
		c.factor(p+".x", r.X)
	}
	l.Bid = Bid{Goal: goal, CPM: s.CPM, MaxCPM: most, Recency: slices.Clone(s.Recency), Intensity: slices.Clone(s.Intensity)}
}

// strategies are the names of the kinds of goals.
var strategies = []string{"fixed", "cpc", "cpa", "roas"}

// Limits of a goal's target.
const (
	maxTarget = rtb.Micros(100_000_000_000) // per click or conversion, whatever the currency
	// The rates of clicks and conversions per impression that a line's cpm may imply.
	maxClickRate, maxConversionRate = 0.5, 0.1
	// The range of the revenue per unit of spend.
	minReturn, maxReturn = rtb.Micros(10_000), rtb.Micros(100_000_000)
)

// goal checks what the impressions of a line are worth.
func (c *compiler) goal(path string, g *rtb.Goal, s *BidSpec) {
	if g.Kind == rtb.GoalFixed {
		c.cpm(path+".cpm", s.CPM)
		if s.Target != 0 {
			c.Add(path+".target", s.Target.String(), "no target with strategy fixed; set strategy to cpc, cpa or roas, or remove target")
		}
		return
	}
	if s.CPM != 0 {
		c.cpm(path+".cpm", s.CPM)
	}
	got := s.Target.String()
	if s.Target == 0 {
		got = "nothing"
	}
	switch g.Kind {
	case rtb.GoalCPC:
		c.worth(path, got, s, "a click", maxClickRate)
	case rtb.GoalCPA:
		c.worth(path, got, s, "a conversion", maxConversionRate)
	case rtb.GoalROAS:
		if s.Target < minReturn || s.Target > maxReturn {
			c.Add(path+".target", got, "the revenue per unit of spend, from 0.01 to 100, such as 4.0; 400 % is 4.0")
		}
		if s.CPM == 0 {
			c.Add(path+".cpm", "nothing", "the value of an impression until the values of orders are known, such as 2.00")
		}
	}
}

// worth checks the target of a line that pays for clicks or conversions, and the rate that
// its cpm implies.
func (c *compiler) worth(path, got string, s *BidSpec, of string, most float64) {
	if s.Target <= 0 || s.Target > maxTarget {
		c.Add(path+".target", got, "the worth of "+of+", more than 0 and at most "+maxTarget.String())
		return
	}
	if float64(s.CPM)/1000/float64(s.Target) > most {
		c.Add(path+".cpm", s.CPM.String(), fmt.Sprintf("at most %g x target, which would be %s every %g impressions; leave cpm out if the rate is unknown", most*1000, of, 1/most))
	}
}

func (c *compiler) factor(path string, x float64) {
	if !(x >= 0 && x <= maxFactor) {
		c.Add(path, spec.Float(x), "a factor from 0 to 100")
	}
}

// caps returns the frequency caps that apply to the line.
func (c *compiler) caps(path string, l *Line, cs *CampaignSpec, s *LineSpec) []rtb.FrequencyCap {
	c.frequency(path+".frequency", s.Frequency)
	own := s.Frequency
	if own == nil {
		own = defaultFrequency
	}
	gap := defaultMinGap
	if s.MinGap.Set {
		gap = s.MinGap.D
	}
	if gap > maxPer {
		c.Add(path+".min_gap", spec.FormatDuration(gap), "at most 90d, or off")
	}
	var out []rtb.FrequencyCap
	scope := func(kind, id string, caps Frequency) {
		for _, f := range caps {
			out = append(out, rtb.FrequencyCap{Scope: rtb.ScopeOf(kind, id), Max: f.Max, Per: f.Per})
		}
	}
	if len(own) == 0 && gap > 0 {
		own = Frequency{{Max: Unlimited, Per: gap}}
	}
	scope("line", l.ID.String(), own)
	if gap > 0 {
		out[0].MinGap = gap
	}
	scope("campaign", l.Advertiser.ID+"/"+l.Campaign.ID, cs.Frequency)
	if as := c.specs[l.Advertiser]; as != nil {
		scope("advertiser", l.Advertiser.ID, as.Frequency)
	}
	return out
}

// Unlimited is the count of a cap that only has a gap.
const Unlimited = 1 << 30

func (c *compiler) exchanges(path string, l *Line, ids []string) {
	if ids == nil {
		return
	}
	l.exchanges = make(map[string]struct{}, len(ids))
	for i, id := range ids {
		if c.Known(spec.At(path, i), id, "an exchange", c.in.Exchanges) {
			l.exchanges[id] = struct{}{}
		}
	}
	if len(ids) == 0 {
		c.Add(path, "an empty list", "at least one exchange; leave the field out for all exchanges")
	}
}

// target compiles the targeting of the line and the declarations of its bids.
func (c *compiler) target(path string, l *Line, cs *CampaignSpec, s *LineSpec) {
	above := c.levels[cs]
	l.Targeting = c.targeting(path, l, &s.TargetSpec, above.safety)
	l.Rotation = c.rotation(path, l, s.Rotation, s.Creatives)
	l.Deals = c.deals(path+".deals", &s.Deals)
	l.Disclosure = above.dsa
	l.Bid.Adjust = c.adjust(path+".bid.adjust", l, &s.Bid.Adjust)
	l.App = c.app(path+".app", &s.App)
}

// level holds the requirements of an advertiser or campaign for all its lines.
type level struct {
	safety *safety // nil: no rules
	dsa    *Disclosure
}

// level compiles the level of a campaign, which includes that of its
// advertiser.
func (c *compiler) level(path string, a *Advertiser, s *CampaignSpec) {
	if c.levels == nil {
		c.levels, c.above = map[*CampaignSpec]level{}, map[*Advertiser]level{}
	}
	own := level{c.above[a].safety.plus(c.safety(path+".safety", &s.Safety)), c.dsa(path+".dsa", &s.DSA, a)}
	if own.dsa == nil {
		own.dsa = c.above[a].dsa
	}
	c.levels[s] = own
}

func (c *compiler) creatives(path string, l *Line, refs []CreativeRef) {
	ids := make([]string, len(refs))
	for i := range refs {
		ids[i] = refs[i].ID
	}
	if len(ids) == 0 {
		c.Add(path, "nothing", "at least one creative")
	}
	list := &creativeList{}
	for i, id := range ids {
		p := spec.At(path, i)
		if slices.Index(ids, id) < i {
			c.Add(p, spec.Quote(id)+" again", "every creative once")
		}
		if !spec.KnownIn(&c.Report, p, id, "a creative", c.in.Creatives) {
			continue
		}
		if cr := c.in.Creatives[id]; cr != nil {
			c.creative(p, l, cr)
			list.creatives, list.alike = append(list.creatives, cr), append(list.alike, cr.Alike)
		}
	}
	list = shared(c, "creatives", fmt.Sprintf("%q", ids), list)
	l.Creatives, l.Alike = list.creatives, list.alike
}

// creativeList is the creatives of a line, and those that they are like. Most lines of a
// campaign have the same, and share their memory.
type creativeList struct{ creatives, alike []*creatives.Creative }

// creative checks that a creative can be used by the line's advertiser.
func (c *compiler) creative(path string, l *Line, cr *creatives.Creative) {
	a := l.Advertiser
	if cr.Advertiser != "" && cr.Advertiser != a.ID {
		c.Add(path, "a creative of advertiser "+spec.Quote(cr.Advertiser), "a creative of "+spec.Quote(a.ID))
	}
	if cr.ClickURL != "" && len(a.Domains) > 0 {
		c.landing(path, cr.ClickURL, a)
	}
	if cr.NeedsProduct && a.Feed == nil && a.ID != "" && c.specs[a].Feed == "" {
		c.Add(path, "a creative that needs products", "a creative that needs none, or a feed for advertiser "+spec.Quote(a.ID))
	}
}
