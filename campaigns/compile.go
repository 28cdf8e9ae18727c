package campaigns

import (
	"cmp"
	"slices"
	"strconv"

	"rebound/audiences"
	"rebound/creatives"
	"rebound/rtb"
)

// Input is what an index is compiled from.
type Input struct {
	Advertisers []AdvertiserSpec
	Campaigns   []CampaignSpec
	// Audiences holds the compiled rules, those of [BuyersSpec] included; nil
	// when they have problems of their own. AudienceIDs are all that exist.
	Audiences   *audiences.Set
	AudienceIDs []string
	// Creatives are the compiled creatives by id; nil for one that has problems.
	Creatives map[string]*creatives.Creative
	// Feeds are the loaded feeds by id; nil for one that has problems.
	Feeds     map[string]*creatives.Feed
	Exchanges []string // the ids that exist
	// Tables loads the list files that lines name; nil allows none.
	Tables *Tables
	// HasSellers tells that there is a table of ads.txt to look sellers up in.
	HasSellers bool
}

// Problem is one thing that is wrong. Path leads to it, e.g.
// campaigns[0].lines[1].bid.max_cpm.
type Problem struct {
	Path string
	Got  string
	Want string
	Hint string // may be empty
	// Warning tells that it can be run all the same.
	Warning bool
}

// Compile checks everything and builds the index. The index is nil when there is
// any problem that is no warning.
func Compile(in Input) (*Index, []Problem) {
	c := &compiler{in: in, x: &Index{byID: map[string]*Advertiser{}, byTrigger: map[rtb.SegmentID][]int32{}}}
	for i := range in.Advertisers {
		c.advertiser("advertisers["+strconv.Itoa(i)+"]", &in.Advertisers[i])
	}
	seen := map[[2]string]bool{}
	for i := range in.Campaigns {
		path := "campaigns[" + strconv.Itoa(i) + "]"
		spec := &in.Campaigns[i]
		if key := [2]string{spec.Advertiser, spec.ID}; seen[key] && spec.ID != "" {
			c.add(path+".id", quote(spec.ID)+" again", "an id that no other campaign of the advertiser has", "")
		} else {
			seen[key] = true
		}
		c.campaign(path, spec)
	}
	if slices.ContainsFunc(c.problems, func(p Problem) bool { return !p.Warning }) {
		return nil, c.problems
	}
	c.build()
	return c.x, c.problems
}

type compiler struct {
	in       Input
	x        *Index
	specs    map[*Advertiser]*AdvertiserSpec
	above    map[*Advertiser]level   // of advertisers
	levels   map[*CampaignSpec]level // of campaigns
	problems []Problem
}

func (c *compiler) add(path, got, want, hint string) {
	c.problems = append(c.problems, Problem{Path: path, Got: got, Want: want, Hint: hint})
}

func (c *compiler) warn(path, got, want string) {
	c.problems = append(c.problems, Problem{Path: path, Got: got, Want: want, Warning: true})
}

// id checks an id's form.
func (c *compiler) id(path, id string) {
	switch {
	case id == "":
		c.add(path, "nothing", wantID, "")
	case !rtb.ValidID(id):
		c.add(path, quote(id), wantID, "")
	}
}

const wantID = "an id of a-z, 0-9, _ and -, at most 64 characters"

// known reports a reference that leads nowhere.
func (c *compiler) known(path, id, what string, ids []string) bool {
	if slices.Contains(ids, id) {
		return true
	}
	got := quote(id)
	if id == "" {
		got = "nothing"
	}
	hint := rtb.DidYouMean(id, ids)
	if hint == "" && len(ids) > 0 && len(ids) <= 8 {
		hint = "one of " + join(ids)
	}
	c.add(path, got, "the id of "+what, hint)
	return false
}

// choose finds a word among the allowed ones; the first is the default.
func (c *compiler) choose(path, word string, words []string, absent int) int {
	if word == "" {
		return absent
	}
	if i := slices.Index(words, word); i >= 0 {
		return i
	}
	c.add(path, quote(word), "one of "+join(words), rtb.DidYouMean(word, words))
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
	for n, l := range x.live {
		if l.Contextual {
			x.contextual = append(x.contextual, l)
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

// triggers are segments of which a visitor must hold one for the audience to
// hold. Every included audience must hold, so the one with the fewest is
// enough; without any, one of AnyOf's must.
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
