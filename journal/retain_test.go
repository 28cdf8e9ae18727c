package journal

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebound/events"
)

// outlive keeps opt-outs and erasures, and counts the events in a tick's id.
func outlive(facts iter.Seq2[*events.Fact, error]) (kept []events.Fact, err error) {
	n := 0
	for f, err := range facts {
		if err != nil {
			return nil, err
		}
		switch f.Kind {
		case events.KindOptOut, events.KindErase:
			kept = append(kept, *f)
		case events.KindTick:
			var before int
			if _, err := fmt.Sscanf(f.ID, "counted-%d", &before); err == nil {
				n += before
			}
		default:
			n++
		}
	}
	return append(kept, events.Fact{ID: fmt.Sprintf("counted-%d", n), Kind: events.KindTick}), nil
}

// retained returns a log of four days with a file for each, and its view.
func retained(t *testing.T) (*rig, *tape) {
	r := newRig(t)
	r.o.disk = mixedDisk{newMemDisk()}
	r.o.FactsDir = r.dir("log", "facts")
	r.o.Base = outlive
	r.o.FileAge, r.o.MinAge, r.o.MaxAge = 24*time.Hour, 36*time.Hour, 48*time.Hour
	r.open()
	v := newTape("v")
	for day := range 4 {
		r.append(fmt.Sprint(day), 5)
		out := events.Fact{ID: fmt.Sprintf("out-%d", day), Kind: events.KindOptOut, Keys: []events.LinkKey{{KeyKind: "ifa"}}}
		if err := r.l.Append(t.Context(), out); err != nil {
			t.Fatal(err)
		}
		r.now.add(24*time.Hour + time.Minute)
		packed(t, r.l)
	}
	r.now.add(-13 * time.Hour)
	wantNames(t, r.retained(), "1.ndjson.zst", "7.ndjson.zst", "13.ndjson.zst", "19.ndjson")
	return r, v
}

func (r *rig) retained() []string { return imageOf(r.t, r.o.disk, r.o.FactsDir).logs() }

// checkpoint lets a view catch up and takes a checkpoint of it.
func (r *rig) checkpoint(v *tape) {
	r.t.Helper()
	r.follow(v)
	if err := r.l.takeCheckpoint(v, v); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) retain() {
	r.t.Helper()
	if err := r.l.retain(); err != nil {
		r.t.Fatal(err)
	}
}

// Files are deleted only when they are old enough and below every view's oldest
// checkpoint; what must outlive them is in a base file, from which a view without
// a checkpoint begins.
func TestRetain(t *testing.T) {
	r, v := retained(t)
	r.o.Views = []View{v}
	r.l.names["v"] = true
	r.retain()
	if got := r.retained(); len(got) != 4 {
		t.Fatalf("got %v; want all files while the view has no checkpoint", got)
	}
	r.checkpoint(v)
	r.now.add(-24 * time.Hour)
	r.retain()
	wantNames(t, r.retained(), "7.ndjson.zst", "13.ndjson.zst", "19.ndjson")
	r.now.add(24 * time.Hour)
	r.retain() // the second file is older than two days now, the third younger than MaxAge
	wantNames(t, r.retained(), "13.ndjson.zst", "19.ndjson")
	if im := imageOf(t, r.o.disk, r.o.FactsDir); im[baseName(12)] == nil || im[baseName(6)] != nil {
		t.Fatalf("got %v; want only the last base file", im)
	}
	empty := newTape("other")
	r.follow(empty)
	want := []string{"out-0", "out-1", "counted-10", "2-0", "2-1", "2-2", "2-3", "2-4", "out-2", "3-0", "3-1", "3-2", "3-3", "3-4", "out-3"}
	if slices.Sort(empty.ids); !slices.Equal(empty.ids, sorted(want)) {
		t.Fatalf("got %v; want %v", empty.ids, want)
	}
	if !r.heard("view is rebuilt from the remaining log") {
		t.Error("nothing was said about what a rebuilt view lacks")
	}
	report, err := verify(r.o.disk, r.o.FactsDir, events.Position{}, nil)
	if err != nil || !report.OK() || report.First != 13 {
		t.Fatalf("verify: %+v, %v", report, err)
	}
}

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// Size alone deletes files that are older than MinAge, and no younger ones.
func TestRetainBySize(t *testing.T) {
	r, v := retained(t)
	r.l.o.MaxAge, r.l.o.MaxBytes = 1000*time.Hour, 1
	r.checkpoint(v)
	r.retain()
	wantNames(t, r.retained(), "13.ndjson.zst", "19.ndjson")
}

// A checkpoint of any view keeps the files above it.
func TestRetainKeepsForOldestCheckpoint(t *testing.T) {
	r, v := retained(t)
	r.checkpoint(v)
	r.now.add(100 * time.Hour)
	late := newTape("late")
	if err := late.Apply([]events.Fact{{Seq: 8, LineHash: events.Hash{1}, TS: r.now.Now()}}); err != nil {
		t.Fatal(err)
	}
	r.l.names["late"] = true
	if err := r.l.takeCheckpoint(late, late); err != nil {
		t.Fatal(err)
	}
	r.retain()
	wantNames(t, r.retained(), "7.ndjson.zst", "13.ndjson.zst", "19.ndjson")
}

