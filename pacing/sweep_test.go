package pacing

import (
	"math/rand/v2"
	"testing"

	"rebound/rtb"
)

// sweptBids is a set of reservations and a model of it.
type sweptBids struct {
	t      *testing.T
	set    *reservations
	due    map[rtb.BidID]rtb.Second
	now    rtb.Second
	random *rand.Rand
	late   map[rtb.BidID]bool // bids that were made during the sweep; it need not look at them
}

func newSweptBids(t *testing.T) *sweptBids {
	return &sweptBids{
		t: t, set: newReservations(1 << 20), due: map[rtb.BidID]rtb.Second{}, now: 1_700_000_000,
		random: rand.New(rand.NewPCG(1, 2)), late: map[rtb.BidID]bool{},
	}
}

// add makes a bid in a shard.
func (b *sweptBids) add(shard int, due rtb.Second) rtb.BidID {
	r := reservation{due: due}
	for i := range r.bid {
		r.bid[i] = byte(b.random.Uint32())
	}
	r.bid[0] = byte(shard)
	wantReason(b.t, b.set.add(&r), rtb.NoBidNone)
	b.due[r.bid] = due
	return r.bid
}

// fill makes bids in all shards, and sometimes so many that a shard has several batches.
func (b *sweptBids) fill() {
	for range b.random.IntN(20) {
		b.add(b.random.IntN(resShards), b.now+rtb.Second(b.random.IntN(5*resBuckets)))
	}
	if b.random.IntN(100) == 0 {
		for range 500 {
			b.add(b.random.IntN(2), b.now+rtb.Second(b.random.IntN(3)))
		}
	}
}

// meanwhile makes a bid, or answers one, in a shard that the sweep does not hold.
func (b *sweptBids) meanwhile(held int) {
	shard := (held + 1 + b.random.IntN(resShards-1)) % resShards
	if b.random.IntN(2) == 0 {
		b.late[b.add(shard, b.now-3+rtb.Second(b.random.IntN(2*resBuckets)))] = true
		return
	}
	for bid := range b.due {
		if int(bid[0]) == held {
			continue
		}
		due := b.now + rtb.Second(b.random.IntN(2*resBuckets))
		if !b.set.with(bid, func(r *reservation) { r.due = max(r.due, due); b.due[bid] = r.due }) {
			b.t.Fatalf("a bid that is due at %d is lost during the sweep at %d", b.due[bid], b.now)
		}
		return
	}
}

// sweep sweeps the set and checks each reservation that it looks at.
func (b *sweptBids) sweep() {
	if b.set.swept < b.now { // otherwise the sweep does nothing
		clear(b.late)
	}
	b.set.sweep(b.now, func(r *reservation) {
		if due, ok := b.due[r.bid]; !ok || due != r.due || due >= b.now {
			b.t.Fatalf("swept a bid that is due at %d, at %d; want it in %d", r.due, b.now, due)
		}
		if b.random.IntN(3) == 0 {
			b.meanwhile(int(r.bid[0]))
		}
		if b.random.IntN(3) == 0 { // as of a bid that won
			r.due = b.now + rtb.Second(b.random.IntN(3*resBuckets))
			b.due[r.bid] = r.due
			return
		}
		r.state = resLost
		delete(b.due, r.bid)
	})
}

// check compares the set with the model.
func (b *sweptBids) check() {
	seen := 0
	b.set.each(func(r *reservation) {
		if due, ok := b.due[r.bid]; !ok || due != r.due || due < b.now && !b.late[r.bid] {
			b.t.Fatalf("at %d the set has a bid that is due at %d; the model has %d", b.now, r.due, due)
		}
		seen++
	})
	if seen != len(b.due) || b.set.count.Load() != int64(seen) || b.set.live.Load() != int64(seen) {
		b.t.Fatalf("at %d got %d bids, counted as %d, %d with money; want %d", b.now, seen, b.set.count.Load(), b.set.live.Load(), len(b.due))
	}
}

// Every reservation is looked at once its due time has passed, and not before, even where
// it is longer away than there are buckets, is postponed, or time jumps, and bids are made
// and answered during the sweep.
func TestReservationsAreSweptWhenDue(t *testing.T) {
	b := newSweptBids(t)
	for range 3000 {
		b.fill()
		b.now += rtb.Second(b.random.IntN(3))
		if b.random.IntN(500) == 0 {
			b.now += rtb.Second(b.random.IntN(3 * resBuckets))
		}
		b.sweep()
		if b.random.IntN(20) == 0 {
			b.check()
		}
	}
	b.check()
	b.set.sweep(b.now+6*resBuckets, func(r *reservation) { r.state = resLost })
	if n := b.set.count.Load() + b.set.live.Load(); n != 0 {
		t.Errorf("%d reservations are left", n)
	}
}

// A sweep looks at no more than a batch of a shard's reservations before it releases the
// shard, whether they are due in one second or in many.
func TestSweepReleasesShards(t *testing.T) {
	for name, due := range map[string]func(i int) rtb.Second{
		"one second":   func(int) rtb.Second { return 0 },
		"many seconds": func(i int) rtb.Second { return rtb.Second(i % 100) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newSweptBids(t)
			const n = 10 * sweepBatch
			for i := range n {
				b.add(0, b.now+due(i))
				b.add(1, b.now+due(i))
			}
			total, batch, last := 0, 0, byte(255)
			b.set.sweep(b.now+200, func(r *reservation) {
				if r.bid[0] != last {
					last, batch = r.bid[0], 0
				}
				if batch++; batch > sweepBatch {
					t.Fatalf("%d reservations of a shard in a row; want at most %d", batch, sweepBatch)
				}
				r.state = resLost
				total++
			})
			if total != 2*n {
				t.Errorf("swept %d reservations; want %d", total, 2*n)
			}
		})
	}
}
