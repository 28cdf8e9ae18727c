package segments

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// pebbleLog passes on what Pebble says of faults; its chatter is dropped.
type pebbleLog struct{ *zap.SugaredLogger }

func (pebbleLog) Infof(string, ...any) {}

// Fatalf must not return: Pebble cannot go on, for instance when its own log
// cannot be written.
func (l pebbleLog) Fatalf(format string, args ...any) { l.SugaredLogger.Panicf(format, args...) }

func pebbleOptions(fs vfs.FS, log *zap.Logger) *pebble.Options {
	p := &pebble.Options{
		Logger:             pebbleLog{log.Sugar()},
		FormatMajorVersion: pebble.FormatNewest,
		MemTableSize:       16 << 20,
		CacheSize:          32 << 20,
		FS:                 fs,
		// By default damage that is found in the background ends the program. Here
		// reads fail until the next start, which finds it and rebuilds the view.
		EventListener: &pebble.EventListener{DataCorruption: func(i pebble.DataCorruptionInfo) {
			log.Error("the files of the view of visitors are damaged; restart to rebuild it from the log", zap.String("file", i.Path), zap.Error(i.Details))
		}},
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return p
}

// openFiles opens the files and checks their format.
func openFiles(dir string, fs vfs.FS, log *zap.Logger) (*pebble.DB, error) {
	db, err := pebble.Open(dir, pebbleOptions(fs, log))
	if err != nil {
		return nil, fmt.Errorf("cannot open profiles in %s: %w", dir, err)
	}
	if err := checkFormat(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
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

// checkFormat writes the format of new files and checks that of others.
func checkFormat(db *pebble.DB) error {
	value, exists, err := get(db, []byte(metaFormat))
	switch {
	case err != nil:
		return err
	case !exists:
		return db.Set([]byte(metaFormat), []byte{storeFormat}, pebble.Sync)
	case len(value) != 1 || value[0] != storeFormat:
		return fmt.Errorf("cannot use profiles: got format %x; want %d", value, storeFormat)
	}
	return nil
}

// storedPosition is the position in the files, with the time of the log there.
type storedPosition struct {
	events.Position
	Now rtb.Second `json:"now"`
}

// writeMeta puts into the batch what goes with its data.
func (t *batch) writeMeta(p events.Position) error {
	text, err := json.Marshal(storedPosition{p, t.now})
	if err != nil {
		return err
	}
	if err := t.b.Set([]byte(metaPosition), text, nil); err != nil {
		return err
	}
	visitors := uint64(t.s.count.visitors.Load() + t.visitors)
	return t.b.Set([]byte(metaVisitors), binary.BigEndian.AppendUint64(nil, visitors), nil)
}

// load reads from the files what is kept in memory. It reads every key once:
// about a second per million.
func (s *Store) load() error {
	var at storedPosition
	text, exists, err := get(s.db, []byte(metaPosition))
	if err != nil {
		return err
	}
	if exists {
		if err := json.Unmarshal(text, &at); err != nil {
			return fmt.Errorf("cannot read position of profiles: got %.100q: %w", text, err)
		}
	}
	s.setPosition(at.Position, at.Now)
	rules, _, err := get(s.db, []byte(metaRules))
	if err != nil {
		return err
	}
	var bad []string
	s.matcher, bad = readableRules(strings.Split(string(rules), "\n"))
	s.reportBadRules(bad)
	swept, _, err := get(s.db, []byte(metaSwept))
	if err != nil {
		return err
	}
	s.swept = 0
	if len(swept) == 4 {
		s.swept = rtb.Second(binary.BigEndian.Uint32(swept))
	}
	return s.loadFilters()
}

// loadFilters makes the filters of every key, and counts visitors and opt-outs.
func (s *Store) loadFilters() error {
	visitors := 0
	value, _, err := get(s.db, []byte(metaVisitors))
	if err != nil {
		return err
	}
	if len(value) == 8 {
		visitors = int(binary.BigEndian.Uint64(value))
	}
	known, gone := newFilter(max(1<<20, visitors*4)), newFilter(1<<14)
	outs := int64(0)
	for _, space := range []byte{profileSpace, edgeSpace, tombSpace} {
		err := eachKey(s.db, space, func(k rtb.Key) {
			known.add(k)
			if space == tombSpace {
				gone.add(k)
				outs++
			}
		})
		if err != nil {
			return err
		}
	}
	s.known.Store(known)
	s.gone.Store(gone)
	for k := range s.pending.all() {
		known.add(k)
	}
	s.count.visitors.Store(int64(visitors))
	s.count.outs.Store(outs)
	return nil
}

func eachKey(r pebble.Reader, space byte, fn func(rtb.Key)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}})
	if err != nil {
		return err
	}
	for it.First(); it.Valid(); it.Next() {
		if len(it.Key()) == 17 {
			fn(rtb.Key(it.Key()[1:]))
		}
	}
	return it.Close()
}

// Restore replaces the view by the copy in dir that Checkpoint wrote, and
// leaves dir as it is. It copies every key, about a million a second.
func (s *Store) Restore(dir string) error {
	return s.replace(func() error { return s.copyFrom(dir) })
}

// copyFrom copies everything but the position, and that last.
func (s *Store) copyFrom(dir string) error {
	p := pebbleOptions(s.fs, s.log)
	p.ReadOnly = true
	from, err := pebble.Open(dir, p)
	if err != nil {
		return fmt.Errorf("cannot open checkpoint %s: %w", dir, err)
	}
	err = s.copyKeys(from)
	return errors.Join(err, from.Close())
}

const copyStep = 4 << 20 // bytes of one batch

func (s *Store) copyKeys(from *pebble.DB) error {
	format, _, err := get(from, []byte(metaFormat))
	if err != nil {
		return err
	}
	if len(format) != 1 || format[0] != storeFormat {
		return fmt.Errorf("cannot use checkpoint: got format %x; want %d", format, storeFormat)
	}
	it, err := from.NewIter(nil)
	if err != nil {
		return err
	}
	b := s.db.NewBatch()
	defer func() { b.Close() }()
	for it.First(); it.Valid() && err == nil; it.Next() {
		if string(it.Key()) == metaPosition {
			continue
		}
		if err = b.Set(it.Key(), it.Value(), nil); err == nil && b.Len() > copyStep {
			if err = b.Commit(pebble.NoSync); err == nil {
				b.Close()
				b = s.db.NewBatch()
			}
		}
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("cannot copy checkpoint: %w", err)
	}
	position, exists, err := get(from, []byte(metaPosition))
	if err == nil && exists {
		err = b.Set([]byte(metaPosition), position, nil)
	}
	if err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("cannot write restored profiles: %w", err)
	}
	return nil
}
