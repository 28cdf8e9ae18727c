package view

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// holding returns the names of the files of a folder that contain a text.
func holding(t *testing.T, dir string, text []byte) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) { // Pebble removes its old files in the background
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, text) {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestScrub deletes keys that are the first and the last of their tables, whose bounds a
// manifest contains, and one in the middle.
func TestScrub(t *testing.T) {
	for _, tables := range []int{1, 30} {
		t.Run(fmt.Sprint(tables, " tables"), func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, Config{Dir: dir, MemTableBytes: 64 << 10})
			name := func(i int) []byte { return fmt.Appendf(nil, "visitor-%05d", i) }
			seq := uint64(0)
			write := func(change func(*Batch) error) {
				seq++
				b, err := d.NewBatch()
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				if err := change(b); err != nil {
					t.Fatal(err)
				}
				if err := b.Commit(positionOf(seq)); err != nil {
					t.Fatal(err)
				}
			}
			n := 100 * tables
			for i := range n {
				write(func(b *Batch) error { return b.Set(name(i), append(value(uint64(i)), name(i)...)) })
				if i%100 == 99 {
					if err := d.StartFlush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			erased := [][]byte{name(0), name(n / 2), name(n - 1)}
			for _, k := range erased {
				write(func(b *Batch) error { return b.Delete(k) })
			}
			if err := d.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, k := range erased {
				if names := holding(t, dir, k); len(names) > 0 {
					t.Errorf("%s is still in %v", k, names)
				}
			}
			if names := holding(t, dir, name(1)); len(names) == 0 {
				t.Error("a key that was not deleted is in no file")
			}
			if d.Position() != positionOf(seq) {
				t.Errorf("got position %v; want %v", d.Position(), positionOf(seq))
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, Config{Dir: dir})
			for i := range n {
				_, exists, err := again.Get(name(i))
				if want := i != 0 && i != n/2 && i != n-1; err != nil || exists != want {
					t.Fatalf("key %d: got %v, %v; want %v", i, exists, err, want)
				}
			}
		})
	}
}
