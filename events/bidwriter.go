package events

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	bidPrefix = "bids-"
	bidEnd    = ".ndjson"
	bidTime   = "20060102T150405.000Z" // of the first record, in the name of its file
)

// bidWriter writes the files of a BidLog: one goroutine writes chunks, another packs
// files.
type bidWriter struct {
	l      *BidLog
	f      *os.File // nil until the first record of a file
	size   int64    // size of f
	inFile uint64   // records in f
	opened time.Time
	n      int // numbers the files of one run

	failing bool // the last write failed, and that was logged

	full     chan string   // files to pack
	ending   chan struct{} // closed when the writer ends
	erasures chan eraseOrder
	done     sync.WaitGroup

	current atomic.Pointer[string] // name of f; the goroutine that packs reads it
}

func newBidWriter(l *BidLog) *bidWriter {
	w := &bidWriter{l: l, full: make(chan string, 64), ending: make(chan struct{}), erasures: make(chan eraseOrder, 4)}
	left, err := filepath.Glob(filepath.Join(EscapeGlob(l.o.Dir), bidPrefix+"*"+bidEnd))
	if err != nil {
		l.o.Logger.Warn("cannot list the bid log's files", zap.Error(err))
	}
	slices.Sort(left)
	w.done.Go(func() {
		for _, name := range left {
			w.mend(name)
			w.pack(name)
		}
		w.packAll()
	})
	return w
}

// packAll packs files, and erases data in packed ones, until the writer ends.
func (w *bidWriter) packAll() {
	for {
		select {
		case name, ok := <-w.full:
			if !ok {
				return
			}
			w.pack(name)
		case o := <-w.erasures:
			done, err := w.erase(o)
			o.reply <- eraseReply{done, err}
		}
	}
}

// leave forgets the current file.
func (w *bidWriter) leave() {
	w.f = nil
	w.current.Store(nil)
}

// isCurrent reports whether a file is the one that is being written.
func (w *bidWriter) isCurrent(name string) bool {
	p := w.current.Load()
	return p != nil && *p == name
}

// EscapeGlob escapes a folder's name so that it matches literally in a pattern.
func EscapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// mend truncates a torn last line that an earlier run left in a file.
func (w *bidWriter) mend(name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		return // pack logs the error
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole == len(data) {
		return
	}
	w.l.o.Logger.Warn("a torn last line of the bid log was cut off", zap.String("file", name), zap.Int("bytes", len(data)-whole))
	if err := os.Truncate(name, int64(whole)); err != nil {
		w.l.o.Logger.Warn("cannot cut torn line off bid log", zap.Error(err))
	}
}

func (w *bidWriter) pack(name string) {
	if err := pack(name, w.packer()); err != nil && !errors.Is(err, fs.ErrNotExist) { // it was packed when data was erased
		w.l.o.Logger.Warn("bid log file stays unpacked", zap.Error(err))
	}
	w.keep()
}

// packShare is the share of a core that packing takes at most while the writer runs.
const packShare = 0.25

// packer returns what waits after each slice of a file, so that packing takes packShare of
// a core and requests need not wait for it. It does not wait once the writer ends.
func (w *bidWriter) packer() (rest func()) {
	began := w.l.o.Now()
	return func() {
		worked := w.l.o.Now().Sub(began)
		select {
		case <-time.After(time.Duration(float64(min(worked, maxPackWork)) * (1/packShare - 1))):
		case <-w.ending:
		}
		began = w.l.o.Now()
	}
}

// maxPackWork bounds the work that one pause makes up for: a slice takes less, unless the
// machine is busy, and files must not pile up.
const maxPackWork = 5 * time.Millisecond

// keep deletes the oldest files above the folder's byte limit, never the newest.
func (w *bidWriter) keep() {
	entries, err := os.ReadDir(w.l.o.Dir)
	if err != nil {
		w.l.o.Logger.Warn("cannot list the bid log's files", zap.Error(err))
		return
	}
	var names []string
	sizes, total := map[string]int64{}, int64(0)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), bidPrefix) {
			names = append(names, e.Name())
			sizes[e.Name()] = info.Size()
			total += info.Size()
		}
	}
	for len(names) > 1 && total > w.l.o.MaxBytes {
		if err := os.Remove(filepath.Join(w.l.o.Dir, names[0])); err != nil {
			w.l.o.Logger.Warn("cannot delete old bid log file", zap.Error(err))
			return
		}
		w.l.o.Logger.Info("old bid log file deleted", zap.String("file", names[0]))
		total -= sizes[names[0]]
		names = names[1:]
	}
}

