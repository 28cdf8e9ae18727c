package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"rebound/events"
)

// handle is one set of open files. Reset and Restore replace it; they close the
// old files when the last user has released them.
type handle struct {
	db      *pebble.DB
	options *pebble.Options
	users   atomic.Int64  // readers and writers, and 1 until the files are to be closed
	idle    chan struct{} // closed when users reaches 0

	damage      atomic.Pointer[error] // set once, when damage was found
	flush       atomic.Pointer[error] // result of the last flush
	failing     atomic.Pointer[error] // why flushes fail; nil while they succeed
	failed      chan struct{}         // receives a value, without waiting, when a flush fails
	uncompacted atomic.Bool           // the last compaction failed
}

// acquire returns the open files; release must be called after use.
func (d *DB) acquire() (*handle, error) {
	for {
		h := d.current.Load()
		switch {
		case h == nil && d.closed.Load():
			return nil, ErrClosed
		case h == nil:
			return nil, fmt.Errorf("cannot use view %s: its files are closed: %w", d.c.Name, ErrDamaged)
		}
		if n := h.users.Load(); n > 0 && h.users.CompareAndSwap(n, n+1) {
			return h, nil
		}
	}
}

func (h *handle) release() {
	if h.users.Add(-1) == 0 {
		close(h.idle)
	}
}

// usable returns the damage that was found; nil if there is none.
func (h *handle) usable() error {
	if err := h.damage.Load(); err != nil {
		return *err
	}
	return nil
}

func (h *handle) spoil(err error) {
	err = fmt.Errorf("%w: %w", ErrDamaged, err)
	h.damage.CompareAndSwap(nil, &err)
}

// flushed records the outcome of a flush. Pebble repeats a failed one until it
// succeeds.
func (d *DB) flushed(h *handle, err error) {
	if err == nil {
		if h.failing.Swap(nil) != nil {
			d.c.Logger.Warn("a view can be written to disk again", zap.String("view", d.c.Name))
		}
		return
	}
	if h.failing.Swap(&err) == nil {
		d.c.Logger.Error("a view cannot be written to disk; trying again", zap.String("view", d.c.Name), zap.Error(err))
	}
	select {
	case h.failed <- struct{}{}:
	default:
	}
}

// compacted records the outcome of a compaction, which Pebble repeats too.
func (d *DB) compacted(h *handle, err error) {
	if failed := err != nil; h.uncompacted.Swap(failed) != failed && failed {
		d.c.Logger.Error("the files of a view cannot be compacted; trying again", zap.String("view", d.c.Name), zap.Error(err))
	}
}

// logger receives Pebble's messages. Pebble calls Fatalf if it can no longer guarantee
// its files, for instance after a failed write of its manifest. It treats our return as
// an error of that operation, and the view is damaged from then on.
type logger struct {
	h   *handle
	log *zap.SugaredLogger
}

func (logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) { l.log.Errorf(format, args...) }

func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.h.spoil(err)
	l.log.Errorw("the files of a view can no longer be used", zap.Error(err))
}

// retryDelay slows Pebble down when it would otherwise repeat a compaction of damaged
// files, or a write to a full disk, as fast as it can.
const retryDelay = 100 * time.Millisecond

// fileSystem is the file system that Pebble uses. It has no hard links, so
// Pebble copies the files of a checkpoint: a link would share every bad sector
// with the view.
type fileSystem struct {
	vfs.FS
	h *handle
}

var errNoLinks = errors.New("hard links are not used")

func (fileSystem) Link(_, _ string) error { return errNoLinks }

func (f fileSystem) Unwrap() vfs.FS { return f.FS }

// Create waits while flushes or compactions fail.
func (f fileSystem) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if f.h.failing.Load() != nil || f.h.uncompacted.Load() {
		time.Sleep(retryDelay)
	}
	return f.FS.Create(name, category)
}

