//go:build linux

package journal

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fileLimit makes the kernel refuse what would make a file of this process
// longer, as a full disk does, until lift is called.
func fileLimit(t testing.TB, bytes uint64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Skip(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: was.Max}); err != nil {
		t.Skip(err)
	}
	lift = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(lift)
	return lift
}

// large appends n facts of 10 KB.
func (r *rig) large(prefix string, n int) {
	r.t.Helper()
	for i := range n {
		f := event(fmt.Sprintf("%s-%d", prefix, i))
		f.Event.Query = strings.Repeat("x", 10_000)
		if err := r.l.Append(ctxOf(r.t), f); err != nil {
			r.t.Fatal(err)
		}
	}
}

// broken appends facts until the stream's file is larger than the limit that is
// then set: the server takes nothing any more, not even once the limit is gone.
func (r *rig) broken() {
	r.t.Helper()
	r.large("a", 20)
	lift := fileLimit(r.t, 100_000)
	for i := 0; ; i++ { // the server may still hold one back
		if err := r.l.Append(ctxOf(r.t), event(fmt.Sprintf("refused-%d", i))); err != nil {
			break
		} else if i == 100 {
			r.t.Skip("the limit of files is not felt here")
		}
	}
	lift()
	if err := r.l.Append(ctxOf(r.t), event("kept out")); err == nil {
		r.t.Skip("the server takes facts again by itself: nothing to mend")
	}
}

// One failed write makes the server refuse all that follow: it is started anew,
// and the log goes on where it was, followers and archive too.
func TestMend(t *testing.T) {
	r := newRig(t)
	r.o.AckTimeout = time.Second
	r.open()
	v := newTape("v")
	ctx, stop := context.WithCancel(t.Context())
	ended, caught := make(chan error, 1), make(chan struct{})
	go func() { ended <- r.l.Follow(ctx, v, func() { close(caught) }) }()
	<-caught
	r.broken()
	if err := r.l.AppendOrSpool(ctxOf(t), event("notice")); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool {
		r.now.add(time.Second)
		return r.l.Stats().FailingSince.IsZero() && r.l.Stats().Spooled == 0
	}) {
		t.Fatalf("still failing: %+v", r.l.Stats())
	}
	r.append("b", 5)
	if s := r.l.Stats(); s.Restarts != 1 || s.Blind(time.Minute) != "" {
		t.Errorf("got %d restarts, blind %q; want 1, not blind", s.Restarts, s.Blind(time.Minute))
	}
	if !eventually(t, func() bool { return v.Position().Seq == r.l.Last().Seq }) {
		t.Fatalf("the follower stands at %d; want %d", v.Position().Seq, r.l.Last().Seq)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.archived()
	for _, list := range [][]string{v.ids, r.archiveIDs()} {
		list = slices.DeleteFunc(slices.Clone(list), func(id string) bool { // whether these two are there is unknown
			return strings.HasPrefix(id, "probe:") || strings.HasPrefix(id, "refused-")
		})
		if len(list) != 26 || list[0] != "a-0" || !slices.Contains(list, "notice") || list[25] != "b-4" {
			t.Errorf("got %d facts %v; want a-0 to a-19, notice, b-0 to b-4", len(list), list)
		}
	}
	if r.said.FilterMessageSnippet("its embedded server is started anew").Len() != 1 || v.resets != 0 {
		t.Errorf("got %v", r.said.All())
	}
	select {
	case err := <-r.l.Broken():
		t.Errorf("got %v; want a log that is whole", err)
	default:
	}
}

