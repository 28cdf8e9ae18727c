package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/events"
)

// factHead begins every fact that Append wrote; the archive puts the sequence
// after it instead of decoding the fact.
var factHead = []byte(`{"v":1,`)

// write appends messages of the stream, in order, each once. What is on file
// already is passed over.
func (a *archive) write(l *Log, batch []entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.last.Load()
	for len(batch) > 0 && batch[0].seq <= last {
		batch = batch[1:]
	}
	if len(batch) == 0 {
		return nil
	}
	if first := batch[0].seq; last > 0 && first != last+1 {
		l.lost("archive", last+1, first-1)
	}
	a.buf = a.buf[:0]
	for i := range batch {
		a.buf = appendLine(l, a.buf, &batch[i])
	}
	if err := a.rotate(batch[0].seq); err != nil {
		return err
	}
	if _, err := a.f.Write(a.buf); err != nil {
		a.abandon()
		return fmt.Errorf("cannot write archive: %w", err)
	}
	a.size += int64(len(a.buf))
	end := batch[len(batch)-1]
	var f events.Fact
	l.decode(end, &f)
	a.lastTS = f.TS
	a.last.Store(end.seq)
	a.wake()
	return nil
}

// abandon takes back what a failed write left, and leaves the file: the next try
// goes to a new one. mu is held.
func (a *archive) abandon() {
	if err := a.f.Truncate(a.size); err != nil && !isClosed(err) {
		a.o.Logger.Error("cannot take back a torn archive line", zap.Error(err))
	}
	if err := errors.Join(a.f.Sync(), a.f.Close()); err != nil && !isClosed(err) {
		a.o.Logger.Error("cannot close archive file", zap.Error(err))
	}
	a.f = nil
}

// appendLine appends the archive's line of a message.
func appendLine(l *Log, dst []byte, e *entry) []byte {
	if bytes.HasPrefix(e.data, factHead) && e.data[len(e.data)-1] == '}' && bytes.IndexByte(e.data, '\n') < 0 {
		dst = append(append(dst, factHead...), `"seq":`...)
		dst = strconv.AppendUint(dst, e.seq, 10)
		dst = append(append(dst, ','), e.data[len(factHead):]...)
		return append(dst, '\n')
	}
	var f events.Fact
	l.decode(*e, &f)
	b, err := events.AppendFact(dst, &f)
	if err != nil {
		f = unreadable(*e)
		b, _ = events.AppendFact(dst, &f) // a tick of plain text and a server's time
	}
	return append(b, '\n')
}

// rotate makes a.f a file that takes the line of first.
func (a *archive) rotate(first uint64) error {
	now := a.o.Now()
	if a.f != nil && a.size < a.o.ArchiveFileBytes && now.Sub(a.opened) < a.o.ArchiveFileAge {
		return nil
	}
	if a.f != nil {
		if err := a.finish(); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(a.path(first), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot create archive file: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("cannot create archive file: %w", err)
	}
	a.f, a.size, a.opened = f, st.Size(), now
	if n := len(a.files); n == 0 || a.files[n-1].first != first {
		a.files = append(a.files, archiveFile{a.path(first), first})
	}
	return nil
}

// finish syncs, closes and packs the file that is written.
func (a *archive) finish() error {
	err := a.f.Sync()
	if err == nil {
		a.synced.Store(a.last.Load())
		err = a.f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot finish archive file: %w", err)
	}
	a.f = nil
	return a.pack(len(a.files)-1, a.lastTS)
}

// packOld packs plain files that are not the last: packing was cut off.
func (a *archive) packOld() error {
	for i := range a.files[:max(len(a.files)-1, 0)] {
		if strings.HasSuffix(a.files[i].path, packedEnd) {
			continue
		}
		if err := a.pack(i, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// pack replaces a plain file by its packed form, dated by its last fact.
func (a *archive) pack(i int, at time.Time) error {
	plain := a.files[i].path
	if !at.IsZero() {
		if err := os.Chtimes(plain, at, at); err != nil {
			return fmt.Errorf("cannot date archive file: %w", err)
		}
	}
	if err := events.Pack(plain); err != nil {
		return fmt.Errorf("cannot pack archive file: %w", err)
	}
	a.files[i].path = plain + events.PackedEnd
	return syncDir(a.dir)
}

// sync makes what is written durable.
func (a *archive) sync() error {
	a.mu.Lock()
	f, last := a.f, a.last.Load()
	a.mu.Unlock()
	if f == nil || a.synced.Load() >= last {
		return nil
	}
	if err := f.Sync(); err != nil && !isClosed(err) { // rotated meanwhile: finish has synced it
		return fmt.Errorf("cannot sync archive: %w", err)
	}
	if a.synced.Load() < last {
		a.synced.Store(last)
	}
	return nil
}
