package journal

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

func optOut(id string) events.Fact {
	return events.Fact{ID: id, Kind: events.KindOptOut, Keys: []events.LinkKey{{KeyKind: "ifa"}}}
}

func row(id string) events.Fact {
	f := event(id)
	f.Kind = events.KindList
	return f
}

// large is an event of nearly a megabyte.
func large(id string) events.Fact {
	f := event(id)
	f.Event.Query = strings.Repeat("x", 1_000_000)
	return f
}

// held blocks every sync of a rig's disk until it is released. reached signals
// that the writer is blocked.
func held(r *rig) (letGo func(), reached chan struct{}) {
	gate := make(chan struct{})
	reached = make(chan struct{}, 1)
	r.o.disk.(*memDisk).hook(func(call, name string) error {
		if call == "sync" && strings.HasSuffix(name, plainEnd+tmpEnd) { // the file of facts was made under this name
			select {
			case reached <- struct{}{}:
			default:
			}
			<-gate
		}
		return nil
	})
	letGo = sync.OnceFunc(func() { close(gate) })
	r.t.Cleanup(letGo)
	return letGo, reached
}

// waiting waits until so many facts of a class wait to be written.
func waiting(t *testing.T, l *Log, c class, n int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		l.queue.mu.Lock()
		got := len(l.queue.wait[c])
		l.queue.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d facts of class %d wait; want %d", got, c, n)
		}
	}
}

// appending starts an append in the background and returns the channel of its outcome.
func appending(t *testing.T, l *Log, facts ...events.Fact) chan error {
	done := make(chan error, 1)
	ctx := ctxOf(t)
	go func() { done <- l.Append(ctx, facts...) }()
	return done
}

func must(t *testing.T, done chan error, want error) {
	t.Helper()
	if err := <-done; !errors.Is(err, want) {
		t.Fatalf("append: got %v; want %v", err, want)
	}
}

// While the disk is slow, the queue is bounded by class: too many events give
// ErrBusy, while money and opt-outs are still accepted, and written first.
func TestClasses(t *testing.T) {
	r, _ := memRig(t)
	r.open()
	letGo, reached := held(r)
	first := appending(t, r.l, event("first"))
	<-reached
	var events []chan error
	for i := range 33 {
		events = append(events, appending(t, r.l, large(fmt.Sprint(i))))
		waiting(t, r.l, classEvent, i+1)
	}
	for _, f := range []string{"busy1", "busy2"} {
		if err := r.l.Append(ctxOf(t), large(f)); !errors.Is(err, ErrBusy) {
			t.Fatalf("got %v; want ErrBusy", err)
		}
	}
	if s := r.l.Stats(); !s.FailingSince.IsZero() {
		t.Errorf("a busy log counts as failing: %+v", s)
	}
	bulk := appending(t, r.l, row("row"))
	waiting(t, r.l, classBulk, 1)
	out := appending(t, r.l, optOut("out"))
	waiting(t, r.l, classOptOut, 1)
	money := appending(t, r.l, grantless("money"))
	waiting(t, r.l, classMoney, 1)
	letGo()
	for _, done := range append(events, first, bulk, out, money) {
		must(t, done, nil)
	}
	v := newTape("v")
	r.follow(v)
	if want := []string{"first", "money", "out", "0", "1"}; !slices.Equal(v.ids[:5], want) || len(v.ids) != 37 {
		t.Fatalf("got %d facts, first %v; want 37, first %v", len(v.ids), v.ids[:5], want)
	}
}

