package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// archiveIDs are the ids in the archive's files, read from outside.
func (r *rig) archiveIDs() []string {
	r.t.Helper()
	var ids []string
	seq := uint64(0)
	for f, err := range events.ReadFactFiles(r.dir("log", "facts", "facts-*")) {
		if err != nil {
			r.t.Fatal(err)
		}
		if f.Seq != seq+1 && seq != 0 {
			r.t.Fatalf("archive has fact %d after %d", f.Seq, seq)
		}
		seq = f.Seq
		ids = append(ids, f.ID)
	}
	return ids
}

func (r *rig) wantArchive(groups ...string) {
	r.t.Helper()
	r.archived()
	v := newTape("archive")
	v.ids = r.archiveIDs()
	v.want(r.t, groups...)
}

// begin writes a:100, sees it with a view and stops.
func (r *rig) begin(v *tape) {
	r.open()
	r.append("a", 100)
	r.follow(v)
	r.close()
}

// An older copy of the stream's folder is noticed and made whole again.
func TestOlderStream(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.begin(v)
	copyDir(t, r.dir("stream"), r.dir("older"))
	r.open()
	r.append("b", 49)
	if err := r.l.Append(t.Context(), grant("b-49", 0)); err != nil {
		t.Fatal(err)
	}
	r.follow(v)
	want := r.l.Last()
	r.close()
	copyDir(t, r.dir("older"), r.dir("stream"))
	r.heard("")
	r.open()
	if !r.heard("stream is behind its archive: 50 facts after seq 100 are appended again") {
		t.Error("the older copy was not said")
	}
	if got := r.l.Last(); got.Stream != want.Stream || got.Seq != want.Seq || !got.Time.Equal(want.Time) {
		t.Errorf("last %+v; want %+v", got, want)
	}
	if err := r.l.Append(t.Context(), grant("stale", 0)); !errors.Is(err, ErrConflict) {
		t.Errorf("got %v; want ErrConflict from the grant that came back", err)
	}
	if err := r.l.Append(t.Context(), grant("c-0", 150)); err != nil {
		t.Errorf("grant after the one that came back: %v", err)
	}
	if err := r.l.Append(t.Context(), event("c-1")); err != nil {
		t.Error(err)
	}
	r.follow(v)
	v.want(t, "a:100", "b:50", "c:2")
	if v.resets != 0 {
		t.Error("the view was rebuilt although its position is whole")
	}
	fresh := newTape("fresh")
	r.follow(fresh)
	fresh.want(t, "a:100", "b:50", "c:2")
	r.wantArchive("a:100", "b:50", "c:2")
	if h := r.l.Stats().Healed; h != 50 {
		t.Errorf("counted %d healed facts; want 50", h)
	}
}

// A stream that is gone, or whose files are damaged, is made again from the
// archive under its own id.
func TestDamagedStream(t *testing.T) {
	block := filepath.Join("stream", "jetstream", "$G", "streams", "facts")
	for name, damage := range map[string]func(r *rig) error{
		"deleted": func(r *rig) error { return os.RemoveAll(r.dir("stream")) },
		"meta truncated": func(r *rig) error {
			return os.Truncate(r.dir(block, "meta.inf"), 10)
		},
		"meta of zeros": func(r *rig) error {
			return os.WriteFile(r.dir(block, "meta.inf"), make([]byte, 200), 0o600)
		},
		"block truncated": func(r *rig) error {
			if err := os.RemoveAll(r.dir(block, "msgs", "index.db")); err != nil {
				return err
			}
			return os.Truncate(r.dir(block, "msgs", "1.blk"), 20_000)
		},
		"block truncated under an index": func(r *rig) error { return os.Truncate(r.dir(block, "msgs", "1.blk"), 20_000) },
		"block emptied":                  func(r *rig) error { return os.Truncate(r.dir(block, "msgs", "1.blk"), 0) },
		"block removed":                  func(r *rig) error { return os.Remove(r.dir(block, "msgs", "1.blk")) },
		"messages removed":               func(r *rig) error { return os.RemoveAll(r.dir(block, "msgs")) },
		"bytes flipped": func(r *rig) error {
			b, err := os.ReadFile(r.dir(block, "msgs", "1.blk"))
			if err != nil {
				return err
			}
			for i := len(b) / 2; i < len(b)/2+100; i++ {
				b[i] ^= 0xff
			}
			return os.WriteFile(r.dir(block, "msgs", "1.blk"), b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, v := newRig(t), newTape("v")
			r.begin(v)
			if err := damage(r); err != nil {
				t.Fatal(err)
			}
			r.heard("")
			r.open()
			r.append("b", 3)
			r.follow(v)
			v.want(t, "a:100", "b:3")
			fresh := newTape("fresh")
			r.follow(fresh)
			fresh.want(t, "a:100", "b:3")
			r.wantArchive("a:100", "b:3")
			if r.said.FilterLevelExact(zap.WarnLevel).Len()+r.said.FilterLevelExact(zap.ErrorLevel).Len() == 0 {
				t.Error("the damage was not said")
			}
		})
	}
}

