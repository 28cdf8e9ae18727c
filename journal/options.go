package journal

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// What Append and Follow say beside wrapped errors of the server.
var (
	// ErrConflict says that a grant's ExpectSeq is stale: the budget has a
	// later grant.
	ErrConflict = errors.New("stale expected sequence")
	// ErrInvalid says that a fact can never be appended: it has no id, is too
	// large, or has a time outside the years 0 to 9999.
	ErrInvalid = errors.New("invalid fact")
	// ErrClosed says that the log is closed or closing.
	ErrClosed = errors.New("log is closed")
)

// Options of a log. Zero fields take the defaults that are named here.
type Options struct {
	// Dir is the data folder: Dir/stream, Dir/spool and Dir/checkpoints are the
	// journal's. Required.
	Dir string
	// ArchiveDir holds the facts as NDJSON; Dir/log/facts when empty.
	ArchiveDir string
	// URL is that of a NATS cluster with JetStream; empty: embedded in the
	// process, without a listener.
	URL string
	// Replicas of the stream in a cluster; 1 when 0.
	Replicas int
	// MaxBytes bounds the stream, 8 GiB by default: it is trimmed above three
	// quarters of it, and takes no more facts at it.
	MaxBytes int64
	// MaxAge is how long facts stay in the stream, 72 h by default.
	MaxAge time.Duration
	// ArchiveMaxBytes bounds the archive's files, 20 GiB by default; the oldest
	// go first.
	ArchiveMaxBytes int64
	// ArchiveMaxAge is how long facts stay in the archive, 90 days by default.
	ArchiveMaxAge time.Duration
	// ArchiveFileBytes and ArchiveFileAge rotate the archive's file: 64 MiB, 1 h.
	ArchiveFileBytes int64
	ArchiveFileAge   time.Duration
	// CheckpointEvery is the time between checkpoints of a view, 1 h by default.
	CheckpointEvery time.Duration
	// SpoolMaxBytes bounds the notices that wait for the stream, 256 MiB by default.
	SpoolMaxBytes int64
	// MinFreeBytes is the free disk space under Dir below which Stats says
	// DiskLow, 512 MiB by default.
	MinFreeBytes uint64
	// MendAfter is how long appending may fail, while neither the disk nor the
	// stream is full, before the embedded server is started anew; 5 s by default.
	MendAfter time.Duration
	// SpoolReserve is the size of the file that is kept for the spool while the
	// disk has room, so that a full one still takes some notices; 1 MiB by default.
	SpoolReserve int64
	// AckTimeout is how long Append waits for the server, 5 s by default.
	AckTimeout time.Duration
	// Now is the clock, time.Now by default. Facts are stamped with it.
	Now func() time.Time
	// Logger takes what the log has to say; none when nil.
	Logger *zap.Logger
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return fmt.Errorf("cannot open log: got no data folder; want Options.Dir")
	}
	if o.ArchiveDir == "" {
		o.ArchiveDir = filepath.Join(o.Dir, "log", "facts")
	}
	def(&o.Replicas, 1)
	def(&o.MaxBytes, 8<<30)
	def(&o.MaxAge, 72*time.Hour)
	def(&o.ArchiveMaxBytes, 20<<30)
	def(&o.ArchiveMaxAge, 90*24*time.Hour)
	def(&o.ArchiveFileBytes, 64<<20)
	def(&o.ArchiveFileAge, time.Hour)
	def(&o.CheckpointEvery, time.Hour)
	def(&o.SpoolMaxBytes, 256<<20)
	def(&o.MinFreeBytes, 512<<20)
	def(&o.MendAfter, 5*time.Second)
	def(&o.SpoolReserve, 1<<20)
	def(&o.AckTimeout, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// def gives *p the value d when it is zero.
func def[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}
