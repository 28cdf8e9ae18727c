package replay

import (
	"bytes"
	"cmp"
	"container/heap"
	"iter"
	"slices"
	"time"

	"rebound/events"
)

// Slack is how far apart in time records may be out of order and are still merged.
const Slack = time.Minute

// maxHeld limits the records that are held to put them in order.
const maxHeld = 200_000

// InOrder merges files of records by time. Records that are out of order by no more than
// Slack, within a file or between files, come in the order of their times, and those of
// one time in an order that depends on nothing but the records; older ones come as they
// are found. Bare requests keep their places. Errors come as soon as they are found.
func InOrder(files []iter.Seq2[*events.BidRecord, error]) iter.Seq2[*events.BidRecord, error] {
	return func(yield func(*events.BidRecord, error) bool) {
		var q queue
		var newest time.Time
		for rec, err := range byTime(files) {
			if err != nil || rec.TS.IsZero() {
				if !yield(rec, err) {
					return
				}
				continue
			}
			if rec.TS.After(newest) {
				newest = rec.TS
			}
			heap.Push(&q, rec)
			for len(q) > 0 && (q[0].TS.Before(newest.Add(-Slack)) || len(q) > maxHeld) {
				if !yield(heap.Pop(&q).(*events.BidRecord), nil) {
					return
				}
			}
		}
		for len(q) > 0 {
			if !yield(heap.Pop(&q).(*events.BidRecord), nil) {
				return
			}
		}
	}
}

// queue is a heap of records, the oldest first.
type queue []*events.BidRecord

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return compareRecords(q[i], q[j]) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*events.BidRecord)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	rec := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return rec
}

func compareRecords(a, b *events.BidRecord) int {
	return cmp.Or(a.TS.Compare(b.TS), bytes.Compare(a.BidID[:], b.BidID[:]), bytes.Compare(a.Request, b.Request))
}

// timed is what a log consists of.
type timed interface {
	events.BidRecord | events.Fact
}

// timeOf returns the time of a record or a fact; zero for nil.
func timeOf[T timed](x *T) time.Time {
	switch x := any(x).(type) {
	case *events.BidRecord:
		if x != nil {
			return x.TS
		}
	case *events.Fact:
		if x != nil {
			return x.TS
		}
	}
	return time.Time{}
}

// reader reads one file and holds its next record.
type reader[T timed] struct {
	next func() (*T, error, bool)
	stop func()
	head *T
	err  error
}

func (r *reader[T]) advance() (ok bool) {
	r.head, r.err, ok = r.next()
	return ok
}

// FactsByTime merges files of facts by time.
func FactsByTime(files []iter.Seq2[*events.Fact, error]) iter.Seq2[*events.Fact, error] {
	return byTime(files)
}

// byTime yields the records of the files, always the oldest of those that are next in
// their files. A file is opened when the others reach its first record.
func byTime[T timed](files []iter.Seq2[*T, error]) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		if len(files) == 1 {
			files[0](yield)
			return
		}
		waiting := begins(files)
		var open []*reader[T]
		defer func() {
			for _, r := range open {
				r.stop()
			}
		}()
		for {
			var oldest *reader[T]
			for _, r := range open {
				if oldest == nil || timeOf(r.head).Before(timeOf(oldest.head)) {
					oldest = r
				}
			}
			if len(waiting) > 0 && (oldest == nil || !waiting[0].at.After(timeOf(oldest.head).Add(Slack))) {
				r := &reader[T]{}
				r.next, r.stop = iter.Pull2(waiting[0].file)
				waiting = waiting[1:]
				if r.advance() {
					open = append(open, r)
				} else {
					r.stop()
				}
				continue
			}
			if oldest == nil || !yield(oldest.head, oldest.err) {
				return
			}
			if !oldest.advance() {
				oldest.stop()
				open = slices.DeleteFunc(open, func(r *reader[T]) bool { return r == oldest })
			}
		}
	}
}

// beginning is a file and the time of its first record that has one.
type beginning[T timed] struct {
	file iter.Seq2[*T, error]
	at   time.Time
}

// begins returns the files in the order of their first records. A file without a record
// that has a time keeps its place.
func begins[T timed](files []iter.Seq2[*T, error]) []beginning[T] {
	out := make([]beginning[T], len(files))
	for i, f := range files {
		out[i] = beginning[T]{file: f}
		if i > 0 {
			out[i].at = out[i-1].at
		}
		for x, err := range f {
			if err != nil {
				continue
			}
			if at := timeOf(x); !at.IsZero() {
				out[i].at = at
			}
			break
		}
	}
	slices.SortStableFunc(out, func(a, b beginning[T]) int { return a.at.Compare(b.at) })
	return out
}
