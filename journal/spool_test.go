package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rebound/events"
)

// fillUp appends until the stream has no room for one more fact.
func (r *rig) fillUp() {
	r.t.Helper()
	n := 0
	for _, size := range []int{10_000, 0} {
		for ; ; n++ {
			f := event(fmt.Sprintf("a-%d", n))
			f.Event.Query = strings.Repeat("x", size)
			if err := r.l.Append(ctxOf(r.t), f); err != nil {
				break
			}
			if n > 1000 {
				r.t.Fatal("the stream takes more than its limit")
			}
		}
	}
}

// makeRoom trims the stream.
func (r *rig) makeRoom() {
	r.t.Helper()
	r.archived()
	if err := r.l.archive.sync(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.l.trim(ctxOf(r.t)); err != nil {
		r.t.Fatal(err)
	}
}

func ids(r *rig) []string {
	v := newTape("v")
	r.follow(v)
	return v.ids
}

func smallStream(t *testing.T) *rig {
	r := newRig(t)
	r.o.MaxBytes = 200_000
	r.o.CheckpointEvery = time.Hour
	return r
}

// While the stream takes nothing, notices wait in a synced file; they are
// appended once it does, also after a restart, and the log says that it is blind
// meanwhile.
func TestSpool(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			r := smallStream(t)
			r.open()
			hold := newTape("hold") // a view without a checkpoint holds the stream
			r.follow(hold)
			r.fillUp()
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					for i := range 5 {
						if err := r.l.AppendOrSpool(ctxOf(t), event(fmt.Sprintf("n-%d-%d", g, i))); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			s := r.l.Stats()
			if s.Spooled != 40 || s.FailingSince.IsZero() || s.LastError == "" || s.Blind(time.Minute) != "log is not writable" {
				t.Fatalf("got %d spooled, failing since %v, blind %q; want 40 and not writable", s.Spooled, s.FailingSince, s.Blind(time.Minute))
			}
			if restart {
				r.close()
				r.open()
				if n := r.l.Stats().Spooled; n != 40 {
					t.Fatalf("got %d spooled after the restart; want 40", n)
				}
			}
			r.l.viewMu.Lock()
			clear(r.l.seen) // the view is taken out of service
			r.l.viewMu.Unlock()
			r.makeRoom()
			if !eventually(t, func() bool { return r.l.Stats().Spooled == 0 }) {
				t.Fatal("the spool was not appended")
			}
			if s := r.l.Stats(); !s.FailingSince.IsZero() || s.Blind(time.Minute) != "" {
				t.Errorf("still blind: %+v", s)
			}
			got := ids(r)
			for g := range 8 {
				for i := range 5 {
					if !slices.Contains(got, fmt.Sprintf("n-%d-%d", g, i)) {
						t.Fatalf("n-%d-%d is lost", g, i)
					}
				}
			}
			if files, _ := os.ReadDir(r.dir("spool")); len(files) != 1 {
				t.Errorf("got %d spool files; want the reserve alone", len(files))
			}
		})
	}
}

