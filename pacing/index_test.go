package pacing

import (
	"math/rand/v2"
	"testing"
)

// An index finds what a map of the same keys finds, whether hashes collide or not.
func TestIndexFindsWhatAMapFinds(t *testing.T) {
	for _, hashes := range []uint32{3, 100, 1 << 31} {
		random := rand.New(rand.NewPCG(1, uint64(hashes)))
		var x index
		var keys slab[uint64]
		want := map[uint64]int32{}
		hash := func(key uint64) uint32 { return hashOf(key, 1) % hashes }
		find := func(key uint64) int32 {
			at, slot := x.first(hash(key))
			for slot >= 0 && *keys.at(slot) != key {
				at, slot = x.next(at, hash(key))
			}
			return slot
		}
		for range 50_000 {
			key := random.Uint64N(500)
			slot, known := want[key]
			if !known {
				slot = -1
			}
			if got := find(key); got != slot {
				t.Fatalf("%d hashes: got slot %d of key %d; want %d", hashes, got, key, slot)
			}
			if known {
				x.remove(hash(key), slot)
				keys.put(slot)
				delete(want, key)
				continue
			}
			slot = keys.take()
			*keys.at(slot), want[key] = key, slot
			x.add(hash(key), slot)
		}
		if x.used != len(want) || int(keys.used) > 500 {
			t.Errorf("got %d entries and %d slots; want %d, and at most 500 slots", x.used, keys.used, len(want))
		}
	}
}
