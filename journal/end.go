package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"rebound/events"
)

// endOfFile describes the end of the log according to a file's lines.
type endOfFile struct {
	first uint64          // sequence of the last fact before the file
	good  events.Position // position of the last line before any damage
	sum   events.Digest   // digest of that line
	size  int64           // size of the file up to and including that line
	marks []mark
	ids   []factID
	noted events.Hash // hash of the fact that the head names

	bad     *DamageError // the first line that breaks the chain; nil if there is none
	rest    int64        // number of bytes from that line on
	synced  uint64       // the highest synced mark after that line
	end     events.Position
	highest uint64 // the highest sequence after that line
}

// readEnd reads the newest file to its end. each, if not nil, is called for every line
// that matches the chain.
func (c *catalog) readEnd(f *logFile, noted uint64, each func(*events.Line)) (*endOfFile, error) {
	r, err := c.open(f.name(), 0)
	if isGone(err) && !f.packed { // a reader in another process: it was packed meanwhile
		f.packed = true
		r, err = c.open(f.name(), 0)
	}
	if err != nil {
		return nil, err
	}
	defer r.close()
	if _, err := r.next(); err != nil && !errors.Is(err, errUnfinished) {
		return nil, fmt.Errorf("cannot read %s: %w", c.path(f.name()), err)
	}
	h := &f.header
	e := &endOfFile{first: h.After, size: r.offset, good: events.Position{Seq: h.After, Hash: h.Previous, Time: h.At}}
	if noted == h.After {
		e.noted = h.Previous
	}
	x := endReader{e: e, accepted: c.acceptedNow(), want: h.First}
	for {
		text, err := r.next()
		if r.from.failed != nil {
			return nil, fmt.Errorf("cannot read %s: %w", c.path(f.name()), r.from.failed)
		}
		if errors.Is(err, io.EOF) {
			if s := givenUp(x.accepted, x.want); s != nil && !s.H.IsZero() {
				e.good = events.Position{Seq: s.To, Hash: s.H, Time: e.good.Time}
			}
			return e, nil
		}
		var l events.Line
		if err == nil {
			l, err = events.ParseLine(text)
		}
		switch x.judge(&l, err, r.offset) {
		case lineSkipped:
			continue
		case lineBreaks:
			if err == nil {
				err = errors.New("the line does not continue the line before it")
			}
			e.bad = &DamageError{File: c.path(f.name()), Line: int(x.want + 2 - h.First), Seq: x.want, Why: err.Error()}
			return e, e.behind(r, text)
		}
		e.take(&l, r.offset, noted)
		if each != nil {
			each(&l)
		}
		x.want = l.Seq + 1
	}
}

// endReader decides about the lines of the newest file, some of which may have been given
// up (bidder log accept-loss).
type endReader struct {
	e        *endOfFile
	accepted []skip
	want     uint64 // sequence of the next fact
	given    bool   // the lines below want were given up
	odd      bool   // a line that breaks the chain was skipped
}

// verdict is how a line relates to the chain of hashes.
type verdict uint8

const (
	lineFits    verdict = iota // it continues the chain
	lineSkipped                // it was given up
	lineBreaks                 // it breaks the chain
)

// judge returns the verdict on a line, which ends at the offset, or which could not be read.
func (x *endReader) judge(l *events.Line, err error, offset int64) verdict {
	if x.fits(l, err) {
		return lineFits
	}
	s := givenUp(x.accepted, x.want)
	switch {
	case x.given && (isNoLine(err) || err == nil && l.Seq < x.want):
		x.e.size, x.odd = offset, false
		return lineSkipped
	case x.given && err == nil && !x.odd && s == nil:
		x.e.size, x.odd = offset, true // its sequence may be wrong
		return lineSkipped
	case s == nil:
		x.given = false
		return lineBreaks
	}
	x.e.good = events.Position{Seq: s.To, Hash: s.H, Time: x.e.good.Time}
	x.e.size, x.want, x.given = offset, s.To+1, true
	switch {
	case x.fits(l, err):
		return lineFits
	case err == nil || isNoLine(err):
		x.odd = err == nil && l.Seq > x.want
		return lineSkipped
	}
	x.given = false
	return lineBreaks
}

// fits reports whether a line continues the chain, which ends a range that was given up.
func (x *endReader) fits(l *events.Line, err error) bool {
	fits := err == nil && l.Seq == x.want && l.Follows(x.e.good.Hash)
	if fits {
		x.given = false
	}
	return fits
}

func (e *endOfFile) take(l *events.Line, offset int64, noted uint64) {
	e.sum, _ = l.Digest() // the line matches the chain, so it has a digest
	e.good, e.size = events.Position{Seq: l.Seq, Hash: l.Hash, Time: l.TS}, offset
	if l.Seq == noted {
		e.noted = l.Hash
	}
	if n := len(e.marks); n == 0 || offset-e.marks[n-1].off >= markEvery {
		e.marks = append(e.marks, mark{l.Seq, offset})
	}
	if len(e.ids) >= 2*recentIDs {
		e.ids = append(e.ids[:0], e.ids[recentIDs:]...)
	}
	e.ids = append(e.ids, bodyID(l.Body))
}

// farthest bounds the sequences that are accepted after a damaged line, because
// lines that cannot be checked against the chain may be damaged too.
const farthest = 10_000_000

// behind reads the lines after one that breaks the chain. They decide whether
// the end is torn or damaged, and where the log continues if it is damaged.
func (e *endOfFile) behind(r *lineReader, text []byte) error {
	e.end = e.good
	var previous events.Hash
	for {
		if l, err := events.ParseLine(text); err == nil {
			if l.Seq >= e.bad.Seq && l.Seq < e.bad.Seq+farthest {
				e.synced, e.highest = max(e.synced, l.Synced), max(e.highest, l.Seq)
			}
			if l.Follows(previous) && l.Seq > e.end.Seq {
				e.end = events.Position{Seq: l.Seq, Hash: l.Hash, Time: l.TS}
			}
			previous = l.Hash
		}
		var err error
		if text, err = r.next(); err != nil && !errors.Is(err, errUnfinished) && !errors.Is(err, errTooLong) {
			break
		}
	}
	e.rest = r.offset - e.size
	if r.from.failed != nil {
		return fmt.Errorf("cannot read %s: %w", e.bad.File, r.from.failed)
	}
	return nil
}

// bodyID returns the id of the fact with the given body.
func bodyID(body []byte) factID {
	const start = `"id":"`
	if rest, ok := bytes.CutPrefix(body, []byte(start)); ok {
		if i := bytes.IndexByte(rest, '"'); i >= 0 && bytes.IndexByte(rest[:i], '\\') < 0 {
			return idOf(rest[:i])
		}
	}
	var f events.Fact
	l := events.Line{Body: body}
	if l.Decode(&f) != nil {
		return factID{}
	}
	return idOf([]byte(f.ID))
}
