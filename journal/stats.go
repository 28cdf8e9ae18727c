package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rebound/events"
)

// Stats is the state of the log at one moment.
type Stats struct {
	Log       string    // the log's id
	First     uint64    // first sequence in the files
	FirstTime time.Time // TS of the fact before First; zero if First is the first of all
	Last      events.Position
	Files     int
	Bytes     int64 // total size of all files

	Append       Histogram // durations of Append, in seconds
	AppendErrors uint64
	WriteErrors  uint64 // writes and syncs that failed
	SealErrors   uint64 // files that could not be compressed
	LastError    string // error of the last failed Append; empty if none failed
	// FailingSince is when appending began to fail; zero while it works.
	FailingSince time.Time

	DiskFree  uint64 // bytes; 0 when unknown
	DiskLow   bool   // DiskFree is below DiskLeast
	DiskLeast uint64 // Options.MinFreeBytes
	Full      bool   // no space is left for visitor events
	Damaged   bool   // a sealed file is damaged; a log message names it
	Blind     string // why money must not be spent; empty if it may
	Outbox    uint64 // facts that wait for the cluster, in a fleet
	Views     []ViewStats
}

// ViewStats describes how far a followed view is behind the log.
type ViewStats struct {
	Name string
	Seq  uint64        // last applied
	Lag  uint64        // number of facts that are not applied yet
	Age  time.Duration // how long the oldest of them has been waiting; 0 if Lag is 0
}

// Histogram counts durations. Counts[i] are those of at most Bounds[i] seconds
// and above Bounds[i-1]; the last count is of those above every bound.
type Histogram struct {
	Bounds []float64
	Counts []uint64
	Sum    float64 // seconds
	Count  uint64
}

// BlindFor returns the first reason why a bidder that relies on this log must
// not bid; empty if there is none. maxLag bounds the age of facts that a view
// has not folded.
func (s *Stats) BlindFor(maxLag time.Duration) string {
	switch {
	case s.Blind != "":
		return s.Blind
	case !s.FailingSince.IsZero():
		return "log is not writable: " + s.LastError
	case s.Full:
		return "no disk space for the log"
	case s.DiskLow:
		return fmt.Sprintf("disk is nearly full: less than %d MiB are free where the log is", s.DiskLeast>>20)
	}
	for i := range s.Views {
		if s.Views[i].Age > maxLag {
			return fmt.Sprintf("view %s is more than %v behind the log", s.Views[i].Name, maxLag)
		}
	}
	return ""
}

// Stats returns the log's state now.
func (l *Log) Stats() Stats {
	files, _ := l.files.snapshot()
	free, least := l.diskFree()
	s := Stats{Log: l.id, Last: l.Last(), Files: len(files), Blind: l.BlindReason(), DiskFree: free,
		DiskLow: free > 0 && free < least, DiskLeast: least, Full: l.room.Load()&(1<<classEvent) == 0, Damaged: l.meter.damaged.Load()}
	for i := range files {
		s.Bytes += files[i].bytes
	}
	if len(files) > 0 {
		s.First, s.FirstTime = files[0].header.After+1, files[0].header.At
	}
	if l.fleet != nil {
		s.Outbox = l.fleet.waiting()
	}
	l.meter.fill(&s)
	now := l.o.Now()
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	for name, f := range l.views {
		v := ViewStats{Name: name, Seq: f.seq.Load()}
		if v.Lag = s.Last.Seq - min(v.Seq, s.Last.Seq); v.Lag > 0 {
			v.Age = age(now, f.fresh.Load())
		}
		s.Views = append(s.Views, v)
	}
	slices.SortFunc(s.Views, func(a, b ViewStats) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// diskFree returns the free space on the disk of the data folder, 0 if it is unknown,
// and the space below which the disk counts as nearly full.
func (l *Log) diskFree() (free, least uint64) {
	free, all := l.o.disk.Space(l.o.Dir)
	return free, min(l.o.MinFreeBytes, all/20)
}

// appendBounds are the upper bounds of the append histogram, in seconds.
var appendBounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// meter counts the log's operations.
type meter struct {
	counts      [len(appendBounds) + 1]atomic.Uint64
	nanos       atomic.Int64
	errors      atomic.Uint64
	writeErrors atomic.Uint64
	sealErrors  atomic.Uint64
	damaged     atomic.Bool
	bad         atomic.Bool // whether failingSince is set

	mu           sync.Mutex // protects the fields below
	lastError    string
	failingSince time.Time
}

// observe counts one append. A stale grant, an invalid fact, a class that is
// refused at present and a caller that gave up are not failures of the log.
func (m *meter) observe(now, start time.Time, err error) {
	d := now.Sub(start)
	i, _ := slices.BinarySearch(appendBounds[:], d.Seconds())
	m.counts[i].Add(1)
	m.nanos.Add(int64(d))
	switch {
	case err == nil:
		if m.bad.Load() {
			m.mu.Lock()
			m.failingSince = time.Time{}
			m.bad.Store(false)
			m.mu.Unlock()
		}
	case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid), errors.Is(err, ErrBusy), errors.Is(err, ErrFull), errors.Is(err, ErrClosed), errors.Is(err, context.Canceled):
	default:
		m.errors.Add(1)
		m.mu.Lock()
		m.lastError = err.Error()
		if m.failingSince.IsZero() {
			m.failingSince = now
			m.bad.Store(true)
		}
		m.mu.Unlock()
	}
}

func (m *meter) fill(s *Stats) {
	h := Histogram{Bounds: appendBounds[:], Counts: make([]uint64, len(m.counts)), Sum: time.Duration(m.nanos.Load()).Seconds()}
	for i := range m.counts {
		h.Counts[i] = m.counts[i].Load()
		h.Count += h.Counts[i]
	}
	s.Append, s.AppendErrors, s.WriteErrors, s.SealErrors = h, m.errors.Load(), m.writeErrors.Load(), m.sealErrors.Load()
	m.mu.Lock()
	defer m.mu.Unlock()
	s.LastError, s.FailingSince = m.lastError, m.failingSince
}
