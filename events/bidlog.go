package events

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// BidLogOptions configure where and how bid records are written. Zero fields
// get the documented defaults.
type BidLogOptions struct {
	// Dir is the folder of the bid log's files. Required.
	Dir string
	// MaxBytes bounds the folder, 10 GiB by default; the oldest files are deleted first.
	MaxBytes int64
	// FileBytes and FileAge are the size and age at which the current file is rotated:
	// 64 MiB, 1 h.
	FileBytes int64
	FileAge   time.Duration
	// BufferBytes bounds the records that wait to be written: 64 MiB.
	BufferBytes int64
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Logger receives the writer's messages; nil discards them.
	Logger *zap.Logger
}

func (o *BidLogOptions) setDefaults() error {
	if o.Dir == "" {
		return fmt.Errorf("cannot open bid log: got no folder; want BidLogOptions.Dir")
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 10 << 30
	}
	if o.FileBytes <= 0 {
		o.FileBytes = min(64<<20, o.MaxBytes/4+1)
	}
	if o.FileAge <= 0 {
		o.FileAge = time.Hour
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// BidLogStats counts the outcomes of the records.
type BidLogStats struct {
	Written  uint64 // records handed to the file system
	Lost     uint64 // records written to files that were removed meanwhile
	Dropped  uint64 // records dropped because the buffer was full, the disk failed, or they could not be encoded
	Redacted uint64 // requests left out because they could not be redacted
	Bytes    uint64 // bytes written, before compression
	Waiting  int    // records in the buffer
}

// Redacted is a request in a form that may be stored.
type Redacted interface {
	// AppendRedacted appends the request as JSON on one line, or returns an error.
	AppendRedacted(dst []byte) ([]byte, error)
}

// BidLog writes bid records as NDJSON. Write encodes a record in the goroutine of its
// request and appends it to a chunk in memory; Run writes the chunks to files. The
// records of a file are in the order of their Write calls.
type BidLog struct {
	o       BidLogOptions
	scratch sync.Pool     // of *[]byte: a line while it is encoded
	wake    chan struct{} // tells Run that a chunk is full

	erasures chan eraseOrder
	ended    chan struct{} // closed when Run has ended

	mu   sync.Mutex // guards what follows; never held while a record is encoded or written to disk
	open chunk      // takes the next record
	full []chunk    // wait for Run
	free [][]byte   // memory of chunks that were written
	over bool       // Run has ended

	bytes   atomic.Int64 // in open, in full, and in the hands of Run
	waiting atomic.Int64 // records in them

	written, lost, dropped, redacted, size atomic.Uint64
}

// chunk is a number of whole lines.
type chunk struct {
	b       []byte
	records uint64
}

const (
	chunkBytes = 256 << 10
	keptChunks = 16       // at most 4 MiB of memory is kept for reuse
	keptLine   = 64 << 10 // larger lines are left to the garbage collector
)

// OpenBidLog opens the bid log in its folder. Nothing is written before Run.
func OpenBidLog(o BidLogOptions) (*BidLog, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create bid log folder: %w", err)
	}
	return &BidLog{o: o, wake: make(chan struct{}, 1), erasures: make(chan eraseOrder), ended: make(chan struct{})}, nil
}

// Write adds a record with its request, which is left out if it is nil or cannot be
// redacted; r.Request is not written. Write never waits for the disk: a record that
// does not fit in the buffer is dropped and counted. The caller may reuse r and
// everything that it refers to afterwards.
func (l *BidLog) Write(r *BidRecord, request Redacted) {
	if l.bytes.Load() >= l.o.BufferBytes {
		l.dropped.Add(1)
		return
	}
	s, ok := l.scratch.Get().(*[]byte)
	if !ok {
		s = new([]byte)
	}
	line, err := l.appendLine((*s)[:0], r, request)
	switch {
	case err != nil:
		l.dropped.Add(1)
		l.o.Logger.Warn("cannot encode bid record", zap.Error(err))
	case !l.add(line):
		l.dropped.Add(1)
	}
	if cap(line) <= keptLine {
		*s = line
		l.scratch.Put(s)
	}
}

// appendLine appends a record and its request as a line.
func (l *BidLog) appendLine(dst []byte, r *BidRecord, request Redacted) ([]byte, error) {
	r.V = 1
	line, err := appendRecord(dst, r, func(dst []byte) ([]byte, error) {
		if request == nil {
			return append(dst, "null"...), nil
		}
		from := len(dst)
		out, err := request.AppendRedacted(dst)
		if err != nil || len(out) == from || bytes.IndexByte(out[from:], '\n') >= 0 {
			l.redacted.Add(1)
			return append(dst, "null"...), nil
		}
		return out, nil
	})
	return append(line, '\n'), err
}

// add copies a line to the open chunk. It returns false if the buffer is full or Run has
// ended.
func (l *BidLog) add(line []byte) bool {
	n := int64(len(line))
	l.mu.Lock()
	if l.over || l.bytes.Load()+n > l.o.BufferBytes {
		l.mu.Unlock()
		return false
	}
	filled := len(l.open.b) > 0 && len(l.open.b)+len(line) > chunkBytes
	if filled {
		l.closeChunk()
	}
	if l.open.b == nil {
		l.open.b = l.memory()
	}
	l.open.b = append(l.open.b, line...)
	l.open.records++
	l.bytes.Add(n)
	l.waiting.Add(1)
	l.mu.Unlock()
	if filled {
		select {
		case l.wake <- struct{}{}:
		default: // Run knows already
		}
	}
	return true
}

// closeChunk makes the open chunk wait for Run. The caller holds mu.
func (l *BidLog) closeChunk() {
	l.full = append(l.full, l.open)
	l.open = chunk{}
}

// memory returns the memory of a new chunk. The caller holds mu.
func (l *BidLog) memory() []byte {
	if n := len(l.free); n > 0 {
		b := l.free[n-1]
		l.free = l.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, chunkBytes)
}

// flush makes the records of the open chunk wait for Run. With end set, further records
// are refused.
func (l *BidLog) flush(end bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = l.over || end
	if l.open.records > 0 {
		l.closeChunk()
	}
}

// next returns the next chunk to write; ok is false if there is none.
func (l *BidLog) next() (c chunk, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.full) == 0 {
		return c, false
	}
	c = l.full[0]
	l.full = slices.Delete(l.full, 0, 1)
	return c, true
}

