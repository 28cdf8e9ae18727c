package audiences

import (
	"cmp"
	"slices"

	"rebound/events"
	"rebound/rtb"
)

// Matcher decides which segments an event belongs to. It is immutable and safe
// for concurrent use.
type Matcher struct {
	tenants map[string]tenant
	size    int
}

// tenant holds the rules of one advertiser by event name. The rules for every
// event are in anywhere and in each list as well. Lists are sorted by segment.
type tenant struct {
	byEvent  map[string][]*rule
	anywhere []*rule
}

// NewMatcher compiles canonical texts as [Set.Rules] returns them. It fails if
// [CheckText] rejects one.
func NewMatcher(canonical []string) (*Matcher, error) {
	m := &Matcher{tenants: map[string]tenant{}}
	seen := map[rtb.SegmentID]bool{}
	for _, text := range canonical {
		r, err := parseRule(text)
		if err != nil {
			return nil, err
		}
		if !seen[r.id] {
			seen[r.id] = true
			m.add(r)
		}
	}
	m.size = len(seen)
	for _, t := range m.tenants {
		for name, rules := range t.byEvent {
			rules = append(rules, t.anywhere...)
			sortRules(rules)
			t.byEvent[name] = rules
		}
		sortRules(t.anywhere)
	}
	return m, nil
}

func (m *Matcher) add(r *rule) {
	t, ok := m.tenants[r.advertiser]
	if !ok {
		t.byEvent = map[string][]*rule{}
	}
	if r.event == anyEvent {
		t.anywhere = append(t.anywhere, r)
	} else {
		t.byEvent[r.event] = append(t.byEvent[r.event], r)
	}
	m.tenants[r.advertiser] = t
}

func sortRules(rules []*rule) {
	slices.SortFunc(rules, func(a, b *rule) int { return cmp.Compare(a.id, b.id) })
}

// Len returns the number of segments.
func (m *Matcher) Len() int { return m.size }

// Match appends the segments that a fact belongs to, sorted. Facts that are not
// events belong to none.
func (m *Matcher) Match(f *events.Fact, dst []rtb.SegmentID) []rtb.SegmentID {
	if f.Kind != events.KindEvent || f.Event == nil {
		return dst
	}
	t, ok := m.tenants[f.Advertiser]
	if !ok {
		return dst
	}
	rules, ok := t.byEvent[f.Event.Name]
	if !ok {
		rules = t.anywhere
	}
	for _, r := range rules {
		if r.match(f.Event) {
			dst = append(dst, r.id)
		}
	}
	return dst
}
