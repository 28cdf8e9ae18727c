package journal

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"rebound/events"
)

// DamageError describes a place in the log that breaks the chain.
type DamageError struct {
	File string
	Line int    // from 1
	Seq  uint64 // sequence of the fact that should be there
	Why  string
}

// Error names the place and the remedy.
func (e *DamageError) Error() string {
	return fmt.Sprintf("log is damaged at %s:%d (fact %d): %s; repair it with \"bidder log repair --from BACKUP\", or give the fact up with \"bidder log accept-loss\"",
		e.File, e.Line, e.Seq, e.Why)
}

// GoneError means that facts were requested that are older than the log.
type GoneError struct{ From, First uint64 }

// Error says where the log begins.
func (e *GoneError) Error() string {
	return fmt.Sprintf("cannot read facts from %d: the log begins at %d", e.From, e.First)
}

// errElsewhere means that the log has another fact at a position.
var errElsewhere = errors.New("the log holds another fact there")

// skip is a range of facts that an operator gave up: readers continue after To,
// whose hash is H.
type skip struct {
	From uint64      `json:"from_seq"`
	To   uint64      `json:"to_seq"`
	H    events.Hash `json:"h"`
}

// errStop ends a walk early.
var errStop = errors.New("stop")

// walker reads the log in order and checks every line against the chain.
type walker struct {
	c        *catalog
	files    []logFile
	accepted []skip
	seq      uint64 // sequence of the last line
	hash     events.Hash
	resync   bool            // after an accepted loss: lines up to seq are skipped
	odd      bool            // one line that does not match the chain was skipped, because its sequence may be wrong
	after    events.Position // lines at or below it are not passed to fn
	upTo     uint64
	fn       func(*events.Line) error
}

// walk calls fn with every line after a position up to a sequence, in order. The
// line is valid until fn returns. It fails with a *DamageError where the log is
// damaged, a *GoneError where it does not reach back to the position, and with
// errElsewhere if it holds another fact at the position. When fn returns errStop
// the walk ends without an error.
func (c *catalog) walk(after events.Position, upTo uint64, fn func(*events.Line) error) error {
	files, accepted := c.snapshot()
	if after.Seq >= upTo {
		return nil
	}
	i := sort.Search(len(files), func(i int) bool { return files[i].header.First > after.Seq+1 }) - 1
	if i < 0 {
		if len(files) == 0 {
			return &GoneError{after.Seq + 1, 0}
		}
		if files[0].header.After > after.Seq {
			return &GoneError{after.Seq + 1, files[0].header.First}
		}
		i = 0 // there is a gap between the position and the first file
	}
	w := &walker{c: c, files: files, accepted: accepted, after: after, upTo: upTo, fn: fn}
	w.seq, w.hash, w.resync = after.Seq, after.Hash, true
	for ; i < len(files) && w.seq < upTo; i++ {
		if w.end(i) <= w.seq {
			continue // it holds no facts that belong to the log
		}
		if err := w.enter(i); err != nil {
			return done(err)
		}
		if err := w.file(i); err != nil {
			return done(err)
		}
	}
	return nil
}

