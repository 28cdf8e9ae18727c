package campaigns

import (
	"time"

	"rebound/audiences"
	"rebound/creatives"
	"rebound/rtb"
)

// Status is whether a campaign or line may spend.
type Status uint8

// Statuses, from the least to the most restrictive. Of a line and its campaign
// the more restrictive counts.
const (
	StatusActive Status = iota
	StatusPaused
	StatusDraft
	StatusArchived
)

var statusNames = []string{"active", "paused", "draft", "archived"}

// String returns the status as configured.
func (s Status) String() string {
	if int(s) >= len(statusNames) {
		return ""
	}
	return statusNames[s]
}

// Pacing is how a budget is spread over its window.
type Pacing uint8

// Ways of pacing.
const (
	PacingEven  Pacing = iota // over the day
	PacingASAP                // until it is spent
	PacingAhead               // over the day, but up to a quarter more at its beginning
)

var pacingNames = []string{"even", "asap", "ahead"}

// String returns the pacing as configured.
func (p Pacing) String() string {
	if int(p) >= len(pacingNames) {
		return ""
	}
	return pacingNames[p]
}

// Advertiser is a company that pays for impressions.
type Advertiser struct {
	ID          string
	Name        string
	Domains     []string // lower case; the first is the bid's adomain
	Currency    rtb.Currency
	Zone        *time.Location
	Cats        []string
	Feed        *creatives.Feed // nil: no products
	Start, End  time.Time       // zero: open
	Limits      rtb.Limits      // its own caps
	Pacing      Pacing          // of its own caps
	HoldbackPct int             // percentage of each of them held back for late bills
	Keys        []Key
}

// Campaign is a set of lines with common budgets and dates.
type Campaign struct {
	ID           string
	Advertiser   *Advertiser
	Status       Status
	Start, End   time.Time // zero: open
	Daily, Total rtb.Micros
	Limits       rtb.Limits // its own caps, Daily and Total included
	Pacing       Pacing
	HoldbackPct  int // percentage of each cap held back for late bills
	Lines        []*Line
}

// Line is the smallest unit that bids. It is immutable and safe for concurrent
// use.
type Line struct {
	// What decides whether the line may bid on a request comes first, so that it is in few
	// cache lines.
	Start, End time.Time  // within those of the campaign; zero: open; End is exclusive
	Targeting  *Targeting // nil: no restrictions
	Audience   Audience
	exchanges  map[string]struct{} // nil: all
	ChildSafe  bool                // may be shown to children
	Contextual bool                // may bid without knowing the visitor
	Status     Status
	Advertiser *Advertiser
	ID         rtb.LineID
	App        *App // nil: the line advertises no app
	Creatives  []*creatives.Creative
	Alike      []*creatives.Creative // those that they are like, by the same index
	Rotation   *Rotation             // nil: the first creative that fits
	Deals      *Deals                // nil: open bids only
	Bid        Bid

	Campaign   *Campaign
	Priority   int         // highest first
	Disclosure *Disclosure // nil: nothing is disclosed
	// Frequency are the caps of the line, its campaign and its advertiser,
	// which all apply. MinGap is on the line's first cap.
	Frequency     []rtb.FrequencyCap
	Scope         rtb.ScopeID // in which its own impressions count
	MaxPerRequest int         // slots of one request; 0: as many as Frequency leaves
	Caps          rtb.CapSet  // the budgets that apply
	Daily, Total  rtb.Micros  // its own caps; 0: none
	Limits        rtb.Limits  // its own caps, Daily and Total included
	Pacing        Pacing
	HoldbackPct   int // of its own caps
}

// Audience is the visitors that a line is for.
type Audience struct {
	Include []*audiences.Program // the visitor is in all of these
	AnyOf   []*audiences.Program // and in at least one of these, where there are any
	Exclude []*audiences.Program // and in none of these
	Window  audiences.Window     // narrows Include and AnyOf
	// Buyers is the built-in audience of the advertiser's buyers. A visitor who
	// was in it within Converters is excluded. Nil if that is off.
	Buyers     *audiences.Program
	Converters time.Duration
	// Suppressed is the built-in audience of the persons on a list that suppresses.
	Suppressed *audiences.Program
}

