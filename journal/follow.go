package journal

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// follower is a view that is fed.
type follower struct {
	l    *Log
	v    View
	next uint64    // the sequence that it wants
	ts   time.Time // of the last fact that it has
	// target is where it is caught up; caughtUp is called there, once.
	target   uint64
	caughtUp func()

	checkpointed time.Time // when the last one was taken or tried

	gaps    []gap         // what it misses
	missing atomic.Uint64 // facts in gaps

	seq   atomic.Uint64 // applied
	at    atomic.Int64  // TS of that fact, Unix ns
	fresh atomic.Int64  // when it was last seen to have every fact, Unix ns
}

// Follow feeds v with every fact after its position, in order and in batches,
// until ctx ends (nil), the log closes (ErrClosed) or v fails. caughtUp, which
// may be nil, is called once, when v has every fact that was there at the start.
func (l *Log) Follow(ctx context.Context, v View, caughtUp func()) error {
	if !l.enterFollow() {
		return ErrClosed
	}
	defer l.followers.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()

	f := &follower{l: l, v: v, caughtUp: caughtUp, checkpointed: l.o.Now()}
	if err := l.register(v.Name(), f); err != nil {
		return err
	}
	defer l.unregister(v.Name())
	err := f.runOn(ctx)
	switch {
	case l.ctx.Err() != nil:
		return ErrClosed
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("cannot follow log with view %s: %w", v.Name(), err)
	}
	return nil
}

// runOn runs until ctx ends or the view fails; when the engine is started anew
// the view settles anew.
func (f *follower) runOn(ctx context.Context) error {
	for {
		within, leave := f.l.gate.settle(ctx)
		if within == nil {
			return nil
		}
		err := f.run(within)
		left := within.Err() != nil
		leave()
		if ctx.Err() != nil || !left {
			return err
		}
	}
}