func (d *DB) options(h *handle) *pebble.Options {
	o := &pebble.Options{
		FS: fileSystem{d.fs, h}, Lock: d.lock,
		Logger:             logger{h, d.c.Logger.Named(d.c.Name).Sugar()},
		FormatMajorVersion: pebble.FormatNewest,
		DisableWAL:         true,
		MemTableSize:       d.c.MemTableBytes,
		// Writers wait only when so many memory tables could not be written.
		MemTableStopWritesThreshold: 4,
		CacheSize:                   d.c.CacheBytes,
		// A new manifest is begun whenever the current one has more entries for tables that
		// came or went than there are tables, so that Scrub can get rid of old ones.
		MaxManifestFileSize: 1,
		EventListener: &pebble.EventListener{
			DataCorruption: func(i pebble.DataCorruptionInfo) { // the default exits the program
				if h.usable() != nil {
					time.Sleep(retryDelay)
					return
				}
				h.spoil(fmt.Errorf("%s: %w", i.Path, i.Details))
				d.c.Logger.Error("a file of a view is damaged", zap.String("view", d.c.Name), zap.String("file", i.Path), zap.Error(i.Details))
			},
			// An empty flush ends with an error too, but only a failure is also a
			// background error.
			FlushEnd: func(i pebble.FlushInfo) {
				if h.flush.Store(&i.Err); i.Err == nil {
					d.flushed(h, nil)
				}
			},
			CompactionEnd: func(i pebble.CompactionInfo) { d.compacted(h, i.Err) },
			BackgroundError: func(err error) {
				if last := h.flush.Load(); last != nil && err == *last {
					d.flushed(h, err)
				}
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// openSpace is how many bytes must be free to open a view. Pebble retries
// failed writes forever while it opens its files.
const openSpace = 1 << 20

// probe returns an error if the disk has no space for opening the files.
func (d *DB) probe() error {
	name := d.fs.PathJoin(d.c.Dir, "space")
	f, err := d.fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, openSpace))
	return errors.Join(err, f.Sync(), f.Close(), d.fs.Remove(name))
}

// open opens the files, verifies all of them and reads the position.
func (d *DB) open() error {
	if err := d.probe(); err != nil {
		return fmt.Errorf("cannot open view %s in %s: %w", d.c.Name, d.c.Dir, err)
	}
	h := &handle{idle: make(chan struct{}), failed: make(chan struct{}, 1)}
	h.users.Store(1)
	h.options = d.options(h)
	db, err := pebble.Open(d.c.Dir, h.options)
	if err != nil {
		if !refused(err) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return fmt.Errorf("cannot open view %s in %s: %w", d.c.Name, d.c.Dir, err)
	}
	h.db = db
	d.current.Store(h)
	if err = d.verify(h); err == nil {
		err = d.loadPosition(h)
	}
	if err != nil {
		return errors.Join(err, d.closeFiles())
	}
	return nil
}

// closeFiles waits for the readers, closes the files and sets the position to zero.
func (d *DB) closeFiles() error {
	h := d.current.Swap(nil)
	d.position.Store(&events.Position{})
	if h == nil {
		return nil
	}
	h.release()
	<-h.idle
	return h.db.Close()
}

// verify reads every block of every table once and checks it against its checksum.
func (d *DB) verify(h *handle) error {
	if d.c.InMemory {
		return nil
	}
	names, err := liveTables(h)
	if err != nil {
		return d.fault(h, err)
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		g.Go(func() error {
			err := d.verifyTable(h, name)
			if errors.Is(err, fs.ErrNotExist) { // replaced by a compaction in the meantime?
				if live, lerr := liveTables(h); lerr == nil && !slices.Contains(live, name) {
					return nil
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return d.fault(h, err)
	}
	if err := h.usable(); err != nil {
		return fmt.Errorf("cannot use view %s: %w", d.c.Name, err)
	}
	return nil
}

// liveTables lists the file names of the tables that hold data.
func liveTables(h *handle) ([]string, error) {
	levels, err := h.db.SSTables()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, level := range levels {
		for i := range level {
			if name := level[i].BackingSSTNum.String() + ".sst"; !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

func (d *DB) verifyTable(h *handle, name string) error {
	f, err := d.fs.Open(d.fs.PathJoin(d.c.Dir, name))
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, h.options.MakeReaderOptions())
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, errors.Join(err, readable.Close()))
	}
	if err := r.ValidateBlockChecksums(); err != nil {
		return fmt.Errorf("cannot verify %s: %w", name, errors.Join(err, r.Close()))
	}
	return r.Close()
}

// flush writes the memory tables to disk, so that a crash from now on leaves at
// least the current position. It returns an error where Pebble cannot write.
func (d *DB) flush(h *handle) error {
	select {
	case <-h.failed: // of an earlier failure
	default:
	}
	done, err := h.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("cannot flush view %s: %w", d.c.Name, err)
	}
	select {
	case <-done:
		return nil
	case <-h.failed:
		if err := h.failing.Load(); err != nil {
			return fmt.Errorf("cannot flush view %s: %w", d.c.Name, *err)
		}
		return fmt.Errorf("cannot flush view %s: a flush failed", d.c.Name)
	}
}

// empty removes all files and opens an empty view.
func (d *DB) empty() error {
	if err := d.removeFiles(); err != nil {
		return err
	}
	return d.open()
}

// removeFiles deletes everything but the lock. The markers, which name the current
// files, are deleted first: without them the other files mean nothing, so a crash in
// between leaves an empty view.
func (d *DB) removeFiles() error {
	names, err := d.fs.List(d.c.Dir)
	if err != nil {
		return fmt.Errorf("cannot empty view %s: %w", d.c.Name, err)
	}
	for _, markers := range []bool{true, false} {
		for _, name := range names {
			if name == lockName || isMarker(name) != markers {
				continue
			}
			if err := d.fs.RemoveAll(d.fs.PathJoin(d.c.Dir, name)); err != nil {
				return fmt.Errorf("cannot empty view %s: %w", d.c.Name, err)
			}
		}
		if err := d.syncDir(); err != nil {
			return err
		}
	}
	return nil
}

// lockName is Pebble's name for the lock file.
const lockName = "LOCK"

// isMarker reports whether Pebble uses the file to name its current manifest or
// format.
func isMarker(name string) bool { return strings.HasPrefix(name, "marker.") }

func (d *DB) syncDir() error {
	dir, err := d.fs.OpenDir(d.c.Dir)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot sync the folder of view %s: %w", d.c.Name, err)
	}
	return nil
}

// fault adds the view's name to an error of Pebble, and records damage.
func (d *DB) fault(h *handle, err error) error {
	if h.db != nil && damaging(err) {
		h.spoil(err)
		err = h.usable()
	}
	return fmt.Errorf("cannot read view %s: %w", d.c.Name, err)
}

// isGone reports whether a file does not exist.
func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// damaging reports whether an error of open files shows that they are damaged.
func damaging(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// refused reports whether the operating system refused an operation, for instance
// because the disk is full. The files themselves may be sound.
func refused(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ENOENT
}

// IsDamage reports whether an error means that the view must be reset or restored.
func IsDamage(err error) bool { return errors.Is(err, ErrDamaged) }
