package segments

import (
	"time"

	"rebound/rtb"
)

// LinkedAt is [Store.Linked] with the time at which the identifier was last seen with its
// visitor. It is for the edge, and allocates.
func (s *Store) LinkedAt(k rtb.Key) (visitor rtb.Key, seen time.Time, ok bool) {
	if _, linked := s.Linked(k); !linked {
		return rtb.Key{}, time.Time{}, false
	}
	entry, err := s.read(&k, edgeSpace, nil)
	if err != nil || entry.kind() != entryEdge {
		return rtb.Key{}, time.Time{}, false
	}
	e, err := decodeEdge(entry.value())
	if err != nil || len(e.devices) == 0 {
		return rtb.Key{}, time.Time{}, false
	}
	last := e.devices[len(e.devices)-1]
	return last.visitor, last.seen.Time(), true
}
