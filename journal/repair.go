package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"rebound/events"
)

// damagedPart is the name prefix of files whose header cannot be read. They are
// kept for inspection.
const damagedPart = "damaged-"

// beginning returns why the log must not begin where it does; empty if it may.
func (c *catalog) beginning() string {
	files, _ := c.snapshot()
	if len(files) == 0 || files[0].header.After == 0 || c.isAccepted(1, files[0].header.After) {
		return ""
	}
	after := files[0].header.After
	err := c.baseFacts(&files[0].header, func(*events.Fact) bool { return true })
	if isGone(err) {
		return fmt.Sprintf("the log begins after fact %d and there is no %s: its first file is missing", after, baseName(after))
	}
	if err != nil {
		return fmt.Sprintf("the log begins after fact %d, and %s cannot be read: %v", after, baseName(after), err)
	}
	return ""
}

// openDamaged opens a catalog after files without a readable header were renamed.
func openDamaged(d disk, dir string) (*catalog, error) {
	c := &catalog{d: d, dir: dir}
	names, err := d.List(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list log files: %w", err)
	}
	for _, name := range names {
		first, _, ok := parseName(name)
		if !ok {
			continue
		}
		if h, _, err := c.readHeader(name); err != nil || h.First != first {
			if err := d.Rename(c.path(name), c.path(damagedPart+name)); err != nil {
				return nil, fmt.Errorf("cannot put damaged file aside: %w", err)
			}
		}
	}
	if err := d.SyncDir(dir); err != nil {
		return nil, err
	}
	return openCatalog(d, dir)
}

// Repair restores facts that are damaged or missing in a folder of facts from
// another folder that contains them, such as that of a backup or of another
// node. It uses only lines that fit the chain. It returns the repaired places,
// and fails at the first one that cannot be repaired from the other folder. No
// other process may use the folder.
func Repair(factsDir, from string) ([]DamageError, error) { return repair(osDisk{}, factsDir, from) }

func repair(d disk, factsDir, from string) ([]DamageError, error) {
	c, err := openDamaged(d, factsDir)
	if err != nil {
		return nil, err
	}
	other, err := openCatalog(d, from)
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder to repair from: %w", err)
	}
	noted, _, err := readHead(c)
	if err != nil {
		return nil, err
	}
	var mended []DamageError
	if own, _ := c.snapshot(); len(own) == 0 {
		if mended, err = c.copyAll(other, noted.Log); err != nil {
			return nil, err
		}
	}
	if c.beginning() != "" {
		place, err := c.mendBeginning(other)
		if err != nil {
			return nil, err
		}
		mended = append(mended, place)
	}
	if place, err := c.mendEnd(other); err != nil {
		return mended, err
	} else if place != nil {
		mended = append(mended, *place)
	}
	for range maxDamage * maxDamage {
		last := max(noted.Seq, c.lastStated())
		bad := c.firstDamage(last)
		if bad == nil {
			bad, last = c.goesOn(other)
		}
		if bad == nil {
			return mended, c.lost()
		}
		if err := c.mend(bad, last, other); err != nil {
			return mended, fmt.Errorf("cannot repair %s:%d (fact %d) from %s: %w", bad.File, bad.Line, bad.Seq, from, err)
		}
		mended = append(mended, *bad)
	}
	return mended, errors.New("cannot repair log: got too many damaged places; restore it from a backup")
}

// mendBeginning restores the beginning of the log: its first files, or the base
// file that replaces deleted ones.
func (c *catalog) mendBeginning(other *catalog) (DamageError, error) {
	files, _ := c.snapshot()
	theirs, _ := other.snapshot()
	next := files[0].header
	place := DamageError{File: c.path(files[0].name()), Line: 1, Seq: next.After, Why: c.beginning()}
	whole := func(h *events.Header) bool {
		return other.baseFacts(h, func(*events.Fact) bool { return true }) == nil
	}
	if whole(&next) {
		return place, c.copyBase(&next, other)
	}
	if len(theirs) == 0 || theirs[0].header.Log != next.Log || theirs[0].header.After >= next.After || other.beginning() != "" {
		return place, fmt.Errorf("cannot repair the beginning of the log: it is not in %s", other.dir)
	}
	first := theirs[0].header
	if whole(&first) {
		if err := c.copyBase(&first, other); err != nil {
			return place, err
		}
	}
	return place, c.rewrite(&logFile{header: first}, &next, other)
}

func (c *catalog) copyBase(next *events.Header, other *catalog) error {
	name := baseName(next.After)
	if err := copyFile(c.d, other.path(name), c.path(name)); err != nil {
		return fmt.Errorf("cannot copy %s: %w", name, err)
	}
	return nil
}

