package segments

import (
	"encoding/binary"

	"rebound/audiences"
	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// batch collects the changes of one Apply. It is written atomically, together
// with the position.
type batch struct {
	s         *Store
	b         *view.Batch
	now       rtb.Second // time of the log
	swept     rtb.Second // the hour up to which all expiries have been processed
	matcher   *audiences.Matcher
	patrolled uint32

	profiles map[rtb.Key]*work
	order    []rtb.Key // profiles in the order of first use
	visitors int64     // change in the number of profiles
	tombs    int64     // new tombstones
	outs     []rtb.Key // keys that this batch opts out
	ins      []rtb.Key // keys that this batch opts in again

	touched []rtb.Key // keys whose cached entries are no longer valid
	added   []rtb.Key // keys that may be new
	ids     []rtb.SegmentID
	dict    *dictionary
	folded  int      // facts
	rules   []string // pending after the batch; nil if it does not change them
	lists   lists    // the lists after the batch; nil if it changes none
}

// work is a profile that the batch reads or changes.
type work struct {
	record
	exists  bool // state of the profile after the batch
	changed bool
}

func (s *Store) newBatch() (*batch, error) {
	b, err := s.db.NewBatch()
	if err != nil {
		return nil, err
	}
	return &batch{s: s, b: b, now: s.now(), swept: s.swept, dict: s.dict.Load(), patrolled: s.patrolled, matcher: s.matcher, profiles: map[rtb.Key]*work{}}, nil
}

// profile returns a visitor's profile, which is read once per batch.
func (t *batch) profile(k rtb.Key) (*work, error) {
	if w := t.profiles[k]; w != nil {
		return w, nil
	}
	w := &work{}
	value, exists, err := t.stored(k)
	if err != nil {
		return nil, err
	}
	if exists {
		if err := w.decode(value, t.dict); err != nil {
			return nil, err
		}
	}
	w.exists, w.v.Key = exists, k
	t.profiles[k] = w
	t.order = append(t.order, k)
	return w, nil
}

// stored returns a visitor's profile as it was before the batch, which contains no profiles
// until it is written: from the cache where it is there, without a read where the filter
// does not know the visitor.
func (t *batch) stored(k rtb.Key) (value []byte, exists bool, err error) {
	if !t.s.known.Load().has(&k) {
		return nil, false, nil
	}
	if e, ok := t.s.cache.peek(&k); ok {
		return e.value(), e.kind() == entryProfile, nil
	}
	key := spaceKey(profileSpace, k)
	return t.s.db.Get(key[:])
}

// keep marks w as changed by the fact at seq.
func (t *batch) keep(w *work, seq uint64) error {
	w.changed = true
	w.v.Position = seq
	if w.exists {
		return nil
	}
	w.exists = true
	t.visitors++
	t.added = append(t.added, w.v.Key)
	return nil
}

// drop deletes a profile.
func (t *batch) drop(k rtb.Key) error {
	w, err := t.profile(k)
	if err != nil || !w.exists {
		return err
	}
	w.reset()
	w.v.Key, w.exists, w.changed = k, false, true
	t.visitors--
	return nil
}

// optedOut reports whether a visitor or an identifier has opted out.
func (t *batch) optedOut(k rtb.Key) (bool, error) {
	if !t.s.gone.Load().has(&k) {
		return false, nil
	}
	key := spaceKey(tombSpace, k)
	_, gone, err := t.b.Get(key[:])
	return gone, err
}

// once reports whether a digest is seen for the first time within a lifetime,
// and remembers it for that long.
func (t *batch) once(what rtb.Key, life rtb.Second) (bool, error) {
	key := spaceKey(seenSpace, what)
	value, seen, err := t.b.Get(key[:])
	if err != nil {
		return false, err
	}
	if seen && len(value) == 4 && rtb.Second(binary.BigEndian.Uint32(value)) > t.now {
		return false, nil
	}
	if err := t.b.Set(key[:], secondBytes(t.now+life)); err != nil {
		return false, err
	}
	return true, t.due(t.now+life, seenSpace, what)
}

// due schedules a key for expiry at a time.
func (t *batch) due(at rtb.Second, space byte, k rtb.Key) error {
	key := dueKey(at, space, k)
	return t.b.Set(key[:], nil)
}

// write stores the batch with its position and makes it visible to readers.
func (t *batch) write(p events.Position) error {
	written, err := t.flush()
	if err != nil {
		return err
	}
	if err := t.writeMeta(); err != nil {
		return err
	}
	for _, k := range t.added {
		t.s.known.Load().add(k)
	}
	for _, k := range t.outs {
		t.s.gone.Load().add(k)
		t.s.known.Load().add(k)
	}
	next := t.s.cache.change(t.touched)
	err = t.b.Commit(p)
	t.s.cache.advance(next) // also after a failure, because nothing changed
	if err != nil {
		return err
	}
	t.s.matcher, t.s.swept, t.s.patrolled, t.dict.unsaved = t.matcher, t.swept, t.patrolled, false
	if t.rules != nil {
		t.s.pendingRules.Store(&t.rules)
	}
	if t.lists != nil {
		t.s.lists.Store(&t.lists)
	}
	t.s.logTime.Store(uint32(t.now))
	t.s.count.visitors.Add(t.visitors)
	t.s.count.outs.Add(t.tombs)
	for i := range written {
		t.s.cache.put(makeEntry(&written[i].key, next, entryProfile, written[i].value))
	}
	t.s.pending.folded(t.outs)
	t.s.pending.folded(t.ins)
	return nil
}

// writeMeta adds the numbers that load reads to the batch.
func (t *batch) writeMeta() error {
	if err := t.b.Set([]byte(metaNow), secondBytes(t.now)); err != nil {
		return err
	}
	if t.dict.unsaved {
		if err := t.b.Set([]byte(metaDict), t.dict.append(nil)); err != nil {
			return err
		}
	}
	visitors := uint64(t.s.count.visitors.Load() + t.visitors)
	return t.b.Set([]byte(metaVisitors), binary.BigEndian.AppendUint64(nil, visitors))
}

type encoded struct {
	key   rtb.Key
	value []byte
}

// flush adds the changed profiles to the batch.
func (t *batch) flush() ([]encoded, error) {
	var written []encoded
	for _, k := range t.order {
		w := t.profiles[k]
		if !w.changed {
			continue
		}
		t.touched = append(t.touched, k)
		key := spaceKey(profileSpace, k)
		if !w.exists {
			if err := t.b.Delete(key[:]); err != nil {
				return nil, err
			}
			continue
		}
		value := w.append(nil, t.dict)
		if err := t.b.Set(key[:], value); err != nil {
			return nil, err
		}
		written = append(written, encoded{k, value})
	}
	return written, nil
}
