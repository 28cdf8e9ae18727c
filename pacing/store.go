package pacing

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
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
)

// store is the view on disk or in memory.
type store struct {
	db  *pebble.DB
	dir string
	mem bool
	log *zap.Logger
}

func openStore(o *Options) (*store, error) {
	s := &store{dir: o.Dir, mem: o.InMemory, log: o.Logger}
	return s, s.open()
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
	return nil
}

// pebbleLog passes the database's errors on and drops its chatter.
type pebbleLog struct{ *zap.SugaredLogger }

func (pebbleLog) Infof(string, ...any) {}

// Fatalf must not return: Pebble cannot go on, for instance when its own log
// cannot be written. What was applied is in the journal.
func (l pebbleLog) Fatalf(format string, args ...any) { l.SugaredLogger.Panicf(format, args...) }

func (s *store) close() error { return s.db.Close() }

// get reads one value into fn; a missing key is not found, and no error.
func (s *store) get(key []byte, fn func([]byte) error) (bool, error) {
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
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
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
	if err := s.db.Checkpoint(dir, pebble.WithFlushedWAL()); err != nil {
		return fmt.Errorf("cannot checkpoint money view: %w", err)
	}
	return nil
}

// replace empties the store, or fills it from a copy of another one.
func (s *store) replace(from string) error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("cannot close money view: %w", err)
	}
	if !s.mem {
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("cannot empty money view: %w", err)
		}
		if from != "" {
			if err := copyFiles(s.dir, from); err != nil {
				return fmt.Errorf("cannot restore money view: %w", err)
			}
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
