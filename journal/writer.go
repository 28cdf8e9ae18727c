package journal

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// writer writes facts to files. Only one goroutine uses it: that of the log, or
// in a fleet the one that reads the stream.
//
// When a write or a sync fails, anything written after the last successful sync
// is discarded and never read back, because the page cache may contain data
// that is not on disk. The batch is still in memory and goes to a new file that
// begins after the last synced line.
type writer struct {
	l      *Log
	f      file // nil if there is none to write to
	header events.Header
	size   int64 // number of synced bytes
	space  int64 // number of reserved bytes; writing stops there
	free   bool  // the file system cannot reserve space, so space is only a limit of our own
	opened time.Time
	last   events.Position // position of the last synced fact
	sum    events.Digest   // digest of the same fact; zero if it must be read from a file
	gap    uint64          // the next sequence must be above it, because lost facts used the sequences up to it
	buf    []byte
	ids    *recent
	grants map[string]uint64 // sequence of the last grant of each budget since the start
	marked int64             // offset of the last mark
	retry  time.Time         // no new file is attempted before this time, after one could not be created
}

// commit writes a batch, syncs it, notifies its callers, and publishes it to the views.
// It returns an error only if the log cannot continue.
func (w *writer) commit(batch []*pending) error {
	err := w.prepare(batch)
	if err != nil {
		answer(batch, fmt.Errorf("cannot write log: %w", err))
		return fatalOnly(err)
	}
	out := w.layOut(batch)
	if len(out.lines) > 0 {
		if err = w.store(); err != nil {
			answer(out.waiting, fmt.Errorf("cannot write log: %w", err))
			return fatalOnly(err)
		}
		w.synced(out)
	}
	answer(out.waiting, nil)
	return nil
}

func answer(list []*pending, err error) {
	for _, p := range list {
		p.done <- err
	}
}

// fatalOnly returns err unless it only means that there is no space, which is temporary.
func fatalOnly(err error) error {
	if isFull(err) || errors.Is(err, ErrFull) {
		return nil
	}
	return err
}

// prepare makes sure that a file is open and, if the disk is not full, that it has space
// for a batch.
func (w *writer) prepare(batch []*pending) error {
	if err := w.rotate(); err != nil {
		return err
	}
	if w.f == nil {
		if w.waits(w.l.o.Now()) {
			return ErrFull
		}
		if err := w.create(); err != nil {
			w.retry = w.l.o.Now().Add(retryAfter)
			w.judge()
			return err
		}
	}
	bytes := int64(0)
	for _, p := range batch {
		bytes += int64(p.size())
	}
	w.extend(bytes)
	return nil
}

// waits reports whether it is too early to retry creating a file. If the clock was set
// back, it does not wait longer.
func (w *writer) waits(now time.Time) bool {
	d := w.retry.Sub(now)
	return d > 0 && d <= retryAfter
}

// retryAfter is the time between two attempts to create a file.
const retryAfter = time.Second

// laid is a batch that is encoded in the order of the log.
type laid struct {
	lines   []events.Line
	sum     events.Digest // digest of the last line
	waiting []*pending    // notified when the lines are synced
	ids     []factID
	grants  map[string]uint64
}

// layOut assigns facts their places and encodes them into w.buf. Duplicates and
// facts that must not be written are left out; the callers of duplicates are
// notified with the rest.
func (w *writer) layOut(batch []*pending) *laid {
	out := &laid{lines: make([]events.Line, 0, len(batch)), waiting: make([]*pending, 0, len(batch)), grants: map[string]uint64{}}
	now := w.l.o.Now().UTC().Round(0)
	seq, hash, ts := max(w.last.Seq, w.gap), w.last.Hash, w.last.Time
	w.buf = w.buf[:0]
	same := map[factID]bool{}
	for _, p := range batch {
		if p.probe {
			out.waiting = append(out.waiting, p)
			continue
		}
		if !p.at.IsZero() { // in a fleet every message of the stream gets a line
			now, same[p.id] = p.at, false
		} else if w.ids.has(p.id) || same[p.id] {
			out.waiting = append(out.waiting, p)
			continue
		}
		if p.grant != nil {
			if err := w.checkGrant(p.grant, out); err != nil {
				p.done <- err
				continue
			}
		}
		if p.at.IsZero() && w.size+int64(len(w.buf)+p.size()) > w.space-w.floor(p.class) {
			p.done <- ErrFull
			continue
		}
		if now.After(ts) {
			ts = now
		}
		seq++
		hash = events.Chain(hash, seq, ts, p.sum)
		p.line.Seq, p.line.TS, p.line.Hash, p.line.Synced = seq, ts, hash, 0
		if len(out.lines) == 0 {
			p.line.Synced = w.last.Seq
		}
		w.buf = append(p.line.Append(w.buf), '\n')
		same[p.id] = true
		if p.grant != nil {
			out.grants[p.grant.budget] = seq
		}
		out.sum = p.sum
		out.lines, out.ids, out.waiting = append(out.lines, p.line), append(out.ids, p.id), append(out.waiting, p)
	}
	return out
}

