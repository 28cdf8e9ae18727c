package segments

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"rebound/events"
	"rebound/rtb"
)

// views is how many views of the one segment a found visitor has.
func views(v *rtb.Visitor) uint32 {
	if len(v.Segments) == 0 {
		return 0
	}
	return v.Segments[0].Count
}

// TestAFillIsRefusedWhenItsVisitorChanged forces each order in which a read of
// the files and the fold of a new event can meet.
func TestAFillIsRefusedWhenItsVisitorChanged(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	fold := func() {
		l.event(v, "view_item", 0)
		apply(t, s, l.take())
	}
	empty := func() { // the fold has put the profile there
		s.cache.entries.Wait()
		s.cache.entries.Clear()
	}
	fold()
	empty()

	// The fold comes between the read and the fill: the bid that read the old
	// profile uses it, but it is not stored in the cache.
	s.afterRead = func() { s.afterRead = nil; fold(); empty() }
	if got := find(t, s, byUID("v"), rtb.NoBidNone); views(got) != 1 {
		t.Errorf("%d views, want the 1 that was there when the read began", views(got))
	}
	if s.Stats().Rejected != 1 {
		t.Errorf("%d fills refused, want 1", s.Stats().Rejected)
	}
	s.cache.entries.Wait()
	if got := find(t, s, byUID("v"), rtb.NoBidNone); views(got) != 2 {
		t.Errorf("%d views, want 2: the old profile was kept", views(got))
	}

	// The same with an erasure, and with a reset.
	empty()
	s.afterRead = func() {
		s.afterRead = nil
		l.add(events.Fact{Kind: events.KindErase, Visitor: v})
		apply(t, s, l.take())
	}
	find(t, s, byUID("v"), rtb.NoBidNone)
	s.cache.entries.Wait()
	find(t, s, byUID("v"), rtb.NoBidUnknownVisitor)
	fold()
	empty()
	s.afterRead = func() {
		s.afterRead = nil
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	find(t, s, byUID("v"), rtb.NoBidUnknownVisitor) // it read again
	s.cache.entries.Wait()
	find(t, s, byUID("v"), rtb.NoBidUnknownVisitor)
}

// TestAnOldEntryIsNotUsed puts an entry into the cache behind the fold's back,
// as a slow reader's late Set would.
func TestAnOldEntryIsNotUsed(t *testing.T) {
	l, s, v := newLog(), inMemory(t), visitorOf("v")
	l.event(v, "view_item", 0)
	apply(t, s, l.take())
	old, err := s.readFile(&v, profileSpace, s.cache.position.Load())
	if err != nil {
		t.Fatal(err)
	}
	l.event(v, "view_item", 0)
	apply(t, s, l.take())
	s.cache.entries.Wait()
	s.cache.entries.Clear()
	s.cache.entries.Set(hashOf(&v), old, 1)
	s.cache.entries.Wait()
	if got := find(t, s, byUID("v"), rtb.NoBidNone); views(got) != 2 {
		t.Errorf("%d views, want 2: an old entry was used", views(got))
	}
	// Nor one of another key with the same hash.
	other := v
	other[15]++
	s.cache.entries.Set(hashOf(&v), makeEntry(&other, 1<<40, entryProfile, old.value()), 1)
	s.cache.entries.Wait()
	if got := find(t, s, byUID("v"), rtb.NoBidNone); views(got) != 2 {
		t.Errorf("%d views, want 2: another visitor's entry was used", views(got))
	}
}

// TestReadersNeverGoBack lets readers and the fold race: once a fold is done,
// no reader may see less than it.
func TestReadersNeverGoBack(t *testing.T) {
	const visitors, rounds = 20, 300
	s := open(t, Options{InMemory: true, Dir: "view", CacheBytes: 4 << 10}) // too small: entries come and go
	var folded [visitors]atomic.Uint32
	var stop atomic.Bool
	var wg sync.WaitGroup
	for seed := range uint64(3) {
		wg.Go(func() {
			r, v := rand.New(rand.NewPCG(seed, 1)), &rtb.Visitor{}
			for !stop.Load() {
				i := r.IntN(visitors)
				least := folded[i].Load()
				reason := s.Find("demo", byUID(fmt.Sprint("v", i)), v, nil)
				if least > 0 && (reason != rtb.NoBidNone || views(v) < least) {
					t.Errorf("visitor %d: %v with %d views, after %d were folded", i, reason, views(v), least)
					return
				}
			}
		})
	}
	l, r := newLog(), rand.New(rand.NewPCG(9, 9))
	for n := 0; n < rounds || s.Stats().Hits == 0 || s.Stats().Misses == 0; n++ { // a busy machine may start the readers late
		runtime.Gosched()
		var touched []int
		for range 1 + r.IntN(5) {
			i := r.IntN(visitors)
			touched = append(touched, i)
			l.event(visitorOf(fmt.Sprint("v", i)), "view_item", 0)
		}
		apply(t, s, l.take())
		for _, i := range touched {
			folded[i].Add(1)
		}
	}
	stop.Store(true)
	wg.Wait()
	if st := s.Stats(); st.Hits == 0 || st.Misses == 0 {
		t.Errorf("the race tested little: %+v", st)
	}
}