func (f *follower) run(ctx context.Context) error {
	_, last, _, err := f.l.state(ctx)
	if err != nil {
		return err
	}
	pos, err := f.settle(ctx)
	if err != nil {
		return err
	}
	if err := f.readGaps(pos); err != nil {
		return err
	}
	f.next, f.ts, f.target = pos.Seq+1, pos.Time, last
	f.moved()
	if err := f.fromArchive(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return f.l.consume(ctx, f.next, func(batch []entry) error {
		if err := f.bridge(ctx, batch[0].seq); err != nil {
			return err
		}
		return f.applyEntries(ctx, batch)
	})
}

// fromArchive feeds what the stream no longer holds.
func (f *follower) fromArchive(ctx context.Context) error {
	first, _, _, err := f.l.state(ctx)
	if err != nil {
		return err
	}
	for ; f.next < first && ctx.Err() == nil; first = f.l.first.Load() {
		before := f.next
		if err := f.replay(ctx, min(first-1, f.l.archive.last.Load())); err != nil {
			return err
		}
		if f.next == before && ctx.Err() == nil {
			if err := f.lost(f.next, first-1); err != nil {
				return err
			}
			f.next = first
			f.moved()
		}
	}
	return nil
}

// bridge feeds the facts before seq that the stream passed over: it was trimmed
// or damaged meanwhile. A follower that is told to stop has applied nothing of
// what it was given last: that is no gap.
func (f *follower) bridge(ctx context.Context, seq uint64) error {
	if f.next >= seq || ctx.Err() != nil {
		return nil
	}
	if f.next >= f.l.first.Load() { // not trimmed: damaged
		f.l.o.Logger.Warn("the stream misses facts; the view reads them from the archive", zap.String("view", f.v.Name()),
			zap.Uint64("from_seq", f.next), zap.Uint64("to_seq", seq-1))
	}
	if err := f.replay(ctx, seq-1); err != nil {
		return err
	}
	if f.next < seq && ctx.Err() == nil {
		if err := f.lost(f.next, seq-1); err != nil {
			return err
		}
		f.next = seq
	}
	return nil
}

// replay feeds the archive's facts from f.next to a sequence.
func (f *follower) replay(ctx context.Context, to uint64) error {
	batch := make([]events.Fact, 0, batchFacts)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := f.apply(ctx, batch)
		batch = make([]events.Fact, 0, batchFacts)
		return err
	}
	next := f.next
	for fact, err := range f.l.archive.facts(ctx, f.next, to) {
		if err != nil {
			return err
		}
		if fact.Seq > next {
			if err := f.lost(next, fact.Seq-1); err != nil {
				return err
			}
		}
		next = fact.Seq + 1
		fact.Stream = f.l.id
		if batch = append(batch, *fact); len(batch) == batchFacts {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (f *follower) applyEntries(ctx context.Context, batch []entry) error {
	facts := make([]events.Fact, 0, len(batch))
	want := f.next
	for i := range batch {
		if batch[i].seq < want {
			continue // seen already
		}
		if batch[i].seq > want && len(facts) > 0 { // a gap inside the batch
			break
		}
		facts = append(facts, events.Fact{})
		f.l.decode(batch[i], &facts[len(facts)-1])
		want = batch[i].seq + 1
	}
	if len(facts) == 0 {
		return nil
	}
	if err := f.apply(ctx, facts); err != nil || ctx.Err() != nil {
		return err // a follower that is told to stop applies nothing
	}
	if rest := batch[len(batch)-1].seq; rest >= f.next {
		for i := range batch {
			if batch[i].seq >= f.next {
				if err := f.bridge(ctx, batch[i].seq); err != nil {
					return err
				}
				return f.applyEntries(ctx, batch[i:])
			}
		}
	}
	return nil
}

// apply hands facts to the view. With several nodes a TS may lie before its
// predecessor's by what their clocks differ: it is raised, the same way for
// every reader.
func (f *follower) apply(ctx context.Context, facts []events.Fact) error {
	if ctx.Err() != nil {
		return nil
	}
	for i := range facts {
		if facts[i].TS.Before(f.ts) {
			facts[i].TS = f.ts
		}
		f.ts = facts[i].TS
	}
	if err := f.fillers(facts); err != nil {
		return err
	}
	last := &facts[len(facts)-1]
	f.l.noteLast(last.Seq, last.TS)
	if err := f.v.Apply(facts); err != nil {
		return err
	}
	f.next = last.Seq + 1
	f.moved()
	f.checkpoint()
	return nil
}

// moved publishes how far the view is.
func (f *follower) moved() {
	f.seq.Store(f.next - 1)
	f.at.Store(f.ts.UnixNano())
	if f.next-1 >= f.l.Last().Seq {
		f.fresh.Store(f.l.o.Now().UnixNano())
	}
	if f.next-1 >= f.target && f.caughtUp != nil {
		f.caughtUp()
		f.caughtUp = nil
	}
}

// settle finds the position from which the view can go on: its own, a
// checkpoint's, or none. An empty view begins at a checkpoint too: the log may
// reach back no further.
func (f *follower) settle(ctx context.Context) (events.Position, error) {
	pos := f.v.Position()
	ok, err := f.l.holds(ctx, pos)
	if err != nil || ok && pos.Seq > 0 {
		return pos, err
	}
	if pos.Seq == 0 {
		return f.begin(ctx)
	}
	last := f.l.Last()
	said := f.l.o.Logger.With(zap.String("view", f.v.Name()), zap.String("stream", f.l.id), zap.Uint64("log_last_seq", last.Seq),
		zap.String("view_stream", pos.Stream), zap.Uint64("view_seq", pos.Seq), zap.Time("view_time", pos.Time))
	restored, err := f.restore(ctx)
	if err != nil {
		return pos, err
	}
	if restored.Seq == 0 {
		if err := f.v.Reset(); err != nil {
			return pos, fmt.Errorf("cannot reset view: %w", err)
		}
		said.Warn("the log does not hold the fact at which the view stands, nor that of a checkpoint: the view is rebuilt from the start",
			zap.Uint64("facts_to_fold", last.Seq), zap.String("remedy", "none needed; bidding waits until the view has caught up"))
		return events.Position{}, nil
	}
	said.Warn("the log does not hold the fact at which the view stands: the view is taken back to its checkpoint",
		zap.Uint64("checkpoint_seq", restored.Seq), zap.Uint64("facts_to_fold", last.Seq-restored.Seq),
		zap.String("remedy", "none needed; bidding waits until the view has caught up"))
	return restored, nil
}

// begin takes an empty view to its newest checkpoint, if it has one.
func (f *follower) begin(ctx context.Context) (events.Position, error) {
	restored, err := f.restore(ctx)
	switch {
	case err != nil:
		return restored, err
	case restored.Seq > 0:
		f.l.o.Logger.Warn("the view is empty: it is taken from its checkpoint", zap.String("view", f.v.Name()),
			zap.Uint64("checkpoint_seq", restored.Seq), zap.Uint64("facts_to_fold", f.l.Last().Seq-restored.Seq))
	case f.v.Position().Seq > 0: // a restore that failed half way
		if err := f.v.Reset(); err != nil {
			return restored, fmt.Errorf("cannot reset view: %w", err)
		}
	}
	return restored, nil
}

// holds tells whether the log, stream or archive, holds the fact of a position.
// Below what both hold nothing can be said against it.
func (l *Log) holds(ctx context.Context, pos events.Position) (bool, error) {
	if pos.Seq == 0 {
		return true, nil
	}
	first, last, _, err := l.state(ctx)
	if err != nil {
		return false, err
	}
	if pos.Seq > last || pos.Stream != "" && pos.Stream != l.id {
		return false, nil
	}
	if pos.Seq >= first {
		f, ok, err := l.message(ctx, pos.Seq)
		if err != nil || ok {
			return ok && l.sameTime(f.TS, pos.Time), err
		}
	}
	f, err := l.archive.fact(ctx, pos.Seq)
	if err != nil {
		return false, err
	}
	return f == nil || l.sameTime(f.TS, pos.Time), nil
}

// sameTime compares the TS of a fact with the one that a view saw. In a cluster
// the view's may have been raised by what clocks differ.
func (l *Log) sameTime(stored, seen time.Time) bool {
	return stored.Equal(seen) || l.o.URL != "" && stored.Before(seen) && seen.Sub(stored) < time.Minute
}
