package collect

import (
	"hash/maphash"
	"sync"
	"time"
)

// sketch counts keys within windows of time, in memory that does not grow with their
// number: a count-min sketch of two rows. It never counts too little, and too much only
// where two other keys share both of a key's cells. It keeps no key.
type sketch struct {
	seed   [2]maphash.Seed
	cells  int
	window time.Duration

	mu    sync.Mutex // guards the following fields
	rows  [2][]uint32
	since time.Time // start of the window
}

// newSketch returns a sketch with two rows of cells counters, which are allocated at the
// first count.
func newSketch(cells int, window time.Duration) *sketch {
	return &sketch{
		seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, cells: cells, window: window,
	}
}

// add counts a key and returns how often it was counted in the current window.
func (s *sketch) add(key string, now time.Time) int { return s.addN(key, 1, now) }

// addN is add for n at once.
func (s *sketch) addN(key string, n uint32, now time.Time) int {
	a, b := maphash.String(s.seed[0], key), maphash.String(s.seed[1], key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows[0] == nil {
		s.rows = [2][]uint32{make([]uint32, s.cells), make([]uint32, s.cells)}
	}
	if age := now.Sub(s.since); age >= s.window || age < 0 {
		s.since = now
		clear(s.rows[0])
		clear(s.rows[1])
	}
	return min(bump(s.rows[0], a, n), bump(s.rows[1], b, n))
}

func bump(row []uint32, h uint64, n uint32) int {
	cell := &row[h%uint64(len(row))]
	*cell += min(n, 1<<32-1-*cell)
	return int(*cell)
}
