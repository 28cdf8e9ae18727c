package segments

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// Options say how to open a Store.
type Options struct {
	// Dir holds the view's files. Only a name when InMemory.
	Dir string
	// InMemory keeps everything in memory, for replay and tests.
	InMemory bool
	// CacheBytes bounds the cache of encoded profiles; 64 MiB where 0.
	CacheBytes int64
	// Keyring turns identifiers of bid requests into keys; the empty one where nil.
	Keyring *rtb.Keyring
	// Logger may be nil.
	Logger *zap.Logger
}

// Store is the view of visitors. One goroutine applies, checkpoints, restores
// and resets; any may read.
type Store struct {
	db      *pebble.DB
	keyring *rtb.Keyring
	log     *zap.Logger
	fs      vfs.FS

	known   atomic.Pointer[filter] // every profile, edge and opt-out
	gone    atomic.Pointer[filter] // every opt-out
	cache   *cache
	pending pendingOuts
	count   counters

	position atomic.Pointer[events.Position]
	logTime  atomic.Uint32
	folded   atomic.Pointer[func(ts time.Time)]
	closed   atomic.Bool

	// Of the folding goroutine.
	matcher *audiences.Matcher
	swept   rtb.Second

	// afterRead, in tests, runs between a read of the files and the fill of
	// the cache.
	afterRead func()
}

// Open opens or creates the view. A view whose files are damaged or of another
// version is emptied, with a log line: the journal then folds the log again.
func Open(o Options) (*Store, error) {
	if o.CacheBytes <= 0 {
		o.CacheBytes = 64 << 20
	}
	if o.Keyring == nil {
		o.Keyring = &rtb.Keyring{}
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	fs := vfs.Default
	if o.InMemory {
		fs = vfs.NewMem()
	}
	s, err := openStore(&o, fs)
	if err == nil || !unusable(err) {
		return s, err
	}
	o.Logger.Warn("the view of visitors cannot be used and is rebuilt from the log", zap.String("dir", o.Dir), zap.Error(err))
	if err := fs.RemoveAll(o.Dir); err != nil {
		return nil, fmt.Errorf("cannot remove damaged profiles: %w", err)
	}
	return openStore(&o, fs)
}

// openStore opens the files and reads all of them once, so that damage anywhere shows
// here.
func openStore(o *Options, fs vfs.FS) (*Store, error) {
	db, err := openFiles(o.Dir, fs, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, fs: fs, keyring: o.Keyring, log: o.Logger}
	if s.cache, err = newCache(o.CacheBytes); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close closes the files; a second time it does nothing. No other method may
// run any more.
func (s *Store) Close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return nil
	}
	s.cache.close()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("cannot close profiles: %w", err)
	}
	return nil
}

// Name is the view's name in metrics and checkpoints.
func (s *Store) Name() string { return "segments" }

// Position is the last fact that the view reflects.
func (s *Store) Position() events.Position { return *s.position.Load() }

func (s *Store) setPosition(p events.Position, now rtb.Second) {
	s.position.Store(&p)
	s.logTime.Store(uint32(now))
}

// now is the time of the log at the position.
func (s *Store) now() rtb.Second { return rtb.Second(s.logTime.Load()) }

// OnFolded sets what is called, on the folding goroutine, with the TS of every
// event fact once bids can see it.
func (s *Store) OnFolded(fn func(ts time.Time)) { s.folded.Store(&fn) }

// Checkpoint writes a copy of the view into dir, which must not exist.
func (s *Store) Checkpoint(dir string) error {
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("cannot write checkpoint of profiles: %w", err)
	}
	return nil
}

// Reset empties the view and takes it back before the first fact. Opt-outs that
// are not folded yet stay.
func (s *Store) Reset() error { return s.replace(func() error { return nil }) }

// replace empties the view, fills it and shows it. When that fails in between,
// the view is at the zero position and the journal folds the log again.
func (s *Store) replace(fill func() error) error {
	next := s.cache.changeAll()
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange([]byte{0}, []byte{0xff}, nil); err != nil {
		return err
	}
	if err := b.Set([]byte(metaFormat), []byte{storeFormat}, nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("cannot empty profiles: %w", err)
	}
	s.cache.advance(next)
	if err := s.load(); err != nil {
		return err
	}
	if err := fill(); err != nil {
		return err
	}
	// What was read while it was filled is half of it.
	s.cache.advance(s.cache.changeAll())
	return s.load()
}
