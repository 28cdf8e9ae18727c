package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"rebound/events"
)

// tailPoll is how often log tail looks for new entries, and tailFiles how many of the
// newest files of each log it searches for the last ones.
const (
	tailPoll  = 300 * time.Millisecond
	tailFiles = 2
)

// logTail prints the last entries, and then those that are written, until ctx ends.
func (p *program) logTail(ctx context.Context, args []string) int {
	var f logFlags
	fs := flag.NewFlagSet("bidder log tail", flag.ContinueOnError)
	f.register(fs)
	n := fs.Int("n", 10, "begin with the last `N` entries of the newest files")
	once := fs.Bool("once", false, "print the last entries and end")
	return p.logTask(fs, &f, args, func(r *logReader, filter *logFilter) error {
		w := bufio.NewWriter(p.stdout)
		follow, err := r.printLast(w, filter, *n, f.json)
		if err != nil || *once {
			return errors.Join(err, w.Flush())
		}
		defer func() {
			for _, t := range follow {
				t.close()
			}
		}()
		tick := time.NewTicker(tailPoll)
		defer tick.Stop()
		for {
			if err := printNew(w, follow, filter, f.json); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
}

// printLast prints the last n selected entries, and returns the followers of both logs,
// which begin after them.
func (r *logReader) printLast(w *bufio.Writer, filter *logFilter, n int, asJSON bool) ([]*logFollower, error) {
	follow := []*logFollower{{list: r.factFiles, decode: decodeFactLine, r: r}, {list: r.bidFiles, decode: decodeBidLine, r: r}}
	var last []logEntry
	for _, t := range follow {
		names, err := t.list()
		if err != nil {
			return nil, err
		}
		for _, name := range names[max(0, len(names)-tailFiles):] {
			t.name = name
			entries, err := t.read()
			if err != nil {
				return nil, err
			}
			for i := range entries {
				if filter.selects(&entries[i]) {
					last = append(last, entries[i])
				}
			}
		}
	}
	slices.SortStableFunc(last, func(a, b logEntry) int { return a.at.Compare(b.at) })
	for i := max(0, len(last)-max(n, 0)); i < len(last); i++ {
		if err := writeEntry(w, &last[i], asJSON); err != nil {
			return nil, err
		}
	}
	return follow, w.Flush()
}

// printNew prints what was written since the last call.
func printNew(w *bufio.Writer, follow []*logFollower, filter *logFilter, asJSON bool) error {
	var list []logEntry
	for _, t := range follow {
		entries, err := t.next()
		if err != nil {
			return err
		}
		list = append(list, entries...)
	}
	slices.SortStableFunc(list, func(a, b logEntry) int { return a.at.Compare(b.at) })
	for i := range list {
		if filter.selects(&list[i]) {
			if err := writeEntry(w, &list[i], asJSON); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

// logFollower reads the files of one log as they grow. A file that was packed or deleted
// is read to its end through the open handle, and then the next one follows.
type logFollower struct {
	list   func() ([]string, error)
	decode func(line []byte) (logEntry, bool, error)
	r      *logReader

	name string // of the file that is being read; it may be packed by now
	file *os.File
	part []byte // the beginning of a line that is not complete
}

// plainName returns the name of a file before it is packed.
func plainName(name string) string { return strings.TrimSuffix(name, events.PackedEnd) }

// read reads a file from its beginning. A packed one is complete.
func (t *logFollower) read() ([]logEntry, error) {
	t.close()
	if strings.HasSuffix(t.name, events.PackedEnd) {
		text, err := events.ReadPacked(t.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return t.parse(text), err
	}
	var err error
	if t.file, err = os.Open(t.name); err != nil {
		if t.file = nil; errors.Is(err, fs.ErrNotExist) { // packed or deleted in the meantime
			t.name += events.PackedEnd
			return t.read()
		}
		return nil, err
	}
	return t.rest()
}

// rest reads what was appended to the open file.
func (t *logFollower) rest() ([]logEntry, error) {
	if t.file == nil {
		return nil, nil
	}
	text, err := io.ReadAll(t.file)
	return t.parse(text), err
}

// next returns what was written since the last call, in this file and in those after it.
func (t *logFollower) next() ([]logEntry, error) {
	names, err := t.list() // first, so that a file that has a successor is complete
	if err != nil {
		return nil, err
	}
	out, err := t.rest()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if plainName(name) <= plainName(t.name) {
			continue
		}
		t.name, t.part = name, nil
		more, err := t.read()
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// parse decodes the complete lines of text, and keeps the rest for the next call.
func (t *logFollower) parse(text []byte) (out []logEntry) {
	text = append(t.part, text...)
	t.part = nil
	for len(text) > 0 {
		line, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok {
			t.part = bytes.Clone(text)
			break
		}
		text = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		e, ok, err := t.decode(line)
		if err != nil {
			t.r.skip(&events.LineError{File: t.name, Err: err})
		} else if ok {
			out = append(out, e)
		}
	}
	return out
}

func (t *logFollower) close() {
	if t.file != nil {
		t.file.Close() //nolint:errcheck // it was only read
		t.file = nil
	}
	t.part = nil
}

func decodeFactLine(text []byte) (e logEntry, ok bool, err error) {
	if _, err := events.ParseHeader(text); err == nil {
		return e, false, nil
	}
	l, err := events.ParseLine(text)
	if err != nil {
		return e, false, err
	}
	f := new(events.Fact)
	if err := l.Decode(f); err != nil {
		return e, false, err
	}
	return factEntry(f), true, nil
}

func decodeBidLine(text []byte) (e logEntry, ok bool, err error) {
	r := new(events.BidRecord)
	if err := json.Unmarshal(text, r); err != nil {
		return e, false, err
	}
	return bidEntry(r), true, nil
}
