package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// A stuck reader neither blocks nor loses the count of what it misses; nor does it keep
// the process alive.
func TestLineQueueNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		q := newLineQueue(w)
		const n = queuedLines + 1000
		for i := range n {
			fmt.Fprintf(q, "line %d\n", i)
		}
		synctest.Wait()
		if d := q.dropped.Load(); d < 900 || d > 1000 {
			t.Errorf("got %d dropped; want those beyond the queue", d)
		}
		began := time.Now()
		q.close()
		if d := time.Since(began); d != flushTime {
			t.Errorf("close took %v; want %v", d, flushTime)
		}
		fmt.Fprint(q, "late\n")
		_ = r.Close()
		<-q.done
		if d := q.dropped.Load(); d != n+1 {
			t.Errorf("got %d dropped; want all: their reader is gone", d)
		}
	})
}

func TestLineQueueWritesInOrder(t *testing.T) {
	var b, want bytes.Buffer
	q := newLineQueue(&b)
	for i := range 1000 {
		fmt.Fprintf(q, "line %d\n", i)
		fmt.Fprintf(&want, "line %d\n", i)
	}
	q.close()
	<-q.done // also if that takes longer than close waits
	if b.String() != want.String() || q.dropped.Load() != 0 {
		t.Errorf("got %d bytes, %d dropped; want every line in order", b.Len(), q.dropped.Load())
	}
	q = newLineQueue(&b)
	_, _ = q.Write(make([]byte, queuedBytes+1))
	q.close()
	if q.dropped.Load() != 1 {
		t.Error("a line beyond all bounds was kept")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestLineQueueCountsWhatCannotBeWritten(t *testing.T) {
	q := newLineQueue(broken{})
	for range 10 {
		fmt.Fprintln(q, "line")
	}
	q.close()
	<-q.done
	if n := q.dropped.Load(); n != 10 {
		t.Errorf("got %d dropped; want 10", n)
	}
}
