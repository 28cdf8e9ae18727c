package pacing

import "rebound/rtb"

// sweepBatch bounds the reservations that a sweep looks at before it releases the lock of
// their shard, so that no bid waits long.
const sweepBatch = 64

// sweepCursor is the position of a sweep in a shard. It stays valid while the shard's lock is
// released: only the sweep takes reservations from their buckets and removes them.
type sweepCursor struct {
	second rtb.Second // its bucket is taken next
	slot   int32      // next reservation of the bucket that was taken last; -1 if there is none
}

// sweep calls fn for every reservation whose due time is before now, and removes those
// for which fn does not set a later due time. It looks at some reservations of each shard
// in turn, so that bids that wait for a shard's lock get it meanwhile.
func (s *reservations) sweep(now rtb.Second, fn func(*reservation)) {
	if now <= s.swept {
		return
	}
	from := max(s.swept, now-min(now, resBuckets)) // each bucket once
	s.swept = now
	var cursors [resShards]sweepCursor
	for i := range cursors {
		cursors[i] = sweepCursor{second: from, slot: -1}
	}
	for left := true; left; {
		left = false
		for i := range cursors {
			if s.sweepSome(&s.shards[i], &cursors[i], fn) {
				left = true
			}
		}
	}
}

// sweepSome sweeps up to sweepBatch reservations of a shard, and reports whether some may
// be left.
func (s *reservations) sweepSome(sh *resShard, c *sweepCursor, fn func(*reservation)) bool {
	if c.slot < 0 && c.second == s.swept {
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.swept = s.swept
	for range sweepBatch {
		for c.slot < 0 {
			if c.second == s.swept {
				return false
			}
			b := &sh.buckets[c.second%resBuckets]
			c.slot, *b = *b-1, 0
			c.second++
		}
		slot := c.slot
		r := sh.slab.at(slot)
		c.slot = r.next
		s.sweepOne(sh, r, slot, fn)
	}
	return true
}

// sweepOne looks at a reservation that was taken from its bucket. The shard's lock is held.
func (s *reservations) sweepOne(sh *resShard, r *reservation, slot int32, fn func(*reservation)) {
	if r.queued >= s.swept { // its second comes in a later round of the buckets
		sh.push(r, slot)
		return
	}
	if !s.expire(r, s.swept, fn) {
		sh.queue(r, slot)
		return
	}
	sh.index.remove(hashOfBid(&r.bid), slot)
	*r = reservation{}
	sh.slab.put(slot)
	s.count.Add(-1)
}

// expire calls fn for a reservation if its due time is before now, and reports whether it
// still is.
func (s *reservations) expire(r *reservation, now rtb.Second, fn func(*reservation)) bool {
	if r.due >= now {
		return false
	}
	held := r.holds()
	fn(r)
	if held && !r.holds() {
		s.live.Add(-1)
	}
	return r.due < now
}
