package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"rebound/events"
)

// maxFiller is the longest gap inside the archive that healing fills with ticks
// to keep the sequences.
const maxFiller = 1_000_000

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

// heal appends the archive's facts after seq to the stream again, as they were.
// Every message says which sequence it expects before it, so that nothing else
// can come between.
func (l *Log) heal(ctx context.Context, seq uint64) error {
	to := l.archive.last.Load()
	l.o.Logger.Warn(fmt.Sprintf("stream is behind its archive: %d facts after seq %d are appended again", to-seq, seq),
		zap.Uint64("facts", to-seq), zap.Uint64("after_seq", seq), zap.String("stream", l.id))
	h := healer{l: l, last: seq}
	for f, err := range l.archive.facts(ctx, seq+1, to) {
		if err != nil {
			return err
		}
		if err := h.fillTo(ctx, f.Seq, f.TS); err != nil {
			return err
		}
		if err := h.put(ctx, f); err != nil {
			return err
		}
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil && h.last < to {
		return fmt.Errorf("cannot heal stream: got archive facts up to %d; want %d: restore the archive from a backup", h.last, to)
	}
	l.healed.Add(h.count)
	return ctx.Err()
}

type healer struct {
	l       *Log
	last    uint64
	count   uint64
	waiting []jetstream.PubAckFuture
}

// put sends one fact with its own sequence.
func (h *healer) put(ctx context.Context, f *events.Fact) error {
	c := *f
	c.Seq = 0
	data, err := events.AppendFact(make([]byte, 0, 512), &c)
	if err != nil {
		return fmt.Errorf("cannot encode fact %d: %w", f.Seq, err)
	}
	future, err := h.l.e.js.PublishMsgAsync(&nats.Msg{Subject: subjectOf(f), Data: data, Header: nats.Header{
		jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(f.Seq-1, 10)}}}, noRetry)
	if err != nil {
		return fmt.Errorf("cannot append fact %d again: %w", f.Seq, err)
	}
	h.last = f.Seq
	h.count++
	if h.waiting = append(h.waiting, future); len(h.waiting) >= appendChunk {
		return h.settle(ctx)
	}
	return nil
}

// settle waits until what was sent is stored.
func (h *healer) settle(ctx context.Context) error {
	for _, w := range h.waiting {
		select {
		case <-w.Ok():
		case err := <-w.Err():
			return fmt.Errorf("cannot append fact again: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.waiting = h.waiting[:0]
	return nil
}

// fillTo puts ticks where the archive has a gap.
func (h *healer) fillTo(ctx context.Context, seq uint64, ts time.Time) error {
	gap := seq - h.last - 1
	if gap == 0 {
		return nil
	}
	if gap > maxFiller {
		return fmt.Errorf("cannot heal stream: got a gap of %d facts after seq %d in the archive; want at most %d: restore the archive, or move the stream folder away",
			gap, h.last, maxFiller)
	}
	h.l.lost("stream", h.last+1, seq-1)
	for h.last+1 < seq {
		f := events.Fact{V: 1, Seq: h.last + 1, TS: ts, Kind: events.KindTick, ID: "lost:" + strconv.FormatUint(h.last+1, 10)}
		if err := h.put(ctx, &f); err != nil {
			return err
		}
	}
	return nil
}

// lost says which facts neither the stream nor the archive holds.
func (l *Log) lost(reader string, from, to uint64) {
	l.o.Logger.Error("facts are in neither the stream nor the archive; reading goes on after them",
		zap.String("reader", reader), zap.Uint64("from_seq", from), zap.Uint64("to_seq", to), zap.Uint64("facts", to-from+1),
		zap.String("remedy", "restore the archive folder from a backup and rebuild the view"))
}
