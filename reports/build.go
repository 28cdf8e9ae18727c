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
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rebound/events"
)

// Progress says what an update counted.
type Progress struct {
	Records, Facts int64
	// Rebuilt is set if the rollups were built from the start, because the log no longer holds what they
	// had counted.
	Rebuilt bool
	// More is set if Follow left records or facts to the next call.
	More bool
}

// followed is the number of records, and of facts, after which a call of Follow ends. It
// finishes a packed file, of which the next call would have to unpack all again.
const followed = 20_000

// commitEvery is how long Follow keeps what it has counted in memory at most. Then little
// is lost with the process, and another process that reports has little to count itself.
const commitEvery = 10 * time.Minute

// flushDelay is how long after a bid its record may take to reach its file.
const flushDelay = 10 * time.Second

// Update counts what the logs have gained, to their end, and commits it. If another process
// builds at the same time, both share the work. If ctx ends, what has been counted is kept
// for the next call.
func (s *Store) Update(ctx context.Context) (Progress, error) {
	return s.build(ctx, func(ctx context.Context, p *Progress) error {
		_, err := s.count(ctx, p, math.MaxInt64)
		if err == nil && !s.step.empty() {
			err = s.step.commit(ctx)
		}
		return err
	})
}

// Follow counts some of what the logs have gained. It commits what has been counted when
// that is large or old: until then, queries do not see it.
func (s *Store) Follow(ctx context.Context) (Progress, error) {
	return s.build(ctx, func(ctx context.Context, p *Progress) (err error) {
		if p.More, err = s.count(ctx, p, followed); err != nil {
			return err
		}
		if t := s.step; !t.empty() && s.o.Now().Sub(t.began) >= commitEvery {
			return t.commit(ctx)
		}
		return nil
	})
}