func done(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// enter checks that a file begins where the one before it ended.
func (w *walker) enter(i int) error {
	h := &w.files[i].header
	if w.resync && h.After <= w.seq {
		if w.seq > h.After && w.seq < h.First && w.seq == w.after.Seq {
			return errElsewhere // no fact has this sequence any more
		}
		return w.at(h.After, h.Previous)
	}
	if w.seq == h.After && w.hash == h.Previous {
		return nil
	}
	if s := givenUp(w.accepted, w.seq+1); s != nil {
		w.seq, w.hash, w.resync = s.To, s.H, true
		return w.enter(i)
	}
	return &DamageError{File: w.c.path(w.files[i].name()), Line: 1, Seq: w.seq + 1,
		Why: fmt.Sprintf("got a file that continues after fact %d; want one that continues after fact %d: a file is missing or was exchanged", h.After, w.seq)}
}

// at checks the reader's initial position against the log.
func (w *walker) at(seq uint64, hash events.Hash) error {
	if seq == w.after.Seq && seq > 0 && hash != w.after.Hash {
		return errElsewhere
	}
	return nil
}

// end is the sequence at which a file ends for readers.
func (w *walker) end(i int) uint64 {
	if i+1 < len(w.files) {
		return w.files[i+1].header.After
	}
	return w.upTo
}

// file reads the facts of a file.
func (w *walker) file(i int) error {
	f := &w.files[i]
	offset := w.seek(f)
	r, err := w.c.open(f.name(), offset)
	if isGone(err) && !f.packed { // it was packed meanwhile
		f.packed, f.marks = true, nil
		offset = 0
		r, err = w.c.open(f.name(), 0)
	}
	if err != nil {
		return &DamageError{File: w.c.path(f.name()), Line: 1, Seq: w.seq + 1, Why: err.Error()}
	}
	defer r.close()
	if offset == 0 {
		if _, err := r.next(); err != nil {
			return w.damage(i, err.Error())
		}
	}
	for end := min(w.end(i), w.upTo); w.seq < end; {
		if err := w.line(i, r); err != nil {
			return err
		}
	}
	return nil
}

// seek returns the offset of the last mark at or before the position.
func (w *walker) seek(f *logFile) int64 {
	n := sort.Search(len(f.marks), func(i int) bool { return f.marks[i].seq >= w.seq })
	if f.packed || n == 0 {
		return 0
	}
	return f.marks[n-1].off
}

func (w *walker) damage(i int, why string) error {
	f := &w.files[i]
	seq := max(w.seq+1, f.header.First)
	return &DamageError{File: w.c.path(f.name()), Line: int(seq + 2 - f.header.First), Seq: seq, Why: why}
}

// line reads one line, or continues after facts that were given up.
func (w *walker) line(i int, r *lineReader) error {
	text, err := r.next()
	var l events.Line
	if err == nil {
		l, err = events.ParseLine(text)
	}
	return w.judge(i, &l, err)
}

// judge accepts a line, or returns why it breaks the chain; err is the error of
// a line that cannot be parsed.
func (w *walker) judge(i int, l *events.Line, err error) error {
	none := err != nil
	if w.resync && (!none || isNoLine(err)) {
		if none {
			return nil
		}
		if l.Seq <= w.seq {
			w.odd = false
			return w.at(l.Seq, l.Hash)
		}
	}
	want := max(w.seq+1, w.files[i].header.First)
	fits := !none && l.Seq == want && l.Follows(w.hash)
	if w.resync && !none && !fits && !w.odd && givenUp(w.accepted, want) == nil {
		w.odd = true
		return nil
	}
	w.resync, w.odd = false, false
	switch {
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("got the end of the file; want fact %d", want)
	case err == nil && l.Seq != want:
		err = fmt.Errorf("got fact %d; want fact %d", l.Seq, want)
	case err == nil && !fits:
		err = errors.New("the line's hash does not fit the line before it")
	}
	if err == nil {
		return w.take(l)
	}
	s := givenUp(w.accepted, want)
	if s == nil {
		return w.damage(i, err.Error())
	}
	w.seq, w.hash, w.resync = s.To, s.H, true
	if none || l.Seq <= s.To {
		return nil
	}
	return w.judge(i, l, nil) // the lines that were given up are not in the file any more
}

func (w *walker) take(l *events.Line) error {
	w.seq, w.hash = l.Seq, l.Hash
	return w.fn(l)
}

// givenUp returns the accepted loss that contains a fact, or nil.
func givenUp(accepted []skip, seq uint64) *skip {
	for i := range accepted {
		if s := &accepted[i]; s.From <= seq && seq <= s.To {
			return s
		}
	}
	return nil
}

// verifyFile checks the lines of a file, up to the header of the next one, and calls fn,
// if not nil, for each.
func (c *catalog) verifyFile(f *logFile, next *events.Header, fn func(*events.Line) error) error {
	if fn == nil {
		fn = func(*events.Line) error { return nil }
	}
	accepted := c.acceptedNow()
	files := []logFile{*f, {header: *next}}
	files[0].marks = nil
	w := &walker{c: c, files: files, accepted: accepted, upTo: next.After, fn: fn, seq: f.header.After, hash: f.header.Previous}
	if err := w.file(0); err != nil {
		return done(err)
	}
	if w.seq != next.After || w.hash != next.Previous && !w.resync {
		return w.damage(0, fmt.Sprintf("the file ends with fact %d; the next one continues after fact %d", w.seq, next.After))
	}
	return nil
}
