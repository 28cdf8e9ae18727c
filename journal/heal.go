package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"go.uber.org/zap"

	"rebound/events"
)

// reconcile brings stream and archive together by the rule of the package
// comment.
func (l *Log) reconcile(ctx context.Context) error {
	s, err := l.e.lookup(ctx)
	if err != nil {
		return err
	}
	if s != nil {
		if err := l.adoptStream(ctx, s); err != nil {
			return err
		}
		_, last, _, err := l.state(ctx)
		if err != nil {
			return err
		}
		if last > 0 || l.archive.empty() {
			return l.compare(ctx)
		}
		// An unused stream beside an archive: the stream that was is gone.
		if err := l.e.js.DeleteStream(ctx, streamName); err != nil {
			return fmt.Errorf("cannot replace empty stream: %w", err)
		}
	}
	return l.recreate(ctx)
}

// recreate makes the stream: empty, or with the archive's latest facts.
func (l *Log) recreate(ctx context.Context) error {
	a := l.archive
	id := a.stream
	if id == "" || a.empty() {
		id = newStreamID()
	}
	if a.empty() {
		if err := l.createStream(ctx, id, 0); err != nil {
			return err
		}
		return a.belongsTo(id)
	}
	first := a.recent()
	if err := l.createStream(ctx, id, first); err != nil {
		return err
	}
	if err := a.belongsTo(id); err != nil {
		return err
	}
	return l.heal(ctx, first-1)
}

// recent is the first sequence of the newest files that fit into the stream's
// age and a quarter of its bytes: what a new stream is given again.
func (a *archive) recent() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.files) - 1
	total := int64(0)
	for ; n > 0; n-- {
		st, err := os.Stat(a.files[n-1].path)
		size := int64(0)
		if err == nil {
			size = 8 * st.Size() // packed
		}
		if total += size; err != nil || a.lastTS.Sub(st.ModTime()) > a.o.MaxAge || total > a.o.MaxBytes/4 {
			break
		}
	}
	return a.files[n].first
}

// compare finds out where stream and archive agree, and acts on it.
func (l *Log) compare(ctx context.Context) error {
	a := l.archive
	first, last, _, err := l.state(ctx)
	if err != nil {
		return err
	}
	if a.empty() {
		if first > 1 {
			l.o.Logger.Warn("the archive is empty but the stream has been trimmed: a view that must be rebuilt will miss its older facts",
				zap.Uint64("missing_to", first-1), zap.String("remedy", "restore the archive folder from a backup"))
		}
		return a.belongsTo(l.id)
	}
	low, high := max(first, a.firstSeq()), min(last, a.last.Load())
	switch {
	case low <= high:
		same, err := l.agree(ctx, high)
		if err != nil {
			return err
		}
		if !same {
			return l.diverged(ctx, low, high)
		}
	case a.stream != "" && a.stream != l.id:
		return l.divert(ctx, a.firstSeq())
	}
	if err := a.belongsTo(l.id); err != nil {
		return err
	}
	if a.last.Load() > last {
		return l.heal(ctx, last)
	}
	return nil
}

// agree tells whether stream and archive hold the same fact at seq. Where one of
// them has a gap there is nothing to disagree on.
func (l *Log) agree(ctx context.Context, seq uint64) (bool, error) {
	ours, err := l.archive.fact(ctx, seq)
	if err != nil {
		return false, err
	}
	theirs, ok, err := l.message(ctx, seq)
	if err != nil || !ok || ours == nil {
		return true, err
	}
	return ours.ID == theirs.ID && ours.TS.Equal(theirs.TS), nil
}

// diverged finds the first sequence at which stream and archive disagree: they
// agree before it and nowhere after it.
func (l *Log) diverged(ctx context.Context, low, high uint64) error {
	var failed error
	n := sort.Search(int(high-low), func(i int) bool {
		same, err := l.agree(ctx, low+uint64(i))
		if err != nil {
			failed = err
		}
		return !same
	})
	if failed != nil {
		return failed
	}
	return l.divert(ctx, low+uint64(n))
}

// divert moves the archive's facts from seq on aside; the stream is right.
func (l *Log) divert(ctx context.Context, seq uint64) error {
	a := l.archive
	dir := filepath.Join(a.dir, "diverged-"+stamp(l.o.Now()))
	l.o.Logger.Error("stream and archive hold different facts: the archive's are moved aside, the stream's are archived, views that saw the others are taken back",
		zap.Uint64("from_seq", seq), zap.Uint64("to_seq", a.last.Load()), zap.String("moved_to", dir),
		zap.String("archive_of", a.stream), zap.String("stream", l.id),
		zap.String("remedy", "if the archive was the right one: stop, delete the stream folder, put the files back, start"))
	if err := a.cut(ctx, seq, dir); err != nil {
		return fmt.Errorf("cannot move archive aside: %w", err)
	}
	return a.belongsTo(l.id)
}

// cut moves every fact from seq on into dir. A file that holds facts on both
// sides is kept there as a whole, and here up to seq.
func (a *archive) cut(ctx context.Context, seq uint64, dir string) error {
	if err := a.close(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for n := len(a.files) - 1; n >= 0; n-- {
		file := a.files[n]
		moved := filepath.Join(dir, filepath.Base(file.path))
		if err := os.Rename(file.path, moved); err != nil {
			return err
		}
		if file.first < seq {
			if err := a.rewrite(moved, file.first, seq); err != nil {
				return err
			}
		}
		if file.first <= seq {
			break
		}
	}
	a.last.Store(0)
	again, err := openArchive(a.o)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.files, a.f, a.size, a.opened, a.lastTS = again.files, again.f, again.size, again.opened, again.lastTS
	a.mu.Unlock()
	a.last.Store(again.last.Load())
	a.synced.Store(again.last.Load())
	return ctx.Err()
}

// rewrite writes the facts of a file below seq to the archive.
func (a *archive) rewrite(from string, first, seq uint64) error {
	var buf []byte
	for f, err := range events.ReadFactFile(from) {
		if err != nil {
			return err
		}
		if f.Seq >= seq {
			break
		}
		if buf, err = events.AppendFact(buf, f); err != nil {
			return err
		}
		buf = append(buf, '\n')
	}
	return writeSynced(a.path(first), buf)
}
