package pacing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"
)

// openStore opens the view, and empties it when its files cannot be used.
func openStore(o *Options) (*store, error) {
	s := &store{dir: o.Dir, mem: o.InMemory, log: o.Logger}
	err := s.open()
	if err == nil || !unusable(err) {
		return s, err
	}
	s.log.Error("the money view cannot be used; it is emptied and rebuilt from the log", zap.String("dir", s.dir), zap.Error(err))
	return s, s.empty()
}

// unusable tells whether files that cannot be opened or read are to be emptied:
// not when the system refuses, for instance a full disk or a lock, for that
// passes.
func unusable(err error) bool {
	var refusal syscall.Errno
	if errors.As(err, &refusal) && refusal != syscall.ENOENT {
		return false
	}
	return !strings.Contains(err.Error(), "lock held")
}

// damaged tells whether an error of a view in use means that its files are no
// good, so that only a rebuild helps.
func damaged(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, errFormat) || errors.Is(err, errClosed) || errors.Is(err, errRotten) ||
		errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (s *store) open() error {
	rotten := new(atomic.Bool)
	s.rotten = rotten
	o := &pebble.Options{Logger: pebbleLog{s.log.Sugar()}, MemTableSize: 8 << 20, EventListener: &pebble.EventListener{
		DataCorruption: func(i pebble.DataCorruptionInfo) { // by default it ends the program
			rotten.Store(true)
			s.log.Error("the files of the money view are damaged", zap.String("file", i.Path), zap.Error(i.Details))
		},
	}}
	dir := s.dir
	if s.mem {
		o.FS, o.DisableWAL, dir = vfs.NewMem(), true, "money"
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return fmt.Errorf("cannot open money view %q: %w", dir, err)
	}
	s.db = db
	if err := s.checkFormat(); err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

// checkFormat marks new files with the format, and refuses those of another one.
func (s *store) checkFormat() error {
	var format []byte
	marked, err := s.get([]byte{keyFormat}, func(b []byte) error { format = bytes.Clone(b); return nil })
	if err != nil {
		return err
	}
	used, err := s.get([]byte{keyPosition}, func([]byte) error { return nil })
	switch {
	case err != nil:
		return err
	case marked && bytes.Equal(format, []byte{storeFormat}):
		return nil
	case marked || used:
		return fmt.Errorf("cannot use money view: got format %v; want %d: %w", format, storeFormat, errFormat)
	}
	if err := s.db.Set([]byte{keyFormat}, []byte{storeFormat}, pebble.NoSync); err != nil {
		return fmt.Errorf("cannot write money view: %w", err)
	}
	return nil
}

// replace empties the store, or fills it from a copy of another one. When that
// fails it is empty; and where even that fails, closed, and may be tried again.
func (s *store) replace(from string) error {
	if err := s.close(); err != nil { // it is closed all the same, and what is in it goes
		s.log.Warn("money view was not closed well", zap.Error(err))
	}
	if from == "" || s.mem {
		return s.empty()
	}
	err := os.RemoveAll(s.dir)
	if err == nil {
		err = copyFiles(s.dir, from)
	}
	if err != nil {
		err = fmt.Errorf("cannot restore money view: %w", err)
	} else if err = s.open(); err == nil {
		if err = s.readAll(); err == nil {
			return nil
		}
	}
	return errors.Join(err, s.close(), s.empty())
}

// readAll reads every key once, so that a damaged copy is known before it is
// relied on.
func (s *store) readAll() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("cannot read money view: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if _, err := it.ValueAndErr(); err != nil {
			return fmt.Errorf("cannot read money view: %w", errors.Join(err, it.Close()))
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("cannot read money view: %w", err)
	}
	return s.sound()
}

// sound says whether the database found damage by itself.
func (s *store) sound() error {
	if s.rotten.Load() {
		return fmt.Errorf("cannot use money view: %w", errRotten)
	}
	return nil
}

// empty begins anew. The store is closed before.
func (s *store) empty() error {
	if !s.mem {
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("cannot empty money view: %w", err)
		}
	}
	return s.open()
}

// copyFiles copies a flat or nested folder of plain files.
func copyFiles(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o644)
	})
}
