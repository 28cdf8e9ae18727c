package segments

import (
	"time"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Options say how to open a Store.
type Options struct {
	// Dir holds the view's files. Not used when InMemory.
	Dir string
	// InMemory keeps everything in memory, for replay and tests.
	InMemory bool
	// CacheBytes bounds the cache of encoded profiles; 64 MiB where 0.
	CacheBytes int64
	// NoticeTTL is how long a bid's impression is remembered, so that its
	// second notice is not counted; 48h where 0.
	NoticeTTL time.Duration
	// Keyring turns identifiers of bid requests into keys; required.
	Keyring *rtb.Keyring
	// Logger may be nil.
	Logger *zap.Logger
}

// Stats are counts since Open, but for Visitors, OptOuts and Position.
type Stats struct {
	Hits, Misses, Rejected uint64 // cache: found; read from disk; fills refused because the visitor had changed
	Found, Unknown, NoID   uint64 // answers of Find
	OptedOut               uint64
	Errors                 uint64 // reads that failed; answered as no-bid error
	Visitors               uint64 // profiles
	OptOuts                uint64 // identifiers that opted out
	Applied, Duplicates    uint64 // facts; of them those that had come before
	Dropped                uint64 // segments, products and frequencies over a profile's bounds
	Overlinked             uint64 // links over a bound, not made
	BadRules               uint64 // rule texts that this version cannot read
	Position               events.Position
}

// Store is the view of visitors. One goroutine applies; any may read.
type Store struct{}

// Open opens or creates the view. A view whose files are damaged is emptied,
// with a log line: the journal then folds the log again.
func Open(o Options) (*Store, error) { return &Store{}, nil }

// Close stops reading and closes the files.
func (s *Store) Close() error { return nil }

// Name is the view's name in metrics and checkpoints.
func (s *Store) Name() string { return "segments" }

// Position is the last fact that the view reflects.
func (s *Store) Position() events.Position { return events.Position{} }

// Apply folds facts, in the order of the log.
func (s *Store) Apply(facts []events.Fact) error { return nil }

// Checkpoint writes a copy of the view into dir, which must not exist.
func (s *Store) Checkpoint(dir string) error { return nil }

// Restore replaces the view by a checkpoint.
func (s *Store) Restore(dir string) error { return nil }

// Reset empties the view and takes it back before the first fact.
func (s *Store) Reset() error { return nil }

// Find fills v with the visitor that one of ids names. The order is our own id,
// listed eids, ifa, then the exchange's user.id through the match table. It
// answers NoBidNone (v is filled), NoBidNoID, NoBidUnknownVisitor,
// NoBidPrivacyOptedOut when any of the ids opted out, or NoBidError when the
// view cannot be read. What v holds is valid until v is used again.
func (s *Store) Find(exchange string, ids []rtb.ExternalID, v *rtb.Visitor) rtb.NoBidReason {
	return rtb.NoBidUnknownVisitor
}

// Profile reads one visitor from disk; false when there is none.
func (s *Store) Profile(k rtb.Key, v *rtb.Visitor) (bool, error) { return false, nil }

// OptOutNow makes k, a visitor's or an outside identifier's key, opted out at
// once, before its fact is folded.
func (s *Store) OptOutNow(k rtb.Key) {}

// OnFolded sets what is called, on the folding goroutine, with the TS of every
// event fact once bids can see it. Set it before the first Apply.
func (s *Store) OnFolded(fn func(ts time.Time)) {}

// Stats are the counts so far.
func (s *Store) Stats() Stats { return Stats{} }
