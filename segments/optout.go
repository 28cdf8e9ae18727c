package segments

import (
	"maps"
	"sync"
	"sync/atomic"

	"rebound/rtb"
)

// pendingOuts are the opt-outs that are in the log but not yet in the view.
type pendingOuts struct {
	n    atomic.Int64 // number of keys; at 0 readers need not take the lock
	mu   sync.RWMutex // guards keys; never held across I/O
	keys map[rtb.Key]struct{}
}

func (p *pendingOuts) add(k rtb.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys == nil {
		p.keys = map[rtb.Key]struct{}{}
	}
	p.keys[k] = struct{}{}
	p.n.Store(int64(len(p.keys)))
}

func (p *pendingOuts) has(k rtb.Key) bool {
	if p.n.Load() == 0 {
		return false
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, ok := p.keys[k]
	return ok
}

// folded removes keys whose tombstones are now in the view.
func (p *pendingOuts) folded(keys []rtb.Key) {
	if p.n.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range keys {
		delete(p.keys, k)
	}
	p.n.Store(int64(len(p.keys)))
}

func (p *pendingOuts) all() map[rtb.Key]struct{} {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return maps.Clone(p.keys)
}

// OptOutNow opts out k, the key of a visitor or an external identifier, at
// once, before its fact is folded. Call it when the fact is in the log.
func (s *Store) OptOutNow(k rtb.Key) {
	if k.IsZero() {
		return
	}
	s.pending.add(k)
	s.known.Load().add(k)
}

// OptedOut reports whether a visitor or an external identifier has opted out. It returns
// true if the files cannot be read.
func (s *Store) OptedOut(k rtb.Key) bool { return s.isOut(&k) }

// isOut reports whether k opted out. It returns true if the files cannot be read.
func (s *Store) isOut(k *rtb.Key) bool {
	if s.pending.has(*k) {
		return true
	}
	if !s.gone.Load().has(k) {
		return false
	}
	key := spaceKey(tombSpace, *k)
	_, out, err := s.db.Get(key[:])
	if err != nil {
		s.count.errors.Add(1)
		return true
	}
	return out
}
