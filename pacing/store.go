package pacing

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
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
	errRotten = errors.New("its files are damaged")
)

// store is the view on disk or in memory.
type store struct {
	db  *pebble.DB // nil while the files cannot be used
	dir string
	mem bool
	log *zap.Logger
	// rotten is set when the database finds damage by itself, in the background.
	rotten *atomic.Bool
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
