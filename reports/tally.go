package reports

import (
	"math/bits"
	"slices"
)

// tally is what has been added to a cube since the last commit: rows of sums, and a table
// with open addressing that finds the row of a cell.
//
// A row is some words next to each other in memory: first its cell, then its sums. The cell
// is the time in units of paceGrain and the numbers of the values of the dimensions, two in
// each word, the first in the upper half. If a half is left, it repeats the last dimension.
type tally struct {
	cube  *cube
	grain int64
	list  []measure  // of the cube
	dims  []dim      // of the cube; an odd number
	first [kinds]int // the word of a row that has the first sum of each kind

	at   int64  // of the last observation
	time uint64 // of its cell

	cell, width int      // words of a cell, and of a row
	words       []uint64 // of all rows
	rows        int
	slots       []uint64 // a power of two: upper half of a hash, and the number of a row from 1; 0: free
	places      []place  // of the present observations; scratch memory
	shift       int      // of a hash, for the number of its first slot
}

// maxCell bounds the words of a cell.
const maxCell = (1 + int(dims) + 1) / 2

// minSlots is the size of a table with few rows. At most half of the slots have a row.
const minSlots = 1 << 6

func newTally(c *cube, grain int64) tally {
	t := tally{cube: c, grain: grain, list: c.measures(), dims: c.dims, at: -1}
	if n := len(c.dims); n%2 == 0 {
		t.dims = append(slices.Clone(c.dims), c.dims[n-1])
	}
	t.cell = (1 + len(t.dims)) / 2
	t.width = t.cell + len(t.list)
	for i, m := range slices.Backward(t.list) {
		t.first[kindOf(m).index()] = t.cell + i
	}
	return t
}

// add counts observations of a kind that the cube has. It begins to look for the rows of all
// of them before it reads one, so that the processor waits for its memory once.
func (t *tally) add(list []observation) {
	if len(list) == 0 {
		return
	}
	if len(t.slots) == 0 {
		t.grow()
	}
	if len(t.places) < len(list) {
		t.places = make([]place, len(list))
	}
	places := t.places[:len(list)]
	for i := range places {
		p := &places[i]
		p.hash = t.cellOf(list[i].at, &list[i].dims, &p.cell)
		p.slot = t.slots[p.hash>>t.shift]
	}
	for i := range places {
		if p := &places[i]; p.slot != 0 {
			p.first = t.words[t.wordOf(p.slot)]
		}
	}
	k := list[0].kind.index()
	span := kindMeasures[k]
	for i := range places {
		p := &places[i]
		row := t.rowOf(p.cell[:t.cell], p.hash)[t.first[k]:]
		for j, n := range list[i].sum[span.first:span.end] {
			row[j] += uint64(n)
		}
	}
}

// place is where the row of an observation may be. first is loaded so that the row is in the
// cache when rowOf compares it; it is not used otherwise.
type place struct {
	cell  [maxCell]uint64
	hash  uint64
	slot  uint64 // the first for the hash
	first uint64 // word of its row
}

// wordOf returns the number of the first word of the row in a slot.
func (t *tally) wordOf(slot uint64) int { return (int(uint32(slot)) - 1) * t.width }

// hashOdd are random odd numbers by which the words of a cell are multiplied. The hash of a
// cell is the sum.
var hashOdd = func() (list [maxCell]uint64) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range list {
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		list[i] = x | 1
	}
	return list
}()

// row returns the row of a time and of values of the dimensions. It is valid until the next
// call.
func (t *tally) row(at int64, values *[dims]uint32) []uint64 {
	var cell [maxCell]uint64
	hash := t.cellOf(at, values, &cell)
	return t.rowOf(cell[:t.cell], hash)
}

// cellOf sets the cell of a time and of values of the dimensions, and returns its hash.
func (t *tally) cellOf(at int64, values *[dims]uint32, cell *[maxCell]uint64) (hash uint64) {
	if at != t.at {
		t.at, t.time = at, uint64((at-at%t.grain)/paceGrain)
	}
	cell[0] = t.time<<32 | uint64(values[t.dims[0]])
	hash = cell[0] * hashOdd[0]
	for i := 1; i+1 < len(t.dims); i += 2 {
		n := (i + 1) / 2
		cell[n] = uint64(values[t.dims[i]])<<32 | uint64(values[t.dims[i+1]])
		hash += cell[n] * hashOdd[n]
	}
	return hash
}

// rowOf returns the row of a cell with a hash.
func (t *tally) rowOf(cell []uint64, hash uint64) []uint64 {
	if 2*t.rows >= len(t.slots) {
		t.grow()
	}
	mask := len(t.slots) - 1
	for i := int(hash >> t.shift); ; i++ {
		slot := t.slots[i&mask]
		if slot == 0 {
			t.rows++
			t.slots[i&mask] = hash>>32<<32 | uint64(t.rows)
			n := len(t.words)
			t.words = append(append(t.words, cell...), make([]uint64, len(t.list))...)
			return t.words[n:]
		}
		if slot>>32 != hash>>32 {
			continue
		}
		n := t.wordOf(slot)
		if row := t.words[n : n+t.width]; slices.Equal(row[:len(cell)], cell) {
			return row
		}
	}
}

// grow doubles the slots.
func (t *tally) grow() {
	old := t.slots
	t.slots = make([]uint64, max(2*len(old), minSlots))
	t.shift = 64 - bits.Len(uint(len(t.slots)-1))
	mask := len(t.slots) - 1
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := int(slot >> t.shift)
		for t.slots[i&mask] != 0 {
			i++
		}
		t.slots[i&mask] = slot
	}
}

// by returns the sums by a grain and by the dimensions of a cube, which the tally also has.
func (t *tally) by(c *cube, grain int64) *tally {
	sum := newTally(c, grain)
	var values [dims]uint32
	for n := 0; n < len(t.words); n += t.width {
		row := t.words[n : n+t.width]
		for i, d := range t.cube.dims {
			values[d] = t.value(row, i)
		}
		to := sum.row(t.timeOf(row), &values)[sum.cell:]
		for i, n := range row[t.cell:] {
			to[i] += n
		}
	}
	return &sum
}

// timeOf returns the time of a row in seconds since 1970.
func (t *tally) timeOf(row []uint64) int64 { return int64(row[0]>>32) * paceGrain }

// value returns the number of the value of a row's dimension.
func (t *tally) value(row []uint64, i int) uint32 {
	if i%2 == 1 {
		return uint32(row[(i+1)/2] >> 32)
	}
	return uint32(row[i/2])
}

// sorted returns the rows in the order of the table's primary key.
func (t *tally) sorted() (list [][]uint64) {
	for n := 0; n < len(t.words); n += t.width {
		list = append(list, t.words[n:n+t.width])
	}
	slices.SortFunc(list, func(a, b []uint64) int { return slices.Compare(a[:t.cell], b[:t.cell]) })
	return list
}

// numbers appends the values of a row in the order of the table's columns.
func (t *tally) numbers(row []uint64, numbers []int64) []int64 {
	numbers = append(numbers, t.timeOf(row))
	for i := range t.cube.dims {
		numbers = append(numbers, int64(t.value(row, i)))
	}
	for _, n := range row[t.cell:] {
		numbers = append(numbers, int64(n))
	}
	return numbers
}

// clear forgets what was committed, but keeps the memory.
func (t *tally) clear() {
	clear(t.slots)
	t.words, t.rows = t.words[:0], 0
}
