package privacy

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"
)

// Limits of the caches of parsed strings; TCF and GPP have one each. A full cache
// of the longest strings takes less than 10 MB.
const (
	defaultCacheEntries = 4096
	maxCacheEntries     = 1 << 20
	maxCachedLen        = 2048 // longer strings are parsed each time
)

// parsed is a cache entry: a string, its hash and its parsed form. It is
// immutable once it is in the cache.
type parsed[T any] struct {
	key   string
	hash  uint64
	value T
}

// cache maps strings to their parsed form. It is a table with a fixed number of
// slots, each an atomic pointer to an immutable entry, so it needs no lock and no
// eviction and never grows. A string is stored in one of two neighboring slots; a
// new entry moves the old one to the neighbor. A string is stored when it is seen
// for the second time, so strings that occur once produce no garbage. The cache
// affects timing only, never a result.
type cache[T any] struct {
	seed      maphash.Seed
	slots     []atomic.Pointer[parsed[T]]
	seen      []atomic.Uint32 // hash of the last miss, by slot
	hits      atomic.Uint64
	misses    atomic.Uint64
	oversized atomic.Uint64
	entries   atomic.Int64
}

// newCache returns a cache of about n entries; for n below two it caches nothing.
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

// place returns the slot of a string, or -1 if it cannot be cached.
func (c *cache[T]) place(s []byte) (slot int, mark uint32) {
	if len(c.slots) == 0 || len(s) > maxCachedLen {
		return -1, 0
	}
	h := maphash.Bytes(c.seed, s)
	return int(h & uint64(len(c.slots)-1)), uint32(h>>32) | 1
}

// find returns the entry of s, or nil if there is none; the caller then parses s
// and calls keep. (find does not parse through a function value, because its
// arguments would escape to the heap.)
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

// keep stores the parsed form of s if s was seen before. It returns the hash of s.
func (c *cache[T]) keep(s []byte, value *T) (hash uint64) {
	hash = textHash(s)
	if i, mark := c.place(s); i >= 0 && c.seen[i].Swap(mark) == mark {
		c.put(i, &parsed[T]{string(s), hash, *value})
	}
	return hash
}

// put stores an entry and moves the previous one to the neighboring slot.
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

// parseTCF parses a TCF string, using the cache, and returns its hash.
func (p *Policy) parseTCF(s []byte, t *tcString) (hash uint64) {
	if e := p.tcf.find(s); e != nil {
		*t = e.value
		return e.hash
	}
	*t = parseTCF(s, p.VendorID)
	return p.tcf.keep(s, t)
}

// parseGPP parses a GPP string, using the cache, and returns its hash.
func (p *Policy) parseGPP(s []byte, g *gppString) (hash uint64) {
	if e := p.gpp.find(s); e != nil {
		*g = e.value
		return e.hash
	}
	*g = parseGPP(s, p.VendorID)
	return p.gpp.keep(s, g)
}

// textHash returns a 64-bit hash that identifies a string in records. It is the
// same in every run, and not cryptographic.
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

// mix adds a word to a hash.
func mix(h, word uint64) uint64 {
	h = (h ^ word) * 0xD6E8FEB86659FD93
	h ^= h >> 32
	h *= 0xD6E8FEB86659FD93
	return h ^ h>>29
}
