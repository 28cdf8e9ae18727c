package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"rebound/events"
	"rebound/rtb"
)

// Facts come back in order, complete, with their place and time.
func TestAppendAndFollow(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("a", 1000)
	v := newTape("v")
	r.follow(v)
	v.want(t, "a:1000")
	if got, want := v.Position(), r.l.Last(); got.Hash != want.Hash || got.Seq != 1000 || want.Seq != 1000 || !got.Time.Equal(want.Time) {
		t.Fatalf("position %+v; want %+v", got, want)
	}
	r.append("b", 3)
	r.follow(v)
	v.want(t, "a:1000", "b:3")
}

// Many goroutines at once: TS follows the order of the stream (the tape refuses
// anything else), and every fact is there once.
func TestAppendParallel(t *testing.T) {
	r := newRig(t)
	r.open()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 50 {
				if err := r.l.Append(t.Context(), event(fmt.Sprintf("%d-%d", g, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v := newTape("v")
	r.follow(v)
	seen := map[string]bool{}
	for _, id := range v.ids {
		seen[id] = true
	}
	if len(v.ids) != 800 || len(seen) != 800 {
		t.Fatalf("got %d facts, %d different; want 800", len(v.ids), len(seen))
	}
	if s := r.l.Stats(); s.Append.Count != 800 || s.AppendErrors != 0 {
		t.Fatalf("counted %d appends, %d errors; want 800, 0", s.Append.Count, s.AppendErrors)
	}
}

// The same id again is stored once, also after a restart.
func TestAppendSameID(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("a", 3)
	r.append("a", 3)
	r.close()
	r.open()
	r.append("a", 3)
	r.append("b", 1)
	v := newTape("v")
	r.follow(v)
	v.want(t, "a:3", "b:1")
}

func grant(id string, expect uint64) events.Fact {
	b := rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", 20727)
	return events.Fact{ID: id, Kind: events.KindGrant, Node: "n1",
		Grant: &events.Grant{Run: "r1", Budget: b, Amount: 1_000_000, ExpectSeq: expect}}
}

// A grant is stored only if its writer saw the budget's last one.
func TestGrantCompareAndSet(t *testing.T) {
	r := newRig(t)
	r.open()
	add := func(f events.Fact, want error) {
		t.Helper()
		if err := r.l.Append(t.Context(), f); !errors.Is(err, want) {
			t.Fatalf("%s: got %v; want %v", f.ID, err, want)
		}
	}
	add(grant("g1", 0), nil)
	add(grant("g2", 0), ErrConflict)
	r.append("a", 5)
	add(grant("g3", 1), nil) // seq 7
	add(grant("g4", 1), ErrConflict)
	add(grant("g3", 1), nil) // the same id again
	other := grant("h1", 0)
	other.Grant.Budget.Line = "viewed"
	add(other, nil)
	if s := r.l.Stats(); !s.FailingSince.IsZero() || s.AppendErrors != 0 {
		t.Fatalf("a stale grant counts as failure: %+v", s)
	}
}

// What can never be stored is refused at once and is not the log's failure.
func TestAppendInvalid(t *testing.T) {
	r := newRig(t)
	r.open()
	big := event("big")
	big.Event.Query = strings.Repeat("x", maxFactBytes)
	for name, f := range map[string]events.Fact{"no id": {Kind: events.KindTick}, "large": big} {
		if err := r.l.Append(t.Context(), f); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v; want ErrInvalid", name, err)
		}
	}
	if s := r.l.Stats(); !s.FailingSince.IsZero() {
		t.Errorf("got %+v; want no failure ", s)
	}
}

// A closed log takes nothing; a cancelled caller gets its error.
func TestAppendClosedOrCancelled(t *testing.T) {
	r := newRig(t)
	l := r.open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ctx, event("x")); !errors.Is(err, context.Canceled) && err != nil {
		t.Errorf("got %v; want context.Canceled or nil", err)
	}
	r.close()
	if err := l.Append(t.Context(), event("y")); !errors.Is(err, ErrClosed) {
		t.Errorf("append: got %v; want ErrClosed", err)
	}
	if err := l.Follow(t.Context(), newTape("v"), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("follow: got %v; want ErrClosed", err)
	}
	if err := l.Close(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("close: got %v; want ErrClosed", err)
	}
}

// A view that fails ends Follow with its error; closing the log ends it too.
func TestFollowEnds(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append("a", 1)
	bad := newTape("bad")
	bad.fail = errors.New("disk is full")
	if err := l.Follow(t.Context(), bad, nil); !errors.Is(err, bad.fail) {
		t.Errorf("got %v; want the view's error", err)
	}
	done := make(chan error, 1)
	caught := make(chan struct{})
	v := newTape("v")
	go func() { done <- l.Follow(t.Context(), v, func() { close(caught) }) }()
	<-caught
	if err := l.Follow(t.Context(), newTape("v"), nil); err == nil {
		t.Error("the same view was followed twice")
	}
	r.close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v; want ErrClosed", err)
	}
}
