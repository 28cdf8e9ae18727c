package segments

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// A rule that is new counts only events from its activation on, until a rebuild has counted
// those before. It folds the whole log with the rules that are new into a second store and
// copies their segments from there, a thousand visitors at a time, each time when both
// stores are at the same position. What it copies is therefore what a fold of the whole log
// gives, and repeating it, for instance after a crash, changes nothing. Until it is done,
// visitors are in the audiences that they were in before.

// Pending returns the rules, as canonical texts, whose segments lack the events before
// their activation, sorted.
func (s *Store) Pending() []string { return *s.pendingRules.Load() }

// Source reads facts of the log in order: those after a position, up to a sequence.
type Source func(ctx context.Context, after events.Position, upTo uint64, fn func([]events.Fact) error) error

// RebuildOptions say what a rebuild reads and where it works.
type RebuildOptions struct {
	// Dir is a folder for the second store. It is deleted before and afterwards. Unused if
	// the store is in memory.
	Dir string
	// Rules are the canonical texts of the segments to be counted from the log.
	Rules []string
	// Read reads the log.
	Read Source
	// Begins is the time of the log's first fact if older ones were deleted. Segments that
	// are older than that are left as they are.
	Begins time.Time
	// Progress, which may be nil, is told how many facts were folded.
	Progress func(seq, last uint64)
}

// mergeStep is the number of visitors that are copied while facts wait.
const mergeStep = 1000

// Rebuild counts the segments of rules from the log. It returns the number of visitors
// whose segments were copied.
func (s *Store) Rebuild(ctx context.Context, o RebuildOptions) (visitors int, err error) {
	if o.Dir != "" {
		if err := os.RemoveAll(o.Dir); err != nil {
			return 0, fmt.Errorf("cannot rebuild segments: %w", err)
		}
		defer os.RemoveAll(o.Dir)
	}
	second, err := Open(Options{Dir: o.Dir, InMemory: o.Dir == "", CacheBytes: 1 << 20, Keyring: s.keyring, Rules: o.Rules, Logger: s.log})
	if err != nil {
		return 0, err
	}
	defer second.Close()
	r := &rebuild{s: s, second: second, o: &o, ids: map[rtb.SegmentID]bool{}}
	for _, text := range o.Rules {
		r.ids[audiences.SegmentOf(text)] = true
	}
	if o.Progress == nil {
		o.Progress = func(uint64, uint64) {}
	}
	return r.run(ctx)
}

// rebuild is a rebuild in progress.
type rebuild struct {
	s, second *Store
	o         *RebuildOptions
	ids       map[rtb.SegmentID]bool
}

func (r *rebuild) run(ctx context.Context) (visitors int, err error) {
	// Most of the log is read while facts are applied; the rest, in merge, while they wait.
	for r.second.Position().Seq+mergeStep < r.s.Position().Seq {
		if err := r.catchUp(ctx); err != nil {
			return 0, err
		}
	}
	from := []byte{profileSpace}
	for from != nil {
		n, next, err := r.merge(ctx, from)
		if err != nil {
			return visitors, err
		}
		visitors, from = visitors+n, next
	}
	return visitors, r.s.rebuilt(r.o.Rules)
}

// catchUp folds the log up to the store's position into the second store.
func (r *rebuild) catchUp(ctx context.Context) error {
	last := r.s.Position().Seq
	if r.second.Position().Seq >= last {
		return nil
	}
	before := r.second.Position().Seq
	err := r.o.Read(ctx, r.second.Position(), last, func(facts []events.Fact) error {
		err := r.second.Apply(facts)
		r.o.Progress(r.second.Position().Seq, last)
		return err
	})
	if err == nil && r.second.Position().Seq <= before {
		err = fmt.Errorf("cannot rebuild segments: the log has no fact after %d; want those up to %d", before, last)
	}
	return err
}

