package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

// A clock that is set back, or far forward and back, never takes the log's time back.
func TestClock(t *testing.T) {
	r, _ := memRig(t)
	r.open()
	r.append("a", 2)
	at := r.l.Last().Time
	r.now.add(-48 * time.Hour)
	r.append("b", 2)
	if got := r.l.Last().Time; !got.Equal(at) {
		t.Fatalf("got time %v; want that of the last fact, %v", got, at)
	}
	r.close()
	r.open()
	if !r.heard("the clock is behind the log") {
		t.Error("nothing was said about the clock")
	}
	r.append("c", 1)
	r.now.add(49 * time.Hour)
	r.append("d", 1)
	if got := r.l.Last().Time; !got.After(at) {
		t.Fatalf("got time %v; want one after %v", got, at)
	}
	v := newTape("v") // which refuses a fact whose time goes back
	r.follow(v)
	v.want(t, "a:2", "b:2", "c:1", "d:1")
}

// A file that cannot be made is tried again a second later, whatever the clock does.
func TestRetryAfterClockSetBack(t *testing.T) {
	r, d := memRig(t)
	r.open()
	d.hook(func(call, _ string) error {
		if call == "write" || call == "create" {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := r.l.Append(ctxOf(t), event("a")); err == nil {
		t.Fatal("got no error from a full disk")
	}
	d.hook(nil)
	r.now.add(-24 * time.Hour)
	if err := r.l.Append(ctxOf(t), event("a")); err != nil {
		t.Fatalf("got %v; want the fact written once there is space", err)
	}
}

// Closing while others append: each append is stored or refused.
func TestCloseWhileAppending(t *testing.T) {
	r, _ := memRig(t)
	l := r.open()
	kept := &acked{ids: map[string]bool{}}
	var wg sync.WaitGroup
	begun := make(chan struct{}, 8)
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", g, i)
				err := l.Append(context.Background(), event(id))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				kept.add(id)
				if i == 3 {
					begun <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-begun
	}
	r.close()
	wg.Wait()
	got := readAll(t, r.o)
	if len(got) != len(kept.ids) {
		t.Fatalf("got %d facts; want %d", len(got), len(kept.ids))
	}
	for id := range kept.ids {
		if got[id] != 1 {
			t.Fatalf("fact %s is in the log %d times; want once", id, got[id])
		}
	}
}

// gatedView waits at its gate before every batch.
type gatedView struct {
	*tape
	gate chan struct{}
}

func (v *gatedView) Apply(facts []events.Fact) error {
	<-v.gate
	return v.tape.Apply(facts)
}

// A slow view reads files once memory has moved on, while a fast one is fed from
// memory: both get every fact once.
func TestFollowAtTwoSpeeds(t *testing.T) {
	r, _ := memRig(t)
	r.o.FileBytes = 4 << 20
	r.open()
	r.append("a", 3)
	fast, slow := newTape("fast"), &gatedView{newTape("slow"), make(chan struct{})}
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	var wg sync.WaitGroup
	for _, v := range []View{fast, slow} {
		wg.Go(func() {
			if err := r.l.Follow(ctx, v, nil); err != nil {
				t.Errorf("%s: %v", v.Name(), err)
			}
		})
	}
	want := []string{"a-0", "a-1", "a-2"}
	for i := range 24 { // more than memory keeps
		id := fmt.Sprintf("b-%d", i)
		if err := r.l.Append(ctxOf(t), large(id)); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	if _, _, ok := r.l.ring.after(3); ok {
		t.Fatal("memory still holds everything")
	}
	close(slow.gate)
	for _, v := range []*tape{fast, slow.tape} {
		for v.Position().Seq < 27 {
			<-v.moved
		}
	}
	cancel()
	wg.Wait()
	if !slices.Equal(fast.ids, want) || !slices.Equal(slow.ids, want) {
		t.Fatalf("got %v and %v; want %v", fast.ids, slow.ids, want)
	}
}

// A view that failed follows again from its position.
func TestFollowAfterFailure(t *testing.T) {
	r, _ := memRig(t)
	r.open()
	r.append("a", 3)
	v := newTape("v")
	r.follow(v)
	v.fail = errors.New("disk is full")
	r.append("b", 2)
	if err := r.l.Follow(ctxOf(t), v, nil); !errors.Is(err, v.fail) {
		t.Fatalf("got %v; want the view's error", err)
	}
	v.fail = nil
	r.append("c", 1)
	r.follow(v)
	v.want(t, "a:3", "b:2", "c:1")
}

// The log reports writes that fail for good, and the next start does not trust
// the data that they left.
func TestBroken(t *testing.T) {
	r, d := memRig(t)
	l := r.open()
	r.append("a", 2)
	d.hook(func(call, _ string) error {
		if call == "sync" {
			return syscall.EIO
		}
		return nil
	})
	if err := l.Append(ctxOf(t), event("b")); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v; want the disk's error", err)
	}
	if err := <-l.Broken(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v; want the disk's error", err)
	}
	if err := l.Append(ctxOf(t), event("c")); err == nil {
		t.Fatal("a broken log takes facts")
	}
	if s := l.Stats(); s.FailingSince.IsZero() || s.BlindFor(time.Hour) == "" {
		t.Errorf("got %+v; want a failing log", s)
	}
	d.hook(nil)
	r.close()
	if h, ok, err := readHead(l.files); !ok || err != nil || h.Clean || h.Seq != 2 {
		t.Fatalf("got head %+v, %v; want an unclean one at 2", h, err)
	}
	got := readAll(t, r.o)
	if got["a-0"] != 1 || got["a-1"] != 1 || got["c"] != 0 {
		t.Fatalf("got %v; want a-0 and a-1", got)
	}
}

// A disk that cannot be read at the start is an error, not a torn end, wherever it
// fails; nothing is cut off.
func TestReadErrorAtStart(t *testing.T) {
	r, d := memRig(t)
	r.open()
	for i := range 3 {
		if err := r.l.Append(ctxOf(t), large(fmt.Sprintf("a-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	r.close()
	remove(t, d, facts+"/"+headName)
	before := imageOf(t, d, facts)
	for n := 1; n < 200; n++ {
		var failed atomic.Bool // the log also reads in the background
		fault := nth(n, true, syscall.EIO, func(call, _ string) bool { return call == "read" })
		d.hook(func(call, name string) error {
			err := fault(call, name)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
		l, err := Open(ctxOf(t), r.o)
		d.hook(nil)
		if err == nil {
			if failed.Load() && l.Last().Seq != 3 {
				t.Fatalf("read %d failed, and the log ends with fact %d; want 3", n, l.Last().Seq)
			}
			closeLog(t, l)
			break
		}
		if after := imageOf(t, d, facts); len(after[before.logs()[0]]) != len(before[before.logs()[0]]) {
			t.Fatalf("read %d failed, and the file was changed", n)
		}
	}
	if got := readAll(t, r.o); len(got) != 3 {
		t.Fatalf("got %d facts; want 3", len(got))
	}
}
