package pacing

import "math/bits"

// index finds the slots of a slab by the hash of their keys: a table with open addressing
// and linear probing, without pointers. The caller compares the keys themselves, which
// are in the slab.
type index struct {
	cells []cell // a power of two, at most three quarters in use
	used  int
}

// cell is one entry: the hash of a key, and its slot plus one; 0: unused.
type cell struct {
	hash uint32
	slot int32
}

const leastCells = 16

// first returns a slot whose key may be the one with a hash, and its place for next;
// slot is -1 if there is none.
func (x *index) first(hash uint32) (at, slot int32) {
	if len(x.cells) == 0 {
		return 0, -1
	}
	return x.probe(int32(hash)&x.mask(), hash)
}

// next returns the slot after the one at a place.
func (x *index) next(at int32, hash uint32) (_, slot int32) { return x.probe((at+1)&x.mask(), hash) }

func (x *index) mask() int32 { return int32(len(x.cells) - 1) }

func (x *index) probe(at int32, hash uint32) (_, slot int32) {
	for ; ; at = (at + 1) & x.mask() {
		c := &x.cells[at]
		if c.slot == 0 || c.hash == hash {
			return at, c.slot - 1
		}
	}
}

// add adds a slot whose key is not in the index.
func (x *index) add(hash uint32, slot int32) {
	if x.used++; 4*x.used > 3*len(x.cells) {
		x.grow()
	}
	x.put(cell{hash, slot + 1})
}

func (x *index) put(c cell) {
	at := int32(c.hash) & x.mask()
	for x.cells[at].slot != 0 {
		at = (at + 1) & x.mask()
	}
	x.cells[at] = c
}

func (x *index) grow() {
	old := x.cells
	x.cells = make([]cell, max(2*len(old), leastCells))
	for _, c := range old {
		if c.slot != 0 {
			x.put(c)
		}
	}
}

// remove removes a slot that is in the index. The entries after it move up, so that no
// probe ends too early.
func (x *index) remove(hash uint32, slot int32) {
	x.used--
	at := int32(hash) & x.mask()
	for x.cells[at].slot != slot+1 {
		at = (at + 1) & x.mask()
	}
	for next := at; ; {
		next = (next + 1) & x.mask()
		c := x.cells[next]
		if c.slot == 0 {
			break
		}
		if home := int32(c.hash) & x.mask(); (next-home)&x.mask() >= (next-at)&x.mask() {
			x.cells[at] = c
			at = next
		}
	}
	x.cells[at] = cell{}
}

// hashOf mixes 128 bits into a hash.
func hashOf(a, b uint64) uint32 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xbf58476d1ce4e5b9)
	h := hi ^ lo
	return uint32(h ^ h>>32)
}

// slab holds values by slot. Slots are used again. Values never move, so that growing
// copies nothing.
type slab[T any] struct {
	chunks []*[slabChunk]T
	spare  []int32
	used   int32 // slots that were ever used
}

const slabChunk = 64

// at returns the value of a slot.
func (s *slab[T]) at(i int32) *T { return &s.chunks[uint32(i)/slabChunk][uint32(i)%slabChunk] }

// take returns an unused slot. Its value is whatever it was.
func (s *slab[T]) take() int32 {
	if n := len(s.spare); n > 0 {
		i := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return i
	}
	i := s.used
	if int(i) == len(s.chunks)*slabChunk {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	s.used++
	return i
}

// put gives a slot back.
func (s *slab[T]) put(i int32) { s.spare = append(s.spare, i) }