// checkGrant compares the last grant of a budget with the one that the writer of a new
// grant had seen. That writer knows all grants from before the start, because it cuts
// grants only after its view has folded them.
func (w *writer) checkGrant(g *grantCheck, out *laid) error {
	last, ok := out.grants[g.budget]
	if !ok {
		last, ok = w.grants[g.budget]
	}
	if ok && last != g.expect {
		return fmt.Errorf("cannot append grant of %s: got expected sequence %d; want %d: %w", g.budget, g.expect, last, ErrConflict)
	}
	return nil
}

// store writes and syncs w.buf, in a new file if the current one fails.
func (w *writer) store() error {
	var err error
	if w.f != nil {
		if _, err = w.f.Write(w.buf); err == nil {
			err = w.f.Sync()
		}
		if err == nil {
			return nil
		}
		w.l.o.Logger.Error("a write or sync of the log failed; the batch goes to a new file", zap.String("file", w.l.files.path(fileName(&w.header))),
			zap.Uint64("last_synced_seq", w.last.Seq), zap.Error(err))
		w.l.meter.writeErrors.Add(1)
		w.drop()
	}
	if next := w.create(); next != nil {
		w.retry = w.l.o.Now().Add(retryAfter)
		return errors.Join(err, next)
	}
	if _, err = w.f.Write(w.buf); err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		w.drop()
	}
	return err
}

// next returns the sequence of the next fact.
func (w *writer) next() uint64 { return max(w.last.Seq, w.gap) + 1 }

// drop abandons the current file; readers stop at the header of the next one.
func (w *writer) drop() {
	if w.f != nil {
		w.f.Close() //nolint:errcheck // nothing since the last sync counts
		w.f = nil
	}
	w.size, w.space = 0, 0
}

// synced records that w.buf and out are on disk.
func (w *writer) synced(out *laid) {
	was := w.size
	w.size += int64(len(w.buf))
	lastLine := &out.lines[len(out.lines)-1]
	w.last = events.Position{Seq: lastLine.Seq, Hash: lastLine.Hash, Time: lastLine.TS}
	w.gap, w.sum = 0, out.sum
	for _, id := range out.ids {
		w.ids.add(id)
	}
	for budget, seq := range out.grants {
		w.grants[budget] = seq
	}
	if was-w.marked >= markEvery {
		w.marked = w.size
		w.mark(mark{lastLine.Seq, w.size})
	}
	w.l.ring.push(out.lines, len(w.buf))
	w.l.setLast(w.last)
}

// mark records a place in the current file for readers.
func (w *writer) mark(m mark) {
	w.l.files.change(func(files []logFile) []logFile {
		f := &files[len(files)-1]
		f.marks, f.bytes = append(f.marks[:len(f.marks):len(f.marks)], m), w.size
		return files
	})
}

// floor returns the part of the reserved space that a class may not use.
func (w *writer) floor(c class) int64 {
	switch c {
	case classMoney:
		return w.l.o.Reserve / 4
	case classOptOut:
		return 0
	}
	return w.l.o.Reserve
}

// ahead returns the number of bytes to reserve beyond the next batch.
func (w *writer) ahead() int64 { return 2 * w.l.o.Reserve }

