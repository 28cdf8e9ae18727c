package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebound/events"
)

// logFolders are the folders of one bidder's logs; an empty one is not read.
type logFolders struct{ facts, bids string }

// factFiles returns the files of the log, the oldest first.
func (l *logFolders) factFiles() ([]string, error) {
	if l.facts == "" {
		return nil, nil
	}
	names, err := filepath.Glob(filepath.Join(events.EscapeGlob(l.facts), "[0-9]*.ndjson*"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the log's files: %w", err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".ndjson") && !strings.HasSuffix(n, ".ndjson.zst") })
	slices.Sort(names)
	return names, nil
}

func (l *logFolders) bidFiles() ([]string, error) {
	if l.bids == "" {
		return nil, nil
	}
	return events.BidFiles(l.bids)
}

// bidsSince leaves out the files of which every record is older than a time, which their
// names tell.
func bidsSince(names []string, from time.Time) []string {
	if from.IsZero() {
		return names
	}
	for len(names) > 1 {
		_, began, _ := strings.Cut(filepath.Base(names[1]), "bids-")
		at, err := time.Parse("20060102T150405.000Z", began[:min(len(began), 20)])
		if err != nil || at.After(from) {
			break
		}
		names = names[1:]
	}
	return names
}

// logReader reads the logs and counts what it cannot read.
type logReader struct {
	logFolders
	broken int
	warn   func(error) // called for each broken line
}

// facts yields the facts of files in order. A fact that an earlier file had is skipped,
// because a file may overlap with the one after it.
func (r *logReader) facts(names []string) iter.Seq[logEntry] {
	return func(yield func(logEntry) bool) {
		last := uint64(0)
		for _, name := range names {
			for f, err := range events.ReadFactFile(name) {
				if err != nil {
					if r.skip(err) {
						continue
					}
					break
				}
				if f.Seq <= last {
					continue
				}
				if last = f.Seq; !yield(factEntry(f)) {
					return
				}
			}
		}
	}
}

// bidRecords yields the records of files in order.
func (r *logReader) bidRecords(names []string) iter.Seq[logEntry] {
	return func(yield func(logEntry) bool) {
		for _, name := range names {
			files, err := events.OpenRecordFiles(events.EscapeGlob(name))
			if err != nil {
				r.skip(err)
				continue
			}
			for b, err := range files.All() {
				if err != nil {
					if r.skip(err) {
						continue
					}
					break
				}
				if !yield(bidEntry(b)) {
					return
				}
			}
		}
	}
}

// skip counts a line that cannot be read, and reports whether reading goes on with the
// next one. A torn last line is expected: the bidder is writing it. So is a file that has
// been packed or deleted in the meantime.
func (r *logReader) skip(err error) bool {
	if errors.Is(err, events.ErrTorn) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	r.broken++
	r.warn(err)
	var line *events.LineError
	return errors.As(err, &line)
}

// all yields the selected entries of both logs, by time.
func (r *logReader) all(f *logFilter) (iter.Seq[logEntry], error) {
	factNames, err := r.factFiles()
	if err != nil {
		return nil, err
	}
	bidNames, err := r.bidFiles()
	if err != nil {
		return nil, err
	}
	return selected(merged(r.facts(factNames), r.bidRecords(bidsSince(bidNames, f.from))), f), nil
}

func selected(list iter.Seq[logEntry], f *logFilter) iter.Seq[logEntry] {
	return func(yield func(logEntry) bool) {
		for e := range list {
			if f.selects(&e) && !yield(e) {
				return
			}
		}
	}
}

// merged yields the entries of two lists by time; each list is nearly in order.
func merged(a, b iter.Seq[logEntry]) iter.Seq[logEntry] {
	return func(yield func(logEntry) bool) {
		nextA, stopA := iter.Pull(a)
		defer stopA()
		nextB, stopB := iter.Pull(b)
		defer stopB()
		x, okA := nextA()
		y, okB := nextB()
		for okA || okB {
			if okA && (!okB || !y.at.Before(x.at)) {
				if !yield(x) {
					return
				}
				x, okA = nextA()
				continue
			}
			if !yield(y) {
				return
			}
			y, okB = nextB()
		}
	}
}
