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
	sums    map[rtb.SegmentID]rtb.Currency
	byID    map[rtb.SegmentID]*rule
}

// tenant holds the rules of one advertiser by event name. The rules for every
// event are in anywhere and in each list as well. Lists are sorted by segment.
type tenant struct {
	byEvent  map[string][]*rule
	anywhere []*rule
	members  []*rule
}

// Member is a row of an advertiser's list.
type Member struct {
	List    string
	Purpose string            // target or suppress
	Traits  map[string]string // by name
}

// NewMatcher compiles canonical texts as [Set.Rules] returns them. It fails if
// [CheckText] rejects one.
func NewMatcher(canonical []string) (*Matcher, error) {
	m := &Matcher{tenants: map[string]tenant{}, sums: map[rtb.SegmentID]rtb.Currency{}, byID: map[rtb.SegmentID]*rule{}}
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
	for _, t := range m.tenants {
		for name, rules := range t.byEvent {
			rules = append(rules, t.anywhere...)
			sortRules(rules)
			t.byEvent[name] = rules
		}
		sortRules(t.anywhere)
		sortRules(t.members)
	}
	return m, nil
}

func (m *Matcher) add(r *rule) {
	t, ok := m.tenants[r.advertiser]
	if !ok {
		t.byEvent = map[string][]*rule{}
	}
	switch r.event {
	case anyEvent:
		t.anywhere = append(t.anywhere, r)
	case memberEvent:
		t.members = append(t.members, r)
	default:
		t.byEvent[r.event] = append(t.byEvent[r.event], r)
	}
	if !r.sum.IsZero() {
		m.sums[r.id] = r.sum
	}
	m.byID[r.id] = r
	m.tenants[r.advertiser] = t
}

func sortRules(rules []*rule) {
	slices.SortFunc(rules, func(a, b *rule) int { return cmp.Compare(a.id, b.id) })
}

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

// MatchMember appends the segments that a row of an advertiser's list belongs to,
// sorted.
func (m *Matcher) MatchMember(advertiser string, row *Member, dst []rtb.SegmentID) []rtb.SegmentID {
	for _, r := range m.tenants[advertiser].members {
		if r.matchMember(row) {
			dst = append(dst, r.id)
		}
	}
	return dst
}

// Sum returns the currency in which a segment sums the value of its events; false if it
// does not.
func (m *Matcher) Sum(id rtb.SegmentID) (rtb.Currency, bool) {
	c, ok := m.sums[id]
	return c, ok
}

// CountsFor reports whether a segment counts events of an advertiser with a name.
func (m *Matcher) CountsFor(id rtb.SegmentID, advertiser, event string) bool {
	r := m.byID[id]
	return r != nil && r.advertiser == advertiser && r.event == event
}
