package journal

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// retain deletes files that are too old or too much, once what must outlive them
// is in a base file.
func (l *Log) retain() error {
	if l.o.Base == nil || l.BlindReason() != "" || l.fleet != nil && !l.fleet.healthy() {
		return nil // what is lost may still be put back
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
	for i := range files[:n] {
		if err := l.o.disk.Remove(l.files.path(files[i].name())); err != nil && !isGone(err) {
			return fmt.Errorf("cannot delete log file: %w", err)
		}
	}
	l.files.change(func(now []logFile) []logFile { return append([]logFile(nil), now[n:]...) })
	if err := l.removeBases(next.After); err != nil {
		return err
	}
	l.o.Logger.Info("old files of the log were deleted", zap.Int("files", n), zap.Uint64("to_seq", next.After))
	return l.o.disk.SyncDir(l.o.FactsDir)
}

// deletable returns how many of the oldest files may and should go.
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
		age := now.Sub(next.At) // of the newest fact in the file
		if next.After > floor || age < l.o.MinAge || age < l.o.MaxAge && bytes <= l.o.MaxBytes {
			break
		}
		bytes -= files[i].bytes
		n = i + 1
	}
	return n, nil
}

// oldestCheckpoint returns the sequence below which no view needs the log.
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

// writeBase folds the base file that exists and the files that are to go into a new
// base file, and reads it back. Its lines are chained like those of the log, from
// the hash of the last fact that it stands for.
func (l *Log) writeBase(files []logFile, next *events.Header) error {
	facts, err := l.o.Base(l.outlived(files, next))
	if err != nil {
		return fmt.Errorf("cannot fold what outlives old files of the log: %w", err)
	}
	h := events.Header{V: 1, Log: l.id, First: next.After + 1, After: next.After, Previous: next.Previous, At: next.At, Base: true}
	name := l.files.path(baseName(next.After))
	if err := writeWhole(l.o.disk, name, func(w io.Writer) error { return l.baseLines(w, &h, facts) }); err != nil {
		return err
	}
	n := 0
	for _, err := range l.readBase(next.After) {
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

// outlived yields the facts of the base file that there is and then those of files.
func (l *Log) outlived(files []logFile, next *events.Header) iter.Seq2[*events.Fact, error] {
	return func(yield func(*events.Fact, error) bool) {
		after := files[0].header.After
		if after > 0 {
			for f, err := range l.readBase(after) {
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

// readBase yields the facts of the base file that ends with a sequence.
func (l *Log) readBase(after uint64) iter.Seq2[*events.Fact, error] {
	return func(yield func(*events.Fact, error) bool) {
		name := baseName(after)
		r, err := l.files.open(name, 0)
		if err != nil {
			yield(nil, err)
			return
		}
		defer r.close()
		text, err := r.next()
		var h events.Header
		if err == nil {
			h, err = events.ParseHeader(text)
		}
		hash := h.Previous
		for n := 1; err == nil; n++ {
			var line events.Line
			if text, err = r.next(); err == nil {
				line, err = events.ParseLine(text)
			}
			if err == nil && !line.Follows(hash) {
				err = &DamageError{File: l.files.path(name), Line: n + 1, Seq: after, Why: "the line's hash does not fit behind the line before"}
			}
			f := new(events.Fact)
			if err == nil {
				hash = line.Hash
				err = line.Decode(f)
			}
			if err == nil && !yield(f, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, err)
		}
	}
}

// removeBases removes base files other than the one that ends with a sequence.
func (l *Log) removeBases(keep uint64) error {
	names, err := l.o.disk.List(l.o.FactsDir)
	for _, name := range names {
		if err == nil && strings.HasPrefix(name, basePart) && name != baseName(keep) {
			err = l.o.disk.Remove(l.files.path(name))
		}
	}
	return err
}

// fromBase gives an empty view what outlived the files that the log no longer has.
func (f *follower) fromBase() error {
	files, _ := f.l.files.snapshot()
	h := &files[0].header
	if h.After == 0 {
		return nil // the log reaches back to its first fact
	}
	name := f.l.files.path(baseName(h.After))
	var facts []events.Fact
	for fact, err := range f.l.readBase(h.After) {
		if err != nil {
			return fmt.Errorf("cannot rebuild view %s: the log begins after fact %d, and %s, which stands for the facts before it, cannot be read: restore the log from a backup: %w",
				f.v.Name(), h.After, name, err)
		}
		fact.Seq, fact.LineHash, fact.TS = h.After, h.Previous, h.At
		facts = append(facts, *fact)
	}
	if len(facts) == 0 { // the position must still be right
		facts = append(facts, events.Fact{V: 1, Seq: h.After, LineHash: h.Previous, TS: h.At, ID: "base", Kind: events.KindTick})
	}
	if err := f.v.Apply(facts); err != nil {
		return err
	}
	f.pos = f.v.Position()
	f.l.o.Logger.Warn("view is rebuilt from what the log still holds; profiles that are older are gone", zap.String("view", f.v.Name()),
		zap.Float64("days_covered", f.l.o.Now().Sub(h.At).Hours()/24), zap.Int("facts_from_base", len(facts)))
	return nil
}

// freshen notes which views have every fact.
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

// worstLag returns the view that is furthest behind and by how many facts.
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

// age is how long ago a moment was, not negative.
func age(now time.Time, unixNano int64) time.Duration {
	return max(now.Sub(time.Unix(0, unixNano)), 0)
}
