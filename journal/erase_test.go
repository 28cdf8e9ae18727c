package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// eventOf is an event of a visitor.
func eventOf(id string, visitor rtb.Key) events.Fact {
	f := event(id)
	f.Visitor = visitor
	return f
}

// holdsText returns the name of a file of a folder that contains a text, decompressed; empty
// if none does.
func holdsText(t *testing.T, dir, text string) string {
	t.Helper()
	im := imageOf(t, osDisk{}, dir)
	for name := range im {
		if strings.Contains(im.text(t, name), text) {
			return name
		}
	}
	return ""
}

func TestErase(t *testing.T) {
	gone, stays := rtb.Key{7, 7, 7}, rtb.Key{8, 8, 8}
	r := newRig(t)
	r.o.FileBytes = 4000 // about ten facts
	l := r.open()
	for i := range 40 {
		visitor := stays
		if i%3 == 0 {
			visitor = gone
		}
		if err := l.Append(ctxOf(t), eventOf(fmt.Sprintf("before-%d", i), visitor)); err != nil {
			t.Fatal(err)
		}
	}
	cut := filepath.Join(r.o.Dir, "log", "facts", cutPart+fmt.Sprintf("%020d", 3))
	if err := os.WriteFile(cut, []byte(`{"v":1,"seq":3,"who":{"visitor":"`+gone.String()+`"},"torn`), 0o600); err != nil {
		t.Fatal(err)
	}
	head := l.Last()
	done, err := l.Erase(ctxOf(t), events.NewKeySet(gone), head.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if done.Facts != 14 || done.Files < 4 {
		t.Errorf("got %+v; want 14 facts in at least 4 files", done)
	}
	if name := holdsText(t, FactsDir(r.o.Dir), gone.String()); name != "" {
		t.Errorf("%s still contains the visitor's key", name)
	}
	if holdsText(t, FactsDir(r.o.Dir), stays.String()) == "" {
		t.Error("the other visitor's key is gone too")
	}
	if again, err := l.Erase(ctxOf(t), events.NewKeySet(gone), head.Seq); err != nil || again != (Erased{}) {
		t.Errorf("second time: got %+v, %v; want nothing to erase", again, err)
	}
	if err := l.Append(ctxOf(t), eventOf("after", gone)); err != nil {
		t.Fatal(err)
	}
	if later, err := l.Erase(ctxOf(t), events.NewKeySet(gone), head.Seq); err != nil || later.Facts != 0 {
		t.Errorf("got %+v, %v; want a later fact to stay", later, err)
	}
	r.close()

	report, err := Verify(FactsDir(r.o.Dir), head, nil)
	if err != nil || !report.OK() || report.Erased != 14 {
		t.Fatalf("got %+v, %v; want an intact log that still contains its old head, with 14 erased facts", report, err)
	}
	v := newTape("tape")
	r.o.Views = []View{v}
	r.open()
	r.follow(v)
	for i := range 40 {
		if want := fmt.Sprintf("before-%d", i); v.ids[i] != want {
			t.Fatalf("fact %d: got %s; want %s: an erased fact keeps its place", i, v.ids[i], want)
		}
	}
}

// TestEraseWhileWriting erases while facts are appended, and finds every one of them
// afterwards.
func TestEraseWhileWriting(t *testing.T) {
	gone, stays := rtb.Key{7, 7, 7}, rtb.Key{8, 8, 8}
	r := newRig(t)
	r.o.FileBytes = 4000
	l := r.open()
	if err := l.Append(ctxOf(t), eventOf("first", gone)); err != nil {
		t.Fatal(err)
	}
	upTo := l.Last().Seq
	ctx, stop := context.WithCancel(ctxOf(t))
	wrote := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := l.Append(ctxOf(t), eventOf(fmt.Sprintf("more-%d", n), stays)); err != nil {
				t.Error(err)
				break
			}
		}
		wrote <- n
	}()
	for range 10 {
		if _, err := l.Erase(ctxOf(t), events.NewKeySet(gone), upTo); err != nil {
			t.Error(err)
		}
		upTo = l.Last().Seq
	}
	stop()
	n := <-wrote
	r.close()
	report, err := Verify(FactsDir(r.o.Dir), events.Position{}, nil)
	if err != nil || !report.OK() || report.Facts < uint64(n) {
		t.Errorf("got %+v, %v; want an intact log of at least %d facts", report, err, n)
	}
	if name := holdsText(t, FactsDir(r.o.Dir), gone.String()); name != "" {
		t.Errorf("%s still contains the visitor's key", name)
	}
}

func TestRenewCheckpoints(t *testing.T) {
	r := newRig(t)
	v, none := newTape("v"), newTape("none")
	r.o.Views = []View{v, none}
	l := r.open()
	ctx, stop := context.WithCancel(ctxOf(t))
	ended := make(chan error, 2)
	r.append("a", 3)
	r.checkpoint(v)
	r.append("b", 3)
	r.checkpoint(v)
	brief, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
	defer cancel()
	if err := l.RenewCheckpoints(brief, l.Last().Seq); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "view none: it does not follow the log") {
		t.Errorf("got %v while no view follows; want an error that says so", err)
	}
	for _, view := range r.o.Views {
		go func() { ended <- l.Follow(ctx, view, nil) }()
	}
	r.append("c", 3)
	for range 2 { // also when nothing came since the last time
		if err := l.RenewCheckpoints(ctxOf(t), l.Last().Seq); err != nil {
			t.Fatal(err)
		}
		list, err := checkpoints(l.o.disk, l.o.Dir, "v")
		if err != nil || len(list) != 1 || list[0].Seq != 9 {
			t.Errorf("got checkpoints at %v, %v; want one at fact 9", list, err)
		}
		if list, err := checkpoints(l.o.disk, l.o.Dir, "none"); err != nil || len(list) != 0 {
			t.Errorf("got checkpoints at %v, %v of a view that had none; want none", list, err)
		}
	}
	stop()
	for range r.o.Views {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