// mendEnd restores facts that were lost at the end of the log. This is possible
// only until new facts are written after them, in the file that each start
// creates and whose sequences continue above theirs.
func (c *catalog) mendEnd(other *catalog) (*DamageError, error) {
	files, _ := c.snapshot()
	k := len(files)
	for k > 0 && c.leavesOut(&files[k-1]) {
		k--
	}
	if k == len(files) {
		return nil, nil
	}
	from := events.Position{Seq: files[k].header.After, Hash: files[k].header.Previous}
	to := files[len(files)-1].header.First - 1
	place := &DamageError{File: c.path(files[k].name()), Line: 1, Seq: from.Seq + 1, Why: fmt.Sprintf("facts %d to %d are missing before this file", from.Seq+1, to)}
	if err := other.walk(from, to, func(*events.Line) error { return nil }); err != nil {
		return nil, fmt.Errorf("cannot restore facts %d to %d from %s: %w", from.Seq+1, to, other.dir, err)
	}
	var f logFile
	switch theirs, _ := other.snapshot(); {
	case k > 0:
		f = files[k-1]
	case theirs[0].header.After == from.Seq && theirs[0].header.Log == files[0].header.Log:
		f = logFile{header: theirs[0].header}
	default:
		return nil, fmt.Errorf("cannot restore facts %d to %d: %s begins with fact %d", from.Seq+1, to, other.dir, theirs[0].header.First)
	}
	if err := c.delete(files[k:]); err != nil {
		return nil, err
	}
	c.change(func(files []logFile) []logFile { return files[:k] })
	return place, c.rewrite(&f, &events.Header{After: to}, other)
}

// leavesOut reports whether a file contains no facts and continues above lost
// facts that were not given up.
func (c *catalog) leavesOut(f *logFile) bool {
	h := &f.header
	if h.First == h.After+1 || c.isAccepted(h.After+1, h.First-1) {
		return false
	}
	e, err := c.readEnd(f, 0, nil)
	return err == nil && e.bad == nil && e.good.Seq == h.After
}

// lost returns an error if facts are missing that can no longer be restored.
func (c *catalog) lost() error {
	files, _ := c.snapshot()
	for i := range files {
		if h := &files[i].header; h.First > h.After+1 && !c.isAccepted(h.After+1, h.First-1) {
			return fmt.Errorf("cannot restore facts %d to %d: later facts were written after them to %s; accept the loss with \"bidder log accept-loss\"", h.After+1, h.First-1, c.path(files[i].name()))
		}
	}
	return nil
}

// copyAll copies all files of another folder to one that has none.
func (c *catalog) copyAll(other *catalog, log string) (mended []DamageError, err error) {
	theirs, _ := other.snapshot()
	if len(theirs) > 0 && log != "" && theirs[0].header.Log != log {
		return nil, fmt.Errorf("cannot repair log %s: got files of log %s in %s", log, theirs[0].header.Log, other.dir)
	}
	for i := range theirs {
		f := &theirs[i]
		if err := copyFile(c.d, other.path(f.name()), c.path(f.name())); err != nil {
			return mended, fmt.Errorf("cannot copy %s: %w", f.name(), err)
		}
		mended = append(mended, DamageError{File: c.path(f.name()), Line: 1, Seq: f.header.First, Why: "the file is missing"})
	}
	fresh, err := openCatalog(c.d, c.dir)
	if err == nil {
		c.change(func([]logFile) []logFile { return fresh.files })
	}
	return mended, err
}

// goesOn returns the place after the last fact and the last fact of another
// folder, if that folder contains more facts that continue the chain.
func (c *catalog) goesOn(other *catalog) (*DamageError, uint64) {
	files, _ := c.snapshot()
	if len(files) == 0 {
		return nil, 0
	}
	f := &files[len(files)-1]
	e, err := c.readEnd(f, 0, nil)
	last := other.lastStated()
	if err != nil || e.good.Seq >= last || other.walk(e.good, last, func(*events.Line) error { return nil }) != nil {
		return nil, 0
	}
	seq := max(e.good.Seq+1, f.header.First)
	return &DamageError{File: c.path(f.name()), Line: int(seq + 2 - f.header.First), Seq: seq, Why: "the file ends before this fact"}, last
}

// mend rewrites the file that contains a damaged place; last is the newest fact of the log.
func (c *catalog) mend(bad *DamageError, last uint64, other *catalog) error {
	files, _ := c.snapshot()
	for i := range files {
		f := files[i]
		if f.header.After >= bad.Seq || i+1 < len(files) && files[i+1].header.After < bad.Seq {
			continue
		}
		next := events.Header{After: last}
		if i+1 < len(files) {
			next = files[i+1].header
		}
		return c.rewrite(&f, &next, other)
	}
	return errors.New("the file is not in the list of the log's files")
}

