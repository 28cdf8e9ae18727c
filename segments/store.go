package segments

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/audiences"
	"rebound/events"
	"rebound/internal/view"
	"rebound/rtb"
)

// Options configure a Store.
type Options struct {
	// Dir is the folder of the view's files; unused with InMemory.
	Dir string
	// InMemory keeps everything in memory, for replay and tests.
	InMemory bool
	// CacheBytes bounds the cache of encoded profiles; 0 means 64 MiB.
	CacheBytes int64
	// Keyring turns the identifiers of bid requests into keys; nil means an empty one.
	Keyring *rtb.Keyring
	// Rules are the canonical texts of the segments to count, instead of those of the
	// configurations in the log; nil: those.
	Rules []string
	// Logger may be nil.
	Logger *zap.Logger
}

// Store is the view of visitors. One goroutine at a time may apply, checkpoint,
// restore and reset; any goroutine may read at the same time.
type Store struct {
	db      *view.DB
	keyring *rtb.Keyring
	log     *zap.Logger

	known   atomic.Pointer[filter] // filters of every profile, edge and opt-out
	gone    atomic.Pointer[filter] // every opt-out
	cache   *cache
	pending pendingOuts
	count   counters
	dict    atomic.Pointer[dictionary]
	lists   atomic.Pointer[lists]
	// pendingRules lack the events before their activation; see Rebuild.
	pendingRules atomic.Pointer[[]string]
	applying     sync.Mutex // held while a batch is made and written: by Apply and by Rebuild
	scratch      sync.Pool  // of *record

	logTime atomic.Uint32 // rtb.Second
	folded  atomic.Pointer[func(ts time.Time)]
	closed  atomic.Bool

	// The remaining fields belong to the folding goroutine.
	matcher   *audiences.Matcher
	swept     rtb.Second
	patrolled uint32 // minutes since 1970; see patrol
	fixed     bool   // the rules do not change with the configuration

	// afterRead, in tests, is called between a read from disk and the cache fill.
	afterRead func()
}

// blockCacheBytes bounds Pebble's cache, which is behind the cache of profiles.
const blockCacheBytes = 32 << 20

// Open opens or creates the view. It empties a damaged view and logs that; a view in
// another format is an error, see [view.ErrFormat].
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
	s := &Store{keyring: o.Keyring, log: o.Logger}
	s.dict.Store(newDictionary())
	s.scratch.New = func() any { return new(record) }
	s.lists.Store(&lists{})
	s.pendingRules.Store(&[]string{})
	var err error
	s.db, err = view.Open(view.Config{
		Name: s.Name(), Dir: o.Dir, InMemory: o.InMemory, Format: storeFormat, Older: []byte{olderFormat}, CacheBytes: blockCacheBytes, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	if s.cache, err = newCache(o.CacheBytes); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	err = s.load()
	if view.IsDamage(err) {
		s.log.Error("the view of visitors cannot be read; it is emptied", zap.String("dir", o.Dir), zap.Error(err))
		err = s.Reset()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if o.Rules != nil {
		var bad []string
		s.matcher, bad = readableRules(o.Rules)
		s.reportBadRules(bad)
		s.fixed = true
	}
	return s, nil
}

// Close writes everything to disk and closes the files. Closing twice is allowed. No
// other method may be running.
func (s *Store) Close() error {
	if !s.closed.CompareAndSwap(false, true) {
		return nil
	}
	s.cache.close()
	return s.db.Close()
}

// Name returns the view's name in metrics and checkpoints.
func (s *Store) Name() string { return "segments" }

// Position returns the position of the last fact that the view holds.
func (s *Store) Position() events.Position { return s.db.Position() }

// now returns the time of the log at the position.
func (s *Store) now() rtb.Second { return rtb.Second(s.logTime.Load()) }

// OnFolded sets a function that is called, on the folding goroutine, with the TS of each
// event fact once bid requests can see it.
func (s *Store) OnFolded(fn func(ts time.Time)) { s.folded.Store(&fn) }

// Checkpoint writes a copy of the view to dir, which must not exist.
func (s *Store) Checkpoint(dir string) error { return s.db.Checkpoint(dir) }

// Restore replaces the view by the checkpoint in dir, which stays as it is. If
// that fails, the view is empty, at the zero position.
func (s *Store) Restore(dir string) error {
	return s.replace(func() error { return s.db.Restore(dir) })
}

// Reset empties the view and sets its position to zero. Opt-outs that are
// not folded yet stay in force.
func (s *Store) Reset() error { return s.replace(s.db.Reset) }

// replace replaces the files and loads the in-memory state. Cached entries, and
// those that readers are about to store, are invalid before and afterwards.
func (s *Store) replace(exchange func() error) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	s.cache.advance(s.cache.changeAll())
	s.dict.Store(newDictionary()) // readers begin again; see lookup
	err := exchange()
	s.cache.advance(s.cache.changeAll())
	return errors.Join(err, s.load())
}
