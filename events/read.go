package events

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ErrTorn means that a file's last line is incomplete because its writer was interrupted.
var ErrTorn = errors.New("torn last line")

// MaxLine is the longest line that is read, in bytes. Longer ones are skipped
// with an error.
const MaxLine = 16 << 20

// LineError describes an error in one line.
type LineError struct {
	File string
	Line int // from 1
	Err  error
}

// Error returns the message as "file:line: cause".
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns the cause.
func (e *LineError) Unwrap() error { return e.Err }

// ReadFacts reads the facts of a log file; name identifies the file in errors.
// The header is skipped, and every line is checked against the hash of the line
// before it. A bad line yields a [*LineError], and reading continues with the
// next line unless the caller stops; any other error ends the iteration. Facts
// may be retained.
func ReadFacts(name string, r io.Reader) iter.Seq2[*Fact, error] {
	return func(yield func(*Fact, error) bool) {
		var previous Hash
		known := false // whether previous is the hash of the preceding line
		decode := func(text []byte) (*Fact, error) {
			if h, err := ParseHeader(text); err == nil {
				previous, known = h.Previous, true
				return nil, nil
			}
			was, check := previous, known
			known = false
			l, err := ParseLine(text)
			if err != nil {
				return nil, fmt.Errorf("cannot read fact: %w", err)
			}
			if check && !l.Follows(was) {
				return nil, fmt.Errorf("cannot read fact %d: its hash does not fit the line before it: the file is damaged or was edited", l.Seq)
			}
			previous, known = l.Hash, true
			f := new(Fact)
			return f, l.Decode(f)
		}
		for f, err := range readLines(name, r, decode) {
			if f == nil && err == nil {
				continue
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// ReadRecords reads bid records as ReadFacts reads facts. A line that is a bare
// OpenRTB request becomes a record with only Request set (V is 0).
func ReadRecords(name string, r io.Reader) iter.Seq2[*BidRecord, error] {
	return readLines(name, r, decodeRecord)
}

// ReadFactFile reads the facts of one file, whose name is used as it is; .zst
// and .gz files are decompressed. A missing file is an error (fs.ErrNotExist).
func ReadFactFile(name string) iter.Seq2[*Fact, error] {
	return func(yield func(*Fact, error) bool) { readFile(name, new(int64), ReadFacts, yield) }
}

// ReadFactFiles reads the files that the patterns match, one after the other,
// sorted by name; .zst and .gz files are decompressed. A pattern that matches nothing is an
// error (fs.ErrNotExist).
func ReadFactFiles(patterns ...string) iter.Seq2[*Fact, error] {
	return readFiles(patterns, ReadFacts)
}

// RecordFiles is a set of files of bid records. It reports how much of them has been
// read.
type RecordFiles struct {
	names      []string
	size, read int64 // size of the files on disk, in bytes
}

// OpenRecordFiles finds the files that match the patterns. A pattern that matches
// nothing is an error (fs.ErrNotExist).
func OpenRecordFiles(patterns ...string) (*RecordFiles, error) {
	names, err := match(patterns)
	if err != nil {
		return nil, err
	}
	f := &RecordFiles{names: names}
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("cannot read files: %w", err)
		case info.IsDir():
			return nil, fmt.Errorf("cannot read files: %s is a folder; want files, such as %s", name, filepath.Join(name, "*"))
		}
		f.size += info.Size()
	}
	return f, nil
}

// Names returns the names of the files in the order in which they are read.
func (f *RecordFiles) Names() []string { return f.names }

// Share returns the share of the files that All has read, from 0 to 1. Call it from the
// loop that ranges over All.
func (f *RecordFiles) Share() float64 {
	if f.size == 0 {
		return 0
	}
	return min(1, float64(f.read)/float64(f.size))
}

// All reads the records of the files, one after the other, as ReadRecords does.
func (f *RecordFiles) All() iter.Seq2[*BidRecord, error] {
	return func(yield func(*BidRecord, error) bool) {
		f.read = 0
		for _, name := range f.names {
			if !readFile(name, &f.read, ReadRecords, yield) {
				return
			}
		}
	}
}

// Each returns a reader of every file, for callers that merge them; decode reads a line,
// nil means as ReadRecords does. Readers that are used at the same time must be used by
// one goroutine.
func (f *RecordFiles) Each(decode func([]byte) (*BidRecord, error)) []iter.Seq2[*BidRecord, error] {
	f.read = 0
	if decode == nil {
		decode = decodeRecord
	}
	read := func(name string, r io.Reader) iter.Seq2[*BidRecord, error] { return readLines(name, r, decode) }
	return eachFile(f.names, &f.read, read)
}

// EachFactFile returns a reader of every file that matches the patterns, in the order of
// their names; decode reads a line, nil means as ReadFacts does.
func EachFactFile(decode func([]byte) (*Fact, error), patterns ...string) ([]iter.Seq2[*Fact, error], error) {
	names, err := match(patterns)
	if err != nil {
		return nil, err
	}
	read := ReadFacts
	if decode != nil {
		read = func(name string, r io.Reader) iter.Seq2[*Fact, error] { return readLines(name, r, decode) }
	}
	return eachFile(names, new(int64), read), nil
}

func eachFile[T any](names []string, count *int64, read func(string, io.Reader) iter.Seq2[*T, error]) []iter.Seq2[*T, error] {
	out := make([]iter.Seq2[*T, error], len(names))
	for i, name := range names {
		out[i] = func(yield func(*T, error) bool) { readFile(name, count, read, yield) }
	}
	return out
}

// FirstLine returns the first line of the first file that is not blank; empty if it
// cannot be read. It serves to recognise a format.
func (f *RecordFiles) FirstLine() []byte {
	for _, name := range f.names {
		r, err := openFile(name, new(int64))
		if err != nil {
			return nil
		}
		var long []byte
		line, _ := nextLine(bufio.NewReader(r), &long)
		line = bytes.Clone(bytes.TrimSpace(bytes.TrimPrefix(line, byteOrderMark)))
		r.Close()
		if len(line) > 0 {
			return line
		}
	}
	return nil
}

func decodeRecord(line []byte) (*BidRecord, error) {
	if isBareRequest(line) {
		if !json.Valid(line) {
			return nil, errors.New("cannot read request: got invalid JSON")
		}
		return &BidRecord{Request: bytes.Clone(line)}, nil
	}
	r := new(BidRecord)
	if err := json.Unmarshal(line, r); err != nil {
		return nil, fmt.Errorf("cannot read bid record: %w", err)
	}
	if len(r.Request) == 0 {
		return nil, errors.New("cannot read bid record: got neither request nor imp; want a bid record or an OpenRTB request")
	}
	return r, nil
}

// isBareRequest reports whether a line is an OpenRTB request rather than a bid
// record: it has imp at its top level and no request.
func isBareRequest(line []byte) bool {
	if bytes.HasPrefix(line, []byte(`{"v":1,`)) { // fields that BidLog writes first
		return false
	}
	imp, request := false, false
	topKeys(line, func(key []byte) {
		imp = imp || string(key) == "imp"
		request = request || string(key) == "request"
	})
	return imp && !request
}

// topKeys calls each with the keys of an object, as they are written. It skips the
// values, and stops at the end of the text.
func topKeys(b []byte, each func(key []byte)) {
	depth, start, key := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
			key = depth == 1
		case '}', ']':
			depth--
		case ',':
			key = depth == 1
		case ':':
			key = false
		case '"':
			for start, i = i+1, i+1; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if key && i < len(b) {
				each(b[start:i])
			}
		}
	}
}