// A log that stays refused although its server was started anew says so once, so
// that the process ends. A full disk is nobody's fault but the disk's: it is
// waited for.
func TestMendGivesUp(t *testing.T) {
	for _, low := range []bool{false, true} {
		t.Run(fmt.Sprintf("disk low %v", low), func(t *testing.T) {
			r := newRig(t)
			r.o.AckTimeout = time.Second
			if low {
				r.o.MinFreeBytes = 1 << 62
			}
			r.open()
			r.large("a", 20)
			lift := fileLimit(t, 100_000)
			defer lift()
			r.l.meter.observe(r.now.Now(), r.now.Now(), errMending)
			looks := 0
			gave := eventually(t, func() bool {
				r.now.add(2 * time.Second)
				select {
				case err := <-r.l.Broken():
					if !strings.Contains(err.Error(), "started anew 3 times") {
						t.Error(err)
					}
					return true
				default:
				}
				if looks++; low && looks > 700 {
					return true
				}
				return false
			})
			if s := r.l.Stats(); !gave || low != (s.Restarts == 0) {
				t.Fatalf("gave up: %v, %d restarts; said %v", gave, s.Restarts, r.said.All())
			}
		})
	}
}

// Where the server does not even start it is tried again, and what comes
// meanwhile waits in the spool.
func TestMendCannotStart(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("a", 3)
	r.l.gate.shut() // as after a restart that failed
	r.l.meter.observe(r.now.Now(), r.now.Now(), errMending)
	if err := r.l.AppendOrSpool(ctxOf(t), event("notice")); err != nil {
		t.Fatal(err)
	}
	if err := r.l.Append(ctxOf(t), event("x")); err == nil || r.l.Stats().Spooled != 1 {
		t.Fatalf("got %v and %d spooled; want an error and 1", err, r.l.Stats().Spooled)
	}
	if !eventually(t, func() bool { r.now.add(time.Second); return r.l.Stats().Spooled == 0 }) {
		t.Fatalf("still failing: %+v", r.l.Stats())
	}
	v := newTape("v")
	r.follow(v)
	if got := v.ids[:3]; !slices.Equal(got, []string{"a-0", "a-1", "a-2"}) || !slices.Contains(v.ids, "notice") {
		t.Errorf("got %v", v.ids)
	}
}

// A disk that is really full, where a test may mount one: nothing new can be
// stored, the reserve takes notices, and once there is room everything goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no disk can be mounted: %v", err)
	}
	r := newRig(t)
	t.Cleanup(func() {
		if r.l != nil {
			r.close()
		}
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	r.o.Dir, r.o.MinFreeBytes, r.o.AckTimeout = dir, 1<<20, time.Second
	r.open()
	r.large("a", 20)
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	refused := 0
	for ; ; refused++ { // what is left of the last page
		f := event(fmt.Sprintf("refused-%d", refused))
		f.Event.Query = strings.Repeat("x", 10_000)
		if err := r.l.Append(ctxOf(t), f); err != nil {
			break
		} else if refused == 100 {
			t.Fatal("a full disk takes facts")
		}
	}
	for i := range 20 {
		if err := r.l.AppendOrSpool(ctxOf(t), event(fmt.Sprintf("notice-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	r.now.add(time.Minute)
	if !eventually(t, func() bool { r.now.add(time.Second); s := r.l.Stats(); return s.DiskLow }) {
		t.Fatal("the full disk was not seen")
	}
	if s := r.l.Stats(); s.Spooled != 20 || s.Restarts != 0 {
		t.Errorf("got %d spooled, %d restarts; want 20 and none while the disk is full", s.Spooled, s.Restarts)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool {
		r.now.add(time.Second)
		s := r.l.Stats()
		return s.FailingSince.IsZero() && s.Spooled == 0
	}) {
		t.Fatalf("still failing: %+v\n%v", r.l.Stats(), r.said.All())
	}
	r.append("b", 1)
	v := newTape("v")
	r.follow(v)
	for i := range 20 {
		if !slices.Contains(v.ids, fmt.Sprintf("notice-%d", i)) || !slices.Contains(v.ids, fmt.Sprintf("a-%d", i)) {
			t.Errorf("notice-%d or a-%d is lost", i, i)
		}
	}
	if files, _ := filepath.Glob(r.dir("spool", "spool-*")); len(files) > 0 {
		t.Errorf("got %v; want no file left by failed writes", files)
	}
}
