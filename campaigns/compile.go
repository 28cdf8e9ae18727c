package campaigns

import (
	"cmp"
	"slices"

	"rebound/audiences"
	"rebound/creatives"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Input is everything that an index is compiled from.
type Input struct {
	Advertisers []AdvertiserSpec
	Campaigns   []CampaignSpec
	// Audiences are the compiled rules, including those of [BuyersSpec]; nil if
	// they have problems. AudienceIDs are the ids of all configured audiences.
	Audiences   *audiences.Set
	AudienceIDs []string
	// Creatives are the compiled creatives by id; nil for one that has problems.
	Creatives map[string]*creatives.Creative
	// Feeds are the loaded feeds by id; nil for one that has problems.
	Feeds     map[string]*creatives.Feed
	Exchanges []string // ids of all configured exchanges
	// Tables loads the list files that lines refer to; nil allows none.
	Tables *Tables
	// HasSellers is set if there is a table of ads.txt to look up sellers in.
	HasSellers bool
}

// Compile checks everything and builds the index, which is nil if there is any
// problem. Paths begin with advertisers or campaigns.
func Compile(in Input) (*Index, spec.Report) {
	c := &compiler{in: in, x: &Index{byID: map[string]*Advertiser{}, byTrigger: map[rtb.SegmentID][]int32{}}, audienceIDs: make(map[string]struct{}, len(in.AudienceIDs))}
	for _, id := range in.AudienceIDs {
		c.audienceIDs[id] = struct{}{}
	}
	for i := range in.Advertisers {
		c.advertiser(spec.At("advertisers", i), &in.Advertisers[i])
	}
	seen := map[[2]string]bool{}
	for i := range in.Campaigns {
		path, s := spec.At("campaigns", i), &in.Campaigns[i]
		if key := [2]string{s.Advertiser, s.ID}; seen[key] && s.ID != "" {
			c.Add(path+".id", spec.Quote(s.ID)+" again", "an id that no other campaign of the advertiser has")
		} else {
			seen[key] = true
		}
		c.campaign(path, s)
	}
	if len(c.Problems) > 0 {
		return nil, c.Report
	}
	c.build()
	return c.x, c.Report
}

type compiler struct {
	spec.Report
	in     Input
	x      *Index
	specs  map[*Advertiser]*AdvertiserSpec
	above  map[*Advertiser]level   // of advertisers
	levels map[*CampaignSpec]level // of campaigns

	audienceIDs map[string]struct{}  // in.AudienceIDs
	dayparts    map[string]*dayparts // by zone and text; lines share them
	rules       map[string]any       // by kind and value; see shared
}

// shared returns the rule of a kind that was the first with a value. Most lines have the
// rules of others: those that share them are evaluated with warm caches.
func shared[T any](c *compiler, kind, value string, rule *T) *T {
	key := kind + " " + value
	if first, ok := c.rules[key].(*T); ok {
		return first
	}
	if c.rules == nil {
		c.rules = map[string]any{}
	}
	c.rules[key] = rule
	return rule
}

// choose returns the index of word among words, or absent if word is empty or
// wrong.
func (c *compiler) choose(path, word string, words []string, absent int) int {
	if word == "" {
		return absent
	}
	if i := c.OneOf(path, word, words); i >= 0 {
		return i
	}
	return absent
}

// build sorts the lines and fills the lookup tables.
func (c *compiler) build() {
	x := c.x
	slices.SortFunc(x.lines, func(a, b *Line) int { return compareIDs(a.ID, b.ID) })
	for _, l := range x.lines {
		if l.Status == StatusActive {
			x.live = append(x.live, l)
		}
	}
	slices.SortStableFunc(x.live, func(a, b *Line) int { return cmp.Compare(b.Priority, a.Priority) })
	c.terms()
	for n, l := range x.live {
		x.parts |= l.parts()
		if l.Contextual {
			x.contextual = append(x.contextual, int32(n))
		}
		triggers := l.Audience.triggers()
		if len(triggers) == 0 {
			x.always = append(x.always, int32(n))
		}
		for _, t := range triggers {
			x.byTrigger[t] = append(x.byTrigger[t], int32(n))
		}
	}
}

// parts returns the parts of a request that the line asks for.
func (l *Line) parts() rtb.Parts {
	parts := l.Targeting.parts()
	add := func(programs ...*audiences.Program) {
		for _, p := range programs {
			if p != nil {
				parts |= p.Parts()
			}
		}
	}
	a := &l.Audience
	add(a.Include...)
	add(a.AnyOf...)
	add(a.Exclude...)
	add(a.Buyers, a.Suppressed)
	if l.Rotation != nil {
		add(l.Rotation.when...)
	}
	return parts
}

// triggers returns segments of which a visitor must have one to be in the
// audience. The visitor must be in every included audience, so the triggers of
// the one with the fewest suffice; without Include, the visitor must be in one
// of AnyOf.
func (a *Audience) triggers() []rtb.SegmentID {
	var best []rtb.SegmentID
	for _, p := range a.Include {
		if t := p.Triggers(); len(t) > 0 && (best == nil || len(t) < len(best)) {
			best = t
		}
	}
	if best == nil {
		for _, p := range a.AnyOf {
			t := p.Triggers()
			if len(t) == 0 {
				return nil
			}
			best = append(best, t...)
		}
	}
	best = slices.Clone(best)
	slices.Sort(best)
	return slices.Compact(best)
}

func compareIDs(a, b rtb.LineID) int {
	return cmp.Or(cmp.Compare(a.Advertiser, b.Advertiser), cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.Line, b.Line))
}
