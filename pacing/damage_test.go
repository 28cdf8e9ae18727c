package pacing

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"rebound/events"
)

// spent folds two bills into a view on disk and returns the expected state.
func spent(t *testing.T, w *world, dir string) string {
	t.Helper()
	p := w.start("r1", dir, dayPlan(50*unit))
	for range 2 {
		c := w.bid(2_000_000)
		if p.Reserve(c, nil, nil) == 0 {
			w.must(w.notice(events.KindWin, c), w.notice(events.KindBill, c))
		}
	}
	want := fmt.Sprint(dump(p.budgets))
	w.kill(p)
	return want
}

// Whatever happened to the view's files, the start succeeds and the view is
// rebuilt from the log.
func TestDamagedFilesAreRebuilt(t *testing.T) {
	w := newWorld(t)
	sound := filepath.Join(t.TempDir(), "sound")
	want := spent(t, w, sound)
	files, err := os.ReadDir(sound)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(path string, b []byte) error{
		"cut":   func(path string, b []byte) error { return os.WriteFile(path, b[:len(b)/2], 0o600) },
		"empty": func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		"garbage": func(path string, b []byte) error {
			return os.WriteFile(path, bytes.Repeat([]byte{0xa7}, len(b)), 0o600)
		},
		"gone": func(path string, _ []byte) error { return os.Remove(path) },
	} {
		for _, f := range files {
			if f.Name() == "LOCK" {
				continue
			}
			dir := filepath.Join(t.TempDir(), "money")
			if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, f.Name()), b); err != nil {
				t.Fatal(err)
			}
			made := len(w.facts)
			rebuilt(t, w, fmt.Sprintf("%s-%s", name, f.Name()), dir, want)
			w.facts = w.facts[:made]
		}
	}
}

// rebuilt opens a damaged view and folds the missing facts.
func rebuilt(t *testing.T, w *world, run, dir, want string) {
	t.Helper()
	p, err := Open(Options{Dir: dir, Run: run, Now: w.log.Now})
	if err != nil {
		t.Errorf("%s: %v", run, err)
		return
	}
	defer p.Close()
	if err := p.Apply(w.facts); err != nil { // a read that fails empties it
		if p.Position().Seq != 0 {
			t.Errorf("%s: at %d after %v", run, p.Position().Seq, err)
		}
		err = p.Apply(w.facts)
		if err != nil {
			t.Errorf("%s: again: %v", run, err)
		}
	}
	if got := fmt.Sprint(dump(p.budgets)); got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", run, got, want)
	}
}

// Files that can be opened but contain unreadable data.
func TestUnreadableViewIsRebuilt(t *testing.T) {
	w := newWorld(t)
	sound := filepath.Join(t.TempDir(), "sound")
	want := spent(t, w, sound)
	for name, change := range map[string]func(db *pebble.DB) error{
		"budget":     func(db *pebble.DB) error { return db.Set([]byte("bshop/autumn/cart/total"), []byte("{"), pebble.Sync) },
		"budget key": func(db *pebble.DB) error { return db.Set([]byte("bx"), []byte("{}"), pebble.Sync) },
		"line":       func(db *pebble.DB) error { return db.Set([]byte("lx"), []byte("{}"), pebble.Sync) },
		"pause":      func(db *pebble.DB) error { return db.Set([]byte("sall"), []byte("on"), pebble.Sync) },
	} {
		dir := filepath.Join(t.TempDir(), "money")
		if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
			t.Fatal(err)
		}
		db, err := pebble.Open(dir, &pebble.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := change(db); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		rebuilt(t, w, name, dir, want)
	}
}

// A copy that cannot be restored leaves an empty but usable view: it may be
// reset, restored from another copy, and closed.
func TestBadCopyLeavesAnEmptyView(t *testing.T) {
	w := newWorld(t)
	base := t.TempDir()
	p := w.start("r1", filepath.Join(base, "money"), dayPlan(50*unit))
	c := w.bid(2_000_000)
	if p.Reserve(c, nil, nil) != 0 {
		t.Fatal("no bid")
	}
	w.must(w.notice(events.KindBill, c))
	good, bad, rotten := filepath.Join(base, "good"), filepath.Join(base, "bad"), filepath.Join(base, "rotten")
	if err := p.Checkpoint(good); err != nil {
		t.Fatal(err)
	}
	at, want := p.Position(), fmt.Sprint(dump(p.budgets))
	spoil(t, bad, good, "MANIFEST*")
	spoil(t, rotten, good, "*.sst")
	for _, from := range []string{bad, rotten, filepath.Join(base, "nothing"), bad} {
		if err := p.Restore(from); err == nil {
			t.Fatalf("%s was restored", from)
		}
		if p.Position().Seq != 0 || len(p.budgets) != 0 {
			t.Fatalf("not empty: %+v, %v", p.Position(), p.budgets)
		}
	}
	if err := p.Apply(w.facts[:1]); err != nil {
		t.Fatal(err)
	}
	if err := p.Restore(good); err != nil || p.Position() != at || fmt.Sprint(dump(p.budgets)) != want {
		t.Fatalf("%v, position %+v", err, p.Position())
	}
	checkAccounts(t, p, 0)
}

// spoil copies a view and overwrites some of its files without changing their sizes.
func spoil(t *testing.T, to, from, pattern string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(to, pattern))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err == nil {
			clear(b[:len(b)/2])
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
