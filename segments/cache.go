package segments

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"

	"rebound/rtb"
)

// cache holds encoded profiles and edges in front of the files.
//
// An entry carries the position that it was built at: how many batches had been
// applied when its read began. stripes hold, for every key by its hash, the
// position of the last batch that changed one of the stripe's keys. An entry
// older than its stripe is not used and not stored. So it does not matter when
// ristretto makes a value visible, drops it or returns an older one, and neither
// readers nor the fold take a lock.
//
// The fold marks the stripes before its batch becomes readable and moves the
// position after it: a reader that began before the mark has an older position
// than the mark, whenever it stores its result.
type cache struct {
	entries  *ristretto.Cache[uint64, entry]
	position atomic.Uint64
	stripes  []atomic.Uint64

	hits, misses, rejected atomic.Uint64
}

// entry is the key, the position, the kind and the encoded value. It is immutable.
type entry []byte

// Kinds of entries.
const (
	entryNone byte = iota // the key does not exist
	entryProfile
	entryEdge
)

const (
	entryHead   = 16 + 8 + 1
	stripeCount = 1 << 18 // 2 MiB; a changed key also invalidates the other entries of its stripe
)

func newCache(bytes int64) (*cache, error) {
	entries, err := ristretto.NewCache(&ristretto.Config[uint64, entry]{
		NumCounters: max(10_000, bytes/256*10), // ten for each entry of the usual size
		MaxCost:     bytes,
		BufferItems: 64,
		KeyToHash:   func(k uint64) (uint64, uint64) { return k, 0 },
		ShouldUpdate: func(cur, prev entry) bool {
			return cur.position() >= prev.position()
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make cache of %d bytes: %w", bytes, err)
	}
	return &cache{entries: entries, stripes: make([]atomic.Uint64, stripeCount)}, nil
}

func hashOf(k *rtb.Key) uint64 { return binary.LittleEndian.Uint64(k[:8]) }

func (c *cache) stripe(k *rtb.Key) *atomic.Uint64 { return &c.stripes[hashOf(k)%stripeCount] }

func makeEntry(k *rtb.Key, position uint64, kind byte, value []byte) entry {
	e := make(entry, entryHead, entryHead+len(value))
	copy(e, k[:])
	binary.LittleEndian.PutUint64(e[16:], position)
	e[24] = kind
	return append(e, value...)
}

func (e entry) position() uint64 { return binary.LittleEndian.Uint64(e[16:]) }
func (e entry) kind() byte       { return e[24] }
func (e entry) value() []byte    { return e[entryHead:] }

// get returns the key's entry, unless the entry is older than its stripe.
func (c *cache) get(k *rtb.Key) (entry, bool) {
	e, ok := c.entries.Get(hashOf(k))
	if !ok || rtb.Key(e[:16]) != *k || e.position() < c.stripe(k).Load() {
		c.misses.Add(1)
		return nil, false
	}
	c.hits.Add(1)
	return e, true
}

// peek is get for the fold: it is not counted.
func (c *cache) peek(k *rtb.Key) (entry, bool) {
	e, ok := c.entries.Get(hashOf(k))
	if !ok || rtb.Key(e[:16]) != *k || e.position() < c.stripe(k).Load() || e.kind() == entryEdge {
		return nil, false
	}
	return e, true
}

// put stores an entry, unless its key has changed since its read began.
func (c *cache) put(e entry) {
	k := rtb.Key(e[:16])
	if e.position() < c.stripe(&k).Load() {
		c.rejected.Add(1)
		return
	}
	c.entries.Set(hashOf(&k), e, int64(len(e)))
}

// change marks the keys that the next batch changes and returns the batch's position. It
// is called before the batch becomes readable; advance is called afterwards.
func (c *cache) change(keys []rtb.Key) uint64 {
	next := c.position.Load() + 1
	for i := range keys {
		c.stripe(&keys[i]).Store(next)
	}
	return next
}

// changeAll marks every key, as a reset of the view does.
func (c *cache) changeAll() uint64 {
	next := c.position.Load() + 1
	for i := range c.stripes {
		c.stripes[i].Store(next)
	}
	return next
}

func (c *cache) advance(position uint64) { c.position.Store(position) }

// closeLimit is the size up to which the library's cache is closed.
const closeLimit = 64 << 20

// close ends the goroutine of the library's cache. To close it, the library writes
// zeros to all its counters, most of which were never used: a large cache would take
// gigabytes of memory at its end. It is left to the end of the process instead.
func (c *cache) close() {
	if c.entries.MaxCost() <= closeLimit {
		c.entries.Close()
	}
}
