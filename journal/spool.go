package journal

import (
	"context"
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
// kill in between some facts go out twice, with the same ids.
type spool struct {
	dir string
	max int64

	mu      sync.Mutex // protects f, path, bytes, files and n
	f       *os.File   // what is written; nil when nothing is
	path    string
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
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create spool folder: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "spool-*"+plainEnd))
	if err != nil {
		return nil, fmt.Errorf("cannot list spool: %w", err)
	}
	sort.Strings(files)
	s.files = files
	for _, path := range files {
		if st, err := os.Stat(path); err == nil {
			s.bytes += st.Size()
		}
		n := uint64(0)
		for _, err := range events.ReadFactFile(path) {
			if err == nil {
				n++
			}
		}
		s.waiting.Add(n)
		o.Logger.Info("facts wait in the spool since an earlier run", zap.String("file", path), zap.Uint64("facts", n))
	}
	return s, nil
}

// put writes facts and returns when they are synced.
func (s *spool) put(now time.Time, facts []events.Fact) error {
	var buf []byte
	for i := range facts {
		f := facts[i]
		f.V = 1
		var err error
		if buf, err = events.AppendFact(buf, &f); err != nil {
			return fmt.Errorf("cannot encode fact %s: %w", f.ID, err)
		}
		buf = append(buf, '\n')
	}
	f, turn, err := s.write(now, buf, len(facts))
	if err != nil {
		return err
	}
	return s.sync(f, turn)
}

func (s *spool) write(now time.Time, buf []byte, facts int) (*os.File, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+int64(len(buf)) > s.max {
		return nil, 0, fmt.Errorf("cannot spool facts: got %d bytes waiting; want at most %d", s.bytes, s.max)
	}
	if s.f == nil {
		s.n++
		path := filepath.Join(s.dir, fmt.Sprintf("spool-%s-%06d%s", stamp(now), s.n, plainEnd))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, 0, fmt.Errorf("cannot create spool file: %w", err)
		}
		if err := syncDir(s.dir); err != nil {
			f.Close()
			return nil, 0, fmt.Errorf("cannot create spool file: %w", err)
		}
		s.f, s.path = f, path
	}
	n, err := s.f.Write(buf)
	s.bytes += int64(n)
	if err != nil {
		s.retire() // its last line is torn: nothing more goes after it
		return nil, 0, fmt.Errorf("cannot write spool: %w", err)
	}
	s.written++
	s.waiting.Add(uint64(facts))
	return s.f, s.written, nil
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
	if len(s.files) == 0 {
		return ""
	}
	return s.files[0]
}

// done deletes a drained file.
func (s *spool) done(path string, facts uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err := os.Stat(path); err == nil {
		s.bytes -= st.Size()
	}
	s.files = s.files[1:]
	if s.f == nil && len(s.files) == 0 {
		facts = s.waiting.Load()
	}
	s.waiting.Store(s.waiting.Load() - min(facts, s.waiting.Load()))
	return os.Remove(path)
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	return s.retired
}

// AppendOrSpool appends facts, or, while the stream takes none, writes them to a
// synced file from which they are appended later, also after a restart. nil
// means that they are in one of the two. It is for notices, whose order does not
// matter and which nobody sends twice.
func (l *Log) AppendOrSpool(ctx context.Context, facts ...events.Fact) error {
	if !l.enter() {
		return ErrClosed
	}
	defer l.inflight.Done()
	var err error
	if !l.meter.bad.Load() || l.spool.waiting.Load() == 0 { // else the drainer is trying
		if err = l.Append(ctx, facts...); err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrInvalid) {
			return err
		}
	}
	if serr := l.spool.put(l.o.Now(), facts); serr != nil {
		return errors.Join(err, serr)
	}
	return nil
}

// drain appends what is spooled as soon as the stream takes it.
func (l *Log) drain(ctx context.Context) {
	for wait(ctx, drainEvery) {
		for l.spool.waiting.Load() > 0 {
			if err := l.drainFile(ctx); err != nil {
				if ctx.Err() == nil {
					l.o.Logger.Debug("spool waits", zap.Error(err))
				}
				break
			}
		}
	}
}

func (l *Log) drainFile(ctx context.Context) error {
	path := l.spool.take()
	if path == "" {
		return nil
	}
	n := uint64(0)
	batch := make([]events.Fact, 0, appendChunk)
	flush := func() error {
		ctx, cancel := context.WithTimeout(ctx, drainWait)
		defer cancel()
		err := l.Append(ctx, batch...)
		n += uint64(len(batch))
		batch = batch[:0]
		return err
	}
	for f, err := range events.ReadFactFile(path) {
		var line *events.LineError
		switch {
		case errors.As(err, &line):
			l.o.Logger.Error("spooled fact is damaged", zap.Error(err))
			continue
		case err != nil:
			return err
		}
		if batch = append(batch, *f); len(batch) == cap(batch) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	l.o.Logger.Info("spooled facts appended", zap.Uint64("facts", n))
	return l.spool.done(path, n)
}