// A base file that is missing, damaged, cut short at a line's end or of another time
// stops a view that needs it, with an error that names the file. Verify finds it,
// and it can be repaired from a copy.
func TestBaseDamaged(t *testing.T) {
	for what, edit := range map[string]func(t *testing.T, r *rig, name string){
		"missing": func(t *testing.T, r *rig, name string) { remove(t, r.o.disk, name) },
		"a digit": func(t *testing.T, r *rig, name string) {
			put(t, r.o.disk, name, []byte(strings.Replace(string(get(t, r.o.disk, name)), "counted-5", "counted-7", 1)))
		},
		"cut at a line's end": func(t *testing.T, r *rig, name string) {
			lines := strings.SplitAfter(string(get(t, r.o.disk, name)), "\n")
			put(t, r.o.disk, name, []byte(strings.Join(lines[:len(lines)-2], "")))
		},
		"cut inside a line": func(t *testing.T, r *rig, name string) {
			b := get(t, r.o.disk, name)
			put(t, r.o.disk, name, b[:len(b)-10])
		},
		"of another time": func(t *testing.T, r *rig, name string) {
			other, v := retained(t)
			other.checkpoint(v)
			other.now.add(-24 * time.Hour)
			other.retain()
			put(t, r.o.disk, name, get(t, other.o.disk, filepath.Join(other.o.FactsDir, baseName(6))))
		},
	} {
		t.Run(what, func(t *testing.T) {
			r, v := retained(t)
			r.checkpoint(v)
			r.now.add(-24 * time.Hour)
			r.retain()
			wantNames(t, r.retained(), "7.ndjson.zst", "13.ndjson.zst", "19.ndjson")
			imageOf(t, r.o.disk, r.o.FactsDir).restore(t, r.o.disk, r.dir("copy"))
			edit(t, r, filepath.Join(r.o.FactsDir, baseName(6)))
			err := r.l.Follow(ctxOf(t), newTape("other"), nil)
			if err == nil || !strings.Contains(err.Error(), baseName(6)) {
				t.Fatalf("got %v; want an error that names the base file", err)
			}
			report, err := verify(r.o.disk, r.o.FactsDir, events.Position{}, nil)
			if err != nil || len(report.Damage) != 1 {
				t.Fatalf("verify: %+v, %v; want one damage", report, err)
			}
			r.close()
			if _, err := repair(r.o.disk, r.o.FactsDir, r.dir("copy")); err != nil {
				t.Fatal(err)
			}
			r.open()
			empty := newTape("other")
			r.follow(empty)
			if !slices.Contains(empty.ids, "out-0") || !slices.Contains(empty.ids, "counted-5") || len(empty.ids) != 20 {
				t.Fatalf("after repair: got %v", empty.ids)
			}
		})
	}
}

// A fold of what must outlive files, or a base file, that fails deletes nothing.
func TestRetainFails(t *testing.T) {
	r, v := retained(t)
	r.checkpoint(v)
	r.l.o.Base = func(iter.Seq2[*events.Fact, error]) ([]events.Fact, error) { return nil, errors.New("no") }
	if err := r.l.retain(); err == nil {
		t.Error("the fold's error was lost")
	}
	r.l.o.Base = outlive
	d := r.o.disk.(mixedDisk).memDisk
	for _, call := range []string{"create", "write", "sync", "rename", "read"} {
		d.hook(func(c, name string) error {
			if c == call && strings.Contains(name, basePart) {
				return syscall.EIO
			}
			return nil
		})
		if err := r.l.retain(); err == nil {
			t.Errorf("%s: got no error", call)
		}
	}
	d.hook(nil)
	if got := r.retained(); len(got) != 4 {
		t.Fatalf("got %v; want all files", got)
	}
	r.l.start.damage = &DamageError{}
	r.retain()
	r.l.start.damage = nil
	if got := r.retained(); len(got) != 4 {
		t.Fatalf("got %v; want all files while facts may be put back", got)
	}
}

// Deleting is stopped at any call: the next start continues it, and no fact
// that must be kept is lost, whatever part of the unsynced data the disk keeps.
func TestRetainStopsAnywhere(t *testing.T) {
	for n := 1; ; n += 3 {
		r, v := retained(t)
		r.checkpoint(v)
		r.now.add(240 * time.Hour)
		d := r.o.disk.(mixedDisk).memDisk
		d.hook(nth(n, true, syscall.EIO, func(string, string) bool { return true }))
		err := r.l.retain()
		d.hook(nil)
		rnd := rand.New(rand.NewPCG(uint64(n), 5))
		after := []*memDisk{d.cut(rnd, 0), d.cut(rnd, 50), d.cut(rnd, 100)}
		r.close()
		for i, disk := range after {
			r.o.disk = mixedDisk{disk}
			if err := os.RemoveAll(r.dir("checkpoints")); err != nil {
				t.Fatal(err)
			}
			r.open()
			report, err := verify(r.o.disk, r.o.FactsDir, events.Position{}, nil)
			if err != nil || !report.OK() {
				t.Fatalf("call %d, %d: verify: %+v, %v", n, i, report, err)
			}
			other := newTape("other")
			r.follow(other)
			for day := range 4 {
				if !slices.Contains(other.ids, fmt.Sprintf("out-%d", day)) {
					t.Fatalf("call %d, %d: opt-out %d is lost: %v", n, i, day, other.ids)
				}
			}
			if why := r.l.BlindReason(); why != "" {
				t.Fatalf("call %d, %d: blind: %s", n, i, why)
			}
			r.close()
		}
		if err == nil {
			if n < 10 {
				t.Fatalf("got %d calls; want more", n)
			}
			return
		}
	}
}
