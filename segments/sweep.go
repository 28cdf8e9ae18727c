package segments

import (
	"encoding/binary"

	"rebound/internal/view"
	"rebound/rtb"
)

// sweepStep bounds the number of keys that expire with one fact, so that the first fact
// after a long pause does not create a huge batch.
const sweepStep = 5000

// sweep expires the keys that are due, once per hour of log time. The outcome depends on the
// facts alone, not on how they are divided into batches.
//
// Digests of events and bids have a schedule, because most of them live for two days.
// Profiles and identifiers have none, which would take more space than the identifiers
// themselves: see patrol.
func (t *batch) sweep() error {
	if err := t.patrol(); err != nil {
		return err
	}
	hour := t.now - t.now%hourSpan
	if hour <= t.swept {
		return nil
	}
	due, more, err := t.dueBefore(hour)
	if err != nil {
		return err
	}
	for _, key := range due {
		if err := t.b.Delete(key[:]); err != nil {
			return err
		}
		if err := t.expire(key[5], rtb.Key(key[6:])); err != nil {
			return err
		}
	}
	if more {
		return nil
	}
	t.swept = hour
	return t.b.Set([]byte(metaSwept), secondBytes(hour))
}

// dueBefore lists the keys that are due before at, up to the limit of one step.
func (t *batch) dueBefore(at rtb.Second) (due [][22]byte, more bool, err error) {
	end := dueKey(at, 0, rtb.Key{})
	err = t.b.Scan([]byte{dueSpace}, end[:5], func(key, _ []byte) error {
		if len(due) == sweepStep {
			more = true
			return view.ErrStop
		}
		if len(key) == 22 {
			due = append(due, [22]byte(key))
		}
		return nil
	})
	return due, more, err
}

// patrolSlices is the number of parts into which the keys of profiles and identifiers are
// divided. One is checked per minute of log time, so that each is checked every 30 days.
const patrolSlices = 30 * 24 * 60

// patrol deletes the profiles and identifiers that have expired, in the parts whose minute
// has passed: at most all of them, and with one fact no more than sweepStep identifiers and
// those of one part.
func (t *batch) patrol() error {
	minute := uint32(t.now) / 60
	if minute <= t.patrolled {
		return nil
	}
	if t.patrolled == 0 {
		t.patrolled = minute - 1
	}
	for done := 0; t.patrolled < minute && done < sweepStep; {
		first := max(t.patrolled+1, minute-min(minute, patrolSlices)+1)
		from := first % patrolSlices
		to := min(from+minute-first, patrolSlices-1) // the last part, unless the key space begins again
		last, n, err := t.check(edgeSpace, from, to, sweepStep-done)
		if err == nil {
			_, _, err = t.check(profileSpace, from, last, 1<<30)
		}
		if err != nil {
			return err
		}
		t.patrolled, done = first+last-from, done+n
	}
	return t.b.Set([]byte(metaPatrolled), secondBytes(rtb.Second(t.patrolled)))
}

// partStart returns the first 32 bits of the keys of a part.
func partStart(part uint32) uint64 { return (uint64(part)<<32 + patrolSlices - 1) / patrolSlices }

// check deletes what has expired in the parts from and to of a space, and in between. It
// stops after the part with the limit-th key, and returns the last part and the number of
// keys.
func (t *batch) check(space byte, from, to uint32, limit int) (last uint32, n int, err error) {
	lower := binary.BigEndian.AppendUint32([]byte{space}, uint32(partStart(from)))
	upper := []byte{space + 1}
	if to+1 < patrolSlices {
		upper = binary.BigEndian.AppendUint32([]byte{space}, uint32(partStart(to+1)))
	}
	last = to
	var keys []rtb.Key
	err = t.b.Scan(lower, upper, func(key, value []byte) error {
		if len(key) != 17 {
			return nil
		}
		part := partOf(key[1:])
		if n >= limit && part > last {
			return view.ErrStop
		}
		if n++; n == limit {
			last = part
		}
		if t.mayExpire(space, value) {
			keys = append(keys, rtb.Key(key[1:]))
		}
		return nil
	})
	if err != nil {
		return last, n, err
	}
	if space == profileSpace { // those of the batch are not in its view of the files
		for _, k := range t.order {
			if part := partOf(k[:]); part >= from && part <= last {
				keys = append(keys, k)
			}
		}
	}
	for _, k := range keys {
		if err := t.expire(space, k); err != nil {
			return last, n, err
		}
	}
	return last, n, nil
}

// partOf returns the part of a key.
func partOf(key []byte) uint32 {
	return uint32(uint64(binary.BigEndian.Uint32(key)) * patrolSlices >> 32)
}

// mayExpire reports whether an edge or a profile needs to be looked at: edges always, and
// profiles unless their latest time, or that of an old form, says that they live.
func (t *batch) mayExpire(space byte, value []byte) bool {
	if space == edgeSpace {
		return true
	}
	last, ok := lastTime(value)
	return !ok || uint64(last)+profileLife <= uint64(t.now)
}

// lastTime returns the latest time in an encoded profile; false for an old form.
func lastTime(value []byte) (rtb.Second, bool) {
	r := reader{b: value}
	if r.byte() != profileVersion {
		return 0, false
	}
	r.uvarint()
	at := rtb.Second(r.fixed32())
	return at, !r.bad
}

// expire deletes expired keys.
func (t *batch) expire(space byte, k rtb.Key) error {
	switch space {
	case seenSpace:
		return t.expireSeen(k)
	case edgeSpace:
		return t.expireEdge(k)
	case profileSpace:
		return t.expireProfile(k)
	}
	return nil
}

func (t *batch) expireSeen(k rtb.Key) error {
	key := spaceKey(seenSpace, k)
	value, exists, err := t.b.Get(key[:])
	if !exists || err != nil {
		return err
	}
	if len(value) == 4 && rtb.Second(binary.BigEndian.Uint32(value)) > t.now {
		return nil // renewed meanwhile, which scheduled it again
	}
	return t.b.Delete(key[:])
}

func (t *batch) expireEdge(k rtb.Key) error {
	e, exists, err := t.edge(k)
	if !exists || err != nil {
		return err
	}
	for _, d := range append([]device(nil), e.devices...) {
		if d.seen+edgeLife > t.now {
			continue
		}
		if err := t.unlink(k, d.visitor); err != nil {
			return err
		}
	}
	return nil
}

func (t *batch) expireProfile(k rtb.Key) error {
	w, err := t.profile(k)
	if err != nil || !w.exists {
		return err
	}
	if w.latest()+profileLife > t.now {
		return nil
	}
	return t.forget(k)
}
