package privacy

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
)

// Bounds of the caches of parsed strings, for each of TCF and GPP. A full cache
// of the longest strings is under 10 MB.
const (
	defaultCacheEntries = 4096
	maxCacheEntries     = 1 << 20
	maxCachedLen        = 2048 // longer strings are parsed each time
)

// parsed is an entry: the string, what it says, and its hash. It is immutable
// once it is in the cache.
type parsed[T any] struct {
	key   string
	hash  uint64
	value T
}

// cache holds what strings were parsed to. It is a table of a fixed number of
// slots, each an atomic pointer to an immutable entry: no lock, no eviction
// thread, no growth. A string lives in one of two neighbouring slots; a new one
// pushes the old to the neighbour. A string is taken in only when it is seen a
// second time, so that the many that come once leave no garbage. Whether a
// string is in the cache changes nothing but time.
type cache[T any] struct {
	seed      maphash.Seed
	slots     []atomic.Pointer[parsed[T]]
	seen      []atomic.Uint32 // last hash that missed, by slot
	hits      atomic.Uint64
	misses    atomic.Uint64
	oversized atomic.Uint64
	entries   atomic.Int64
}

// newCache makes a cache of about n entries; fewer than two mean none at all.
func newCache[T any](n int) *cache[T] {
	c := &cache[T]{seed: maphash.MakeSeed()}
	size := 2
	for size < min(n, maxCacheEntries) {
		size *= 2
	}
	if n >= 2 {
		c.slots = make([]atomic.Pointer[parsed[T]], size)
		c.seen = make([]atomic.Uint32, size)
	}
	return c
}

// place is where a string belongs; -1 where it may not be held.
func (c *cache[T]) place(s []byte) (slot int, mark uint32) {
	if len(c.slots) == 0 || len(s) > maxCachedLen {
		return -1, 0
	}
	h := maphash.Bytes(c.seed, s)
	return int(h & uint64(len(c.slots)-1)), uint32(h>>32) | 1
}

// find is the entry of s; nil where there is none, and keep should follow.
// (The caller parses: a call through a function value would send what it is
// given to the heap.)
func (c *cache[T]) find(s []byte) *parsed[T] {
	i, _ := c.place(s)
	if i < 0 {
		c.oversized.Add(1)
		return nil
	}
	for _, at := range [...]int{i, i ^ 1} {
		if e := c.slots[at].Load(); e != nil && e.key == string(s) {
			c.hits.Add(1)
			return e
		}
	}
	c.misses.Add(1)
	return nil
}

// keep takes in what s was parsed to, if it was seen before, and gives its hash.
func (c *cache[T]) keep(s []byte, value *T) (hash uint64) {
	hash = textHash(s)
	if i, mark := c.place(s); i >= 0 && c.seen[i].Swap(mark) == mark {
		c.put(i, &parsed[T]{string(s), hash, *value})
	}
	return hash
}

// put takes an entry in and moves the slot's old one to its neighbour.
func (c *cache[T]) put(i int, e *parsed[T]) {
	old := c.slots[i].Swap(e)
	if old == nil {
		c.entries.Add(1)
		return
	}
	if c.slots[i^1].Swap(old) == nil {
		c.entries.Add(1)
	}
}

// parseTCF reads a TCF string, through the cache, and gives its hash.
func (p *Policy) parseTCF(s []byte, t *tcString) (hash uint64) {
	if e := p.tcf.find(s); e != nil {
		*t = e.value
		return e.hash
	}
	*t = parseTCF(s, p.VendorID)
	return p.tcf.keep(s, t)
}

// parseGPP reads a GPP string, through the cache, and gives its hash.
func (p *Policy) parseGPP(s []byte, g *gppString) (hash uint64) {
	if e := p.gpp.find(s); e != nil {
		*g = e.value
		return e.hash
	}
	*g = parseGPP(s, p.VendorID)
	return p.gpp.keep(s, g)
}

// textHash names a string in records: 64 bits, the same in every run. It is no
// secret and no signature.
func textHash(s []byte) uint64 {
	h := uint64(len(s)) * 0x9E3779B97F4A7C15
	for len(s) >= 8 {
		h = mix(h, binary.LittleEndian.Uint64(s))
		s = s[8:]
	}
	var tail [8]byte
	copy(tail[:], s)
	return mix(h, binary.LittleEndian.Uint64(tail[:]))
}

// mix folds a word into a hash.
func mix(h, word uint64) uint64 {
	h = (h ^ word) * 0xD6E8FEB86659FD93
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>29
}
