package journal

import (
	"sync"

	"rebound/events"
)

// ringBytes is the size of the newest facts that stay in memory for views that have
// caught up; views that are further behind read files.
const ringBytes = 16 << 20

// written is a synced batch. Its facts are decoded once, by the first view that
// needs them, from the bytes that are in the file: every view folds exactly the
// facts that a later rebuild would fold.
type written struct {
	lines []events.Line
	bytes int

	once  sync.Once
	facts []events.Fact
	err   error
}

func (b *written) first() uint64 { return b.lines[0].Seq }
func (b *written) last() uint64  { return b.lines[len(b.lines)-1].Seq }

func (b *written) decoded() ([]events.Fact, error) {
	b.once.Do(func() {
		b.facts = make([]events.Fact, len(b.lines))
		for i := range b.lines {
			if b.err = b.lines[i].Decode(&b.facts[i]); b.err != nil {
				return
			}
		}
	})
	return b.facts, b.err
}

// ring holds the newest batches.
type ring struct {
	mu      sync.Mutex // protects the fields below
	batches []*written
	bytes   int
	more    chan struct{} // closed when a batch arrives
}

func newRing() *ring { return &ring{more: make(chan struct{})} }

func (r *ring) push(lines []events.Line, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, &written{lines: lines, bytes: bytes})
	r.bytes += bytes
	drop := 0
	for r.bytes > ringBytes && drop < len(r.batches)-1 {
		r.bytes -= r.batches[drop].bytes
		drop++
	}
	if drop > 0 {
		clear(r.batches[:drop])
		r.batches = r.batches[drop:]
	}
	close(r.more)
	r.more = make(chan struct{})
}

// after returns the batches that hold the facts after seq, oldest first, and a
// channel that is closed when more come. ok is false if the ring no longer
// holds all of them.
func (r *ring) after(seq uint64) (list []*written, more <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.batches {
		if b.last() > seq {
			// A batch whose first fact is not the next one may follow a gap or facts
			// that are only in the files, so the files must be read.
			return append(list, r.batches[i:]...), r.more, b.first() <= seq+1
		}
	}
	return nil, r.more, true
}
