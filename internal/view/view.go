package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"rebound/events"
)

var (
	// ErrDamaged means that the view's files cannot be used until Reset or Restore succeeds.
	ErrDamaged = errors.New("the files of the view are damaged")
	// ErrFormat says that the files were written by a version of the program that stores
	// the view in another format.
	ErrFormat = errors.New("the view was written by another version")
	// ErrClosed says that the DB was closed.
	ErrClosed = errors.New("the view is closed")
)

// Config says how to open a view.
type Config struct {
	// Name names the view in errors and log lines.
	Name string
	// Dir holds the view's files and nothing else.
	Dir string
	// InMemory keeps the files in memory.
	InMemory bool
	// Format is the version of the stored form. It changes whenever the meaning of
	// a key or a value changes; the owner then migrates the old form or lets Open
	// refuse it.
	Format byte
	// Older are the formats whose values the owner reads as well. A view in one of them is
	// marked with Format when it is opened.
	Older []byte
	// MemTableBytes bounds the data that a crash loses, and so the time that the
	// journal needs to apply it again; 0 means 8 MiB.
	MemTableBytes uint64
	// CacheBytes bounds the cache of blocks; 0 means 8 MiB.
	CacheBytes int64
	// Logger may be nil.
	Logger *zap.Logger
	// FS replaces the file system in tests.
	FS vfs.FS
}

// DB is one view's files.
type DB struct {
	c        Config
	fs       vfs.FS
	lock     *pebble.Lock
	current  atomic.Pointer[handle] // nil while the files cannot be used
	position atomic.Pointer[events.Position]
	closed   atomic.Bool
}

// The keys of this package.
var (
	formatKey   = []byte("\x00format")
	positionKey = []byte("\x00position")
)

// Open opens or creates the view in c.Dir. It empties a damaged view and logs
// that. It fails with [ErrFormat] for a view of another format, and where the
// system refuses access, for instance because the disk is full or another process
// has the view open.
func Open(c Config) (*DB, error) {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = 8 << 20
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 8 << 20
	}
	d := &DB{c: c, fs: c.FS}
	switch {
	case c.InMemory:
		d.fs, d.c.Dir = vfs.NewMem(), "view"
	case d.fs == nil:
		d.fs = vfs.Default
	}
	d.position.Store(&events.Position{})
	if err := d.fs.MkdirAll(d.c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the folder of view %s: %w", c.Name, err)
	}
	lock, err := pebble.LockDirectory(d.c.Dir, d.fs)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the folder of view %s, %s: another process may be using it: %w", c.Name, d.c.Dir, err)
	}
	d.lock = lock
	err = d.open()
	if IsDamage(err) {
		c.Logger.Error("the files of a view are damaged; the view is emptied", zap.String("view", c.Name), zap.String("dir", d.c.Dir), zap.Error(err))
		err = d.empty()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close writes everything to disk and closes the files. Closing twice is allowed.
// No other method may be running.
func (d *DB) Close() error {
	if !d.closed.CompareAndSwap(false, true) {
		return nil
	}
	var err error
	if h := d.current.Load(); h != nil && h.usable() == nil {
		err = d.flush(h)
	}
	if err = errors.Join(err, d.closeFiles(), d.lock.Close()); err != nil {
		return fmt.Errorf("cannot close view %s: %w", d.c.Name, err)
	}
	return nil
}

// Position returns the position of the last committed batch, or the zero position for an
// empty view.
func (d *DB) Position() events.Position { return *d.position.Load() }

// loadPosition reads the position and checks the format. A new view is marked with the
// current format.
func (d *DB) loadPosition(h *handle) error {
	format, marked, err := get(h.db, formatKey)
	if err != nil {
		return d.fault(h, err)
	}
	if !marked {
		if err := d.mark(h); err != nil {
			return err
		}
	} else if len(format) == 1 && bytes.IndexByte(d.c.Older, format[0]) >= 0 {
		if err := h.db.Set(formatKey, []byte{d.c.Format}, pebble.NoSync); err != nil {
			return fmt.Errorf("cannot write view %s: %w", d.c.Name, err)
		}
	} else if len(format) != 1 || format[0] != d.c.Format {
		return fmt.Errorf("cannot use view %s in %s: got format %x; want %d: %w: start the version that wrote it, "+
			"or move the folder away to have the view rebuilt from the log", d.c.Name, d.c.Dir, format, d.c.Format, ErrFormat)
	}
	text, exists, err := get(h.db, positionKey)
	if err != nil {
		return d.fault(h, err)
	}
	var p events.Position
	if exists {
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("cannot read position of view %s: got %.100q: %w: %w", d.c.Name, text, ErrDamaged, err)
		}
	}
	d.position.Store(&p)
	return nil
}

// mark writes the format into a view that is still empty.
func (d *DB) mark(h *handle) error {
	used := false
	err := scan(h.db, nil, nil, func(_, _ []byte) error {
		used = true
		return ErrStop
	})
	if err != nil {
		return d.fault(h, err)
	}
	if used {
		return fmt.Errorf("cannot use view %s in %s: got no format; want %d: %w: start the version that wrote it, "+
			"or move the folder away to have the view rebuilt from the log", d.c.Name, d.c.Dir, d.c.Format, ErrFormat)
	}
	if err := h.db.Set(formatKey, []byte{d.c.Format}, pebble.NoSync); err != nil {
		return fmt.Errorf("cannot write view %s: %w", d.c.Name, err)
	}
	return nil
}
