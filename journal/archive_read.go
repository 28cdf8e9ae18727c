package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
)

func isClosed(err error) bool { return errors.Is(err, fs.ErrClosed) }

// recoverLast finds the last whole fact of the last file and cuts off what comes
// after it. A file without any is removed: found is false.
func (a *archive) recoverLast() (found bool, err error) {
	n := len(a.files) - 1
	path := a.files[n].path
	if strings.HasSuffix(path, packedEnd) {
		return a.recoverPacked(path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false, fmt.Errorf("cannot read archive: %w", err)
	}
	whole, last := wholeLines(data)
	if torn := len(data) - whole; torn > 0 {
		a.o.Logger.Warn("torn end of the archive cut off; its facts are archived again from the stream",
			zap.String("file", path), zap.Int("bytes", torn), zap.Uint64("last_whole_seq", last.Seq))
		if err := os.Truncate(path, int64(whole)); err != nil {
			return false, fmt.Errorf("cannot repair archive: %w", err)
		}
	}
	if whole == 0 {
		a.files = a.files[:n]
		if err := os.Remove(path); err != nil {
			return false, fmt.Errorf("cannot remove empty archive file: %w", err)
		}
		return false, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return false, fmt.Errorf("cannot open archive: %w", err)
	}
	if err := f.Sync(); err != nil { // what a killed run wrote counts as synced below
		f.Close()
		return false, fmt.Errorf("cannot sync archive: %w", err)
	}
	a.f, a.size, a.opened, a.lastTS = f, int64(whole), a.o.Now(), last.TS
	a.last.Store(last.Seq)
	return true, nil
}

func (a *archive) recoverPacked(path string) (bool, error) {
	for f, err := range events.ReadFactFile(path) {
		if err != nil {
			a.o.Logger.Error("archive file is damaged", zap.Error(err))
			continue
		}
		a.lastTS = f.TS
		a.last.Store(f.Seq)
	}
	if a.last.Load() > 0 {
		return true, nil
	}
	aside := path + ".damaged"
	a.o.Logger.Error("archive file holds no fact; it is moved aside", zap.String("moved_to", aside))
	a.files = a.files[:len(a.files)-1]
	if err := os.Rename(path, aside); err != nil {
		return false, fmt.Errorf("cannot move damaged archive file: %w", err)
	}
	return false, nil
}

// wholeLines is the length of data up to the last line that is a whole fact, and
// that fact.
func wholeLines(data []byte) (int, events.Fact) {
	end := len(data)
	for {
		end = bytes.LastIndexByte(data[:end], '\n') + 1
		if end == 0 {
			return 0, events.Fact{}
		}
		start := bytes.LastIndexByte(data[:end-1], '\n') + 1
		var f events.Fact
		if json.Unmarshal(data[start:end], &f) == nil && f.Seq > 0 {
			return end, f
		}
		end = start
	}
}

// locate is the file that holds seq if any does.
func (a *archive) locate(seq uint64) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := len(a.files) - 1; i >= 0; i-- {
		if a.files[i].first <= seq {
			return a.files[i].path, true
		}
	}
	return "", false
}

// after is the first sequence of the first file that begins above seq.
func (a *archive) after(seq uint64) (uint64, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.files {
		if a.files[i].first > seq {
			return a.files[i].first, true
		}
	}
	return 0, false
}

// facts gives the facts on file from one sequence to another, both included. A
// gap in the sequences is a gap on file. A line that is damaged is passed over,
// and so is a gap; an error is the last thing that comes.
func (a *archive) facts(ctx context.Context, from, to uint64) iter.Seq2[*events.Fact, error] {
	return func(yield func(*events.Fact, error) bool) {
		missing := 0
		for next := from; next <= to && ctx.Err() == nil; {
			path, ok := a.locate(next)
			if ok {
				read, more, err := a.readFile(path, next, to, yield)
				switch {
				case !more:
					return
				case errors.Is(err, fs.ErrNotExist) && missing < 3:
					missing++ // packed or deleted meanwhile: look again
					continue
				case err != nil:
					yield(nil, err)
					return
				}
				missing, next = 0, read
			}
			if next > to {
				return
			}
			first, ok := a.after(next - 1)
			if !ok {
				return
			}
			if p, found := a.locate(next); !found || p == path {
				next = first
			}
		}
	}
}

// readFile yields the facts of one file and says which sequence comes next.
func (a *archive) readFile(path string, next, to uint64, yield func(*events.Fact, error) bool) (uint64, bool, error) {
	var line *events.LineError
	for f, err := range events.ReadFactFile(path) {
		switch {
		case errors.As(err, &line):
			a.o.Logger.Error("archive line is damaged", zap.Error(err))
			continue
		case errors.Is(err, fs.ErrNotExist):
			return next, true, err
		case err != nil: // what is behind the damage is lost, and counted as such
			a.o.Logger.Error("archive file is damaged", zap.Error(err), zap.String("remedy", "restore the file from a backup"))
			return next, true, nil
		case f.Seq < next:
			continue
		case f.Seq > to:
			return to + 1, true, nil
		}
		next = f.Seq + 1
		if !yield(f, nil) {
			return next, false, nil
		}
		if f.Seq == to { // what follows may be in the making
			break
		}
	}
	return next, true, nil
}

// fact finds one fact on file; nil without an error when it is not there.
func (a *archive) fact(ctx context.Context, seq uint64) (*events.Fact, error) {
	for f, err := range a.facts(ctx, seq, seq) {
		if err != nil || f.Seq == seq {
			return f, err
		}
	}
	return nil, nil
}
