package config

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// usedName is the file of an activation whose time is when it was last in use.
const usedName = "used"

// Use notes that an activation is in use at a time. The active one should be noted at
// least once an hour.
func (a *Archive) Use(id string, now time.Time) error {
	name := filepath.Join(a.Dir, id, usedName)
	if err := os.Chtimes(name, now, now); err == nil {
		return nil
	}
	if err := writeFile(name, nil); err != nil {
		return fmt.Errorf("cannot note the use of an archived configuration: %w", err)
	}
	return os.Chtimes(name, now, now)
}

// Expire removes the activations that were not in use at or after a time, but never the
// one to keep, and what an interrupted Put left behind. It returns how many it removed.
func (a *Archive) Expire(keep string, before time.Time) (n int, err error) {
	for _, id := range a.ids() {
		info, err := os.Stat(filepath.Join(a.Dir, id, usedName))
		if id == keep || err == nil && !info.ModTime().Before(before) {
			continue
		}
		// Without its manifest an activation that is half removed is none.
		if err := errors.Join(os.Remove(filepath.Join(a.Dir, id, manifestName)), os.RemoveAll(filepath.Join(a.Dir, id))); err != nil {
			return n, fmt.Errorf("cannot remove archived configuration: %w", err)
		}
		n++
	}
	left, err := filepath.Glob(filepath.Join(a.Dir, temporary+"*"))
	if err != nil {
		return n, err
	}
	for _, name := range left {
		if info, err := os.Stat(name); err == nil && info.ModTime().Before(before) {
			if err := os.RemoveAll(name); err != nil {
				return n, fmt.Errorf("cannot remove archived configuration: %w", err)
			}
		}
	}
	return n, nil
}

// ids returns the activations that are complete.
func (a *Archive) ids() (list []string) {
	names, err := filepath.Glob(filepath.Join(a.Dir, "[0-9a-f]*", manifestName))
	if err != nil {
		return nil
	}
	for _, name := range names {
		list = append(list, filepath.Base(filepath.Dir(name)))
	}
	return list
}

// Last returns the activation that was in use last; empty if there is none.
func (a *Archive) Last() (id string) {
	var last time.Time
	for _, x := range a.ids() {
		m, err := a.Read(x)
		if err != nil {
			continue // Load says why
		}
		used := m.ActivatedAt
		if info, err := os.Stat(filepath.Join(a.Dir, x, usedName)); err == nil && info.ModTime().After(used) {
			used = info.ModTime()
		}
		if id == "" || used.After(last) {
			id, last = x, used
		}
	}
	return id
}

// Read returns the manifest of an activation; fs.ErrNotExist if there is none.
func (a *Archive) Read(id string) (*Activation, error) {
	b, err := os.ReadFile(filepath.Join(a.Dir, filepath.Base(id), manifestName))
	if err != nil {
		return nil, fmt.Errorf("cannot read archived configuration: %w", err)
	}
	m := new(Activation)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("cannot read archived configuration %s: %w", id, err)
	}
	if m.V != 1 {
		return nil, fmt.Errorf("cannot read archived configuration %s: got version %d; want 1", id, m.V)
	}
	return m, nil
}

// Load loads the configuration of an activation. Secrets have other values.
func (a *Archive) Load(id string) (*Snapshot, *Activation, error) {
	m, err := a.Read(id)
	if err != nil {
		return nil, nil, err
	}
	masks := map[string]string{}
	for at, mask := range m.Placeholders {
		if mask == privateKey {
			if mask, err = newPrivateKey(); err != nil {
				return nil, nil, fmt.Errorf("cannot make a private key: %w", err)
			}
		}
		masks[at] = mask
	}
	s, err := LoadFS(&archivedFS{filepath.Join(a.Dir, filepath.Base(id)), m.Files}, m.Path, Options{placeholders: masks})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot load archived configuration %s: %w", id, err)
	}
	return s, m, nil
}

func newPrivateKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})), err
}

// archivedFS is the file system of an activation.
type archivedFS struct {
	dir   string
	files []Archived
}

// Open opens a file by the name that the configuration gives it.
func (a *archivedFS) Open(name string) (fs.File, error) {
	i := slices.IndexFunc(a.files, func(f Archived) bool { return f.Name == name })
	if i < 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f, err := os.Open(filepath.Join(a.dir, a.files[i].Stored))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: err}, f.Close())
	}
	return &archivedFile{z, f, &a.files[i]}, nil
}

// archivedFile is an open file of an archive.
type archivedFile struct {
	*gzip.Reader
	f    *os.File
	info *Archived
}

// Stat returns the size of the content and the time of the archive.
func (f *archivedFile) Stat() (fs.FileInfo, error) {
	i, err := f.f.Stat()
	return archivedInfo{i, f.info}, err
}

// Close closes the file.
func (f *archivedFile) Close() error { return errors.Join(f.Reader.Close(), f.f.Close()) }

type archivedInfo struct {
	fs.FileInfo
	a *Archived
}

// Name returns the name that the configuration uses.
func (i archivedInfo) Name() string { return path.Base(i.a.Name) }

// Size returns the size of the content.
func (i archivedInfo) Size() int64 { return i.a.Size }

func writeFile(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
