package journal

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rebound/events"
)

// Whatever was acknowledged before or during Close is there afterwards, in the
// stream and in the archive.
func TestCloseDrains(t *testing.T) {
	r := newRig(t)
	l := r.open()
	var mu sync.Mutex
	var acked []string
	var wg, first sync.WaitGroup
	first.Add(8)
	for g := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", g, i)
				err := l.Append(t.Context(), event(id))
				if i == 0 {
					first.Done()
				}
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, id)
				mu.Unlock()
			}
		})
	}
	first.Wait()
	r.close()
	wg.Wait()
	if got := r.archiveIDs(); len(got) != len(acked) {
		t.Errorf("archive has %d facts; want the %d that were acknowledged", len(got), len(acked))
	}
	r.open()
	v := newTape("v")
	r.follow(v)
	seen := map[string]bool{}
	for _, id := range v.ids {
		seen[id] = true
	}
	for _, id := range acked {
		if !seen[id] {
			t.Errorf("%s is lost", id)
		}
	}
}

// slow is a view that waits before it applies.
type slow struct {
	*tape
	enter, leave chan struct{}
}

func (s slow) Apply(facts []events.Fact) error {
	s.enter <- struct{}{}
	<-s.leave
	return s.tape.Apply(facts)
}

// A view that stands still makes the log blind; one that has nothing to do does
// not, however long nothing happens.
func TestLag(t *testing.T) {
	r := newRig(t)
	l := r.open()
	v := slow{newTape("v"), make(chan struct{}), make(chan struct{})}
	done, caught := make(chan error, 1), make(chan struct{})
	go func() { done <- l.Follow(t.Context(), v, func() { close(caught) }) }()
	<-caught
	r.now.add(time.Hour)
	l.look(t.Context())
	if s := l.Stats(); s.Blind(time.Minute) != "" || len(s.Views) != 1 {
		t.Errorf("idle: got %+v", s)
	}
	r.append("a", 1)
	<-v.enter
	if s := l.Stats(); s.Views[0].Lag != 1 || s.Blind(time.Minute) != "" {
		t.Errorf("just behind: got %+v", s.Views)
	}
	r.now.add(2 * time.Minute)
	l.look(t.Context())
	if s := l.Stats(); s.Views[0].Age < 2*time.Minute || s.Blind(time.Minute) != "view v is behind the log" {
		t.Errorf("standing still: got %+v, %q", s.Views, s.Blind(time.Minute))
	}
	v.leave <- struct{}{}
	<-v.moved
	if !eventually(t, func() bool { s := l.Stats(); return s.Views[0].Lag == 0 }) {
		t.Errorf("caught up: got %+v", l.Stats().Views)
	}
	r.close()
	<-done
}

// An archive that cannot be written is tried again, in a new file; facts are
// there once and the stream is not trimmed meanwhile.
func TestArchiveFails(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append("a", 5)
	r.archived()
	l.archive.mu.Lock()
	l.archive.f.Close()
	l.archive.mu.Unlock()
	r.append("b", 5)
	r.wantArchive("a:5", "b:5")
	if !r.heard("archiving fails and is tried again") {
		t.Error("the failure was not said")
	}
}

// A disk that is nearly full is said before it is full.
func TestDiskLow(t *testing.T) {
	r := newRig(t)
	r.o.MinFreeBytes = 1 << 62
	l := r.open()
	if s := l.Stats(); !s.DiskLow || s.DiskFree == 0 || s.Blind(time.Minute) != "disk is nearly full" {
		t.Errorf("got %+v", s)
	}
}

// Only the options that are needed are asked for.
func TestOptions(t *testing.T) {
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Error("got a log without a folder")
	}
}
