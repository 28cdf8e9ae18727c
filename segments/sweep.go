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
func (t *batch) sweep() error {
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

// expire deletes expired keys, and reschedules renewed ones.
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
	oldest := t.now
	for _, d := range append([]device(nil), e.devices...) {
		if d.seen+edgeLife > t.now {
			oldest = min(oldest, d.seen)
			continue
		}
		if err := t.unlink(k, d.visitor); err != nil {
			return err
		}
		e.remove(d.visitor)
	}
	if len(e.devices) == 0 {
		return nil
	}
	return t.due(oldest+edgeLife, edgeSpace, k)
}

func (t *batch) expireProfile(k rtb.Key) error {
	w, err := t.profile(k)
	if err != nil || !w.exists {
		return err
	}
	if last := lastActive(&w.v); last+profileLife > t.now {
		return t.due(last+profileLife, profileSpace, k)
	}
	return t.forget(k)
}