// byteOrderMark is the UTF-8 byte-order mark that some editors and shells write
// at the beginning of a file.
var byteOrderMark = []byte("\ufeff")

// readLines decodes each line that is not blank.
func readLines[T any](name string, r io.Reader, decode func([]byte) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		br := bufio.NewReaderSize(r, 256<<10)
		var long []byte
		for n := 1; ; n++ {
			line, err := nextLine(br, &long)
			if err == io.EOF && len(line) == 0 {
				return
			}
			if err != nil && err != io.EOF && err != errLong {
				yield(nil, fmt.Errorf("cannot read %s after line %d: %w", name, n-1, err))
				return
			}
			torn := err == io.EOF
			line = bytes.TrimPrefix(line, byteOrderMark) // of the file, or of another file that was appended to it
			if line = bytes.TrimSpace(line); len(line) == 0 && err == nil {
				continue
			}
			var v *T
			if err != errLong {
				v, err = decode(line)
			}
			if err != nil {
				v = nil
				if torn {
					err = fmt.Errorf("%w: %w", ErrTorn, err)
				}
				err = &LineError{name, n, err}
			}
			if !yield(v, err) || torn {
				return
			}
		}
	}
}

var errLong = fmt.Errorf("cannot read line: got more than %d bytes", MaxLine)

