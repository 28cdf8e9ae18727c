package journal

import (
	"hash/maphash"
	"sync"
)

// recentIDs is the number of remembered ids. A fact with one of them is not
// written again. This only saves work; the views check for duplicates
// themselves.
const recentIDs = 200_000

// factID identifies a message id by two hashes with different seeds, so that
// two ids are never mistaken for one.
type factID [2]uint64

var idSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func idOf(id []byte) factID {
	return factID{maphash.Bytes(idSeeds[0], id), maphash.Bytes(idSeeds[1], id)}
}

// recent remembers the ids of the newest facts.
type recent struct {
	mu    sync.Mutex // protects the fields below; in a fleet, appenders read them too
	known map[factID]struct{}
	ring  []factID
	next  int
}

func newRecent() *recent { return &recent{known: map[factID]struct{}{}} }

func (r *recent) has(id factID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.known[id]
	return ok
}

func (r *recent) add(id factID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.known[id]; ok {
		return
	}
	r.known[id] = struct{}{}
	if len(r.ring) < recentIDs {
		r.ring = append(r.ring, id)
		return
	}
	delete(r.known, r.ring[r.next])
	r.ring[r.next] = id
	r.next = (r.next + 1) % recentIDs
}
