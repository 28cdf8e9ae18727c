package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rebound/events"
)

// aged writes a:300, checkpoints and archives it, goes on 100 hours, adds b:10
// and trims the stream and the archive below b.
func (r *rig) aged(v View) {
	r.t.Helper()
	r.o.ArchiveFileBytes, r.o.ArchiveMaxAge = 20_000, 24*time.Hour
	r.open()
	r.append("a", 300)
	r.follow(v)
	r.archived()
	if err := r.l.archive.sync(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.l.takeCheckpoint(v); err != nil {
		r.t.Fatal(err)
	}
	r.now.add(100 * time.Hour)
	r.append("b", 10)
	r.follow(v)
	if err := r.l.takeCheckpoint(v); err != nil {
		r.t.Fatal(err)
	}
	r.makeRoom()
	r.l.archive.keep(r.now.Now())
	if first := r.l.first.Load(); first < 200 || r.l.archive.firstSeq() < 200 {
		r.t.Fatalf("stream from %d, archive from %d; want both trimmed", first, r.l.archive.firstSeq())
	}
	r.close()
	r.heard("")
}

// A view whose files are gone begins at its newest checkpoint: the log alone no
// longer holds the facts below it.
func TestEmptyViewBeginsAtCheckpoint(t *testing.T) {
	r := newRig(t)
	r.aged(newTape("v"))
	r.open()
	r.append("c", 5)
	v := newTape("v")
	r.follow(v)
	v.want(t, "a:300", "b:10", "c:5")
	if !r.heard("the view is empty: it is taken from its checkpoint") {
		t.Error("the checkpoint was not said")
	}
}

// missing is how many facts the log says that a view misses.
func (r *rig) missing(name string) (n uint64) {
	r.t.Helper()
	for _, v := range r.l.Stats().Views {
		if v.Name == name {
			n = v.LostFacts
		}
	}
	return n
}

// counted is a view that notes, while it is followed, what Stats says it misses.
type counted struct {
	*tape
	r    *rig
	lost uint64
}

func (v *counted) Apply(facts []events.Fact) error {
	err := v.tape.Apply(facts)
	v.lost = v.r.missing(v.name)
	return err
}

// Without a checkpoint the facts below the log are lost: that is said and
// counted, also after a restart, until the view is built anew from a whole log.
func TestViewMissesFacts(t *testing.T) {
	r := newRig(t)
	r.aged(newTape("v"))
	whole := filepath.Join(r.t.TempDir(), "checkpoints")
	copyDir(t, r.dir("checkpoints"), whole)
	if err := os.RemoveAll(r.dir("checkpoints")); err != nil {
		t.Fatal(err)
	}
	v := &counted{tape: newTape("v"), r: r}
	for _, restart := range []bool{false, true} {
		r.open()
		r.append(fmt.Sprint("c", restart), 1)
		r.follow(v)
		if want := uint64(len(v.ids)); v.lost == 0 || v.lost+want != r.l.Last().Seq {
			t.Fatalf("restart %v: got %d of %d facts and %d lost", restart, want, r.l.Last().Seq, v.lost)
		}
		said := "facts are in neither the stream nor the archive"
		if restart {
			said = "the view still misses facts"
		}
		if !r.heard(said) {
			t.Errorf("restart %v: the loss was not said", restart)
		}
		r.close()
	}
	again := &counted{tape: newTape("v"), r: r} // an operator restored a backup
	copyDir(t, whole, r.dir("checkpoints"))
	r.open()
	r.append("d", 1)
	r.follow(again)
	if again.lost != 0 || uint64(len(again.ids)) != r.l.Last().Seq {
		t.Errorf("got %d of %d facts and %d lost; want all", len(again.ids), r.l.Last().Seq, again.lost)
	}
}

// A view that has a checkpoint holds the stream already before it is followed;
// one that nobody follows does not hold it for ever.
func TestTrimBeforeFollow(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.o.ArchiveFileBytes = 20_000
	r.open()
	r.append("a", 300)
	r.follow(v)
	if err := r.l.takeCheckpoint(v); err != nil {
		t.Fatal(err)
	}
	r.append("b", 300)
	r.archived()
	r.close()
	r.now.add(100 * time.Hour)
	r.open()
	r.append("c", 1)
	r.makeRoom()
	if first := r.l.first.Load(); first != 300 {
		t.Errorf("the stream begins at %d; want 300, the checkpoint's", first)
	}
	r.now.add(2 * time.Hour)
	r.makeRoom()
	if first := r.l.first.Load(); first != 601 {
		t.Errorf("with a view that is gone the stream begins at %d; want 601", first)
	}
}

// A clock that was set back is said; the stamps stand still until it has caught
// up, and no fact is refused.
func TestClockSetBack(t *testing.T) {
	r, v := newRig(t), newTape("v")
	r.open()
	r.append("a", 1)
	was := r.l.Last().Time
	r.close()
	r.now.add(-2 * time.Hour)
	r.heard("")
	r.open()
	if !r.heard("the clock is behind the log") {
		t.Error("the clock was not said")
	}
	r.append("b", 1)
	if got := r.l.Last().Time; !got.Equal(was) {
		t.Errorf("stamped %v; want %v", got, was)
	}
	r.follow(v)
	v.want(t, "a:1", "b:1")
	s := r.l.Stats()
	if why := s.Blind(5 * time.Second); why != "" {
		t.Errorf("blind: %s", why)
	}
}
