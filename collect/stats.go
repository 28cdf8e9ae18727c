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

// exchangeCounters count the syncs or the matches of each configured exchange.
type exchangeCounters struct {
	mu sync.RWMutex // guards by
	by map[string]*[SyncOutcomes]atomic.Uint64
}

// count counts an outcome. Calls for exchanges that are not configured are not counted,
// because anybody can invent them.
func (c *exchangeCounters) count(exchange string, o SyncOutcome, configured bool) {
	if !configured {
		return
	}
	c.mu.RLock()
	n := c.by[exchange]
	c.mu.RUnlock()
	if n == nil {
		c.mu.Lock()
		if c.by == nil {
			c.by = map[string]*[SyncOutcomes]atomic.Uint64{}
		}
		if n = c.by[exchange]; n == nil {
			n = new([SyncOutcomes]atomic.Uint64)
			c.by[exchange] = n
		}
		c.mu.Unlock()
	}
	n[o].Add(1)
}

// SyncStats are the calls for one exchange by outcome.
type SyncStats [SyncOutcomes]uint64

func (c *exchangeCounters) stats() map[string]SyncStats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make(map[string]SyncStats, len(c.by))
	for id, n := range c.by {
		var s SyncStats
		for o := range n {
			s[o] = n[o].Load()
		}
		out[id] = s
	}
	return out
}

// SyncStats returns the syncs, by exchange.
func (e *Edge) SyncStats() map[string]SyncStats { return e.syncs.stats() }

// MatchStats returns the matches, by exchange.
func (e *Edge) MatchStats() map[string]SyncStats { return e.matches.stats() }