// extend reserves space for a number of bytes and for the reserve after them.
func (w *writer) extend(bytes int64) {
	want := w.size + bytes + w.ahead()
	switch {
	case w.free:
		free, _ := w.l.o.disk.Space(w.l.o.FactsDir)
		w.space = w.size + int64(free)
	case w.space < want:
		want += w.ahead()
		err := w.f.Reserve(w.space, want-w.space)
		if isFull(err) {
			want -= w.ahead()
			err = w.f.Reserve(w.space, want-w.space)
		}
		if err == nil {
			w.space = want
		} else if !isFull(err) {
			w.l.o.Logger.Error("cannot reserve space for the log", zap.Error(err))
		}
	}
	w.judge()
}

// judge records the classes for which there is space.
func (w *writer) judge() {
	left := w.space - w.size
	free, least := w.l.diskFree()
	low := free > 0 && free < least/2
	room := uint32(0)
	for c := range classes {
		floor := w.floor(c)
		if c >= classEvent {
			floor += w.l.o.Reserve / 16 // a class stays closed if even a small fact of it would be refused
		}
		if left > floor && (c < classEvent || !low) {
			room |= 1 << c
		}
	}
	w.l.room.Store(room)
}

func fileName(h *events.Header) string { return (&logFile{header: *h}).name() }

// rotate begins a new file when the current one is large or old, or holds facts that are
// to be erased. If there is no space for one, it continues with the current one.
func (w *writer) rotate() error {
	now := w.l.o.Now()
	if w.f == nil || w.last.Seq < w.header.First || w.waits(now) ||
		w.size < w.l.o.FileBytes && now.Sub(w.opened) < w.l.o.FileAge && w.header.First > w.l.endBy.Load() {
		return nil
	}
	old, size := w.f, w.size
	if err := w.create(); err != nil {
		w.retry = now.Add(retryAfter)
		return fatalOnly(err)
	}
	if err := errors.Join(old.Trim(size), old.Sync(), old.Close()); err != nil {
		w.l.o.Logger.Warn("a full file of the log was not closed properly; its facts were synced before", zap.Error(err))
	}
	w.l.pokeSeal()
	return nil
}

// create creates the file for the facts after the last synced one. The header, the file
// and the folder are on disk before it returns. If it fails, w is unchanged. A file with
// a header ends the file before it, so once the new file has its name, nothing may be
// written to the old one any more: a failure from there on is final.
func (w *writer) create() error {
	h := events.Header{V: 1, Log: w.l.id, First: w.next(), After: w.last.Seq, Previous: w.last.Hash, At: w.last.Time, Keys: w.l.o.Keys}
	path, d := w.l.files.path(fileName(&h)), w.l.o.disk
	fail := func(f file, err error) error {
		if f != nil {
			f.Close() //nolint:errcheck // the first error counts
		}
		err = fmt.Errorf("cannot make log file %s: %w", path, err)
		w.l.o.Logger.Error("cannot begin a new file of the log", zap.Error(err))
		return err
	}
	f, err := d.Create(path + tmpEnd)
	if err != nil {
		return fail(nil, err)
	}
	text := h.Append(nil)
	space := int64(len(text)) + w.ahead()
	unsupported := false
	if err = f.Reserve(0, space); errors.Is(err, errUnsupported) {
		unsupported, err = true, nil
	}
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = fail(f, err)
		return errors.Join(err, d.Remove(path+tmpEnd))
	}
	if err = d.Rename(path+tmpEnd, path); err == nil {
		err = d.SyncDir(w.l.o.FactsDir)
	}
	if err != nil {
		return fail(f, fmt.Errorf("%w: %v", errFinal, err)) // not reported as a full disk, so that it is not retried
	}
	w.f, w.header, w.size, w.space, w.free = f, h, int64(len(text)), space, unsupported
	w.opened, w.marked, w.retry = w.l.o.Now(), w.size, time.Time{}
	w.l.files.change(func(files []logFile) []logFile {
		if n := len(files); n > 0 && files[n-1].header.First == h.First {
			files = files[:n-1] // none of its lines belongs to the log
		}
		return append(files[:len(files):len(files)], logFile{header: h, bytes: w.size})
	})
	return nil
}

// errFinal means that a file was renamed but may not be durable.
var errFinal = errors.New("cannot be made durable")
