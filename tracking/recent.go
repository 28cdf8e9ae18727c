package tracking

import (
	"hash/maphash"
	"sync"
)

// recent remembers at least the last size keys and at most twice as many, each with its
// owner. It saves work and counts duplicates; the views are authoritative.
type recent struct {
	mu       sync.Mutex
	size     int
	now, old map[uint64]uint64
}

var recentSeed = maphash.MakeSeed()

// seen returns the owner with which a key was added; ok is false for an unknown key.
func (r *recent) seen(key string) (owner uint64, ok bool) {
	h := maphash.String(recentSeed, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, ok = r.now[h]; !ok {
		owner, ok = r.old[h]
	}
	return owner, ok
}

// add remembers a key and its owner.
func (r *recent) add(key string, owner uint64) {
	h := maphash.String(recentSeed, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.now) >= r.size || r.now == nil {
		r.now, r.old = make(map[uint64]uint64, r.size/8), r.now
	}
	r.now[h] = owner
}
