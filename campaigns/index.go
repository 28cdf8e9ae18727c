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
	live        []*Line                   // active lines by priority, highest first, then by id
	terms       []Terms                   // of the same lines
	factors     []*Factors                // different factors of the active lines
	formats     rtb.Formats               // of the creatives of the active lines
	parts       rtb.Parts                 // of the request that the active lines ask for
	byTrigger   map[rtb.SegmentID][]int32 // ordinals in live
	always      []int32                   // ordinals of lines that need no segment
	contextual  []int32                   // ordinals of lines that need no visitor
}

// Scratch is the working memory of Candidates. It is reused, but not safe for
// concurrent use. The zero value is ready to use.
type Scratch struct {
	index *Index
	epoch uint32
	seen  []uint32 // by ordinal: the epoch in which it was found last
	found []int32
}

// Candidates returns the ordinals of the active lines that may be for the visitor, in
// no particular order. They include every line whose audience the visitor is in;
// [Audience.Match] decides. The result is valid until the scratch is used again.
func (x *Index) Candidates(v *rtb.Visitor, s *Scratch) []int32 {
	s.begin(x)
	for _, n := range x.always {
		s.add(n)
	}
	for i := range v.Segments {
		for _, n := range x.byTrigger[v.Segments[i].ID] {
			s.add(n)
		}
	}
	return s.found
}

// Contextual returns the ordinals of the active lines that may bid without knowing the
// visitor.
func (x *Index) Contextual() []int32 {
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
	s.found = s.found[:0]
}

func (s *Scratch) add(n int32) {
	if s.seen[n] != s.epoch {
		s.seen[n] = s.epoch
		s.found = append(s.found, n)
	}
}

// Lines returns all lines, active or not, by id.
func (x *Index) Lines() []*Line { return x.lines }

// Live returns the number of active lines.
func (x *Index) Live() int {
	if x == nil {
		return 0
	}
	return len(x.live)
}

// LiveLine returns the active line with an ordinal: they are numbered from 0 on by
// priority, highest first, then by id.
func (x *Index) LiveLine(ordinal int32) *Line { return x.live[ordinal] }

// Formats returns the formats of the creatives of all active lines.
func (x *Index) Formats() rtb.Formats { return x.formats }

// Parts returns the parts of a request that any active line asks for.
// [exchange.Decoder.Rest] must have read them before a line is evaluated.
func (x *Index) Parts() rtb.Parts {
	if x == nil {
		return 0
	}
	return x.parts
}

// Line returns a line, active or not, or nil if there is none.
func (x *Index) Line(id rtb.LineID) *Line {
	i, ok := slices.BinarySearchFunc(x.lines, id, func(l *Line, id rtb.LineID) int { return compareIDs(l.ID, id) })
	if !ok {
		return nil
	}
	return x.lines[i]
}

// Advertisers returns all advertisers, in the order of the configuration.
func (x *Index) Advertisers() []*Advertiser { return x.advertisers }

// Advertiser returns an advertiser, or nil if there is none.
func (x *Index) Advertiser(id string) *Advertiser { return x.byID[id] }

// Plan holds the settings of a line that pacing needs. Amounts are in Currency; 0
// means no cap.
type Plan struct {
	Line          rtb.LineID
	Currency      rtb.Currency
	Zone          *time.Location
	Pacing        Pacing
	Caps          rtb.CapSet
	LineDay       rtb.Micros
	LineTotal     rtb.Micros
	CampaignDay   rtb.Micros
	CampaignTotal rtb.Micros
	// Limits are the limits of Caps, those above included.
	Limits  rtb.Limits
	Flights rtb.Flights
	// CampaignPacing and AdvertiserPacing are how the caps of the campaign and of the
	// advertiser are spread.
	CampaignPacing, AdvertiserPacing Pacing
	// Holdback is the percentage of the line's own caps that is held back for
	// late bills, the others that of the campaign's and the advertiser's caps.
	Holdback, CampaignHoldback, AdvertiserHoldback int
	MaxCPM                                         rtb.CPM
	Start, End                                     time.Time // zero: open
	Active                                         bool
}

// planMax is the highest price of a line's plan: 0 if the line has no max_cpm.
func planMax(p rtb.CPM) rtb.CPM {
	if p >= rtb.MaxCPM {
		return 0
	}
	return p
}

// Plan returns the plan of every line, by id. It includes inactive lines,
// because their spend still counts.
func (x *Index) Plan() []Plan {
	plan := make([]Plan, 0, len(x.lines))
	for _, l := range x.lines {
		plan = append(plan, Plan{
			Line: l.ID, Currency: l.Advertiser.Currency, Zone: l.Advertiser.Zone,
			Pacing: l.Pacing, Caps: l.Caps, LineDay: l.Daily, LineTotal: l.Total,
			CampaignDay: l.Campaign.Daily, CampaignTotal: l.Campaign.Total, CampaignPacing: l.Campaign.Pacing,
			Limits: limitsOf(l), Flights: flightsOf(l), AdvertiserPacing: l.Advertiser.Pacing,
			Holdback: l.HoldbackPct, CampaignHoldback: l.Campaign.HoldbackPct, AdvertiserHoldback: l.Advertiser.HoldbackPct,
			MaxCPM: planMax(l.Bid.MaxCPM), Start: l.Start, End: l.End, Active: l.Status == StatusActive,
		})
	}
	return plan
}
