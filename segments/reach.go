package segments

import (
	"strings"

	"rebound/rtb"
)

// Reach reports whether a visitor has a profile, and whether an exchange knows the visitor
// by an id of its own, a device id or an extended id.
func (s *Store) Reach(visitor rtb.Key) (known, biddable bool) {
	if !s.known.Load().has(&visitor) {
		return false, false
	}
	e, err := s.read(&visitor, profileSpace, nil)
	if err != nil || e.kind() != entryProfile {
		return false, false
	}
	ids, err := s.Links(visitor)
	if err != nil {
		return true, false
	}
	for _, l := range ids {
		if reachable(l.KeyKind) {
			return true, true
		}
	}
	return true, false
}

// reachable reports whether identifiers of a kind are in bid requests.
func reachable(kind string) bool {
	return kind == "ifa" || strings.HasPrefix(kind, "b:") || strings.HasPrefix(kind, "eid:")
}
