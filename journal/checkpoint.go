package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// keepCheckpoints is the number of checkpoints kept for each view.
const keepCheckpoints = 2

// A checkpoint is a folder named by its sequence, and next to it a file with the
// position, written last: a folder without one is incomplete. Views write their
// checkpoints with their own file system calls, so these use the system's too.
const positionEnd = ".position.json"

func checkpointDir(dir, view string) string { return filepath.Join(dir, "checkpoints", view) }

func checkpointPath(dir, view string, seq uint64) string {
	return filepath.Join(checkpointDir(dir, view), fmt.Sprintf("%020d", seq))
}

// checkpoints returns the positions of the complete checkpoints of a view, the oldest first.
func checkpoints(d disk, dir, view string) ([]events.Position, error) {
	folder := checkpointDir(dir, view)
	names, err := d.List(folder)
	if err != nil {
		return nil, fmt.Errorf("cannot list checkpoints: %w", err)
	}
	var list []events.Position
	for _, name := range names {
		if _, err := strconv.ParseUint(name, 10, 64); err != nil || !slices.Contains(names, name+positionEnd) {
			continue
		}
		var p events.Position
		b, err := readWhole(d, filepath.Join(folder, name+positionEnd))
		if err == nil && json.Unmarshal(b, &p) == nil && p.Seq > 0 {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b events.Position) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return list, nil
}

// checkpoint takes a checkpoint when one is due. A failure is logged and
// retried later; until then no file of the log that the last one needs is
// deleted.
func (f *follower) checkpoint() {
	now := f.l.o.Now()
	c, ok := f.v.(Checkpointer)
	if !ok || now.Sub(f.checkpointed) < f.l.o.CheckpointEvery {
		return
	}
	f.checkpointed = now
	if err := f.l.takeCheckpoint(f.v, c); err != nil {
		f.l.o.Logger.Error("cannot take checkpoint", zap.String("view", f.v.Name()), zap.Error(err))
	}
}

// RenewCheckpoints replaces the checkpoints of every view that has some by a new one, at or after a
// sequence, so that nothing remains in them of what the views have deleted. It waits for
// views that do not follow the log now, because their checkpoints could not be replaced.
func (l *Log) RenewCheckpoints(ctx context.Context, after uint64) error {
	l.viewMu.Lock()
	names := slices.Sorted(maps.Keys(l.names))
	l.viewMu.Unlock()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, name := range names {
		if err := l.renewCheckpoints(ctx, name, after, tick.C); err != nil {
			return fmt.Errorf("cannot renew checkpoint of view %s: %w", name, err)
		}
	}
	return nil
}

// renewCheckpoints has a view's follower replace its checkpoints. It looks for the follower
// at every tick, because a view that fails gets a new one.
func (l *Log) renewCheckpoints(ctx context.Context, name string, after uint64, tick <-chan time.Time) error {
	done := make(chan error, 1)
	for {
		l.viewMu.Lock()
		f := l.views[name]
		l.viewMu.Unlock()
		var renewals chan<- chan error
		state := "it does not follow the log"
		if f != nil {
			at := f.seq.Load()
			state = fmt.Sprintf("it is at fact %d; want %d", at, after)
			if at >= after {
				renewals = f.renewals
			}
		}
		select {
		case renewals <- done:
			return <-done
		case <-tick:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", state, ctx.Err())
		case <-l.ctx.Done():
			return ErrClosed
		}
	}
}

// renew replaces the view's checkpoints by a new one.
func (f *follower) renew() error {
	c, ok := f.v.(Checkpointer)
	if !ok {
		return nil
	}
	list, err := checkpoints(f.l.o.disk, f.l.o.Dir, f.v.Name())
	if err != nil || len(list) == 0 {
		return err
	}
	if err := f.l.takeCheckpoint(f.v, c); err != nil {
		return err
	}
	f.checkpointed = f.l.o.Now()
	return f.l.pruneCheckpoints(f.v.Name(), 1)
}

func (l *Log) takeCheckpoint(v View, c Checkpointer) error {
	pos := v.Position()
	if pos.Seq == 0 {
		return nil
	}
	path := checkpointPath(l.o.Dir, v.Name(), pos.Seq)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := removeCheckpoint(path); err != nil {
		return err
	}
	if err := c.Checkpoint(path); err != nil {
		return err
	}
	b, err := json.Marshal(pos)
	if err != nil {
		return err
	}
	err = writeWhole(l.o.disk, path+positionEnd, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return l.pruneCheckpoints(v.Name(), keepCheckpoints)
}

func removeCheckpoint(path string) error {
	if err := os.Remove(path + positionEnd); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(path)
}

// pruneCheckpoints deletes all but the newest complete ones.
func (l *Log) pruneCheckpoints(view string, keep int) error {
	list, err := checkpoints(l.o.disk, l.o.Dir, view)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, p := range list[max(len(list)-keep, 0):] {
		kept[filepath.Base(checkpointPath(l.o.Dir, view, p.Seq))] = true
	}
	folder := checkpointDir(l.o.Dir, view)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !kept[e.Name()] {
			if err := removeCheckpoint(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
