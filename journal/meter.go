package journal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// appendBounds are the upper bounds of the append histogram, in seconds.
var appendBounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// meter counts appends.
type meter struct {
	counts [len(appendBounds) + 1]atomic.Uint64
	nanos  atomic.Int64
	errors atomic.Uint64
	bad    atomic.Bool // failingSince is set

	mu           sync.Mutex // protects what follows
	lastError    string
	lastErrorAt  time.Time
	failingSince time.Time
}

// observe counts one append. A stale grant and a caller who gave up are not the
// log's failure.
func (m *meter) observe(now, start time.Time, err error) {
	d := now.Sub(start)
	i := 0
	for i < len(appendBounds) && d.Seconds() > appendBounds[i] {
		i++
	}
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
	case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid), errors.Is(err, context.Canceled):
	default:
		m.errors.Add(1)
		m.mu.Lock()
		m.lastError, m.lastErrorAt = err.Error(), now
		if m.failingSince.IsZero() {
			m.failingSince = now
			m.bad.Store(true)
		}
		m.mu.Unlock()
	}
}

// Stats is the log's state now. It does no I/O.
func (l *Log) Stats() Stats {
	last := l.Last().Seq
	s := Stats{Stream: l.id, First: l.first.Load(), Last: last, Bytes: l.bytes.Load(),
		Append: l.meter.histogram(), AppendErrors: l.meter.errors.Load(),
		Spooled: l.spool.waiting.Load(), Healed: l.healed.Load(), Archived: l.archive.last.Load(),
		DiskFree: l.diskFree.Load(), ArchiveOK: l.archive.work.Load()}
	s.DiskLow, s.Restarts = l.diskLow(), l.restarts.Load()
	l.meter.mu.Lock()
	s.LastError, s.LastErrorAt, s.FailingSince = l.meter.lastError, l.meter.lastErrorAt, l.meter.failingSince
	l.meter.mu.Unlock()
	now := l.o.Now().UnixNano()
	l.viewMu.Lock()
	defer l.viewMu.Unlock()
	for name, f := range l.views {
		v := ViewStats{Name: name, Seq: f.seq.Load(), LostFacts: f.missing.Load()}
		if v.Seq < last {
			v.Lag = last - v.Seq
			v.Age = max(time.Duration(now-max(f.fresh.Load(), f.at.Load())), 0)
		}
		s.Views = append(s.Views, v)
	}
	slices.SortFunc(s.Views, func(a, b ViewStats) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (m *meter) histogram() Histogram {
	h := Histogram{Bounds: appendBounds[:], Counts: make([]uint64, len(m.counts)), Sum: time.Duration(m.nanos.Load()).Seconds()}
	for i := range m.counts {
		h.Counts[i] = m.counts[i].Load()
		h.Count += h.Counts[i]
	}
	return h
}
