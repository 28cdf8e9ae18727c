package segments

import (
	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// Preview fills before with the profile of the fact's visitor, and after with what it
// would be once the event is folded under the rules of m. Nothing is stored.
func (s *Store) Preview(m *audiences.Matcher, f *events.Fact, before, after *rtb.Visitor) error {
	for _, v := range []*rtb.Visitor{before, after} {
		if _, err := s.Profile(f.Visitor, v); err != nil {
			return err
		}
	}
	if f.Event == nil || after.OptedOut {
		return nil
	}
	at := happened(f)
	for _, id := range m.Match(f, nil) {
		addEvent(after, id, at)
	}
	addProducts(after, f.Advertiser, f.Event, at)
	return nil
}
