package journal

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rebound/events"
)

// class is the importance of a fact when space or time runs out.
type class uint8

const (
	classMoney  class = iota // control and notices
	classOptOut              // opt-outs and erasures
	classEvent               // visitor events
	classBulk                // list rows and events of the past
	classes
)

// backfillAge is the age from which an event counts as one of the past.
const backfillAge = time.Hour

func classOf(f *events.Fact, now time.Time) class {
	switch f.Kind {
	case events.KindOptOut, events.KindOptIn, events.KindErase:
		return classOptOut
	case events.KindList:
		return classBulk
	case events.KindEvent, events.KindLink:
		if !f.At.IsZero() && now.Sub(f.At) > backfillAge {
			return classBulk
		}
		return classEvent
	}
	return classMoney
}

// queueBytes bounds the queued facts of each class.
var queueBytes = [classes]int{classMoney: 64 << 20, classOptOut: 8 << 20, classEvent: 32 << 20, classBulk: 8 << 20}

// batchBytes bounds the size of a batch.
const batchBytes = 4 << 20

// pending is a fact that waits to be written.
type pending struct {
	line  events.Line // Body and Who; the writer sets the other fields
	sum   events.Digest
	id    factID
	class class
	probe bool        // no fact: the writer only checks for space
	grant *grantCheck // set for grants only
	at    time.Time   // the stream's time in a fleet; zero otherwise
	// outlives, in a fleet, says that the fact may wait in the outbox.
	outlives bool
	done     chan error // receives exactly one value
}

func (p *pending) size() int { return len(p.line.Body) + len(p.line.Who) + 128 }

// queue holds the facts to be written, by class.
type queue struct {
	mu     sync.Mutex // protects the fields below
	wait   [classes][]*pending
	bytes  [classes]int
	closed bool
	bulk   float64   // facts of classBulk that may be written now
	filled time.Time // when bulk was last refilled

	wake chan struct{} // buffered; signals that the queue is not empty
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds either all facts or none.
func (q *queue) put(list []*pending) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	var more [classes]int
	for _, p := range list {
		more[p.class] += p.size()
	}
	for c, n := range more {
		if n > 0 && q.bytes[c] > 0 && q.bytes[c]+n > queueBytes[c] {
			return fmt.Errorf("cannot append facts: got %d bytes waiting; want at most %d: %w", q.bytes[c], queueBytes[c], ErrBusy)
		}
	}
	for _, p := range list {
		q.wait[p.class] = append(q.wait[p.class], p)
		q.bytes[p.class] += p.size()
	}
	q.poke()
	return nil
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take moves the facts to be written next into batch, the most important first.
// Bulk facts are limited to rate, in facts per second.
func (q *queue) take(batch []*pending, now time.Time, rate float64) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	if d := now.Sub(q.filled).Seconds(); d > 0 {
		q.bulk = min(q.bulk+d*rate, max(rate, 64))
	}
	q.filled = now // also when the clock was set back
	bytes := 0
	for c := range q.wait {
		n := 0
		for _, p := range q.wait[c] {
			if class(c) == classBulk && !q.closed { // closing the log must not wait for the views
				if q.bulk < 1 {
					break
				}
				q.bulk--
			}
			if bytes += p.size(); bytes > batchBytes && len(batch) > 0 {
				break
			}
			batch = append(batch, p)
			q.bytes[c] -= p.size()
			n++
		}
		rest := copy(q.wait[c], q.wait[c][n:])
		clear(q.wait[c][rest:])
		q.wait[c] = q.wait[c][:rest]
	}
	return batch
}

// left reports whether any facts are queued, and whether they are all bulk facts.
func (q *queue) left() (any, onlyBulk bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for c := range q.wait {
		n += len(q.wait[c])
	}
	return n > 0, n > 0 && n == len(q.wait[classBulk])
}

// close makes the queue refuse further facts.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

// next waits for the next batch, which is empty once the queue is closed and
// empty.
func (q *queue) next(ctx context.Context, batch []*pending, now func() time.Time, rate func() float64) []*pending {
	for {
		if batch = q.take(batch, now(), rate()); len(batch) > 0 {
			return batch
		}
		any, bulk := q.left()
		q.mu.Lock()
		closed := q.closed
		q.mu.Unlock()
		if closed && !any {
			return batch
		}
		var again <-chan time.Time
		if bulk {
			again = time.After(5 * time.Millisecond)
		}
		select {
		case <-q.wake:
		case <-again:
		case <-ctx.Done():
			return batch
		}
	}
}
