package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// retain deletes files that exceed the limits on age or size, once the facts
// that must outlive them are in a base file.
func (l *Log) retain() error {
	if l.o.Base == nil || l.BlindReason() != "" {
		return nil // the lost facts may still be restored
	}
	n, err := l.deletable()
	if err != nil || n == 0 {
		return err
	}
	files, _ := l.files.snapshot()
	next := &files[n].header
	if err := l.writeBase(files[:n], next); err != nil {
		return err
	}
	if err := l.files.delete(files[:n]); err != nil {
		return err
	}
	l.files.change(func(now []logFile) []logFile { return append([]logFile(nil), now[n:]...) })
	if err := l.removeBases(next.After); err != nil {
		return err
	}
	l.o.Logger.Info("old files of the log were deleted", zap.Int("files", n), zap.Uint64("to_seq", next.After))
	return l.o.disk.SyncDir(l.o.FactsDir)
}

// delete removes files, the oldest first and one after the other, so that the
// files that remain after a power cut are always a contiguous end of the log.
func (c *catalog) delete(files []logFile) error {
	for i := range files {
		err := c.d.Remove(c.path(files[i].name()))
		if err == nil || isGone(err) {
			err = c.d.SyncDir(c.dir)
		}
		if err != nil {
			return fmt.Errorf("cannot delete log file: %w", err)
		}
	}
	return nil
}

// coverOld removes files from the list whose facts are covered by a base file
// because the process stopped while it deleted them. As long as the log begins
// with its first fact, or where a base file ends, all its files are used.
func (c *catalog) coverOld(names []string) {
	if len(c.files) == 0 || c.files[0].header.After == 0 || slices.Contains(names, baseName(c.files[0].header.After)) {
		return
	}
	for i := range c.files {
		if slices.Contains(names, baseName(c.files[i].header.After)) {
			for _, f := range c.files[:i] {
				c.spare = append(c.spare, f.name())
			}
			c.files = slices.Delete(c.files, 0, i)
			return
		}
	}
}

// deletable returns how many of the oldest files can and should be deleted.
func (l *Log) deletable() (int, error) {
	floor, err := l.oldestCheckpoint()
	if err != nil {
		return 0, err
	}
	files, _ := l.files.snapshot()
	now, bytes := l.o.Now(), int64(0)
	for i := range files {
		bytes += files[i].bytes
	}
	n := 0
	for i := 0; i+1 < len(files); i++ {
		next := &files[i+1].header
		age := now.Sub(next.At) // age of the newest fact in the file
		if next.After > floor || age < l.o.MinAge || age < l.o.MaxAge && bytes <= l.o.MaxBytes {
			break
		}
		bytes -= files[i].bytes
		n = i + 1
	}
	return n, nil
}

// oldestCheckpoint returns the sequence up to which no view needs the log.
func (l *Log) oldestCheckpoint() (uint64, error) {
	l.viewMu.Lock()
	names := maps.Clone(l.names)
	l.viewMu.Unlock()
	floor := l.Last().Seq
	for name := range names {
		list, err := checkpoints(l.o.disk, l.o.Dir, name)
		if err != nil {
			return 0, err
		}
		if len(list) == 0 {
			return 0, nil
		}
		floor = min(floor, list[0].Seq)
	}
	return floor, nil
}

func baseName(after uint64) string { return fmt.Sprintf("%s%020d%s", basePart, after, plainEnd) }

// writeBase folds the existing base file and the files to be deleted into a new
// base file, and reads it back. Its lines are chained like those of the log,
// from the hash of the last fact that it covers.
func (l *Log) writeBase(files []logFile, next *events.Header) error {
	facts, err := l.o.Base(l.outlived(files, next))
	if err != nil {
		return fmt.Errorf("cannot fold the facts that outlive old files of the log: %w", err)
	}
	h := events.Header{V: 1, Log: l.id, First: next.After + 1, After: next.After, Previous: next.Previous, At: next.At, Base: true, Facts: len(facts)}
	name := l.files.path(baseName(next.After))
	if err := writeWhole(l.o.disk, name, func(w io.Writer) error { return l.baseLines(w, &h, facts) }); err != nil {
		return err
	}
	n := 0
	for _, err := range l.files.readBase(next) {
		if err != nil {
			return fmt.Errorf("cannot read back %s: %w", name, err)
		}
		n++
	}
	if n != len(facts) {
		return fmt.Errorf("cannot read back %s: got %d facts; want %d", name, n, len(facts))
	}
	return nil
}