// giveBack makes the memory of a written chunk available.
func (l *BidLog) giveBack(c chunk) {
	l.bytes.Add(-int64(len(c.b)))
	l.waiting.Add(-int64(c.records))
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < keptChunks && cap(c.b) <= 2*chunkBytes {
		l.free = append(l.free, c.b)
	}
}

// Run writes the records until ctx ends, then writes those that are left and syncs. It
// must be called only once. Records that cannot be written are dropped, counted and
// logged; the returned error is that of the last sync.
func (l *BidLog) Run(ctx context.Context) error {
	defer close(l.ended)
	w := newBidWriter(l)
	defer w.stopPacking()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			w.drain()
		case o := <-l.erasures:
			w.endForErasure(o)
		case <-tick.C:
			w.checkRemoved()
			l.flush(false)
			w.drain()
			w.rotate()
		case <-ctx.Done():
			l.flush(true)
			w.drain()
			return w.close()
		}
	}
}

// Stats returns the current counters.
func (l *BidLog) Stats() BidLogStats {
	return BidLogStats{Written: l.written.Load(), Lost: l.lost.Load(), Dropped: l.dropped.Load(), Redacted: l.redacted.Load(),
		Bytes: l.size.Load(), Waiting: int(l.waiting.Load())}
}

// Oldest returns the time before which the folder has no records; ok is false if it has
// none at all.
func (l *BidLog) Oldest() (at time.Time, ok bool) {
	names, err := filepath.Glob(filepath.Join(EscapeGlob(l.o.Dir), bidPrefix+"*"+bidEnd+"*"))
	if err != nil {
		return at, false
	}
	slices.Sort(names)
	for _, name := range names {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), bidPrefix), "-")
		if at, err := time.Parse(bidTime, text); err == nil {
			return at, true
		}
	}
	return at, false
}