// A repeat of an id that waits is one fact and waits for the same sync, whether it
// succeeds or fails.
func TestRepeatWaits(t *testing.T) {
	for _, fails := range []bool{false, true} {
		r, d := memRig(t)
		r.open()
		letGo, reached := held(r)
		one := appending(t, r.l, event("a"))
		<-reached
		two := appending(t, r.l, event("b"), event("b"))
		waiting(t, r.l, classEvent, 2)
		three := appending(t, r.l, event("b"), event("a"))
		waiting(t, r.l, classEvent, 4)
		select {
		case err := <-three:
			t.Fatalf("a repeat was answered before the sync: %v", err)
		default:
		}
		if fails { // the next writes find no space, nor for another file
			d.hook(func(call, _ string) error {
				if call == "write" || call == "create" {
					return syscall.ENOSPC
				}
				return nil
			})
		}
		letGo()
		must(t, one, nil)
		want := error(nil)
		if fails {
			want = syscall.ENOSPC
		}
		must(t, two, want)
		must(t, three, want)
		if fails {
			d.hook(nil)
			r.now.add(2 * time.Second) // no new file is tried before
			if err := r.l.Append(ctxOf(t), event("b")); err != nil {
				t.Fatalf("after there is space again: %v", err)
			}
		}
		v := newTape("v")
		r.follow(v)
		if !slices.Equal(v.ids, []string{"a", "b"}) {
			t.Fatalf("got %v; want a, b", v.ids)
		}
		r.close()
	}
}

// Bulk facts get a fifth of the slowest view's time, whatever waits.
func TestBulkShare(t *testing.T) {
	r, _ := memRig(t)
	r.open()
	if got := r.l.bulkRate(); got != 100_000 {
		t.Errorf("without views: got %f; want 100000", got)
	}
	r.append("a", 2000)
	slow := &slowView{tape: newTape("slow"), now: r.now, each: 10 * time.Millisecond}
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	caught := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- r.l.Follow(ctx, slow, func() { close(caught) }) }()
	<-caught
	if got := r.l.bulkRate(); got < 20 || got > 200 { // the average begins at 0
		t.Errorf("with a view that takes 10 ms a fact: got %f facts a second; want about 20", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	q := newQueue()
	var list []*pending
	for range 10_000 {
		list = append(list, &pending{class: classBulk})
	}
	if err := q.put(list); err != nil {
		t.Fatal(err)
	}
	now := r.now.Now()
	q.take(nil, now, 20) // a burst
	taken, back := 0, false
	for range 1000 { // 100 s, with a clock that is set back in between
		now = now.Add(100 * time.Millisecond)
		taken += len(q.take(nil, now, 20))
		if taken >= 1000 && !back {
			back = true
			now = now.Add(-24 * time.Hour)
		}
	}
	if taken < 1990 || taken > 2010 {
		t.Errorf("got %d bulk facts in 100 s; want 2000", taken)
	}
}

// slowView takes some time for each fact.
type slowView struct {
	*tape
	now  *clock
	each time.Duration
}

func (v *slowView) Apply(facts []events.Fact) error {
	v.now.add(time.Duration(len(facts)) * v.each)
	return v.tape.Apply(facts)
}

// Closing writes what waits, also bulk facts that would have had to wait.
func TestCloseWritesBulk(t *testing.T) {
	r, _ := memRig(t)
	r.open()
	letGo, reached := held(r)
	first := appending(t, r.l, event("first"))
	<-reached
	rows := make([]events.Fact, 500)
	for i := range rows {
		rows[i] = row(fmt.Sprint(i))
	}
	bulk := appending(t, r.l, rows...)
	waiting(t, r.l, classBulk, 500)
	f := &follower{}
	f.spent.Store(int64(time.Hour)) // a view so slow that no bulk fact would be written for hours
	r.l.viewMu.Lock()
	r.l.views["slow"] = f
	r.l.viewMu.Unlock()
	closed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctxOf(t))
	cancel() // who closes does not want to wait
	go func() { closed <- r.l.Close(ctx) }()
	for r.l.enter() { // until the log is closing
		r.l.appends.Done()
		runtime.Gosched()
	}
	letGo()
	must(t, first, nil)
	must(t, bulk, nil)
	must(t, closed, nil)
	r.l = nil
	if got := readAll(t, r.o); len(got) != 501 {
		t.Fatalf("got %d facts; want 501", len(got))
	}
}

