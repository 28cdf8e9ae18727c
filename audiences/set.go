package audiences

import (
	"maps"
	"slices"

	"rebound/rtb"
)

// Set is the compiled audiences of one configuration. It never changes.
type Set struct {
	programs map[string]*Program
	rules    map[rtb.SegmentID]string
}

// Audience is the program of one audience; nil when there is none of that id.
func (s *Set) Audience(id string) *Program { return s.programs[id] }

// IDs are the audiences' ids, sorted.
func (s *Set) IDs() []string { return slices.Sorted(maps.Keys(s.programs)) }

// Rules are the canonical texts of every segment of the set, sorted. They go
// into the config fact; [NewMatcher] reads them.
func (s *Set) Rules() []string { return slices.Sorted(maps.Values(s.rules)) }

// Text is the canonical text of a segment; empty when the set has it not.
func (s *Set) Text(id rtb.SegmentID) string { return s.rules[id] }

// Events are the names of the events that the rules look for, sorted; the rule
// for every event names none.
func (s *Set) Events() []string {
	names := map[string]bool{}
	for _, text := range s.rules {
		if r, err := parseRule(text); err == nil && r.event != anyEvent {
			names[r.event] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