// nextLine reads up to and including the newline. io.EOF comes with the last
// line if that has no newline. The line is valid until the next call.
func nextLine(br *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	*long = append((*long)[:0], line...)
	tooLong := false
	for err == bufio.ErrBufferFull {
		line, err = br.ReadSlice('\n')
		if tooLong = tooLong || len(*long)+len(line) > MaxLine; !tooLong {
			*long = append(*long, line...)
		}
	}
	if tooLong && (err == nil || err == io.EOF) {
		return nil, errLong
	}
	return *long, err
}

func readFiles[T any](patterns []string, read func(string, io.Reader) iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		files, err := match(patterns)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, name := range files {
			if !readFile(name, new(int64), read, yield) {
				return
			}
		}
	}
}

// readFile returns false if the caller wants no more. It adds the number of bytes that
// it reads from disk to count.
func readFile[T any](name string, count *int64, read func(string, io.Reader) iter.Seq2[*T, error], yield func(*T, error) bool) bool {
	r, err := openFile(name, count)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer r.Close()
	for v, err := range read(name, r) {
		if !yield(v, err) {
			return false
		}
	}
	return true
}

// match returns the files that match any of the patterns, each once, sorted by
// name. The names of files of one kind contain their time.
func match(patterns []string) ([]string, error) {
	var files []string
	for _, p := range patterns {
		m, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("cannot read files: got pattern %q: %w", p, err)
		}
		if len(m) == 0 {
			return nil, fmt.Errorf("cannot read files: got no file for %q: %w", p, fs.ErrNotExist)
		}
		files = append(files, m...)
	}
	slices.SortFunc(files, func(a, b string) int {
		if c := strings.Compare(filepath.Base(a), filepath.Base(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(files), nil
}

// openFile opens a file, decompressed according to its suffix, and counts the bytes that
// are read from disk.
func openFile(name string, count *int64) (io.ReadCloser, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot open file: %w", err)
	}
	f := counted{file, count}
	switch filepath.Ext(name) {
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot unpack %s: %w", name, err)
		}
		return unpacked{z, func() { z.Close(); f.Close() }}, nil
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot unpack %s: %w", name, err)
		}
		return unpacked{z, func() { z.Close(); f.Close() }}, nil
	}
	return f, nil
}

// counted is a file that counts the bytes read from it.
type counted struct {
	file *os.File
	n    *int64
}

// Read implements io.Reader.
func (c counted) Read(b []byte) (int, error) {
	n, err := c.file.Read(b)
	*c.n += int64(n)
	return n, err
}

// Close implements io.Closer.
func (c counted) Close() error { return c.file.Close() }

type unpacked struct {
	io.Reader
	done func()
}

func (u unpacked) Close() error { u.done(); return nil }
