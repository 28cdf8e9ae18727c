package collect

import (
	"sync"
	"sync/atomic"
)

// maxNames is how many different event names are counted by name, and customName
// where all others are counted: names that nobody configured, so that a browser
// or a tag gone wild cannot fill the metrics, and those beyond maxNames.
const (
	maxNames   = 100
	customName = "custom"
)

// Counters count what the edge took and refused. The zero value works.
type Counters struct {
	rejected  [RejectReasons]atomic.Uint64
	links     atomic.Uint64
	unlinked  atomic.Uint64
	cookies   atomic.Uint64
	duplicate atomic.Uint64

	mu    sync.RWMutex // guards names and the making of its entries
	names map[string]*atomic.Uint64
}

// Stats are the counters at one moment.
type Stats struct {
	Events     map[string]uint64 // accepted events by name
	Rejected   map[string]uint64 // by reason, all reasons
	Links      uint64            // link facts appended
	Unlinked   uint64            // links not made: no cookie came, and the identifier has a visitor
	Cookies    uint64            // visitor ids minted
	Duplicates uint64            // server events whose event_id came again
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
