package audiences

import (
	"maps"
	"slices"

	"rebound/rtb"
)

// Set holds the compiled audiences of one configuration. It is immutable.
type Set struct {
	programs map[string]*Program
	rules    map[rtb.SegmentID]string
}

// Audience returns the program of an audience, or nil if there is none with
// that id.
func (s *Set) Audience(id string) *Program { return s.programs[id] }

// IDs returns the ids of the audiences, sorted.
func (s *Set) IDs() []string { return slices.Sorted(maps.Keys(s.programs)) }

// Rules returns the canonical texts of all segments, sorted. The config fact
// carries them, and [NewMatcher] compiles them.
func (s *Set) Rules() []string { return slices.Sorted(maps.Values(s.rules)) }

// Text returns the canonical text of a segment, or an empty string if it is not
// in the set.
func (s *Set) Text(id rtb.SegmentID) string { return s.rules[id] }

// Events returns the names of the events that the rules refer to, sorted. A
// rule for every event adds none.
func (s *Set) Events() []string {
	names := map[string]bool{}
	for _, text := range s.rules {
		if r, err := parseRule(text); err == nil && r.event != anyEvent {
			names[r.event] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