// drain writes the chunks that wait. Those that cannot be written are dropped; later ones
// go to a new file.
func (w *bidWriter) drain() {
	for {
		c, ok := w.l.next()
		if !ok {
			return
		}
		w.write(c)
		w.l.giveBack(c)
		w.rotate()
	}
}

func (w *bidWriter) write(c chunk) {
	n, err := w.writeFile(c.b)
	if err != nil {
		w.l.dropped.Add(c.records)
		if !w.failing {
			w.l.o.Logger.Error("cannot write bid log; records are dropped", zap.Error(err))
		}
	} else {
		w.l.written.Add(c.records)
		w.inFile += c.records
		w.l.size.Add(uint64(n))
	}
	w.failing = err != nil
}

// checkRemoved notices that the file was removed or replaced while it was open: what was
// written to it is lost with it. The next records go to a new file. It is called once a
// second and before a file is closed.
func (w *bidWriter) checkRemoved() {
	if w.f == nil {
		return
	}
	open, err := w.f.Stat()
	if err != nil {
		return // the next write says why
	}
	if there, err := os.Stat(w.f.Name()); err == nil && os.SameFile(open, there) {
		return
	}
	w.l.lost.Add(w.inFile)
	w.l.o.Logger.Error("bid log file was removed while it was written; its records are lost, the next go to a new file",
		zap.String("file", w.f.Name()), zap.Uint64("records", w.inFile))
	w.f.Close() //nolint:errcheck // it has no name any more
	w.leave()
}

func (w *bidWriter) writeFile(b []byte) (int, error) {
	if w.f == nil {
		if err := w.create(); err != nil {
			return 0, err
		}
	}
	n, err := w.f.Write(b)
	if err == nil {
		w.size += int64(n)
		return n, nil
	}
	if terr := w.f.Truncate(w.size); terr != nil { // otherwise the file ends in a torn line
		w.l.o.Logger.Warn("cannot truncate a torn bid log line", zap.Error(terr))
	}
	w.f.Close() //nolint:errcheck // the write's error counts
	w.leave()
	return 0, err
}

// create opens the next file. Its name sorts by time, then by number.
func (w *bidWriter) create() error {
	w.n++
	now := w.l.o.Now().UTC()
	if err := os.MkdirAll(w.l.o.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot create bid log folder: %w", err)
	}
	name := fmt.Sprintf("%s%s-%06d%s", bidPrefix, now.Format(bidTime), w.n, bidEnd)
	f, err := os.OpenFile(filepath.Join(w.l.o.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create bid log file: %w", err)
	}
	w.f, w.size, w.inFile, w.opened = f, 0, 0, now
	path := f.Name()
	w.current.Store(&path)
	return nil
}

// rotate ends a file that is large or old enough.
func (w *bidWriter) rotate() {
	if w.f != nil && (w.size >= w.l.o.FileBytes || w.l.o.Now().Sub(w.opened) >= w.l.o.FileAge) {
		w.end()
	}
}

// end ends the current file and has it packed. If the packer is behind, the file is
// packed at the next start.
func (w *bidWriter) end() {
	w.checkRemoved()
	if w.f == nil {
		return
	}
	name := w.f.Name()
	if err := w.f.Close(); err != nil {
		w.l.o.Logger.Warn("cannot close bid log file", zap.Error(err))
	}
	w.leave()
	select {
	case w.full <- name:
	default:
		w.l.o.Logger.Warn("bid log file stays unpacked: the packer is behind", zap.String("file", name))
	}
}

// close syncs and closes the current file.
func (w *bidWriter) close() error {
	w.checkRemoved()
	if w.f == nil {
		return nil
	}
	err := w.f.Sync()
	if cerr := w.f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("cannot close bid log: %w", err)
	}
	return nil
}

// stopPacking waits for the packer to finish the files in its queue.
func (w *bidWriter) stopPacking() {
	close(w.ending)
	close(w.full)
	w.done.Wait()
}