// When space runs out, events are refused first, then money, then opt-outs; what was
// confirmed is stored, and once there is space everything is taken again.
func TestFullDisk(t *testing.T) {
	r, d := memRig(t)
	r.o.Reserve = 16 << 10
	r.open()
	d.hook(func(call, _ string) error {
		if call == "reserve" || call == "create" {
			return syscall.ENOSPC
		}
		return nil
	})
	stored := 0
	fill := func(make func(string) events.Fact) (n int) {
		for ; n < 1000; n++ {
			err := r.l.Append(ctxOf(t), make(fmt.Sprintf("%p-%d", make, n)))
			if err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatalf("got %v; want ErrFull", err)
				}
				return n
			}
			stored++
		}
		t.Fatal("the disk is never full")
		return
	}
	left := func() int64 { return r.l.w.space - r.l.w.size }
	if n := fill(event); n == 0 || left() > 18<<10 {
		t.Fatalf("%d events were taken, and %d bytes are left; want the reserve of 16 KiB", n, left())
	}
	s := r.l.Stats()
	if !s.Full || s.BlindFor(time.Hour) == "" || !s.FailingSince.IsZero() {
		t.Errorf("got %+v; want a full log that does not fail", s)
	}
	before := left()
	r.l.probe(ctxOf(t))
	if left() != before {
		t.Errorf("looking for space took %d bytes; want none", before-left())
	}
	if err := r.l.Append(ctxOf(t), row("row")); !errors.Is(err, ErrFull) {
		t.Errorf("a bulk fact: got %v; want ErrFull", err)
	}
	if n := fill(grantless); n < 10 || left() > 5<<10 || left() < 4<<10 {
		t.Fatalf("%d facts of money were taken, and %d bytes are left; want a quarter of the reserve", n, left())
	}
	if n := fill(optOut); n < 3 || left() > 1<<10 || left() < 0 {
		t.Fatalf("%d opt-outs were taken, and %d bytes are left; want none", n, left())
	}
	d.hook(nil)
	r.l.probe(ctxOf(t))
	for _, f := range []events.Fact{event("e"), grantless("m"), optOut("o"), row("r")} {
		if err := r.l.Append(ctxOf(t), f); err != nil {
			t.Fatalf("%s after there is space again: %v", f.ID, err)
		}
		stored++
	}
	r.close()
	if got := readAll(t, r.o); len(got) != stored {
		t.Fatalf("got %d facts; want %d", len(got), stored)
	}
}

// A file system that cannot reserve space is asked how much is left.
func TestNoReservation(t *testing.T) {
	r, d := memRig(t)
	r.o.Reserve = 16 << 10
	d.hook(func(call, _ string) error {
		if call == "reserve" {
			return errUnsupported
		}
		return nil
	})
	r.open()
	r.append("a", 10)
	set := func(free uint64) {
		d.mu.Lock()
		d.free = free
		d.mu.Unlock()
		last := r.l.Last()
		if r.l.probe(ctxOf(t)); r.l.Last() != last {
			t.Errorf("looking for space wrote facts %d to %d; want none", last.Seq+1, r.l.Last().Seq)
		}
	}
	for _, free := range []uint64{50 << 20, 10 << 10} { // enough for the reserve, and less than the reserve
		set(free)
		set(free)
		if err := r.l.Append(ctxOf(t), event("e")); !errors.Is(err, ErrFull) {
			t.Fatalf("%d bytes are free: got %v; want ErrFull", free, err)
		}
	}
	if err := r.l.Append(ctxOf(t), grantless("m")); err != nil {
		t.Fatalf("money: %v", err)
	}
	if s := r.l.Stats(); !s.DiskLow || !s.Full {
		t.Fatalf("got %+v; want a disk that is nearly full", s)
	}
	set(1 << 40)
	if err := r.l.Append(ctxOf(t), event("e")); err != nil {
		t.Fatalf("after there is space again: %v", err)
	}
}

// Events are refused while a view is too far behind; money is not.
func TestLag(t *testing.T) {
	r, _ := memRig(t)
	r.o.MaxLag = 10
	r.open()
	f := &follower{}
	r.l.viewMu.Lock()
	r.l.views["slow"] = f
	r.l.viewMu.Unlock()
	r.append("a", 11)
	if err := r.l.Append(ctxOf(t), event("e")); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "view slow is 11 facts behind") {
		t.Fatalf("got %v; want ErrBusy that names the view", err)
	}
	if err := r.l.Append(ctxOf(t), grantless("m"), optOut("o")); err != nil {
		t.Fatal(err)
	}
	f.seq.Store(5)
	if err := r.l.Append(ctxOf(t), event("e")); err != nil {
		t.Fatal(err)
	}
}
