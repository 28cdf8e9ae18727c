package server

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Conns are the open connections of all listeners of a process, which share its file
// descriptors. When these run short, the connections that were idle longest are closed,
// so that files can be opened and new clients are served. It is safe for concurrent use.
type Conns struct {
	limit  int
	closed atomic.Uint64 // while idle, to make room

	mu   sync.Mutex // guards open
	open map[tracked]struct{}
}

// tracked is an open connection.
type tracked interface {
	idle() int64 // since when it is idle, in nanoseconds since 1970; 0 if it is not
	owner() *Listener
	Close() error
}

// NewConns returns an empty set. limit is how many connections may be open before the
// longest idle ones are closed; 0 means no limit.
func NewConns(limit int) *Conns {
	return &Conns{limit: limit, open: map[tracked]struct{}{}}
}

// DefaultConnLimit returns how many connections leave enough file descriptors to the
// rest of the process: all that it may open but an eighth, at least 64 and at most
// 1,024. It is 0 where the system sets no limit.
func DefaultConnLimit() int {
	n := descriptorLimit()
	if n <= 0 {
		return 0
	}
	return max(n-min(max(n/8, 64), 1024), 1)
}

// ClosedIdle returns how many idle connections were closed to make room.
func (s *Conns) ClosedIdle() uint64 { return s.closed.Load() }

func (s *Conns) add(c tracked) {
	s.mu.Lock()
	s.open[c] = struct{}{}
	over := 0
	if s.limit > 0 {
		over = len(s.open) - s.limit
	}
	s.mu.Unlock()
	if over > 0 {
		s.shrink(over)
	}
}

func (s *Conns) remove(c tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// shrink closes at least n of the connections that are idle longest, and a few more: to
// find them costs a walk over all.
func (s *Conns) shrink(n int) {
	type idle struct {
		c     tracked
		since int64
	}
	s.mu.Lock()
	n += len(s.open) / 64
	var list []idle
	for c := range s.open {
		if since := c.idle(); since != 0 {
			list = append(list, idle{c, since})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b idle) int { return cmp.Compare(a.since, b.since) })
	for _, x := range list[:min(n, len(list))] {
		if x.c.idle() == x.since { // still idle
			s.closed.Add(1)
			_ = x.c.Close()
		}
	}
}

// closeIdle closes all idle connections of a listener.
func (s *Conns) closeIdle(l *Listener) {
	s.mu.Lock()
	var list []tracked
	for c := range s.open {
		if c.owner() == l && c.idle() != 0 {
			list = append(list, c)
		}
	}
	s.mu.Unlock()
	for _, c := range list {
		_ = c.Close()
	}
}
