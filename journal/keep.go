package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

const (
	keepEvery = time.Second
	trimEvery = 10 * time.Minute
)

// poke asks the keeper for a trim.
func (l *Log) poke() {
	select {
	case l.pokes <- struct{}{}:
	default:
	}
}

// keeper syncs the archive, watches disk and lag, and trims.
func (l *Log) keeper(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	trimmed := l.o.Now()
	for {
		poked := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.pokes:
			poked = true
		}
		l.look(ctx)
		if !l.gate.open() {
			continue
		}
		if now := l.o.Now(); poked || now.Sub(trimmed) >= trimEvery || l.bytes.Load() > uint64(l.o.MaxBytes)/4*3 {
			trimmed = now
			l.archive.keep(now)
			if err := l.trim(ctx); err != nil && ctx.Err() == nil {
				l.o.Logger.Error("cannot trim stream", zap.Error(err))
			}
		}
	}
}

// look refreshes what Stats tells.
func (l *Log) look(ctx context.Context) {
	if err := l.archive.sync(); err != nil {
		l.o.Logger.Error("archive is not durable", zap.Error(err))
	}
	l.checkDisk()
	if !l.diskLow() {
		if err := l.spool.keepReserve(); err != nil {
			l.o.Logger.Debug("spool has no reserve yet", zap.Error(err))
		}
	}
	if l.meter.bad.Load() {
		l.mend(ctx, l.probe(ctx))
	} else {
		l.mending = mending{}
	}
	if !l.gate.open() {
		return
	}
	if _, last, _, err := l.state(ctx); err == nil && l.o.URL != "" {
		l.lastMu.Lock()
		l.last.Stream, l.last.Seq = l.id, max(l.last.Seq, last) // of other nodes; TS follows with a follower
		l.lastMu.Unlock()
	}
	last, now := l.Last().Seq, l.o.Now().UnixNano()
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	for _, f := range l.views {
		if f.seq.Load() >= last {
			f.fresh.Store(now)
		}
	}
}

// probe appends a tick while appending fails: a bidder that stopped because of
// that would otherwise never learn that the log works again.
func (l *Log) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepEvery)
	defer cancel()
	now := l.o.Now().UTC()
	err := l.Append(ctx, events.Fact{ID: "probe:" + newStreamID(), Kind: events.KindTick, At: now})
	if err != nil {
		l.o.Logger.Debug("log still takes no facts", zap.Error(err))
		return err
	}
	l.o.Logger.Info("log takes facts again")
	return nil
}

func (l *Log) checkDisk() {
	free, ok := freeBytes(l.o.Dir)
	if ok {
		free = max(free, 1) // 0 says that it is unknown
	} else {
		free = 0
	}
	l.diskFree.Store(free)
}

// trim deletes from the stream what is too old or too much, but only what the
// archive has synced and what lies below every view's oldest checkpoint.
func (l *Log) trim(ctx context.Context) error {
	first, last, bytes, err := l.state(ctx)
	if err != nil || last < first {
		return err
	}
	floor, why, err := l.trimFloor()
	if err != nil {
		return err
	}
	to, err := l.wanted(ctx, first, last, bytes)
	if err != nil || to < first {
		return err
	}
	if to > floor {
		if bytes > uint64(l.o.MaxBytes)/10*9 {
			l.o.Logger.Warn("stream is nearly full and cannot be trimmed", zap.String("because", why),
				zap.Uint64("bytes", bytes), zap.Int64("max_bytes", l.o.MaxBytes), zap.String("remedy", "mend what holds it, or raise the stream's byte limit"))
		}
		to = floor
	}
	if to < first {
		return nil
	}
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(to+1)); err != nil {
		return fmt.Errorf("cannot purge stream: %w", err)
	}
	l.o.Logger.Info("stream trimmed", zap.Uint64("from_seq", first), zap.Uint64("to_seq", to))
	_, _, _, err = l.state(ctx)
	return err
}

// trimFloor is the highest sequence that may go, and what holds the rest.
func (l *Log) trimFloor() (uint64, string, error) {
	floor, why := l.archive.synced.Load(), "the archive has synced no more"
	names, err := l.holders()
	if err != nil {
		return 0, "", err
	}
	for _, name := range names {
		list, err := l.checkpoints(name)
		if err != nil {
			return 0, "", err
		}
		oldest := uint64(0)
		if len(list) > 0 {
			oldest = list[0].Seq
		}
		// The checkpoint's own fact stays, so that its position can be checked.
		if oldest = max(oldest, 1) - 1; oldest < floor {
			floor, why = oldest, "view "+name+" has no later checkpoint"
		}
	}
	return floor, why, nil
}

// holders are the views whose checkpoints hold the stream: those that were
// followed since Open, and for as long as a checkpoint takes to come, those that
// have one on disk: they are about to be followed, or no more.
func (l *Log) holders() ([]string, error) {
	l.viewMu.Lock()
	names := slices.Collect(maps.Keys(l.seen))
	l.viewMu.Unlock()
	if l.o.Now().Sub(l.opened) >= l.o.CheckpointEvery {
		return names, nil
	}
	entries, err := os.ReadDir(filepath.Dir(l.checkpointDir("any")))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("cannot list checkpoints: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(names, e.Name()) {
			list, err := l.checkpoints(e.Name())
			if err != nil {
				return nil, err
			}
			if len(list) > 0 {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

// wanted is the last sequence that age and bytes would have gone; the newest
// fact always stays.
func (l *Log) wanted(ctx context.Context, first, last, bytes uint64) (uint64, error) {
	oldest := l.o.Now().Add(-l.o.MaxAge)
	low, high := first, last // the first fact to stay is in [low, high]
	for low < high {
		mid := low + (high-low)/2
		at, seq, err := l.timeAt(ctx, mid)
		if err != nil {
			return 0, err
		}
		if at.Before(oldest) {
			low = max(seq, mid) + 1
		} else {
			high = mid
		}
	}
	to := min(low, last) - 1
	if limit := uint64(l.o.MaxBytes) / 4 * 3; bytes > limit {
		// Facts are much alike: cut by count down to half of the limit.
		much := uint64(float64(last-first+1) * float64(bytes-uint64(l.o.MaxBytes)/2) / float64(bytes))
		to = max(to, min(first+much, last-1))
	}
	return to, nil
}

// timeAt is the TS of the first fact at or after seq.
func (l *Log) timeAt(ctx context.Context, seq uint64) (time.Time, uint64, error) {
	f, ok, err := l.message(ctx, seq)
	if err != nil || ok {
		return f.TS, seq, err
	}
	m, err := l.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject("facts.>"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return l.o.Now(), seq, nil
	}
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("cannot read fact after %d: %w", seq, err)
	}
	l.decode(entry{seq: m.Sequence, data: m.Data, at: m.Time}, &f)
	return f.TS, m.Sequence, nil
}
