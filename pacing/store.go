package pacing

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Keys of the view's Pebble database: one byte of kind, then the name.
const (
	keyPosition = 'p'
	keyBudget   = 'b' // + budget text -> budget as JSON
	keyLine     = 'l' // + line text -> lineTotal as JSON
	keyNotice   = 'n' // + bid id -> three times
	keyForget   = 't' // + time, bid id: when a notice is forgotten
	keyPause    = 's' // + scope -> pause as JSON
	keyControl  = 'c' // the controllers, which are no part of the fold
	keyFormat   = 'v' // one byte: storeFormat
)

// storeFormat changes whenever what is stored means something else: a view of
// another format is emptied, and the log folded again.
const storeFormat = 2

var (
	errFormat = errors.New("another format")
	errClosed = errors.New("its files are closed")
)

// store is the view on disk or in memory.
type store struct {
	db  *pebble.DB // nil while the files cannot be used
	dir string
	mem bool
	log *zap.Logger
}

// openStore opens the view, and empties it when its files cannot be used.
func openStore(o *Options) (*store, error) {
	s := &store{dir: o.Dir, mem: o.InMemory, log: o.Logger}
	err := s.open()
	if err == nil || !damaged(err) {
		return s, err
	}
	s.log.Error("the money view cannot be used; it is emptied and rebuilt from the log", zap.String("dir", s.dir), zap.Error(err))
	return s, s.empty()
}

// damaged tells whether an error means that the view's files are no good, so
// that only a rebuild helps.
func damaged(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, errFormat) || errors.Is(err, errClosed) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (s *store) open() error {
	o := &pebble.Options{Logger: pebbleLog{s.log.Sugar()}, MemTableSize: 8 << 20}
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

// pebbleLog passes the database's errors on and drops its chatter.
type pebbleLog struct{ *zap.SugaredLogger }

func (pebbleLog) Infof(string, ...any) {}

// Fatalf must not return: Pebble cannot go on, for instance when its own log
// cannot be written. What was applied is in the journal.
func (l pebbleLog) Fatalf(format string, args ...any) { l.SugaredLogger.Panicf(format, args...) }

// close closes the files; a second time it does nothing.
func (s *store) close() error {
	if s.db == nil {
		return nil
	}
	db := s.db
	s.db = nil
	if err := db.Close(); err != nil {
		return fmt.Errorf("cannot close money view: %w", err)
	}
	return nil
}

// get reads one value into fn; a missing key is not found, and no error.
func (s *store) get(key []byte, fn func([]byte) error) (bool, error) {
	if s.db == nil {
		return false, fmt.Errorf("cannot read money view: %w", errClosed)
	}
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read money view: %w", err)
	}
	err = fn(v)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return true, err
}

// each walks the keys of one kind; the key is given without its kind.
func (s *store) each(kind byte, fn func(key, value []byte) error) error {
	return s.eachFrom(kind, nil, fn)
}

// eachFrom walks those from a key on.
func (s *store) eachFrom(kind byte, from []byte, fn func(key, value []byte) error) error {
	if s.db == nil {
		return fmt.Errorf("cannot read money view: %w", errClosed)
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: append([]byte{kind}, from...), UpperBound: []byte{kind + 1}})
	if err != nil {
		return fmt.Errorf("cannot read money view: %w", err)
	}
	for it.First(); it.Valid(); it.Next() {
		if err := fn(it.Key()[1:], it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

func (s *store) checkpoint(dir string) error {
	if s.mem {
		return fmt.Errorf("cannot checkpoint money view: it is in memory")
	}
	if s.db == nil {
		return fmt.Errorf("cannot checkpoint money view: %w", errClosed)
	}
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("cannot checkpoint money view: %w", err)
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
		return nil
	}
	return errors.Join(err, s.empty())
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

func nameKey(kind byte, name string) []byte { return append([]byte{kind}, name...) }

func noticeKey(id rtb.BidID) []byte { return append([]byte{keyNotice}, id[:]...) }

func forgetKey(at int64, id rtb.BidID) []byte {
	k := binary.BigEndian.AppendUint64([]byte{keyForget}, uint64(at))
	return append(k, id[:]...)
}

func (n *notice) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n.won))
	b = binary.BigEndian.AppendUint64(b, uint64(n.lost))
	return binary.BigEndian.AppendUint64(b, uint64(n.charged))
}

func (n *notice) decode(b []byte) error {
	if len(b) != 24 {
		return fmt.Errorf("cannot read notice: got %d bytes; want 24", len(b))
	}
	n.won = int64(binary.BigEndian.Uint64(b))
	n.lost = int64(binary.BigEndian.Uint64(b[8:]))
	n.charged = int64(binary.BigEndian.Uint64(b[16:]))
	return nil
}

// readPosition reads where the view stands.
func (s *store) readPosition() (events.Position, error) {
	var pos events.Position
	_, err := s.get([]byte{keyPosition}, func(b []byte) error { return json.Unmarshal(b, &pos) })
	return pos, err
}
