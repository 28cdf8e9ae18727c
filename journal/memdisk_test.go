package journal

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memDisk is a file system in memory that loses unsynced data when its power is
// cut. fault, if it is set, is asked before every call that changes something
// or reads.
type memDisk struct {
	fs *vfs.MemFS

	mu    sync.Mutex // protects what follows
	fault func(call, name string) error
	free  uint64 // space that is left; much if 0
}

// hook sets a function that is called before every operation.
func (d *memDisk) hook(fn func(call, name string) error) {
	d.mu.Lock()
	d.fault = fn
	d.mu.Unlock()
}

func newMemDisk() *memDisk { return &memDisk{fs: vfs.NewCrashableMem()} }

// cut returns the disk as it is after a power cut: of what was not synced, each
// block and name is kept or lost by chance.
func (d *memDisk) cut(r *rand.Rand, keepPercent int) *memDisk {
	return &memDisk{fs: d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keepPercent, RNG: r})}
}

func (d *memDisk) check(call, name string) error {
	d.mu.Lock()
	fn := d.fault
	d.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(call, name)
}

func (d *memDisk) Create(name string) (file, error) {
	if err := d.check("create", name); err != nil {
		return nil, err
	}
	f, err := d.fs.Create(name, vfs.WriteCategoryUnspecified)
	return &memFile{File: f, d: d, name: name}, err
}

func (d *memDisk) Open(name string) (file, error) {
	if err := d.check("open", name); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(name)
	if err != nil {
		return nil, err
	}
	return &memFile{File: f, d: d, name: name}, nil
}

func (d *memDisk) Rename(from, to string) error {
	if err := d.check("rename", to); err != nil {
		return err
	}
	return d.fs.Rename(from, to)
}

func (d *memDisk) Remove(name string) error {
	if err := d.check("remove", name); err != nil {
		return err
	}
	return d.fs.Remove(name)
}

func (d *memDisk) List(dir string) ([]string, error) {
	names, err := d.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(names)
	return names, err
}

func (d *memDisk) MkdirAll(dir string) error {
	if err := d.fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for dir != "/" && dir != "." { // a power cut must not take the folder itself
		dir = filepath.Dir(dir)
		if err := d.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (d *memDisk) SyncDir(dir string) error {
	if err := d.check("syncdir", dir); err != nil {
		return err
	}
	f, err := d.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *memDisk) Space(string) (free, all uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.free > 0 {
		return d.free, 1 << 41
	}
	return 1 << 40, 1 << 41
}

type memFile struct {
	vfs.File
	d    *memDisk
	name string
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.d.check("write", f.name); err != nil {
		n, _ := f.File.Write(slices.Clone(p[:len(p)/2])) // half of it may be there
		return n, err
	}
	return f.File.Write(slices.Clone(p)) // a write may scribble over what it was given
}

func (f *memFile) Sync() error {
	if err := f.d.check("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.d.check("read", f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *memFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *memFile) Reserve(int64, int64) error { return f.d.check("reserve", f.name) }
func (f *memFile) Trim(int64) error           { return f.d.check("trim", f.name) }

// nth returns a fault at the nth call that which selects, once or from then on.
func nth(n int, forever bool, err error, which func(call, name string) bool) func(call, name string) error {
	var mu sync.Mutex
	seen := 0
	return func(call, name string) error {
		if !which(call, name) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		seen++
		if seen == n || forever && seen > n {
			return err
		}
		return nil
	}
}

// memRig is a rig on a disk in memory.
func memRig(t testing.TB) (*rig, *memDisk) {
	r := newRig(t)
	d := newMemDisk()
	if err := d.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	r.o.Dir, r.o.disk = "/data", d
	return r, d
}
