package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the queue for a slow reader of the logs.
const (
	queuedLines = 4096
	queuedBytes = 4 << 20
	flushTime   = time.Second // how long close may take
)

// lineQueue is a writer that never blocks: lines wait in a bounded queue for a
// goroutine that writes them, because the reader of a pipe may be slow, stuck or closed.
// Lines that find the queue full, or cannot be written, are dropped and counted.
type lineQueue struct {
	w       io.Writer
	lines   chan []byte
	bytes   atomic.Int64
	dropped atomic.Uint64
	done    chan struct{} // closed when the goroutine has ended

	mu     sync.RWMutex // read-locked while a line is added
	closed bool
}

// newLineQueue returns a queue in front of w and starts its goroutine; close ends it.
func newLineQueue(w io.Writer) *lineQueue {
	q := &lineQueue{w: w, lines: make(chan []byte, queuedLines), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		for line := range q.lines {
			if _, err := q.w.Write(line); err != nil {
				q.dropped.Add(1)
			}
			q.bytes.Add(-int64(len(line)))
		}
	}()
	return q
}

// Write implements io.Writer. It always succeeds.
func (q *lineQueue) Write(line []byte) (int, error) {
	n := int64(len(line))
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed || q.bytes.Add(n) > queuedBytes {
		if !q.closed {
			q.bytes.Add(-n)
		}
		q.dropped.Add(1)
		return len(line), nil
	}
	select {
	case q.lines <- bytes.Clone(line):
	default:
		q.bytes.Add(-n)
		q.dropped.Add(1)
	}
	return len(line), nil
}

// close writes the queued lines, for at most flushTime: a reader that is stuck must not keep
// the process alive. The goroutine then ends with the write that it is in.
func (q *lineQueue) close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.lines)
	}
	q.mu.Unlock()
	limit := time.NewTimer(flushTime)
	defer limit.Stop()
	select {
	case <-q.done:
	case <-limit.C:
	}
}
