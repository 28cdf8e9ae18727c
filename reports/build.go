package reports

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rebound/events"
)

// Progress says what an update counted.
type Progress struct {
	Records, Facts int64
	// Rebuilt is set if the rollups were built from the start, because the log no longer holds what they
	// had counted.
	Rebuilt bool
}

// restedSteps bounds the steps of an update that rests, for records and for facts.
const restedSteps = 10

// rest reports whether the update goes on after a number of steps.
func (s *Store) rest(ctx context.Context, steps int) (more bool, err error) {
	if s.o.Rest == nil {
		return true, nil
	}
	err = s.o.Rest(ctx)
	return steps < restedSteps, err
}

// errRested ends the reading of facts.
var errRested = errors.New("the update has counted enough facts")

// Update counts what the logs have gained. It returns at the end of the logs, unless
// [Options.Rest] is set. If another
// process builds at the same time, both share the work.
func (s *Store) Update(ctx context.Context) (p Progress, err error) {
	select {
	case <-s.building:
		defer func() { s.building <- struct{}{} }()
	case <-ctx.Done():
		return p, ctx.Err()
	}
	for range 100 {
		if err = s.update(ctx, &p); !errors.Is(err, errMoved) {
			break
		}
		s.s.loaded = false
	}
	if err != nil {
		s.s.loaded = false
		if isLocked(err) || errors.Is(err, errMoved) {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
		return p, fmt.Errorf("cannot build rollups: %w", err)
	}
	return p, nil
}

func (s *Store) update(ctx context.Context, p *Progress) error {
	if !s.s.loaded || s.moved(ctx) {
		if err := s.load(ctx); err != nil {
			return err
		}
	}
	err := s.readRecords(ctx, p)
	if err == nil {
		err = s.readFacts(ctx, p)
	}
	var lost *lostError
	if !errors.As(err, &lost) || p.Rebuilt {
		return err
	}
	p.Rebuilt = true
	return s.rebuild(ctx)
}

// moved reports whether another process has changed the store.
func (s *Store) moved(ctx context.Context) bool {
	var generation int64
	err := s.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'generation'").Scan(&generation)
	return err != nil || generation != s.s.generation
}

// rebuild empties the store, so that the next update counts everything.
func (s *Store) rebuild(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if err := s.reset(ctx, tx); err != nil {
		return err
	}
	// Other processes must notice that the store is another one.
	if _, err := tx.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'generation'", s.s.generation+1); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return errMoved
}

// lostError means that the logs no longer hold what the rollups have counted.
type lostError struct{ cause error }

func (e *lostError) Error() string { return e.cause.Error() }

// ErrElsewhere is what Options.Facts returns, wrapped, if the log has another fact at the
// position: it is another log, or lost its end.
var ErrElsewhere = errors.New("the log has another fact at the position of the rollups")

// readFacts counts the new facts.
func (s *Store) readFacts(ctx context.Context, p *Progress) error {
	t, err := s.newStep(ctx)
	if err != nil {
		return err
	}
	defer func() { t.close() }()
	pos, steps := s.s.facts, 0
	err = s.o.Facts(ctx, pos, func(facts []events.Fact) error {
		for i := range facts {
			f := &facts[i]
			if f.Seq <= pos.Seq {
				continue
			}
			if err := t.fact(ctx, f); err != nil {
				return err
			}
			pos = f.Position()
			p.Facts++
		}
		if t.size < s.o.step {
			return nil
		}
		if err := t.commit(ctx, pos); err != nil {
			return err
		}
		steps++
		if more, err := s.rest(ctx, steps); err != nil || !more {
			return cmp.Or(err, errRested)
		}
		t.close()
		t, err = s.newStep(ctx)
		return err
	})
	if errors.Is(err, ErrElsewhere) {
		return &lostError{err}
	}
	if errors.Is(err, errRested) {
		return nil
	}
	if err == nil && t.size > 0 {
		err = t.commit(ctx, pos)
	}
	return err
}

// readRecords counts the new records of the bid log.
func (s *Store) readRecords(ctx context.Context, p *Progress) error {
	if s.o.BidDir == "" {
		return nil
	}
	names, err := events.BidFiles(s.o.BidDir)
	if err != nil {
		return err
	}
	t, err := s.newStep(ctx)
	if err != nil {
		return err
	}
	defer func() { t.close() }()
	steps := 0
	for i, name := range names {
		if i+1 < len(names) && names[i+1] == name+events.PackedEnd {
			continue // it was packed, and is about to be removed
		}
		for {
			more, err := t.file(ctx, name, p)
			if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(name, events.PackedEnd) {
				name += events.PackedEnd // packed in the meantime
				more, err = t.file(ctx, name, p)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // the oldest files are deleted at some time
				return err
			}
			if t.size < s.o.step {
				break
			}
			if err := t.commit(ctx, s.s.facts); err != nil {
				return err
			}
			steps++
			if goOn, err := s.rest(ctx, steps); err != nil || !goOn {
				return err
			}
			t.close()
			if t, err = s.newStep(ctx); err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	if t.size > 0 || len(t.files) > 0 {
		return t.commit(ctx, s.s.facts)
	}
	return nil
}

// file counts the records of a file from where the store is. It stops when the step is full,
// and reports whether there may be more.
func (t *step) file(ctx context.Context, name string, p *Progress) (more bool, err error) {
	stem, packed := strings.CutSuffix(filepath.Base(name), events.PackedEnd)
	at, ok := t.files[stem]
	if !ok {
		at = t.st.files[stem]
	}
	if at.packed {
		return false, nil
	}
	if packed && at.bytes > 0 { // it was counted before it was packed
		if same, err := holds(name, at.bytes); same || err != nil {
			at.packed = same
			t.files[stem] = at
			return false, err
		}
	}
	r, err := events.OpenFile(name)
	if err != nil {
		return false, err
	}
	defer r.Close() //nolint:errcheck // it is only read
	skip := at.records
	if plain, ok := r.(io.Seeker); ok && !packed {
		info, err := os.Stat(name)
		if err != nil || info.Size() == at.bytes {
			return false, err
		}
		if info.Size() < at.bytes {
			return false, &lostError{fmt.Errorf("%s has %d bytes; %d were counted", name, info.Size(), at.bytes)}
		}
		if _, err := plain.Seek(at.bytes, io.SeekStart); err != nil {
			return false, err
		}
		skip = 0
	}
	l := lines{br: bufio.NewReaderSize(r, 256<<10)}
	for n := int64(0); ; {
		line, err := l.next()
		if err == io.EOF {
			at.packed = packed
			t.files[stem] = at
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot read %s: %w", name, err)
		}
		size := int64(len(line))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			at.bytes += size
			continue
		}
		var rec record
		if err := rec.decode(line); err != nil {
			if n >= skip {
				t.broken++
				t.s.o.Broken(fmt.Errorf("%s: %w", name, err))
			}
			at.bytes += size
			continue
		}
		if n++; n <= skip {
			continue
		}
		if err := t.record(ctx, &rec); err != nil {
			return false, err
		}
		p.Records++
		at.records++
		if at.bytes += size; t.size >= t.s.o.step {
			t.files[stem] = at
			return true, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// holds reports whether a packed file holds a number of bytes: it then is the file that was
// counted, in which no data has been erased.
func holds(name string, bytes int64) (bool, error) {
	r, err := events.OpenFile(name)
	if err != nil {
		return false, err
	}
	defer r.Close() //nolint:errcheck // it is only read
	n, err := io.Copy(io.Discard, r)
	return n == bytes, err
}

// lines reads complete lines. A last line without a newline is being written and is left
// for later.
type lines struct {
	br   *bufio.Reader
	long []byte
}

// next returns a line with its newline, valid until the next call, or io.EOF.
func (l *lines) next() ([]byte, error) {
	line, err := l.br.ReadSlice('\n')
	if err == nil {
		return line, nil
	}
	l.long = append(l.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.br.ReadSlice('\n')
		if l.long = append(l.long, line...); len(l.long) > events.MaxLine {
			l.long = l.long[:0] // too long to be a record; the rest of it is not one either
		}
	}
	if err != nil {
		return nil, err
	}
	return l.long, nil
}
