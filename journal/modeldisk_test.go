package journal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// mixedDisk keeps the log in memory and checkpoints on the real disk, because views
// write those with their own calls.
type mixedDisk struct{ *memDisk }

func onReal(name string) bool { return strings.Contains(name, "/checkpoints") }

func (d mixedDisk) Create(name string) (file, error) {
	if onReal(name) {
		return osDisk{}.Create(name)
	}
	return d.memDisk.Create(name)
}

func (d mixedDisk) Open(name string) (file, error) {
	if onReal(name) {
		return osDisk{}.Open(name)
	}
	return d.memDisk.Open(name)
}

func (d mixedDisk) Rename(from, to string) error {
	if onReal(from) {
		return osDisk{}.Rename(from, to)
	}
	return d.memDisk.Rename(from, to)
}

func (d mixedDisk) List(dir string) ([]string, error) {
	if onReal(dir) {
		return osDisk{}.List(dir)
	}
	return d.memDisk.List(dir)
}

func (d mixedDisk) SyncDir(dir string) error {
	if onReal(dir) {
		return nil
	}
	return d.memDisk.SyncDir(dir)
}

// put writes a file in one go, synced.
func put(t testing.TB, d disk, name string, data []byte) {
	t.Helper()
	if err := writeWhole(d, name, func(w io.Writer) error { _, err := w.Write(data); return err }); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, d disk, name string) []byte {
	t.Helper()
	b, err := readWhole(d, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func remove(t testing.TB, d disk, name string) {
	t.Helper()
	if err := errors.Join(ignoreGone(d.Remove(name)), d.SyncDir(filepath.Dir(name))); err != nil {
		t.Fatal(err)
	}
}

// image is the content of the files of a folder.
type image map[string][]byte

// imageOf reads a folder, again if a file goes while it reads: a log in use renames the
// record of its end and removes the files that it has packed.
func imageOf(t testing.TB, d disk, dir string) image {
	t.Helper()
	for {
		m, err := readImage(d, dir)
		if err == nil {
			return m
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func readImage(d disk, dir string) (image, error) {
	names, err := d.List(dir)
	if err != nil {
		return nil, err
	}
	m := image{}
	for _, name := range names {
		if m[name], err = readWhole(d, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// restore makes a folder hold exactly the image.
func (m image) restore(t testing.TB, d disk, dir string) {
	t.Helper()
	if err := d.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	names, err := d.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		remove(t, d, filepath.Join(dir, name))
	}
	for name, data := range m {
		put(t, d, filepath.Join(dir, name), data)
	}
}

// logs returns the names of the log's files, the oldest first.
func (m image) logs() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool {
		_, _, ok := parseName(name)
		return !ok
	})
}

// text returns what a file holds, unpacked.
func (m image) text(t testing.TB, name string) string {
	t.Helper()
	if !strings.HasSuffix(name, packedEnd) {
		return string(m[name])
	}
	z, err := zstd.NewReader(bytes.NewReader(m[name]))
	if err != nil {
		return ""
	}
	defer z.Close()
	b, _ := io.ReadAll(z) // of a damaged file what there is
	return string(b)
}

// lines returns the lines of all facts, without headers.
func (m image) lines(t testing.TB) []string {
	t.Helper()
	var list []string
	for _, name := range m.logs() {
		_, rest, _ := strings.Cut(m.text(t, name), "\n")
		for line := range strings.Lines(rest) {
			list = append(list, strings.TrimSuffix(line, "\n"))
		}
	}
	return list
}
