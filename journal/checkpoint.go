package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"rebound/events"
)

// keepCheckpoints is how many of each view are kept.
const keepCheckpoints = 2

// A checkpoint is a folder named by its sequence, and beside it a file with the
// position, written last: a folder without one is not whole.
const positionEnd = ".position.json"

func (l *Log) checkpointDir(view string) string {
	return filepath.Join(l.o.Dir, "checkpoints", view)
}

// checkpoints are the whole ones of a view, the oldest first.
func (l *Log) checkpoints(view string) ([]events.Position, error) {
	dir := l.checkpointDir(view)
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list checkpoints: %w", err)
	}
	var list []events.Position
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 64); !e.IsDir() || err != nil {
			continue
		}
		var p events.Position
		b, err := os.ReadFile(filepath.Join(dir, e.Name()+positionEnd))
		if err == nil && json.Unmarshal(b, &p) == nil && p.Seq > 0 {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b events.Position) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return list, nil
}

func checkpointName(seq uint64) string { return fmt.Sprintf("%020d", seq) }

// checkpoint takes one when it is time. A failure is said and tried again; the
// stream is not trimmed meanwhile.
func (f *follower) checkpoint() {
	now := f.l.o.Now()
	if now.Sub(f.checkpointed) < f.l.o.CheckpointEvery {
		return
	}
	f.checkpointed = now
	if err := f.l.takeCheckpoint(f.v); err != nil {
		f.l.o.Logger.Error("cannot take checkpoint; the stream is not trimmed above the last one", zap.String("view", f.v.Name()), zap.Error(err))
		return
	}
	f.l.poke()
}

func (l *Log) takeCheckpoint(v View) error {
	pos := v.Position()
	if pos.Seq == 0 {
		return nil
	}
	dir := l.checkpointDir(v.Name())
	path := filepath.Join(dir, checkpointName(pos.Seq))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := removeCheckpoint(path); err != nil {
		return err
	}
	if err := v.Checkpoint(path); err != nil {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil { // a view without files
		return err
	}
	b, err := json.Marshal(pos)
	if err != nil {
		return err
	}
	if err := writeSynced(path+positionEnd, b); err != nil {
		return err
	}
	return l.pruneCheckpoints(v.Name())
}

func removeCheckpoint(path string) error {
	if err := os.Remove(path + positionEnd); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.RemoveAll(path)
}

// pruneCheckpoints deletes all but the newest whole ones.
func (l *Log) pruneCheckpoints(view string) error {
	list, err := l.checkpoints(view)
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, p := range list[max(len(list)-keepCheckpoints, 0):] {
		keep[checkpointName(p.Seq)] = true
	}
	dir := l.checkpointDir(view)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && !keep[e.Name()] {
			if err := removeCheckpoint(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore takes the view back to its newest checkpoint that the log holds; the
// zero position when there is none. Checkpoints that it does not hold go.
func (f *follower) restore(ctx context.Context) (events.Position, error) {
	list, err := f.l.checkpoints(f.v.Name())
	if err != nil {
		return events.Position{}, err
	}
	for _, p := range slices.Backward(list) {
		path := filepath.Join(f.l.checkpointDir(f.v.Name()), checkpointName(p.Seq))
		ok, err := f.l.holds(ctx, p)
		if err != nil {
			return events.Position{}, err
		}
		if ok {
			if err = f.v.Restore(path); err == nil && f.v.Position().Seq == p.Seq && f.v.Position().Time.Equal(p.Time) {
				return p, nil
			}
			f.l.o.Logger.Error("checkpoint cannot be restored", zap.String("checkpoint", path), zap.Error(err))
		}
		if err := removeCheckpoint(path); err != nil {
			return events.Position{}, fmt.Errorf("cannot remove checkpoint: %w", err)
		}
	}
	return events.Position{}, nil
}
