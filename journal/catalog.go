package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"rebound/events"
)

const (
	plainEnd  = ".ndjson"
	packedEnd = ".ndjson.zst"
	basePart  = "base-"
	cutPart   = "cut-"
	headName  = "head"
)

// logFile is one file of the log. Its facts end where the next file begins
// according to its header; anything after that in the file is ignored.
type logFile struct {
	header events.Header
	packed bool
	bytes  int64
	// marks are places inside a plain file that this process verified or wrote, so that
	// a reader need not start at the beginning of the file.
	marks []mark
}

// mark is the offset of the line that follows a fact.
type mark struct {
	seq uint64
	off int64
}

// markEvery is the number of bytes between the marks of a file.
const markEvery = 1 << 20

func (f *logFile) name() string {
	if f.packed {
		return fmt.Sprintf("%020d", f.header.First) + packedEnd
	}
	return fmt.Sprintf("%020d", f.header.First) + plainEnd
}

// catalog lists the files of a folder of facts.
type catalog struct {
	d   disk
	dir string

	mu       sync.Mutex // protects the fields below
	files    []logFile  // sorted by first sequence; the last one is being written
	accepted []skip
	spare    []string // names of redundant copies of other files, the oldest first
}

// snapshot returns the current files. The slices are shared and are never changed in
// place.
func (c *catalog) snapshot() ([]logFile, []skip) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.files), c.accepted
}

// change applies a change to the list of files.
func (c *catalog) change(fn func(files []logFile) []logFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = fn(c.files)
}

func (c *catalog) path(name string) string { return filepath.Join(c.dir, name) }

// OldFormatError means that a folder contains the log of a version before 2026-12.
type OldFormatError struct{ Path string }

// Error names the path and the remedy.
func (e *OldFormatError) Error() string {
	return "cannot open log: got " + e.Path + ", which an earlier version of Rebound wrote in another format; want an empty data folder: " +
		"the old data cannot be converted, so keep it for your records and begin with a new folder"
}

// openCatalog lists the files of a folder and reads their headers. If a plain
// and a packed file of the same facts exist, the plain one is used if it
// verifies. It changes nothing: another process may be using the folder.
func openCatalog(d disk, dir string) (c *catalog, err error) {
	for range 10 { // files may be compressed or deleted meanwhile
		if c, err = listFiles(d, dir); !isGone(err) {
			break
		}
	}
	return c, err
}

func listFiles(d disk, dir string) (*catalog, error) {
	c := &catalog{d: d, dir: dir}
	names, err := d.List(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list log files: %w", err)
	}
	bad := map[string]error{} // errors of files without a readable header, by name
	for _, name := range names {
		if strings.HasPrefix(name, "facts-") {
			return nil, &OldFormatError{c.path(name)}
		}
		first, packed, ok := parseName(name)
		if !ok {
			continue
		}
		f := logFile{packed: packed}
		f.header, f.bytes, err = c.readHeader(name)
		if isGone(err) && !packed { // compressed since the folder was listed
			if slices.Contains(names, name+".zst") {
				continue
			}
			f.packed = true
			f.header, f.bytes, err = c.readHeader(name + ".zst")
		}
		if err == nil && f.header.First != first {
			err = &DamageError{File: c.path(name), Line: 1, Seq: first, Why: fmt.Sprintf("got first_seq %d in the header; want that of the file's name", f.header.First)}
		}
		if isGone(err) {
			return nil, err
		}
		if err != nil {
			bad[name] = err
			continue
		}
		c.files = append(c.files, f)
	}
	slices.SortStableFunc(c.files, func(a, b logFile) int {
		if a.header.First != b.header.First {
			return int(int64(a.header.First - b.header.First))
		}
		return strings.Compare(a.name(), b.name()) // plain before packed
	})
	for i := range c.files {
		if got, want := c.files[i].header.Log, c.files[0].header.Log; got != want {
			return nil, &DamageError{File: c.path(c.files[i].name()), Line: 1, Seq: c.files[i].header.First, Why: fmt.Sprintf("got a file of log %s; want log %s", got, want)}
		}
	}
	if c.accepted, err = c.readAccepted(); err != nil {
		return nil, err
	}
	if err := c.settleDoubles(bad); err != nil {
		return nil, err
	}
	c.coverOld(names)
	return c, nil
}

// parseName reads the name of a log file; packed reports whether it is compressed.
func parseName(name string) (first uint64, packed, ok bool) {
	digits, packed := strings.CutSuffix(name, packedEnd)
	if !packed {
		digits, ok = strings.CutSuffix(name, plainEnd)
		if !ok {
			return 0, false, false
		}
	}
	first, err := strconv.ParseUint(digits, 10, 64)
	return first, packed, err == nil && len(digits) == 20
}

