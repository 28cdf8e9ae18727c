package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

const (
	// drainEvery is how often the spool tries the stream.
	drainEvery = 250 * time.Millisecond
	// drainWait bounds the wait for one batch.
	drainWait = 5 * time.Second
)

// spool holds facts that the stream would not take, in Dir/spool, as NDJSON. A
// file is written by one run and deleted when the log has all of it; after a
// kill in between some facts go out twice, with the same ids. Where no file can
// be written the reserve takes what it can hold.
type spool struct {
	dir string
	max int64

	mu      sync.Mutex // protects what follows, up to retired
	reserve reserve
	f       *os.File // what is written; nil when nothing is
	path    string
	size    int64    // of f
	bytes   int64    // of all files
	files   []string // to be drained, the oldest first
	n       int      // numbers the files
	written uint64   // writes to f, for sync
	retired error    // what the last sync of a file that was ended said

	syncMu  sync.Mutex // one sync at a time serves all that wait
	synced  uint64
	waiting atomic.Uint64 // facts
}

func openSpool(o *Options) (*spool, error) {
	s := &spool{dir: filepath.Join(o.Dir, "spool"), max: o.SpoolMaxBytes}
	s.reserve = reserve{path: filepath.Join(s.dir, reserveName), size: o.SpoolReserve}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create spool folder: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "spool-*"+plainEnd))
	if err != nil {
		return nil, fmt.Errorf("cannot list spool: %w", err)
	}
	sort.Strings(files)
	for _, path := range files {
		if err := s.adopt(path); err != nil {
			return nil, err
		}
	}
	if err := s.keepReserve(); err != nil {
		o.Logger.Warn("the spool has no reserve; it is tried again while there is room", zap.Error(err))
	}
	if n := s.waiting.Load(); n > 0 {
		o.Logger.Info("facts wait in the spool since an earlier run", zap.Int("files", len(s.files)), zap.Uint64("facts", n))
	}
	return s, nil
}

// adopt takes a file of an earlier run; an empty one goes.
func (s *spool) adopt(path string) error {
	st, err := os.Stat(path)
	if err == nil && st.Size() == 0 {
		err = os.Remove(path)
	} else if err == nil {
		s.files, s.bytes = append(s.files, path), s.bytes+st.Size()
		n := uint64(0)
		for _, err := range events.ReadFactFile(path) {
			if err == nil {
				n++
			}
		}
		s.waiting.Add(max(n, 1)) // one that is all damage is drained too, and said
	}
	if err != nil {
		return fmt.Errorf("cannot take over spool file: %w", err)
	}
	return nil
}

// keepReserve makes the reserve where there is none.
func (s *spool) keepReserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve.f != nil {
		return nil
	}
	n, err := s.reserve.open()
	s.waiting.Add(n)
	return err
}

// errSpoolFull says that the spool is at its own limit.
var errSpoolFull = errors.New("spool is full")

// put writes facts and returns when they are synced.
func (s *spool) put(now time.Time, facts []events.Fact) error {
	buf, err := appendLines(nil, facts)
	if err != nil {
		return err
	}
	f, turn, err := s.write(now, buf, len(facts))
	if err == nil {
		err = s.sync(f, turn)
	}
	if err == nil || errors.Is(err, errSpoolFull) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rerr := s.reserve.put(buf); rerr != nil {
		return errors.Join(err, rerr)
	}
	s.waiting.Add(uint64(len(facts)))
	return nil
}

func (s *spool) write(now time.Time, buf []byte, facts int) (*os.File, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+int64(len(buf)) > s.max {
		return nil, 0, fmt.Errorf("cannot spool facts: got %d bytes waiting; want at most %d: %w", s.bytes, s.max, errSpoolFull)
	}
	if s.f == nil {
		if err := s.create(now); err != nil {
			return nil, 0, fmt.Errorf("cannot create spool file: %w", err)
		}
	}
	if _, err := s.f.Write(buf); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("cannot write spool: %w", err), s.takeBack())
	}
	s.size += int64(len(buf))
	s.bytes += int64(len(buf))
	s.written++
	s.waiting.Add(uint64(facts))
	return s.f, s.written, nil
}

// create begins a file. mu is held.
func (s *spool) create(now time.Time) error {
	s.n++
	path := filepath.Join(s.dir, fmt.Sprintf("spool-%s-%06d%s", stamp(now), s.n, plainEnd))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	s.f, s.path, s.size = f, path, 0
	return nil
}

// takeBack undoes a failed write: a file that holds nothing else goes, of
// another one the torn line. mu is held.
func (s *spool) takeBack() error {
	if s.size == 0 {
		f := s.f
		s.f = nil
		return errors.Join(f.Close(), os.Remove(s.path))
	}
	err := s.f.Truncate(s.size)
	if err != nil {
		s.retire() // nothing more goes after a torn line
	}
	return err
}

// sync makes the write of that turn durable, together with all before it.
func (s *spool) sync(f *os.File, turn uint64) error {
	s.syncMu.Lock()
	defer s.syncMu.Unlock()
	if s.synced >= turn {
		return nil
	}
	s.mu.Lock()
	upTo, current, err := s.written, s.f == f, s.retired
	s.mu.Unlock()
	if current {
		if err = f.Sync(); isClosed(err) { // ended between: as above
			s.mu.Lock()
			err = s.retired
			s.mu.Unlock()
		} else if err != nil { // a later sync would not tell of what this one lost
			s.mu.Lock()
			if s.f == f {
				s.retire()
				s.retired = err
			}
			s.mu.Unlock()
		}
	}
	if err != nil {
		return fmt.Errorf("cannot sync spool: %w", err)
	}
	s.synced = upTo
	return nil
}

// retire syncs and ends the file that is written, so that it can be drained. mu
// is held.
func (s *spool) retire() {
	if s.f == nil {
		return
	}
	s.retired = errors.Join(s.f.Sync(), s.f.Close())
	s.f = nil
	s.files = append(s.files, s.path)
}

// take is the oldest file to drain; empty when nothing waits.
func (s *spool) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.files) == 0 {
		s.retire()
	}
	if len(s.files) > 0 {
		return s.files[0]
	}
	if s.reserve.used == 0 {
		s.waiting.Store(0)
	}
	return ""
}

// takeReserve is what waits in the reserve; empty when nothing does.
func (s *spool) takeReserve() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserve.f == nil || s.reserve.used == 0 {
		return nil, nil
	}
	return s.reserve.text()
}

// doneReserve empties the reserve, unless more came since.
func (s *spool) doneReserve(appended int, facts uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cleared, err := s.reserve.clear(int64(appended))
	if cleared {
		s.waiting.Store(s.waiting.Load() - min(facts, s.waiting.Load()))
	}
	return err
}

// done deletes a drained file.
func (s *spool) done(path string, facts uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err := os.Stat(path); err == nil {
		s.bytes -= st.Size()
	}
	s.files = s.files[1:]
	if s.f == nil && len(s.files) == 0 && s.reserve.used == 0 {
		facts = s.waiting.Load()
	}
	s.waiting.Store(s.waiting.Load() - min(facts, s.waiting.Load()))
	return os.Remove(path)
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	return errors.Join(s.retired, s.reserve.close())
}