// rewrite writes a file from its own lines and, where they break the chain,
// from those of other. The result is a plain file, which is packed later.
func (c *catalog) rewrite(f *logFile, next *events.Header, other *catalog) error {
	mended, accepted := logFile{header: f.header}, c.acceptedNow()
	err := writeWhole(c.d, c.path(mended.name()), func(w io.Writer) error {
		m, err := newMerge(c, f, other)
		if err != nil {
			return err
		}
		defer m.close()
		if _, err := w.Write(f.header.Append(nil)); err != nil {
			return err
		}
		seq, hash := f.header.After, f.header.Previous
		var text []byte
		for seq < next.After {
			want := max(seq+1, f.header.First)
			l, err := m.next(want, hash)
			if s := givenUp(accepted, want); err != nil && s != nil {
				seq, hash = s.To, s.H
				continue
			}
			if err != nil {
				return err
			}
			seq, hash = l.Seq, l.Hash
			text = append(l.Append(text[:0]), '\n')
			if _, err := w.Write(text); err != nil {
				return err
			}
		}
		if !next.Previous.IsZero() && hash != next.Previous {
			return errors.New("the repaired file does not match the beginning of the next one")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if f.packed {
		if err := c.delete([]logFile{*f}); err != nil {
			return err
		}
	}
	fresh, err := openCatalog(c.d, c.dir)
	if err == nil {
		err = fresh.removeSpare()
	}
	if err != nil {
		return err
	}
	c.change(func([]logFile) []logFile { return fresh.files })
	return nil
}

// merge reads the lines of one file and, in parallel, those of another folder.
type merge struct {
	own    *lineReader // nil if there is no such file yet
	have   events.Line // sequence of the last line of own; 0: none yet
	text   []byte
	other  *catalog
	theirs []events.Line // lines of the other folder, read ahead
	lacks  uint64        // a fact that is not in the other folder
}

func newMerge(c *catalog, f *logFile, other *catalog) (*merge, error) {
	m := &merge{other: other}
	r, err := c.open(f.name(), 0)
	if err == nil {
		m.own = r
	} else if !isGone(err) {
		return nil, err
	}
	return m, nil
}

func (m *merge) close() {
	if m.own != nil {
		m.own.close()
	}
}

// next returns the line of a fact if it is chained to a hash.
func (m *merge) next(seq uint64, previous events.Hash) (events.Line, error) {
	for {
		if l, ok := m.mine(seq, previous); ok {
			return l, nil
		}
		l, err := m.fetched(seq, previous)
		if err == nil || m.own == nil {
			return l, err
		}
		m.have.Seq = 0 // its sequence may be wrong; the lines after it may still be usable
	}
}

// mine returns the line of a fact from the file itself.
func (m *merge) mine(seq uint64, previous events.Hash) (events.Line, bool) {
	for m.own != nil && m.have.Seq < seq {
		text, err := m.own.next()
		if err != nil && !errors.Is(err, errTooLong) && !errors.Is(err, errUnfinished) {
			m.own.close()
			m.own = nil
			break
		}
		m.text = append(m.text[:0], text...)
		if l, err := events.ParseLine(m.text); err == nil && l.Seq >= seq {
			m.have = l
		}
	}
	return m.have, m.have.Seq == seq && m.have.Follows(previous)
}

// fetched returns the line of a fact from the other folder.
func (m *merge) fetched(seq uint64, previous events.Hash) (events.Line, error) {
	for len(m.theirs) > 0 && m.theirs[0].Seq < seq {
		m.theirs = m.theirs[1:]
	}
	if len(m.theirs) == 0 || m.theirs[0].Seq > seq {
		if m.lacks == seq {
			return events.Line{}, fmt.Errorf("the other folder does not contain fact %d", seq)
		}
		m.lacks = seq
		if err := m.read(seq, previous); err != nil {
			return events.Line{}, err
		}
	}
	if l := m.theirs[0]; l.Seq == seq && l.Follows(previous) {
		return l, nil
	}
	return events.Line{}, fmt.Errorf("the other folder contains fact %d, but it does not match the chain", seq)
}

// mergeAhead is the number of lines of the other folder that are read at once.
const mergeAhead = 4096

// read fetches the lines of the other folder from a fact on.
func (m *merge) read(seq uint64, previous events.Hash) error {
	m.theirs = nil
	err := m.other.walk(events.Position{Seq: seq - 1, Hash: previous}, seq-1+mergeAhead, func(l *events.Line) error {
		kept := *l
		kept.Body, kept.Who = append([]byte(nil), l.Body...), append([]byte(nil), l.Who...)
		if len(l.Who) == 0 {
			kept.Who = nil
		}
		m.theirs = append(m.theirs, kept)
		return nil
	})
	if len(m.theirs) > 0 {
		return nil
	}
	if err == nil {
		err = errors.New("the log ends before it")
	}
	return fmt.Errorf("the other folder does not contain fact %d: %w", seq, err)
}

// FactsDir returns the folder of facts for a path that may be such a folder, or
// a data folder or backup that contains one.
func FactsDir(path string) string {
	for _, dir := range []string{path + "/log/facts", path} {
		if names, err := (osDisk{}).List(dir); err == nil {
			for _, name := range names {
				if _, _, ok := parseName(name); ok || strings.HasPrefix(name, basePart) {
					return dir
				}
			}
		}
	}
	if _, err := os.Stat(path + "/log/facts"); err == nil {
		return path + "/log/facts"
	}
	return path
}
