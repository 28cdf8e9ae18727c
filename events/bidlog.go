package events

import (
	"context"
	"fmt"
	"os"
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
	// QueueRecords and QueueBytes bound the writer's queue: 8,192 records and 64 MiB.
	QueueRecords int
	QueueBytes   int64
	// Redact appends the request to dst in a form that may be stored. It runs in
	// the writer's goroutine. If it fails or is nil, the request is left out.
	Redact func(dst, body []byte, exchange string) ([]byte, error)
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
	if o.QueueRecords <= 0 {
		o.QueueRecords = 8192
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 64 << 20
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
	Dropped  uint64 // records dropped because the queue was full or the disk failed
	Redacted uint64 // requests left out because they could not be redacted
	Bytes    uint64 // bytes written, before compression
	Waiting  int    // records in the queue
}

// BidLog writes bid records as NDJSON, off the bid path. Offer never blocks.
type BidLog struct {
	o     BidLogOptions
	queue chan *BidRecord
	bytes atomic.Int64 // in the queue
	pool  sync.Pool    // of *BidRecord
	over  atomic.Bool  // Run has ended

	written, lost, dropped, redacted, size atomic.Uint64
}

// keptRequest is the largest request buffer that is kept for the next borrower.
const keptRequest = 64 << 10

// OpenBidLog opens the bid log in its folder. Nothing is written before Run.
func OpenBidLog(o BidLogOptions) (*BidLog, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create bid log folder: %w", err)
	}
	return &BidLog{o: o, queue: make(chan *BidRecord, o.QueueRecords)}, nil
}

// Borrow returns an empty record with reused buffers. Hand it back with
// Offer, and do not touch it afterwards; a record that is never offered is left
// to the garbage collector.
func (l *BidLog) Borrow() *BidRecord {
	if r, ok := l.pool.Get().(*BidRecord); ok {
		return r
	}
	return new(BidRecord)
}

// Offer hands a record to the writer. It never blocks: if too many records or
// bytes are queued, the record is dropped and counted.
func (l *BidLog) Offer(r *BidRecord) {
	n := recordBytes(r)
	if l.bytes.Add(n) > l.o.QueueBytes || l.over.Load() {
		l.drop(r, n)
		return
	}
	select {
	case l.queue <- r:
	default:
		l.drop(r, n)
	}
}

func (l *BidLog) drop(r *BidRecord, n int64) {
	l.bytes.Add(-n)
	l.dropped.Add(1)
	l.giveBack(r)
}

// recordBytes estimates the memory that a record uses.
func recordBytes(r *BidRecord) int64 {
	n := 1024 + len(r.Request)
	if r.Visitor != nil {
		n += 64 * (len(r.Visitor.Segments) + len(r.Visitor.Products) + len(r.Visitor.Frequency))
	}
	if r.Decision != nil {
		n += 256 * (len(r.Decision.Bids) + len(r.Decision.Dropped))
	}
	return int64(n)
}

// giveBack makes the record's memory available to the next borrower.
func (l *BidLog) giveBack(r *BidRecord) {
	r.Reset()
	if r.memory != nil && cap(r.memory.request) > keptRequest {
		r.memory.request = nil
	}
	l.pool.Put(r)
}

// Run writes the offered records until ctx ends, then writes the rest of the
// queue and syncs. It must be called only once. Records that cannot be written
// are dropped, counted and logged; the returned error is that of the last sync.
func (l *BidLog) Run(ctx context.Context) error {
	w := newBidWriter(l)
	defer w.stopPacking()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case r := <-l.queue:
			l.take(w, r)
		case <-tick.C:
			w.flush()
			w.rotate()
		case <-ctx.Done():
			l.over.Store(true)
			l.rest(w)
			return w.close()
		}
	}
}

// rest writes the rest of the queue at the end.
func (l *BidLog) rest(w *bidWriter) {
	for {
		select {
		case r := <-l.queue:
			l.take(w, r)
		default:
			return
		}
	}
}

func (l *BidLog) take(w *bidWriter, r *BidRecord) {
	l.bytes.Add(-recordBytes(r))
	w.write(r)
	l.giveBack(r)
}

// Stats returns the current counters.
func (l *BidLog) Stats() BidLogStats {
	return BidLogStats{Written: l.written.Load(), Lost: l.lost.Load(), Dropped: l.dropped.Load(), Redacted: l.redacted.Load(),
		Bytes: l.size.Load(), Waiting: len(l.queue)}
}
