package journal

import (
	"errors"
	"iter"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// Errors that Append and Follow return in addition to those of the file system.
var (
	// ErrConflict means that a grant's ExpectSeq is stale: the budget has a later grant.
	ErrConflict = errors.New("stale expected sequence")
	// ErrInvalid means that a fact can never be appended: it has no id, is too
	// large, or has a time outside the years 0 to 9999.
	ErrInvalid = errors.New("invalid fact")
	// ErrClosed means that the log is closed or closing.
	ErrClosed = errors.New("log is closed")
	// ErrBusy means that too many facts are waiting to be written or folded; retry later.
	ErrBusy = errors.New("log is busy")
	// ErrFull means that the disk has no space for facts of this class.
	ErrFull = errors.New("no disk space for the log")
)

// Options configure a log. Zero fields get the documented defaults.
type Options struct {
	// Dir is the data folder. The journal uses Dir/checkpoints and Dir/blind.json in it.
	// Required.
	Dir string
	// FactsDir holds the log; Dir/log/facts when empty.
	FactsDir string
	// Views lists all views that will follow the log, at their positions after a start.
	Views []View
	// FileBytes and FileAge are the size and age at which a file is sealed: 256 MiB, 1
	// h.
	FileBytes int64
	FileAge   time.Duration
	// MaxAge is how long sealed files are kept, 90 days by default, and MaxBytes
	// limits their total size, 100 GiB by default. Neither removes a file that the
	// oldest checkpoint of a view still needs, or one younger than MinAge.
	MaxAge   time.Duration
	MaxBytes int64
	// MinAge protects files by age, 8 days by default: the first notice must still
	// be present when a notice is repeated.
	MinAge time.Duration
	// Base folds the facts of files that are to be deleted, older base facts first,
	// into the facts that must outlive them. No file is deleted if it is nil.
	Base func(facts iter.Seq2[*events.Fact, error]) ([]events.Fact, error)
	// CheckpointEvery is the time between checkpoints of a view, 1 h by default.
	CheckpointEvery time.Duration
	// Reserve is the space in bytes that is reserved before it is written, 8 MiB
	// by default. On a full disk visitor events are refused at once, money when a
	// quarter of it is left, and opt-outs when none of it is left.
	Reserve int64
	// MinFreeBytes is the free disk space below which Stats reports DiskLow, 512 MiB
	// by default and at most a twentieth of the disk; below half of it visitor events
	// are refused.
	MinFreeBytes uint64
	// MaxLag is how many facts a view may be behind before visitor events are refused,
	// 500,000 by default.
	MaxLag uint64
	// Keys is a fingerprint of the secrets that turn identifiers into keys. A log
	// that was written under another one is refused, because its visitors would be
	// unknown. Not checked when empty.
	Keys string
	// NewKeys accepts another fingerprint.
	NewKeys bool
	// Fleet, when its URL is set, makes a JetStream stream determine the order of facts.
	Fleet FleetOptions
	// Now is the clock, time.Now by default. Facts are stamped with it.
	Now func() time.Time
	// Logger receives the log's messages; nil discards them.
	Logger *zap.Logger

	disk disk // osDisk except in tests
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("cannot open log: got no data folder; want Options.Dir")
	}
	if o.FactsDir == "" {
		o.FactsDir = filepath.Join(o.Dir, "log", "facts")
	}
	def(&o.FileBytes, 256<<20)
	def(&o.FileAge, time.Hour)
	def(&o.MaxAge, 90*24*time.Hour)
	def(&o.MaxBytes, 100<<30)
	def(&o.MinAge, 8*24*time.Hour)
	def(&o.CheckpointEvery, time.Hour)
	def(&o.Reserve, 8<<20)
	def(&o.MinFreeBytes, 512<<20)
	def(&o.MaxLag, 500_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	return nil
}

// def sets *p to d if it is zero.
func def[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}