// merge copies the segments of the visitors whose keys begin at from, and returns where to
// go on; nil after the last one.
func (r *rebuild) merge(ctx context.Context, from []byte) (n int, next []byte, err error) {
	r.s.applying.Lock()
	defer r.s.applying.Unlock()
	if err := r.catchUp(ctx); err != nil {
		return 0, nil, err
	}
	if r.second.Position().Hash != r.s.Position().Hash || r.second.Position().Seq != r.s.Position().Seq {
		return 0, nil, fmt.Errorf("cannot rebuild segments: the view went back to fact %d; want one that only goes on: start again", r.s.Position().Seq)
	}
	keys, next, err := r.second.profilesFrom(from, mergeStep)
	if err != nil || len(keys) == 0 {
		return 0, nil, err
	}
	t, err := r.s.newBatch()
	if err != nil {
		return 0, nil, err
	}
	defer t.b.Close()
	o, err := r.second.newBatch()
	if err != nil {
		return 0, nil, err
	}
	defer o.b.Close()
	for _, k := range keys {
		changed, err := r.copy(t, o, k)
		if err != nil {
			return 0, nil, err
		}
		if changed {
			n++
		}
	}
	return n, next, t.write(r.s.Position())
}

// copy replaces the segments of the rules in one profile.
func (r *rebuild) copy(t, from *batch, k rtb.Key) (changed bool, err error) {
	if gone, err := t.optedOut(k); gone || err != nil {
		return false, err
	}
	o, err := from.profile(k)
	if err != nil || !o.exists {
		return false, err
	}
	w, err := t.profile(k)
	if err != nil {
		return false, err
	}
	var a, b bool
	w.v.Segments, a = r.replace(w.v.Segments, o.v.Segments)
	w.shared, b = r.replace(w.shared, o.shared)
	members := slices.Clone(w.members)
	w.members = slices.DeleteFunc(w.members, func(m member) bool { return r.ids[m.segment] && m.segment != m.list })
	for _, m := range o.members {
		if r.ids[m.segment] && !slices.Contains(w.members, m) {
			w.members = append(w.members, m)
		}
	}
	w.members = w.members[:min(len(w.members), maxMembers)]
	if !a && !b && slices.Equal(members, w.members) {
		return false, nil
	}
	for i := range w.v.Segments {
		t.dict.segment(w.v.Segments[i].ID)
	}
	return true, t.keep(w, t.s.Position().Seq)
}

// replace replaces the segments of the rules in a list by those of another.
func (r *rebuild) replace(list, with []rtb.SegmentState) (out []rtb.SegmentState, changed bool) {
	keep := func(s *rtb.SegmentState) bool {
		return !r.ids[s.ID] || !r.o.Begins.IsZero() && s.First < rtb.SecondOf(r.o.Begins)
	}
	var v rtb.Visitor
	for i := range list {
		if keep(&list[i]) {
			*insertSegment(&v, list[i].ID, 0) = list[i]
		} else {
			changed = true
		}
	}
	for i := range with {
		if r.ids[with[i].ID] && v.Segment(with[i].ID) == nil {
			*insertSegment(&v, with[i].ID, 0) = with[i]
			changed = true
		}
	}
	return v.Segments[:min(len(v.Segments), maxSegments)], changed
}

// profilesFrom returns the keys of up to limit profiles, and the store's key after the last
// one; nil if there are no more.
func (s *Store) profilesFrom(from []byte, limit int) (keys []rtb.Key, next []byte, err error) {
	err = s.db.Scan(from, []byte{profileSpace + 1}, func(key, _ []byte) error {
		if len(key) != 17 {
			return nil
		}
		if len(keys) == limit {
			next = slices.Clone(key)
			return view.ErrStop
		}
		keys = append(keys, rtb.Key(key[1:]))
		return nil
	})
	return keys, next, err
}

// rebuilt removes rules from those that are pending.
func (s *Store) rebuilt(rules []string) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	t, err := s.newBatch()
	if err != nil {
		return err
	}
	defer t.b.Close()
	t.rules = slices.DeleteFunc(slices.Clone(s.Pending()), func(text string) bool { return slices.Contains(rules, text) })
	if err := t.b.Set([]byte(metaPending), []byte(strings.Join(t.rules, "\n"))); err != nil {
		return err
	}
	return t.write(s.Position())
}

// pendingAfter notes which rules of a new configuration are new. The rules of the first one
// lack nothing, because no event came before it.
func (t *batch) pendingAfter(before, now []string) error {
	pending := t.rules
	if pending == nil {
		pending = t.s.Pending()
	}
	next := []string{}
	for _, text := range now {
		if slices.Contains(pending, text) || t.visited() && !slices.Contains(before, text) {
			next = append(next, text)
		}
	}
	t.rules = next
	return t.b.Set([]byte(metaPending), []byte(strings.Join(next, "\n")))
}

// visited reports whether any event was folded before.
func (t *batch) visited() bool { return t.s.Position().Seq > 0 || t.folded > 0 }
