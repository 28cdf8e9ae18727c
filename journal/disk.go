package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// disk is the part of a file system that the log uses. The program uses osDisk;
// tests use one that loses everything that was not synced, and one that fails
// at a given call.
type disk interface {
	// Create makes a file for writing, and empties it if it exists.
	Create(name string) (file, error)
	// Open opens a file for reading.
	Open(name string) (file, error)
	Rename(from, to string) error
	Remove(name string) error
	// List returns the names of the entries of a folder, sorted; none if there is no folder.
	List(dir string) ([]string, error)
	MkdirAll(dir string) error
	// SyncDir makes created, renamed and removed names durable.
	SyncDir(dir string) error
	// Space returns the free space and the size of the disk, in bytes; 0 if
	// unknown.
	Space(dir string) (free, all uint64)
}

// file is an open file of a disk.
type file interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Sync() error
	Size() (int64, error)
	// Reserve allocates space for the bytes from offset from on, without changing
	// the size of the file. It returns errUnsupported if the file system cannot do
	// that.
	Reserve(from, n int64) error
	// Trim releases the space that was reserved beyond size.
	Trim(size int64) error
}

var errUnsupported = errors.ErrUnsupported

type osDisk struct{}

type osFile struct{ *os.File }

func (osDisk) Create(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	return osFile{f}, err
}

func (osDisk) Open(name string) (file, error) {
	f, err := os.Open(name)
	return osFile{f}, err
}

func (osDisk) Rename(from, to string) error        { return os.Rename(from, to) }
func (osDisk) Remove(name string) error            { return os.Remove(name) }
func (osDisk) MkdirAll(dir string) error           { return os.MkdirAll(dir, 0o700) }
func (osDisk) Space(dir string) (free, all uint64) { return diskSpace(dir) }

func (osDisk) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (osDisk) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f osFile) Sync() error                 { return syncData(f.File) }
func (f osFile) Reserve(from, n int64) error { return reserve(f.File, from, n) }
func (f osFile) Trim(size int64) error       { return f.Truncate(size) }

// writeWhole writes a file atomically: it writes and syncs a temporary file,
// renames it, and syncs the folder.
func writeWhole(d disk, name string, write func(io.Writer) error) error {
	tmp := name + tmpEnd
	err := writeTemp(d, tmp, write)
	if err == nil {
		err = d.Rename(tmp, name)
	}
	if err == nil {
		err = d.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// maxSmallFile bounds the files that are read into memory completely.
const maxSmallFile = 64 << 20

// tmpEnd is the suffix of files that are not complete yet.
const tmpEnd = ".tmp"

func writeTemp(d disk, tmp string, write func(io.Writer) error) error {
	f, err := d.Create(tmp)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// readWhole returns the content of a small file.
func readWhole(d disk, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxSmallFile))
	return b, errors.Join(err, f.Close())
}

// CheckFolder reports whether the file system of a folder, or of the nearest
// existing one above it, can reserve space ahead of a file. Without that the log
// works, but if another program fills the disk, notices are refused together
// with visitor events.
func CheckFolder(dir string) error {
	for {
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			break
		}
		above := filepath.Dir(dir)
		if above == dir {
			return nil
		}
		dir = above
	}
	f, err := os.CreateTemp(dir, "reserve-*")
	if err != nil {
		return fmt.Errorf("cannot write to %s: %w", dir, err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is empty
	defer f.Close()
	if err := reserve(f, 0, 1<<16); errors.Is(err, errUnsupported) {
		return fmt.Errorf("the file system of %s cannot reserve space ahead of a file: on a full disk, notices will be refused too", dir)
	}
	return nil
}
