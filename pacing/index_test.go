package pacing

import (
	"math/rand/v2"
	"testing"

	"rebound/rtb"
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

// Every reservation is looked at once its due time has passed, and not before, even where
// it is longer away than there are buckets, is postponed, or time jumps.
func TestReservationsAreSweptWhenDue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := newReservations(1 << 20)
	now := rtb.Second(1_700_000_000)
	due := map[rtb.BidID]rtb.Second{}
	for range 3000 {
		for range random.IntN(20) {
			r := reservation{due: now + rtb.Second(random.IntN(5*resBuckets))}
			for i := range r.bid {
				r.bid[i] = byte(random.Uint32())
			}
			wantReason(t, s.add(&r), rtb.NoBidNone)
			due[r.bid] = r.due
		}
		now += rtb.Second(random.IntN(3))
		if random.IntN(500) == 0 {
			now += rtb.Second(random.IntN(3 * resBuckets))
		}
		s.sweep(now, func(r *reservation) {
			if due[r.bid] != r.due || r.due >= now {
				t.Fatalf("swept a bid that is due at %d, at %d; want it in %d", r.due, now, due[r.bid])
			}
			if random.IntN(3) == 0 { // as of a bid that won
				r.due = now + rtb.Second(random.IntN(3*resBuckets))
				due[r.bid] = r.due
				return
			}
			r.state = resLost
			delete(due, r.bid)
		})
		for bid, at := range due {
			if at < now || !s.with(bid, func(*reservation) {}) {
				t.Fatalf("bid due at %d was not swept at %d, or is lost", at, now)
			}
			if random.IntN(50) > 0 {
				break // a few each time
			}
		}
	}
	s.sweep(now+6*resBuckets, func(r *reservation) { r.state = resLost })
	if n := s.count.Load() + s.live.Load(); n != 0 {
		t.Errorf("%d reservations are left", n)
	}
}
