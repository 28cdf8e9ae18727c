package campaigns

import (
	"slices"
	"time"

	"rebound/rtb"
)

// Index is everything that may be bought, ready for lookup. It is immutable and
// safe for concurrent use.
type Index struct {
	advertisers []*Advertiser
	byID        map[string]*Advertiser
	lines       []*Line                   // every line, by advertiser, campaign and line id
	live        []*Line                   // the active ones, the best first
	byTrigger   map[rtb.SegmentID][]int32 // ordinals in live
	always      []int32                   // ordinals of lines that need no segment
	contextual  []*Line                   // the active ones that need no visitor, the best first
}

// Scratch is what Candidates works in; it is reused, and never shared by two
// goroutines at a time. The zero value is ready.
type Scratch struct {
	index  *Index
	epoch  uint32
	seen   []uint32 // by ordinal: the epoch that found it last
	found  []int32
	result []*Line
}

// Candidates are the active lines that could be for the visitor, the best first:
// by priority, the higher first, then by id. Every line whose audience holds is
// among them; whether it does is the line's own question ([Audience.Match]). The
// result is valid until the scratch is used again.
func (x *Index) Candidates(v *rtb.Visitor, s *Scratch) []*Line {
	s.begin(x)
	for _, n := range x.always {
		s.add(n)
	}
	for i := range v.Segments {
		for _, n := range x.byTrigger[v.Segments[i].ID] {
			s.add(n)
		}
	}
	slices.Sort(s.found)
	for _, n := range s.found {
		s.result = append(s.result, x.live[n])
	}
	return s.result
}

// Contextual are the active lines that may bid where no visitor is known, the best
// first.
func (x *Index) Contextual() []*Line {
	if x == nil {
		return nil
	}
	return x.contextual
}

func (s *Scratch) begin(x *Index) {
	if s.index != x || s.epoch == ^uint32(0) {
		if cap(s.seen) < len(x.live) {
			s.seen = make([]uint32, len(x.live))
		}
		s.seen = s.seen[:len(x.live)]
		clear(s.seen)
		s.index, s.epoch = x, 0
	}
	s.epoch++
	s.found, s.result = s.found[:0], s.result[:0]
}

func (s *Scratch) add(n int32) {
	if s.seen[n] != s.epoch {
		s.seen[n] = s.epoch
		s.found = append(s.found, n)
	}
}

// Lines are all lines, active or not, by their ids.
func (x *Index) Lines() []*Line { return x.lines }

// Live is how many lines are active.
func (x *Index) Live() int { return len(x.live) }

// Line finds a line, active or not; nil when there is none.
func (x *Index) Line(id rtb.LineID) *Line {
	i, ok := slices.BinarySearchFunc(x.lines, id, func(l *Line, id rtb.LineID) int { return compareIDs(l.ID, id) })
	if !ok {
		return nil
	}
	return x.lines[i]
}

// Advertisers are all advertisers, in the order of the configuration.
func (x *Index) Advertisers() []*Advertiser { return x.advertisers }

// Advertiser finds an advertiser; nil when there is none.
func (x *Index) Advertiser(id string) *Advertiser { return x.byID[id] }

// Plan is what pacing needs to know of a line. Amounts are micros of Currency; 0
// means that there is no such cap.
type Plan struct {
	Line          rtb.LineID
	Priority      int
	Currency      rtb.Currency
	Zone          *time.Location
	Pacing        Pacing
	Caps          rtb.CapSet
	LineDay       rtb.Micros
	LineTotal     rtb.Micros
	CampaignDay   rtb.Micros
	CampaignTotal rtb.Micros
	// CampaignPacing is how the campaign's own caps are spread.
	CampaignPacing Pacing
	// Holdback are the shares of the line's own caps and of the campaign's that
	// are not bid, in percent.
	Holdback, CampaignHoldback int
	MaxCPM                     rtb.CPM
	Start, End                 time.Time // zero: open
	Active                     bool
}

// Plan lists every line with its caps, by their ids; lines that are not active
// are there too, because what they spent still counts.
func (x *Index) Plan() []Plan {
	plan := make([]Plan, 0, len(x.lines))
	for _, l := range x.lines {
		plan = append(plan, Plan{
			Line: l.ID, Priority: l.Priority, Currency: l.Advertiser.Currency, Zone: l.Advertiser.Zone,
			Pacing: l.Pacing, Caps: l.Caps, LineDay: l.Daily, LineTotal: l.Total,
			CampaignDay: l.Campaign.Daily, CampaignTotal: l.Campaign.Total, CampaignPacing: l.Campaign.Pacing,
			Holdback: l.HoldbackPct, CampaignHoldback: l.Campaign.HoldbackPct,
			MaxCPM: l.Bid.MaxCPM, Start: l.Start, End: l.End, Active: l.Status == StatusActive,
		})
	}
	return plan
}