// A torn line in the spool costs that line alone.
func TestSpoolTorn(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.dir("spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	a := event("a-0")
	line, err := events.AppendFact(nil, &a)
	if err != nil {
		t.Fatal(err)
	}
	text := string(line) + "\n" + string(line[:50])
	if err := os.WriteFile(filepath.Join(r.dir("spool"), "spool-x.ndjson"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.open()
	if !eventually(t, func() bool { return r.l.Stats().Spooled == 0 && r.l.Last().Seq == 1 }) {
		t.Fatal("the spool was not appended")
	}
	if !r.heard("spooled fact is damaged") {
		t.Error("the torn line was not said")
	}
}

// The spool is bounded.
func TestSpoolFull(t *testing.T) {
	r := smallStream(t)
	r.o.SpoolMaxBytes = 1000
	r.open()
	r.follow(newTape("hold"))
	r.fillUp()
	var err error
	for i := 0; err == nil && i < 10; i++ {
		err = r.l.AppendOrSpool(ctxOf(t), event(fmt.Sprint("n-", i)))
	}
	if err == nil || r.l.Stats().Spooled == 0 {
		t.Fatalf("got %v and %d spooled; want a full spool", err, r.l.Stats().Spooled)
	}
}

// A log that failed once finds out by itself that it works again.
func TestProbe(t *testing.T) {
	r := newRig(t)
	r.open()
	r.l.meter.observe(r.now.Now(), r.now.Now(), os.ErrDeadlineExceeded)
	if !eventually(t, func() bool { return r.l.Stats().FailingSince.IsZero() }) {
		t.Fatal("still failing")
	}
}

// eventually waits for what the log's own goroutines do.
func eventually(t *testing.T, ok func() bool) bool {
	t.Helper()
	end := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
	return true
}

// Where no file can be written the reserve takes what it can hold, also over a
// restart, and is used again once it is empty.
func TestSpoolReserve(t *testing.T) {
	r := newRig(t)
	r.o.SpoolReserve = 4000
	r.open()
	for round := range 2 {
		r.l.gate.shut()
		dir := r.l.spool.dir
		r.l.spool.dir = r.dir("gone") // no file can be made there
		r.l.meter.observe(r.now.Now(), r.now.Now(), errMending)
		taken := 0
		for taken < 100 && r.l.AppendOrSpool(ctxOf(t), event(fmt.Sprintf("n-%d-%d", round, taken))) == nil {
			taken++
		}
		if n := r.l.Stats().Spooled; taken < 5 || taken == 100 || n != uint64(taken) {
			t.Fatalf("the reserve took %d facts, %d are said; want some, not all", taken, n)
		}
		if round == 1 {
			r.close()
			r.open()
		} else {
			r.l.spool.dir = dir
			r.l.gate.lift()
		}
		if !eventually(t, func() bool { return r.l.Stats().Spooled == 0 }) {
			t.Fatal("the reserve was not appended")
		}
		got := ids(r)
		for i := range taken {
			if !slices.Contains(got, fmt.Sprintf("n-%d-%d", round, i)) {
				t.Fatalf("n-%d-%d is lost", round, i)
			}
		}
	}
	b, err := os.ReadFile(r.dir("spool", reserveName))
	if err != nil || len(b) != 4000 || strings.Trim(string(b), "\x00") != "" {
		t.Errorf("the reserve: got %d bytes %.50q, %v; want 4000 zeros", len(b), b, err)
	}
}

// A reserve whose last line is torn keeps the others, and takes more.
func TestSpoolReserveTorn(t *testing.T) {
	a := event("a-0")
	line, err := appendLines(nil, []events.Fact{a})
	if err != nil {
		t.Fatal(err)
	}
	for _, zeros := range []int{0, 3, 5000} {
		path := filepath.Join(t.TempDir(), reserveName)
		if err := os.WriteFile(path, append(append(slices.Clone(line), line[:50]...), make([]byte, zeros)...), 0o600); err != nil {
			t.Fatal(err)
		}
		s := reserve{path: path, size: 4000}
		n, err := s.open()
		if err != nil || n != 1 || s.used != int64(len(line)+51) {
			t.Fatalf("got %d facts, %d used, %v; want 1, %d", n, s.used, err, len(line)+51)
		}
		if err := s.put(line); err != nil {
			t.Fatal(err)
		}
		if text, err := s.text(); err != nil || strings.Count(string(text), "\n") != 3 {
			t.Errorf("got %q, %v; want two facts and what is left of one", text, err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A write that fails leaves nothing behind, and what an earlier run left empty
// goes.
func TestSpoolLeavesNoEmptyFiles(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.dir("spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := os.WriteFile(r.dir("spool", fmt.Sprintf("spool-%d.ndjson", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	s := r.l.spool
	files := func() []string {
		list, _ := filepath.Glob(filepath.Join(s.dir, "spool-*"))
		return list
	}
	if list := files(); len(list) != 0 {
		t.Errorf("got %v of the earlier run; want none", list)
	}
	fail := func() {
		t.Helper()
		if err := s.create(r.now.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.f.WriteString(`{"torn`); err != nil {
			t.Fatal(err)
		}
		if err := s.takeBack(); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 3 {
		fail()
	}
	if list := files(); len(list) != 0 || s.f != nil || len(s.files) != 0 {
		t.Errorf("got %v; want none", list)
	}
}