// settleDoubles decides between a plain and a packed file of the same facts,
// which exist if the process stopped between packing the file and removing it.
// The plain one is used unless only the packed one verifies. The other one is
// redundant if the used one verifies; if neither does, both are kept. bad lists
// the files without a readable header, which is an error if there is no second
// copy.
func (c *catalog) settleDoubles(bad map[string]error) error {
	for i := range c.files {
		other := logFile{header: c.files[i].header, packed: !c.files[i].packed}
		if bad[other.name()] == nil {
			continue
		}
		delete(bad, other.name())
		if i+1 < len(c.files) && c.verifyFile(&c.files[i], &c.files[i+1].header, nil) == nil {
			c.spare = append(c.spare, other.name())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		return bad[name]
	}
	for i := 0; i+1 < len(c.files); i++ {
		if c.files[i].header.First != c.files[i+1].header.First {
			continue
		}
		lose, spare := i+1, false // the end of the newest file is not known
		if i+2 < len(c.files) {
			end := &c.files[i+2].header
			if spare = c.verifyFile(&c.files[i], end, nil) == nil; !spare && c.verifyFile(&c.files[i+1], end, nil) == nil {
				lose, spare = i, true
			}
		}
		if spare {
			c.spare = append(c.spare, c.files[lose].name())
		}
		c.files = slices.Delete(c.files, lose, lose+1)
	}
	return nil
}

// removeSpare removes redundant copies of other files. Only the process that
// writes the log, or repairs it, may do so.
func (c *catalog) removeSpare() error {
	for _, name := range c.spare {
		err := c.d.Remove(c.path(name))
		if err == nil || isGone(err) {
			err = c.d.SyncDir(c.dir)
		}
		if err != nil {
			return fmt.Errorf("cannot remove second copy of log file: %w", err)
		}
	}
	c.spare = nil
	return nil
}

func (c *catalog) readHeader(name string) (h events.Header, size int64, err error) {
	r, err := c.open(name, 0)
	if err != nil {
		return h, 0, err
	}
	defer r.close()
	text, err := r.next()
	if err == nil || errors.Is(err, errUnfinished) {
		h, err = events.ParseHeader(text)
	}
	if err != nil {
		first, _, _ := parseName(name)
		return h, 0, &DamageError{File: c.path(name), Line: 1, Seq: first, Why: err.Error()}
	}
	size, err = r.f.Size()
	return h, size, err
}

// lineReader reads the lines of one file.
type lineReader struct {
	f      file
	from   *fileReader
	z      *zstd.Decoder
	br     *bufio.Reader
	long   []byte
	offset int64 // offset of the next line, before compression
}

var (
	errUnfinished = errors.New("the last line has no newline")
	errTooLong    = fmt.Errorf("got a line of more than %d bytes", events.MaxLine)
)

// open opens a log file at an offset, which must be 0 for a packed one.
func (c *catalog) open(name string, offset int64) (*lineReader, error) {
	f, err := c.d.Open(c.path(name))
	if err != nil {
		return nil, fmt.Errorf("cannot open log file: %w", err)
	}
	r := &lineReader{f: f, offset: offset, from: &fileReader{Reader: io.NewSectionReader(f, offset, 1<<62)}}
	var from io.Reader = r.from
	if strings.HasSuffix(name, ".zst") || strings.HasSuffix(name, ".zst"+tmpEnd) {
		r.z, err = zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot unpack %s: %w", name, err)
		}
		from = r.z
	}
	buffer := int64(256 << 10)
	if size, err := f.Size(); err == nil && size < buffer/16 { // many files of a quiet log are small
		buffer /= 16
	}
	r.br = bufio.NewReaderSize(from, int(buffer))
	return r, nil
}

// fileReader remembers that the disk could not be read: the rest may be intact,
// and must not be mistaken for damage or a torn end.
type fileReader struct {
	io.Reader
	failed error
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return n, err
}

func (r *lineReader) close() {
	if r.z != nil {
		r.z.Close()
	}
	r.f.Close()
}

// next returns the next line without its newline, until the next call. At the
// end it returns io.EOF. For a line without a newline it returns the incomplete
// line and errUnfinished.
func (r *lineReader) next() ([]byte, error) {
	line, err := r.br.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = r.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(r.long)+len(line) > events.MaxLine {
				r.offset += int64(len(r.long) + len(line))
				return nil, errTooLong
			}
			r.long = append(r.long, line...)
			line, err = r.br.ReadSlice('\n')
		}
		line = append(r.long, line...)
		r.long = line
	}
	r.offset += int64(len(line))
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, io.EOF) && len(line) > 0:
		return line, errUnfinished
	}
	return nil, err
}

// isNoLine reports whether an error means that a line was read that is not a
// line of the log. After other errors nothing more can be read.
func isNoLine(err error) bool {
	return errors.Is(err, events.ErrNoLine) || errors.Is(err, errTooLong) || errors.Is(err, errUnfinished)
}

// isGone reports whether a file was removed, for instance because it was packed.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
