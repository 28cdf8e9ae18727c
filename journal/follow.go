package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// applyFacts is the maximum number of facts per call of Apply.
const applyFacts = 1024

// follower is a view that follows the log.
type follower struct {
	l        *Log
	v        View
	pos      events.Position // position of the last fact that was applied
	target   uint64          // sequence at which it has caught up; caughtUp is called there, once
	caughtUp func()

	checkpointed time.Time       // when the last checkpoint was taken or attempted
	renewals     chan chan error // requests to replace the checkpoints by a new one
	batch        []events.Fact

	seq   atomic.Uint64 // applied
	at    atomic.Int64  // TS of that fact, Unix ns
	fresh atomic.Int64  // when the view last had every fact, in Unix ns
	spent atomic.Int64  // average time of Apply for one fact, ns
}

// Follow applies every fact after v's position to v, in order and in batches,
// until ctx ends (nil), the log closes (ErrClosed), v fails, or the log is damaged
// after the position (*DamageError). A fact is applied only after it is synced.
// caughtUp, which may be nil, is called once, when v has every fact that the log
// held at the start. A view whose position is not in the log is restored from a
// checkpoint or rebuilt, and the bidder is blind for money until the loss is
// accepted.
func (l *Log) Follow(ctx context.Context, v View, caughtUp func()) error {
	if !l.enterFollow() {
		return ErrClosed
	}
	defer l.followers.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()

	f := &follower{l: l, v: v, caughtUp: caughtUp, renewals: make(chan chan error), checkpointed: l.o.Now(), target: max(l.Last().Seq, l.fleet.target())}
	if err := l.register(v.Name(), f); err != nil {
		return err
	}
	defer l.unregister(v.Name())
	err := f.settle()
	if err == nil {
		err = f.run(ctx)
	}
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

func (l *Log) enterFollow() bool {
	l.closeMu.RLock()
	defer l.closeMu.RUnlock()
	if l.closing {
		return false
	}
	l.followers.Add(1)
	return true
}

func (l *Log) register(name string, f *follower) error {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	if l.views[name] != nil {
		return fmt.Errorf("cannot follow log: got view %s twice; want each once", name)
	}
	l.views[name], l.names[name] = f, true
	return nil
}

func (l *Log) unregister(name string) {
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	delete(l.views, name)
}

// run applies facts to the view until ctx ends.
func (f *follower) run(ctx context.Context) error {
	f.moved()
	for ctx.Err() == nil {
		select {
		case done := <-f.renewals:
			done <- f.renew()
		default:
		}
		list, more, ok := f.l.ring.after(f.pos.Seq)
		switch last := f.l.Last().Seq; {
		case ok && len(list) > 0:
			if err := f.fromMemory(list); err != nil {
				return err
			}
		case !ok || f.pos.Seq < last:
			if err := f.fromFiles(ctx, last); err != nil {
				return err
			}
		default:
			select {
			case <-more:
			case done := <-f.renewals:
				done <- f.renew()
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// fromMemory applies recently written batches, which are still in memory.
func (f *follower) fromMemory(list []*written) error {
	f.batch = f.batch[:0]
	for _, b := range list {
		facts, err := b.decoded()
		if err != nil {
			return err
		}
		if b.first() <= f.pos.Seq {
			facts = facts[f.pos.Seq+1-b.first():]
		}
		if f.batch = append(f.batch, facts...); len(f.batch) >= applyFacts {
			break
		}
	}
	return f.apply(append([]events.Fact(nil), f.batch...))
}

// fromFiles applies the facts of the files up to a sequence.
func (f *follower) fromFiles(ctx context.Context, upTo uint64) error {
	facts := make([]events.Fact, 0, applyFacts)
	flush := func() error {
		if len(facts) == 0 {
			return nil
		}
		err := f.apply(facts)
		facts = make([]events.Fact, 0, applyFacts)
		return err
	}
	err := f.l.files.walk(f.pos, upTo, func(line *events.Line) error {
		facts = append(facts, events.Fact{})
		if err := line.Decode(&facts[len(facts)-1]); err != nil {
			return err
		}
		if len(facts) < applyFacts {
			return nil
		}
		if ctx.Err() != nil {
			return errStop
		}
		return flush()
	})
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(flush(), err)
}

// apply applies facts to the view.
func (f *follower) apply(facts []events.Fact) error {
	start := f.l.o.Now()
	if err := f.v.Apply(facts); err != nil {
		return err
	}
	each := int64(f.l.o.Now().Sub(start)) / int64(len(facts))
	f.spent.Store((7*f.spent.Load() + each) / 8)
	f.pos = facts[len(facts)-1].Position()
	f.moved()
	f.checkpoint()
	return nil
}

// cost returns the time that the view takes for one fact.
func (f *follower) cost() time.Duration { return time.Duration(f.spent.Load()) }

// moved publishes the view's position.
func (f *follower) moved() {
	f.seq.Store(f.pos.Seq)
	f.at.Store(f.pos.Time.UnixNano())
	if f.pos.Seq >= f.l.Last().Seq {
		f.fresh.Store(f.l.o.Now().UnixNano())
	}
	if f.pos.Seq >= f.target && f.caughtUp != nil {
		f.caughtUp()
		f.caughtUp = nil
	}
}

// settle returns the position from which the view continues: its own, that of a
// checkpoint, or that of the base file.
func (f *follower) settle() error {
	f.pos = f.v.Position()
	if f.pos.Seq == 0 {
		return f.begin()
	}
	held, err := f.l.holds(f.pos)
	if held || err != nil {
		return err
	}
	reason := fmt.Sprintf("view %s stands at fact %d (%s), which the log does not hold", f.v.Name(), f.pos.Seq, f.pos.Hash)
	if err := f.l.goBlind(reason, f.v); err != nil {
		return err
	}
	return f.begin()
}

// holds reports whether the log holds the fact at a position, or begins right after it.
func (l *Log) holds(pos events.Position) (bool, error) {
	last := l.Last()
	if pos.Seq >= last.Seq {
		return pos.Seq == last.Seq && pos.Hash == last.Hash, nil
	}
	err := l.files.walk(pos, pos.Seq+1, func(*events.Line) error { return errStop })
	var gone *GoneError
	var damage *DamageError
	switch {
	case errors.Is(err, errElsewhere), errors.As(err, &gone):
		return false, nil
	case errors.As(err, &damage): // reported when the facts after the position are read
		return true, nil
	}
	return err == nil, err
}

// begin initializes a view that is empty or must be restored to an earlier position.
func (f *follower) begin() error {
	c, ok := f.v.(Checkpointer)
	if !ok {
		if f.pos.Seq > 0 {
			return fmt.Errorf("cannot restore view %s: it has no checkpoints", f.v.Name())
		}
		return nil
	}
	pos, err := f.restore(c)
	if err != nil || pos.Seq > 0 {
		f.pos = pos
		return err
	}
	if f.v.Position().Seq > 0 {
		if err := c.Reset(); err != nil {
			return fmt.Errorf("cannot reset view %s: %w", f.v.Name(), err)
		}
	}
	f.pos = events.Position{}
	return f.fromBase()
}

// restore restores the view from its newest checkpoint whose position is in the log; the
// zero position means that there is none.
func (f *follower) restore(c Checkpointer) (events.Position, error) {
	list, err := checkpoints(f.l.o.disk, f.l.o.Dir, f.v.Name())
	if err != nil {
		return events.Position{}, err
	}
	for i := len(list) - 1; i >= 0; i-- {
		p := list[i]
		path := checkpointPath(f.l.o.Dir, f.v.Name(), p.Seq)
		held, err := f.l.holds(p)
		if err != nil {
			return events.Position{}, err
		}
		if held {
			if err = c.Restore(path); err == nil && f.v.Position().Seq == p.Seq && f.v.Position().Hash == p.Hash {
				f.l.o.Logger.Warn("view begins at its checkpoint", zap.String("view", f.v.Name()), zap.Uint64("checkpoint_seq", p.Seq),
					zap.Uint64("facts_to_fold", f.l.Last().Seq-p.Seq))
				return p, nil
			}
			f.l.o.Logger.Error("checkpoint cannot be restored", zap.String("checkpoint", path), zap.Error(err))
		} else if f.pos.Seq == 0 { // there is no other record of what had been seen
			reason := fmt.Sprintf("a checkpoint of view %s stands at fact %d (%s), which the log does not hold", f.v.Name(), p.Seq, p.Hash)
			if err := f.l.goBlind(reason, f.v); err != nil {
				return events.Position{}, err
			}
		}
		if err := removeCheckpoint(path); err != nil {
			return events.Position{}, fmt.Errorf("cannot remove checkpoint: %w", err)
		}
	}
	return events.Position{}, nil
}
