package audiences

import (
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Set is the compiled audiences of one configuration. It never changes.
type Set struct{}

// Compile turns specs into a Set, or tells every problem. Advertisers are the
// known ids; where there is one, it owns every audience that names none.
func Compile(specs []Spec, advertisers []string) (*Set, []Problem) { return &Set{}, nil }

// Audience is the program of one audience; nil when there is none of that id.
func (s *Set) Audience(id string) *Program { return nil }

// Rules are the canonical texts of every segment of the set, sorted. They go
// into the config fact; [NewMatcher] reads them.
func (s *Set) Rules() []string { return nil }

// Matcher says which segments an event belongs to. It never changes.
type Matcher struct{}

// NewMatcher compiles canonical texts, as [Set.Rules] gives them.
func NewMatcher(canonical []string) (*Matcher, error) { return &Matcher{}, nil }

// Match appends the segments that an event fact belongs to, in the order of
// their ids. Facts of other kinds belong to none.
func (m *Matcher) Match(f *events.Fact, dst []rtb.SegmentID) []rtb.SegmentID { return dst }

// Program decides whether a visitor is in an audience. It never changes and may
// be used by many goroutines.
type Program struct{}

// Window narrows an audience by the age of its last qualifying event, as a line
// does; zero means no limit.
type Window struct{ Within, NotWithin time.Duration }

// Verdict is what a Program says of a visitor.
type Verdict struct {
	// In: the visitor is in the audience and in the window.
	In bool
	// Excluded: he would be in, but for the exclusion.
	Excluded bool
	// Last is the latest event that the true leaves of the inclusion counted,
	// and Count the largest number of events that one of them counted in its
	// look-back: for recency and intensity pricing.
	Last  rtb.Second
	Count uint32
}

// Eval says whether v is in the audience at now. It does not allocate.
func (p *Program) Eval(v *rtb.Visitor, now time.Time, w Window) Verdict { return Verdict{} }

// ID is the audience's id; Advertiser is its owner's.
func (p *Program) ID() string { return "" }

// Advertiser is the id of the audience's owner.
func (p *Program) Advertiser() string { return "" }

// Triggers are segments of which a visitor must hold at least one to be in the
// audience.
func (p *Program) Triggers() []rtb.SegmentID { return nil }

// CanonicalEvent is Rebound's name of an event that may come under another
// tag's name (Meta, Segment, Criteo, RTB House, AdRoll, Xandr; any case). A name
// that no table knows is kept as it is, without spaces around it, and known is
// false: it is a custom event, which rules may name.
func CanonicalEvent(name string) (canonical string, known bool) { return name, true }