// Match is the result of matching an audience against a visitor.
type Match struct {
	Reason rtb.NoBidReason // NoBidNone, NoBidNoAudience or NoBidAudienceExcluded
	Last   rtb.Second      // the latest qualifying event, for recency
	Count  uint32          // the qualifying events, for intensity
}

// Match reports whether the line is for the visitor at a time. rq is the request, or nil
// outside of one. It does not allocate.
func (a *Audience) Match(v *rtb.Visitor, rq *audiences.Request, now time.Time) Match {
	var m Match
	excluded := false
	for _, p := range a.Include {
		r := p.EvalRequest(v, rq, now, a.Window)
		if !r.In && !r.Excluded {
			return Match{Reason: rtb.NoBidNoAudience}
		}
		m.add(r)
		excluded = excluded || r.Excluded
	}
	if len(a.AnyOf) > 0 {
		in, out := false, false
		for _, p := range a.AnyOf {
			r := p.EvalRequest(v, rq, now, a.Window)
			if r.In {
				m.add(r)
			}
			in, out = in || r.In, out || r.Excluded
		}
		if !in && !out {
			return Match{Reason: rtb.NoBidNoAudience}
		}
		excluded = excluded || !in
	}
	if excluded || a.excludes(v, rq, now) {
		m.Reason = rtb.NoBidAudienceExcluded
	}
	return m
}

// add keeps the latest event and the largest count of the programs that are
// true.
func (m *Match) add(r audiences.Verdict) {
	m.Last = max(m.Last, r.Last)
	m.Count = max(m.Count, r.Count)
}

func (a *Audience) excludes(v *rtb.Visitor, rq *audiences.Request, now time.Time) bool {
	for _, p := range a.Exclude {
		if p.EvalRequest(v, rq, now, audiences.Window{}).In {
			return true
		}
	}
	if a.Suppressed != nil && a.Suppressed.EvalRequest(v, rq, now, audiences.Window{}).In {
		return true
	}
	return a.Buyers != nil && a.Buyers.Eval(v, now, audiences.Window{Within: a.Converters}).In
}

// On reports whether the line may be shown on an exchange.
func (l *Line) On(exchange string) bool {
	if l.exchanges == nil {
		return true
	}
	_, ok := l.exchanges[exchange]
	return ok
}

// Live reports whether the line runs at a time: from Start, until before End.
func (l *Line) Live(now time.Time) bool {
	return !now.Before(l.Start) && (l.End.IsZero() || now.Before(l.End))
}

// Bid describes the price that a line is willing to pay for an impression.
type Bid struct {
	Goal      rtb.Goal
	CPM       rtb.CPM
	MaxCPM    rtb.CPM         // rtb.MaxCPM without max_cpm
	Recency   []RecencyStep   // windows ascending
	Intensity []IntensityStep // counts ascending
	Adjust    *Adjust         // nil: none
}

// RecencyFactor returns the factor for the age of the last event: that of the
// first step whose window includes it, that of the last step beyond all
// windows, and 1 without steps.
func (b *Bid) RecencyFactor(age time.Duration) float64 {
	x := 1.0
	for i := range b.Recency {
		x = b.Recency[i].X
		if age <= b.Recency[i].Within {
			break
		}
	}
	return x
}

// IntensityFactor returns the factor for a number of events: that of the
// highest step that is reached, else 1.
func (b *Bid) IntensityFactor(count uint32) float64 {
	x := 1.0
	for i := range b.Intensity {
		if int64(count) < int64(b.Intensity[i].MinCount) {
			break
		}
		x = b.Intensity[i].X
	}
	return x
}

// highest returns a bound of the value of an impression before the factors.
func (b *Bid) highest() rtb.CPM {
	if b.Goal.Kind != rtb.GoalFixed {
		return rtb.MaxCPM
	}
	return b.CPM
}