func (l *Log) baseLines(w io.Writer, h *events.Header, facts []events.Fact) error {
	if _, err := w.Write(h.Append(nil)); err != nil {
		return err
	}
	hash := h.Previous
	var text []byte
	for i := range facts {
		p, err := l.encode(&facts[i])
		if err != nil {
			return err
		}
		p.line.Seq, p.line.TS = uint64(i+1), h.At
		hash = events.Chain(hash, p.line.Seq, p.line.TS, p.sum)
		p.line.Hash = hash
		text = append(p.line.Append(text[:0]), '\n')
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// outlived yields the facts of the base file, if one exists, and then those of the
// files.
func (l *Log) outlived(files []logFile, next *events.Header) iter.Seq2[*events.Fact, error] {
	return func(yield func(*events.Fact, error) bool) {
		after := files[0].header.After
		if after > 0 {
			for f, err := range l.files.readBase(&files[0].header) {
				if !yield(f, err) || err != nil {
					return
				}
			}
		}
		from := events.Position{Seq: after, Hash: files[0].header.Previous}
		stopped := false
		err := l.files.walk(from, next.After, func(line *events.Line) error {
			f := new(events.Fact)
			if err := line.Decode(f); err != nil {
				return err
			}
			if !yield(f, nil) {
				stopped = true
				return errStop
			}
			return nil
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

// readBase yields the facts of the base file that covers everything before a
// file of the log. A base file that is incomplete or does not belong there is
// an error.
func (c *catalog) readBase(next *events.Header) iter.Seq2[*events.Fact, error] {
	return func(yield func(*events.Fact, error) bool) {
		err := c.baseFacts(next, func(f *events.Fact) bool { return yield(f, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

func (c *catalog) baseFacts(next *events.Header, fn func(*events.Fact) bool) error {
	name := baseName(next.After)
	r, err := c.open(name, 0)
	if err != nil {
		return err
	}
	defer r.close()
	damage := func(line int, why string) error {
		return &DamageError{File: c.path(name), Line: line, Seq: next.After, Why: why}
	}
	text, err := r.next()
	var h events.Header
	if err == nil {
		h, err = events.ParseHeader(text)
	}
	if err != nil {
		return damage(1, err.Error())
	}
	if !h.Base || h.Log != next.Log || h.After != next.After || h.Previous != next.Previous {
		return damage(1, fmt.Sprintf("got a file that replaces the facts up to %d:%s of log %s; want up to %d:%s of log %s", h.After, h.Previous, h.Log, next.After, next.Previous, next.Log))
	}
	hash, n := h.Previous, 0
	for ; ; n++ {
		text, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		var line events.Line
		if err == nil {
			line, err = events.ParseLine(text)
		}
		if err == nil && !line.Follows(hash) {
			err = errors.New("the line's hash does not fit the line before it")
		}
		f := new(events.Fact)
		if err == nil {
			hash = line.Hash
			err = line.Decode(f)
		}
		if err != nil {
			return damage(n+2, err.Error())
		}
		if !fn(f) {
			return errStop
		}
	}
	if n != h.Facts {
		return damage(n+2, fmt.Sprintf("got %d facts; want %d", n, h.Facts))
	}
	return nil
}

// removeBases removes all base files except the one that ends with a sequence.
func (l *Log) removeBases(keep uint64) error {
	names, err := l.o.disk.List(l.o.FactsDir)
	for _, name := range names {
		if err == nil && strings.HasPrefix(name, basePart) && name != baseName(keep) {
			err = l.o.disk.Remove(l.files.path(name))
		}
	}
	return err
}

// fromBase applies the facts that outlived deleted files to an empty view.
func (f *follower) fromBase() error {
	files, _ := f.l.files.snapshot()
	h := &files[0].header
	if h.After == 0 {
		return nil // the log reaches back to its first fact
	}
	name := f.l.files.path(baseName(h.After))
	var facts []events.Fact
	for fact, err := range f.l.files.readBase(h) {
		if err != nil && f.l.files.isAccepted(1, h.After) {
			facts = nil
			break
		}
		if err != nil {
			return fmt.Errorf("cannot rebuild view %s: the log begins after fact %d, and %s, which covers the facts before it, cannot be read: restore the log from a backup: %w",
				f.v.Name(), h.After, name, err)
		}
		fact.Seq, fact.LineHash, fact.TS = h.After, h.Previous, h.At
		facts = append(facts, *fact)
	}
	if len(facts) == 0 { // the position must be correct nevertheless
		facts = append(facts, events.Fact{V: 1, Seq: h.After, LineHash: h.Previous, TS: h.At, ID: "base", Kind: events.KindTick})
	}
	if err := f.v.Apply(facts); err != nil {
		return err
	}
	f.pos = f.v.Position()
	f.l.o.Logger.Warn("view is rebuilt from the remaining log; older profiles are lost", zap.String("view", f.v.Name()),
		zap.Float64("days_covered", f.l.o.Now().Sub(h.At).Hours()/24), zap.Int("facts_from_base", len(facts)))
	return nil
}

// freshen records which views have every fact.
func (l *Log) freshen() {
	last, now := l.Last().Seq, l.o.Now().UnixNano()
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	for _, f := range l.views {
		if f.seq.Load() >= last {
			f.fresh.Store(now)
		}
	}
}

// worstLag returns the view that is furthest behind, and the number of facts.
func (l *Log) worstLag() (name string, lag uint64) {
	last := l.Last().Seq
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	for n, f := range l.views {
		if d := last - min(last, f.seq.Load()); d >= lag {
			name, lag = n, d
		}
	}
	return name, lag
}

// age returns the time since a moment, never negative.
func age(now time.Time, unixNano int64) time.Duration {
	return max(now.Sub(time.Unix(0, unixNano)), 0)
}
