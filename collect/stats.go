package collect

import (
	"sync"
	"sync/atomic"
)

// maxNames is the maximum number of event names counted by name. All others are counted as
// customName: those beyond maxNames, and those that no rule uses, so that a misbehaving
// tag cannot flood the metrics.
const (
	maxNames   = 100
	customName = "custom"
)

// Counters count accepted and rejected events. The zero value is ready to use.
type Counters struct {
	rejected  [RejectReasons]atomic.Uint64
	links     atomic.Uint64
	unlinked  atomic.Uint64
	cookies   atomic.Uint64
	duplicate atomic.Uint64

	mu    sync.RWMutex // guards names
	names map[string]*atomic.Uint64
}

// Stats are the counters at one moment.
type Stats struct {
	Events     map[string]uint64 // accepted events by name
	Rejected   map[string]uint64 // by reason, all reasons
	Links      uint64            // link facts appended
	Unlinked   uint64            // links refused: the identifier is shared by too many, or already linked and there is no cookie
	Cookies    uint64            // new visitor ids
	Duplicates uint64            // events received again
}

func (c *Counters) reject(r Reject) { c.rejected[r].Add(1) }

func (c *Counters) event(name string) {
	c.mu.RLock()
	n := c.names[name]
	c.mu.RUnlock()
	if n == nil {
		n = c.named(name)
	}
	n.Add(1)
}

func (c *Counters) named(name string) *atomic.Uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[string]*atomic.Uint64{customName: {}}
	}
	if n := c.names[name]; n != nil {
		return n
	}
	if len(c.names) > maxNames {
		return c.names[customName]
	}
	n := &atomic.Uint64{}
	c.names[name] = n
	return n
}

// Stats reads the counters.
func (c *Counters) Stats() Stats {
	s := Stats{
		Events: map[string]uint64{}, Rejected: make(map[string]uint64, RejectReasons),
		Links: c.links.Load(), Unlinked: c.unlinked.Load(), Cookies: c.cookies.Load(), Duplicates: c.duplicate.Load(),
	}
	for r := RejectNone + 1; r < RejectReasons; r++ {
		s.Rejected[r.String()] = c.rejected[r].Load()
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, n := range c.names {
		s.Events[name] = n.Load()
	}
	return s
}
