package campaigns

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"rebound/internal/spec"
)

// Limits of a list file.
const (
	maxListRows  = 50_000_000
	maxListBytes = 4 << 30
	maxListLine  = 4096
	// filePrefix begins an entry that is the name of a file with entries.
	filePrefix = "file:"
)

// Tables are the list files of a configuration, each read once. The rows of a
// file that has not changed are taken from the previous configuration.
// [Compile] and [CompileSupply] fill the tables, which are immutable
// afterwards.
type Tables struct {
	open     func(name string) (fs.File, error)
	previous *Tables
	fresh    func(written time.Time) bool
	files    map[string]*table // by kind and name
}

// table is one file, read for one purpose.
type table struct {
	name string
	size int64
	mod  time.Time
	sum  [sha256.Size]byte
	rows int
	bad  int
	line int  // of the first bad row
	kept bool // a newer file may not be complete; this is the list before it
	list any
}

// NewTables returns tables that open files with open. Files that previous has
// read and that have not changed are not read again. fresh reports whether a file
// was written so recently that it may not be complete: one that has fewer rows than
// before is not used then, because half a list of what is blocked blocks half of it.
// previous and fresh may be nil.
func NewTables(open func(name string) (fs.File, error), previous *Tables, fresh func(written time.Time) bool) *Tables {
	return &Tables{open: open, previous: previous, fresh: fresh, files: map[string]*table{}}
}

// Close ends loading. It releases what only loading needs, above all the previous
// tables; [Tables.Files] still works.
func (t *Tables) Close() { t.open, t.previous, t.fresh = nil, nil, nil }

// File is one file of [Tables.Files].
type File struct {
	Name string
	Sum  [sha256.Size]byte // SHA-256 of the content
	Rows int               // valid rows
	Bad  int               // rows that were skipped
	Line int               // of the first row that was skipped
}

// Files returns the files that were read, by name.
func (t *Tables) Files() []File {
	var out []File
	for _, key := range slices.Sorted(maps.Keys(t.files)) {
		x := t.files[key]
		out = append(out, File{x.name, x.sum, x.rows, x.bad, x.line})
	}
	slices.SortStableFunc(out, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b File) bool { return a.Name == b.Name })
}

// load passes the rows of a file to a sink, and done makes the list. If the
// file has not changed, load returns the previous list.
func (t *Tables) load(kind, name string, sink rowSink, done func() any) (any, error) {
	key := kind + ":" + name
	if x := t.files[key]; x != nil {
		return x.list, nil
	}
	if t.open == nil {
		return nil, errors.New("no files here")
	}
	f, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	x := &table{name: name, size: info.Size(), mod: info.ModTime()}
	var was *table
	if t.previous != nil {
		was = t.previous.files[key]
	}
	if was != nil && !was.kept && was.size == x.size && was.mod.Equal(x.mod) && !x.mod.IsZero() {
		t.files[key] = was
		return was.list, nil
	}
	if err := x.read(f, sink); err != nil {
		return nil, err
	}
	if was != nil && x.rows < was.rows && t.fresh != nil && t.fresh(x.mod) {
		kept := *was
		kept.kept = true
		t.files[key] = &kept
		return kept.list, nil
	}
	x.list = done()
	t.files[key] = x
	return x.list, nil
}

func (x *table) read(r io.Reader, sink rowSink) error {
	sum := sha256.New()
	in := bufio.NewScanner(io.TeeReader(io.LimitReader(r, maxListBytes+1), sum))
	in.Buffer(make([]byte, 0, 64<<10), maxListLine)
	in.Split(splitLine)
	for line := 1; in.Scan(); line++ {
		row := in.Text()
		if line == 1 {
			row = strings.TrimPrefix(row, "\ufeff")
		}
		if i := strings.IndexByte(row, '#'); i >= 0 {
			row = row[:i]
		}
		if row = strings.TrimSpace(row); row == "" {
			continue
		}
		if x.rows == maxListRows {
			return fmt.Errorf("cannot read list: got more than %d rows; want fewer", maxListRows)
		}
		if sink.add(row) {
			x.rows++
			continue
		}
		if x.bad++; x.bad == 1 {
			x.line = line
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("cannot read list: %w", err)
	}
	sum.Sum(x.sum[:0])
	return nil
}

// splitLine splits at LF, CR LF and CR, which old tools write alone.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && atEOF && len(data) > 0:
		return len(data), data, nil
	case i < 0, data[i] == '\r' && i+1 == len(data) && !atEOF: // LF may follow
		return 0, nil, nil
	case data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n':
		return i + 2, data[:i], nil
	}
	return i + 1, data[:i], nil
}

// fill passes the entries of a list in the configuration to a sink. It returns the
// names of the files among them, and the number of the other entries.
func (c *compiler) fill(path string, entries []string, sink rowSink, want string) (files []string, inline int) {
	for i, e := range entries {
		if name, ok := strings.CutPrefix(e, filePrefix); ok {
			if !slices.Contains(files, name) {
				files = append(files, name)
			}
			continue
		}
		inline++
		if strings.TrimSpace(e) == "" || !sink.add(e) {
			c.Add(spec.At(path, i), spec.Quote(e), want)
		}
	}
	return files, inline
}

// table loads one file.
func (c *compiler) table(path, kind, name string, sink rowSink, done func() any) any {
	if c.in.Tables == nil {
		c.Add(path, "file "+spec.Quote(name), "entries, not a file")
		return nil
	}
	list, err := c.in.Tables.load(kind, name, sink, done)
	if err != nil {
		c.Add(path, "file "+spec.Quote(name)+": "+reason(err), "a file that can be read")
		return nil
	}
	x := c.in.Tables.files[kind+":"+name]
	switch {
	case x.kept:
		c.Warn(path, "file "+spec.Quote(name)+" with fewer rows than before, written a moment ago", "a complete list; the rows loaded before stay in use")
	case x.rows == 0:
		c.Warn(path, "file "+spec.Quote(name)+" without valid rows", "a list with rows")
	case x.bad > 0:
		c.Warn(path, fmt.Sprintf("file %q with %d invalid rows, the first on line %d", name, x.bad, x.line), "valid rows; the others were skipped")
	}
	return list
}

func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// lists compiles one field: a list of the entries in the configuration, which own
// collects, and a list for each file that they name. P collects the rows of a
// file.
func lists[S, T any, P interface {
	*T
	rowSink
	set() *S
}](c *compiler, path, kind string, entries []string, own P, want string) (out []*S) {
	files, inline := c.fill(path, entries, own, want)
	for _, name := range files {
		sink := P(new(T))
		if s, ok := c.table(path, kind, name, sink, func() any { return sink.set() }).(*S); ok {
			out = append(out, s)
		}
	}
	if inline > 0 {
		out = append(out, own.set())
	}
	return out
}

func (c *compiler) hosts(path string, entries []string) names {
	return lists(c, path, "hosts", entries, new(hostSink), "a host such as news.example, =news.example without its subdomains, or file:name")
}

func (c *compiler) bundles(path string, entries []string) names {
	return lists(c, path, "bundles", entries, new(bundleSink), "an app id such as com.news.app or 123456789, a prefix such as com.news.*, or file:name")
}

type texts []*textSet

func (t texts) has(text []byte) bool {
	return slices.ContainsFunc(t, func(s *textSet) bool { return s.has(text) })
}

func (c *compiler) texts(path string, entries []string, want string) texts {
	return lists(c, path, "texts", entries, new(textSink), want)
}
