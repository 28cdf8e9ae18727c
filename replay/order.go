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

// reader reads one file and holds its next record.
type reader struct {
	next func() (*events.BidRecord, error, bool)
	stop func()
	head *events.BidRecord
	err  error
}

func (r *reader) advance() (ok bool) {
	r.head, r.err, ok = r.next()
	return ok
}

// at returns the time of the head; that of an error or a bare request is zero.
func (r *reader) at() time.Time {
	if r.head == nil {
		return time.Time{}
	}
	return r.head.TS
}

// byTime yields the records of the files, always the oldest of those that are next in
// their files. A file is opened when the others reach its first record.
func byTime(files []iter.Seq2[*events.BidRecord, error]) iter.Seq2[*events.BidRecord, error] {
	return func(yield func(*events.BidRecord, error) bool) {
		if len(files) == 1 {
			files[0](yield)
			return
		}
		waiting := begins(files)
		var open []*reader
		defer func() {
			for _, r := range open {
				r.stop()
			}
		}()
		for {
			oldest := slices.MinFunc(append(open, &reader{}), func(a, b *reader) int {
				if a.stop == nil || b.stop == nil {
					return cmp.Compare(count(a.stop == nil), count(b.stop == nil))
				}
				return a.at().Compare(b.at())
			})
			if len(waiting) > 0 && (oldest.stop == nil || !waiting[0].at.After(oldest.at().Add(Slack))) {
				r := &reader{}
				r.next, r.stop = iter.Pull2(waiting[0].file)
				waiting = waiting[1:]
				if r.advance() {
					open = append(open, r)
				} else {
					r.stop()
				}
				continue
			}
			if oldest.stop == nil {
				return
			}
			if !yield(oldest.head, oldest.err) {
				return
			}
			if !oldest.advance() {
				oldest.stop()
				open = slices.DeleteFunc(open, func(r *reader) bool { return r == oldest })
			}
		}
	}
}

// beginning is a file and the time of its first record that has one.
type beginning struct {
	file iter.Seq2[*events.BidRecord, error]
	at   time.Time
}

// begins returns the files in the order of their first records. A file without a record
// that has a time keeps its place.
func begins(files []iter.Seq2[*events.BidRecord, error]) []beginning {
	out := make([]beginning, len(files))
	for i, f := range files {
		out[i] = beginning{file: f}
		if i > 0 {
			out[i].at = out[i-1].at
		}
		for rec, err := range f {
			if err == nil {
				if !rec.TS.IsZero() {
					out[i].at = rec.TS
				}
				break
			}
		}
	}
	slices.SortStableFunc(out, func(a, b beginning) int { return a.at.Compare(b.at) })
	return out
}