// A torn last line of the archive is cut off, said, and written again.
func TestTornArchive(t *testing.T) {
	for name, tear := range map[string]func(path string, size int64) error{
		"cut":   func(path string, size int64) error { return os.Truncate(path, size-7) },
		"zeros": func(path string, size int64) error { return os.Truncate(path, size+500) },
	} {
		t.Run(name, func(t *testing.T) {
			r, v := newRig(t), newTape("v")
			r.begin(v)
			path := r.dir("log", "facts", "facts-00000000000000000001.ndjson")
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := tear(path, st.Size()); err != nil {
				t.Fatal(err)
			}
			r.open()
			if !r.heard("torn end of the archive") {
				t.Error("the torn line was not said")
			}
			r.wantArchive("a:100")
		})
	}
}

// A deleted archive is written again from what the stream holds.
func TestDeletedArchive(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.begin(v)
	if err := os.RemoveAll(r.dir("log")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.append("b", 1)
	r.wantArchive("a:100", "b:1")
	r.follow(v)
	v.want(t, "a:100", "b:1")
}

// A view that is ahead of stream and archive goes back to a checkpoint that the
// log holds, or is rebuilt; it is never carried on.
func TestViewAhead(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		r, v := newRig(t), newTape("v")
		r.begin(v)
		copyDir(t, r.dir("stream"), r.dir("older"))
		copyDir(t, r.dir("log"), r.dir("older-log"))
		r.open()
		if checkpoint {
			if err := r.l.takeCheckpoint(v); err != nil { // at 100: the log will hold it
				t.Fatal(err)
			}
		}
		r.append("b", 50)
		r.follow(v)
		if checkpoint {
			if err := r.l.takeCheckpoint(v); err != nil { // at 150: it will not
				t.Fatal(err)
			}
		}
		r.close()
		copyDir(t, r.dir("older"), r.dir("stream"))
		copyDir(t, r.dir("older-log"), r.dir("log"))
		r.open()
		r.append("c", 60) // now the log has a fact 150 again, another one
		r.heard("")
		r.follow(v)
		v.want(t, "a:100", "c:60")
		words, resets := "rebuilt from the start", 1
		if checkpoint {
			words, resets = "taken back to its checkpoint", 0
		}
		if !r.heard(words) || v.resets != resets {
			t.Errorf("checkpoint %v: got %d resets; want %d and the words %q", checkpoint, v.resets, resets, words)
		}
		r.close()
	}
}