// build calls count with the state of the store, which is loaded again if another process
// has built in the meantime.
func (s *Store) build(ctx context.Context, count func(context.Context, *Progress) error) (p Progress, err error) {
	select {
	case <-s.building:
		defer func() { s.building <- struct{}{} }()
	case <-ctx.Done():
		return p, ctx.Err()
	}
	for range 100 {
		if err = s.prepareStep(ctx); err == nil {
			err = count(ctx, &p)
		}
		var lost *lostError
		if errors.As(err, &lost) && !p.Rebuilt {
			p.Rebuilt = true
			err = s.rebuild(ctx)
		}
		if err == nil || ctx.Err() != nil {
			return p, ctx.Err()
		}
		s.step = nil
		if !errors.Is(err, errMoved) {
			break
		}
	}
	if isLocked(err) || errors.Is(err, errMoved) {
		err = fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return p, fmt.Errorf("cannot build rollups %s: %w", cmp.Or(s.o.Path, "in memory"), err)
}

// prepareStep begins a step from the state of the store, unless there is one.
func (s *Store) prepareStep(ctx context.Context) error {
	if s.step == nil || s.moved(ctx) {
		st, err := s.readState(ctx)
		if err != nil {
			return err
		}
		s.step = s.newStep(st)
	}
	s.step.ctx = ctx
	return nil
}

// count counts at most a number of new records, and as many facts once there are no more
// records: an outcome needs the record of its bid.
func (s *Store) count(ctx context.Context, p *Progress, limit int64) (more bool, err error) {
	began := s.o.Now()
	if s.step.now = began; s.step.began.IsZero() {
		s.step.began = began
	}
	if more, err = s.readRecords(ctx, p, p.Records+limit); more || err != nil {
		return more, err
	}
	if s.step.complete = began.Add(-flushDelay); s.o.BidDir == "" {
		s.step.complete = began
	}
	return s.readFacts(ctx, p, p.Facts+limit)
}

// rest gives the processor to others.
func (s *Store) rest(ctx context.Context) error {
	if s.o.Rest == nil {
		return ctx.Err()
	}
	return s.o.Rest(ctx)
}

// moved reports whether another process has changed the store.
func (s *Store) moved(ctx context.Context) bool {
	var generation int64
	err := s.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'generation'").Scan(&generation)
	return err == nil && generation != s.step.st.generation
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
	if _, err := tx.ExecContext(ctx, "UPDATE meta SET value = ? WHERE name = 'generation'", s.step.st.generation+1); err != nil {
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

// errEnough ends the reading of facts.
var errEnough = errors.New("enough facts have been counted")

// readFacts counts new facts until p has a number of them, and reports whether it stopped
// for that reason.
func (s *Store) readFacts(ctx context.Context, p *Progress, limit int64) (more bool, err error) {
	t := s.step
	err = s.o.Facts(ctx, t.facts, func(facts []events.Fact) error {
		for i := range facts {
			f := &facts[i]
			if f.Seq <= t.facts.Seq {
				continue
			}
			if p.Facts >= limit {
				more = true
				return errEnough
			}
			if counted, err := t.fact(f); err != nil || !counted {
				return cmp.Or(err, errEnough)
			}
			t.facts = f.Position()
			t.counted++
			p.Facts++
			if p.Facts%checkEvery == 0 {
				if err := s.pause(ctx, p); err != nil {
					return err
				}
			}
		}
		return s.pause(ctx, p)
	})
	if errors.Is(err, ErrElsewhere) {
		return false, &lostError{err}
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return more, err
}

// checkEvery is the number of records or facts after which to look up from work.
const checkEvery = 64

// pause shows the progress, commits a step that is full, and rests.
func (s *Store) pause(ctx context.Context, p *Progress) error {
	s.o.Progress(*p)
	if s.step.full() {
		if err := s.step.commit(ctx); err != nil {
			return err
		}
		s.step.began = s.o.Now()
	}
	return s.rest(ctx)
}

// readRecords counts new records of the bid log until p has a number of them, and reports
// whether it stopped for that reason.
func (s *Store) readRecords(ctx context.Context, p *Progress, limit int64) (more bool, err error) {
	if s.o.BidDir == "" {
		return false, nil
	}
	names, err := events.BidFiles(s.o.BidDir)
	if err != nil {
		return false, err
	}
	for i, name := range names {
		if i+1 < len(names) && names[i+1] == name+events.PackedEnd {
			continue // it was packed, and is about to be removed
		}
		err := s.readFile(ctx, name, p, limit)
		if errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(name, events.PackedEnd) {
			err = s.readFile(ctx, name+events.PackedEnd, p, limit) // packed in the meantime
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the oldest files are deleted at some time
			return false, err
		}
		if p.Records >= limit {
			return true, nil
		}
	}
	return false, nil
}

// readFile counts the records of a file from where the store is.
func (s *Store) readFile(ctx context.Context, name string, p *Progress, limit int64) error {
	stem, packed := strings.CutSuffix(filepath.Base(name), events.PackedEnd)
	at, ok := s.step.files[stem]
	if !ok {
		at = s.step.st.files[stem]
	}
	if at.packed {
		return nil
	}
	if packed && at.bytes > 0 { // it was counted before it was packed
		n, err := events.UnpackedSize(name)
		if at.packed = n == at.bytes; at.packed && err == nil { // no data in it has been erased
			s.step.files[stem] = at
		}
		if at.packed || err != nil {
			return err
		}
	}
	r, err := events.OpenFile(name)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // it is only read
	c := &fileCount{s: s, name: name, stem: stem, at: at, skip: at.records, p: p, limit: limit}
	if plain, ok := r.(io.Seeker); ok && !packed {
		info, err := os.Stat(name)
		if err != nil || info.Size() == at.bytes {
			return err
		}
		if info.Size() < at.bytes {
			return &lostError{fmt.Errorf("%s has %d bytes; %d were counted", name, info.Size(), at.bytes)}
		}
		if _, err := plain.Seek(at.bytes, io.SeekStart); err != nil {
			return err
		}
		c.skip = 0
	}
	if packed {
		c.limit = math.MaxInt64
	}
	c.lines = lines{br: bufio.NewReaderSize(r, 256<<10)}
	end, err := c.count(ctx)
	if end && packed {
		c.at.packed = true
		s.step.files[stem] = c.at
	}
	return err
}

// fileCount counts the records of one file.
type fileCount struct {
	s          *Store
	name, stem string
	lines      lines
	at         fileState
	skip       int64 // records that were counted already
	p          *Progress
	limit      int64
	unnoted    bool // the step has not noted at
}

// note notes in the step how far the file has been counted.
func (c *fileCount) note() {
	if c.unnoted {
		c.s.step.files[c.stem], c.unnoted = c.at, false
	}
}

// count counts records to the end of the file, or until there are enough of them. It
// reports whether it came to the end.
func (c *fileCount) count(ctx context.Context) (end bool, err error) {
	s := c.s
	defer c.note()
	for n := int64(0); c.p.Records < c.limit; {
		line, size, err := c.lines.next()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot read %s: %w", c.name, err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 && size <= events.MaxLine {
			c.at.bytes += size
			continue
		}
		if err := c.decode(line, size); err != nil {
			if n >= c.skip {
				c.broken(err, size)
			}
			continue
		}
		if n++; n <= c.skip {
			continue
		}
		if err := s.step.record(&s.record); err != nil {
			return false, err
		}
		c.p.Records++
		c.at.records++
		c.at.bytes += size
		c.unnoted = true
		if c.p.Records%checkEvery == 0 {
			c.note()
			if err := s.pause(ctx, c.p); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// decode reads a line, which has a size in the file, into the store's record.
func (c *fileCount) decode(line []byte, size int64) error {
	if size > events.MaxLine {
		return errLong
	}
	return c.s.record.decode(line)
}

// broken counts a line that is no record.
func (c *fileCount) broken(cause error, size int64) {
	c.s.step.broken++
	c.s.o.Broken(fmt.Errorf("%s: %w", c.name, cause))
	c.at.bytes += size
	c.unnoted = true
}

// lines reads complete lines. A last line without a newline is being written and is left
// for later.
type lines struct {
	br   *bufio.Reader
	long []byte
}

// errLong means that a line is too long to be a record.
var errLong = fmt.Errorf("cannot read line: got more than %d bytes", events.MaxLine)

// next returns a line with its newline, valid until the next call, and its size, or io.EOF.
// Of a line that is longer than events.MaxLine it returns the size only.
func (l *lines) next() (line []byte, size int64, err error) {
	line, err = l.br.ReadSlice('\n')
	if size = int64(len(line)); err == nil {
		return line, size, nil
	}
	l.long = append(l.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.br.ReadSlice('\n')
		if size += int64(len(line)); size <= events.MaxLine {
			l.long = append(l.long, line...)
		}
	}
	switch {
	case err != nil:
		return nil, 0, err
	case size > events.MaxLine:
		return nil, size, nil
	}
	return l.long, size, nil
}
