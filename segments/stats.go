package segments

import (
	"sync/atomic"

	"go.uber.org/zap"
)

// Stats are counts since Open, except for Visitors and OptOuts.
type Stats struct {
	Hits, Misses, Rejected uint64 // cache lookups: found, read from disk, and fills refused because the key had changed
	Errors                 uint64 // reads that failed; the result was a no-bid
	Visitors               uint64 // profiles
	OptOuts                uint64 // visitors and identifiers that opted out
	Duplicates             uint64 // facts that had been folded before
	Dropped                uint64 // segments, products and scopes beyond the bounds of a profile
	Overlinked             uint64 // links beyond a bound, not created
	Shared                 uint64 // identifiers unlinked because too many visitors claimed them
	StrayRows              uint64 // rows whose list or job does not exist
	BadRules               uint64 // rule texts that this version cannot read
}

type counters struct {
	visitors, outs                          atomic.Int64
	errors, duplicates, dropped, overlinked atomic.Uint64
	shared, badRules, strayRows             atomic.Uint64
}

// Stats returns the current counts.
func (s *Store) Stats() Stats {
	c := &s.count
	return Stats{
		Hits: s.cache.hits.Load(), Misses: s.cache.misses.Load(), Rejected: s.cache.rejected.Load(),
		Errors: c.errors.Load(), Visitors: uint64(c.visitors.Load()), OptOuts: uint64(c.outs.Load()),
		Duplicates: c.duplicates.Load(), Dropped: c.dropped.Load(),
		Overlinked: c.overlinked.Load(), Shared: c.shared.Load(), BadRules: c.badRules.Load(), StrayRows: c.strayRows.Load(),
	}
}

func (s *Store) reportBadRules(bad []string) {
	s.count.badRules.Add(uint64(len(bad)))
	for _, text := range bad {
		s.log.Warn("a rule of the active configuration cannot be read; its segment is not recorded", zap.String("rule", text))
	}
}