// A stream and an archive that went different ways: the stream is right, the
// archive's other facts are kept aside, views follow the stream.
func TestDivergedArchive(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.o.ArchiveFileBytes = 10_000 // several files
	r.begin(v)
	copyDir(t, r.dir("stream"), r.dir("older"))
	r.open()
	r.append("b", 100)
	r.follow(v)
	r.close()
	copyDir(t, r.dir("log"), r.dir("other-log"))
	copyDir(t, r.dir("older"), r.dir("stream"))
	if err := os.RemoveAll(r.dir("log")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.append("c", 30)
	r.close()
	copyDir(t, r.dir("other-log"), r.dir("log"))
	r.heard("")
	r.open()
	if !r.heard("stream and archive hold different facts") {
		t.Error("the contradiction was not said")
	}
	r.wantArchive("a:100", "c:30")
	r.follow(v)
	v.want(t, "a:100", "c:30")
	aside, err := filepath.Glob(r.dir("log", "facts", "diverged-*", "facts-*"))
	if err != nil || len(aside) == 0 {
		t.Fatalf("got %v, %v; want the other facts kept aside", aside, err)
	}
	var kept []string
	for f, err := range events.ReadFactFiles(aside...) {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(f.ID, "b-") {
			kept = append(kept, f.ID)
		}
	}
	if len(kept) != 100 {
		t.Errorf("kept %d of the other facts aside; want 100", len(kept))
	}
}

// A process that is killed loses nothing that was acknowledged: the folder as it
// is at that moment opens with every fact.
func TestKilled(t *testing.T) {
	r := newRig(t)
	r.open()
	r.append("a", 500)
	if err := r.l.Append(t.Context(), event("b-0")); err != nil {
		t.Fatal(err)
	}
	killed := newRig(t)
	killed.o.Dir = r.dir("killed")
	copyDir(t, r.dir("stream"), killed.dir("stream"))
	copyDir(t, r.dir("log"), killed.dir("log")) // wherever the archiver is
	killed.open()
	v := newTape("v")
	killed.follow(v)
	v.want(t, "a:500", "b:1")
	killed.wantArchive("a:500", "b:1")
}

// The stream is trimmed only below checkpoints and archive; a view that is new,
// or must be rebuilt, then reads the archive first.
func TestCheckpointTrimRebuild(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.o.ArchiveFileBytes = 20_000
	r.open()
	r.append("a", 300)
	r.follow(v)
	r.archived()
	if err := r.l.archive.sync(); err != nil {
		t.Fatal(err)
	}
	r.now.add(100 * time.Hour)
	trim := func(first uint64) {
		t.Helper()
		if err := r.l.trim(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.l.first.Load(); got != first {
			t.Fatalf("stream begins at %d; want %d", got, first)
		}
	}
	trim(1) // the view has no checkpoint yet
	r.append("b", 10)
	r.follow(v) // more than an hour has passed: checkpoint? Follow counts from its start
	if err := r.l.takeCheckpoint(v); err != nil {
		t.Fatal(err)
	}
	trim(301) // what is old is gone, what is young stays
	r.append("c", 5)
	r.follow(v)
	v.want(t, "a:300", "b:10", "c:5")
	fresh := newTape("fresh")
	r.follow(fresh)
	fresh.want(t, "a:300", "b:10", "c:5")
	r.close()

	// Without its stream folder the log begins in the archive's recent files, and
	// the view's position is good.
	if err := os.RemoveAll(r.dir("stream")); err != nil {
		t.Fatal(err)
	}
	r.open()
	r.append("d", 1)
	r.follow(v)
	v.want(t, "a:300", "b:10", "c:5", "d:1")
	again := newTape("again")
	r.follow(again)
	again.want(t, "a:300", "b:10", "c:5", "d:1")
	r.wantArchive("a:300", "b:10", "c:5", "d:1")
}

// Checkpoints are taken by the clock, two are kept, and an unfinished one is no
// checkpoint.
func TestCheckpointsKept(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.open()
	ctx := ctxOf(t)
	done := make(chan error, 1)
	caught := make(chan struct{})
	go func() { done <- r.l.Follow(ctx, v, func() { close(caught) }) }()
	<-caught
	for i := range 4 {
		r.now.add(time.Hour)
		r.append(string(rune('a'+i)), 1)
		for v.Position().Seq <= uint64(i) {
			<-v.moved
		}
	}
	r.close()
	<-done
	if err := os.Mkdir(filepath.Join(r.l2dir("v"), checkpointName(99)), 0o700); err != nil {
		t.Fatal(err)
	}
	l := &Log{o: r.o}
	list, err := l.checkpoints("v")
	if err != nil {
		t.Fatal(err)
	}
	var seqs []uint64
	for _, p := range list {
		seqs = append(seqs, p.Seq)
	}
	if !slices.Equal(seqs, []uint64{3, 4}) {
		t.Errorf("got checkpoints %v; want 3 and 4", seqs)
	}
}

func (r *rig) l2dir(view string) string { return r.dir("checkpoints", view) }

// Facts that are nowhere are counted and named, not passed over.
func TestLostFacts(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.begin(v)
	r.open()
	r.now.add(100 * time.Hour)
	r.append("b", 10)
	r.archived()
	if err := r.l.archive.sync(); err != nil {
		t.Fatal(err)
	}
	if err := r.l.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.close()
	if err := os.RemoveAll(r.dir("log")); err != nil {
		t.Fatal(err)
	}
	r.heard("")
	r.open()
	if !r.heard("archive is empty but the stream has been trimmed") {
		t.Error("the missing archive was not said")
	}
	fresh := newTape("fresh")
	r.follow(fresh)
	if !r.heard("facts are in neither the stream nor the archive") {
		t.Error("the lost facts were not said")
	}
	fresh.want(t, "b:10")
	r.follow(v) // stands at 100, the stream begins at 101: nothing is missing
	v.want(t, "a:100", "b:10")
}
