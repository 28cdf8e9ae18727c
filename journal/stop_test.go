package journal

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// stopping is a view whose follower is told to stop while it applies.
type stopping struct {
	*tape
	stop context.CancelFunc
}

func (s stopping) Apply(facts []events.Fact) error {
	s.stop()
	return s.tape.Apply(facts)
}

// A follower that is stopped while more waits for it ends at once, and says of
// nothing that it is missing.
func TestFollowStopsWithBatchesWaiting(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("a", 4*batchFacts)
	for range 10 { // whether a batch or the stop is seen first is a matter of luck
		ctx, cancel := context.WithCancel(t.Context())
		v := newTape("v")
		done := make(chan error, 1)
		go func() { done <- r.l.Follow(ctx, stopping{v, cancel}, nil) }()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the follower did not end")
		}
		if n := len(v.ids); n == 0 || n == 4*batchFacts {
			t.Fatalf("got %d facts applied; want the first batch only", n)
		}
	}
	if n := r.said.FilterLevelExact(zap.WarnLevel).Len() + r.said.FilterLevelExact(zap.ErrorLevel).Len(); n > 0 {
		t.Errorf("an ordinary stop was said to be trouble: %v", r.said.All())
	}
}

// The same without luck: every step of a follower that is told to stop.
func TestStoppedFollowerDoesNothing(t *testing.T) {
	r := newRig(t)
	l := r.open()
	r.append("a", 3)
	r.heard("")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := newTape("v")
	f := &follower{l: l, v: v, next: 1}
	batch := []entry{{seq: 2, data: []byte(`{}`)}, {seq: 4, data: []byte(`{}`)}}
	if err := errors.Join(f.bridge(ctx, 2), f.applyEntries(ctx, batch)); err != nil {
		t.Errorf("got %v; want nothing done", err)
	}
	if len(v.ids) != 0 || f.next != 1 || r.said.Len() != 0 {
		t.Errorf("got %d facts, next %d, said %v; want nothing", len(v.ids), f.next, r.said.All())
	}
}
