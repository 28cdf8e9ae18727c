package exchange

import (
	"bytes"
	"math"
	"math/bits"
	"unicode/utf8"
)

// This file indexes a JSON text before anything is read from it. The text is taken 64
// bytes at a time. For each of these blocks the index has one word per class of byte,
// and bit i of that word is byte i of the block: where the quotes are, which bytes
// are inside strings, where containers open and close, and so on. With these words
// the end of a string is the next bit of a word, a container is skipped with one
// lookup however large it is, and the grammar is checked for 64 bytes at once
// (check.go).
//
// The bit words come from AVX2 instructions where the processor has them
// (index_amd64.s), and else from portable Go (index_generic.go). Both give the
// same bits for every text.

// block is the index of 64 bytes. All classes but quote, inside, escape and high are
// limited to bytes outside strings. Bytes behind the end of the text count as spaces.
//
// index_amd64.s depends on the order of the fields.
type block struct {
	quote  uint64 // quotes that open or close a string
	inside uint64 // inside a string, with the opening and without the closing quote
	open   uint64 // { and [
	close  uint64 // } and ]
	comma  uint64
	colon  uint64
	space  uint64 // white space
	escape uint64 // bytes escaped by a backslash, except quotes and backslashes
	high   uint64 // bytes that are not ASCII
	object uint64 // the innermost container is an object; set by pair
	rank   uint64 // opening brackets in earlier blocks
}

const (
	blockBytes = 64
	blockShift = 6
)

// carry is what the indexing of a block must know of the blocks before it, and what
// is gathered over all of them.
//
// index_amd64.s depends on the order of the fields.
type carry struct {
	inside  uint64 // all ones if the last block ended inside a string
	escaped uint64 // 1 if its last byte was a backslash that escapes the next byte
	opens   uint64 // opening brackets
	control uint64 // not 0 if there is a control character that is not white space outside strings
	slashes uint64 // not 0 if there is a backslash
	high    uint64 // not 0 if there is a byte that is not ASCII
}

// start begins a new text and invalidates the unescaped text of the last one. What is
// wrong with its strings and brackets is in s.fault; the members before the
// fault can still be read.
func (s *scanner) start(b []byte) {
	s.b, s.i, s.first, s.checked, s.key, s.err, s.fault = b, 0, false, false, nil, 0, 0
	s.buf = s.buf[:0]
	if len(b) > math.MaxInt32 { // s.ends holds 32 bits
		s.b, s.fault = nil, ErrSyntax
	}
	s.index()
	if s.fault == 0 && (s.carry.inside|s.carry.control) != 0 {
		s.fault = ErrSyntax
	}
	if fault := s.pair(); s.fault == 0 {
		s.fault = fault
	}
}

// spaces is an empty block.
var spaces = [blockBytes]byte(bytes.Repeat([]byte{' '}, blockBytes))

// index fills in the blocks.
func (s *scanner) index() {
	full := len(s.b) / blockBytes
	n := (len(s.b) + blockBytes - 1) / blockBytes
	if cap(s.blocks) < n {
		s.blocks = make([]block, n+n/4)
	}
	s.blocks = s.blocks[:n]
	s.carry = carry{}
	indexBlocks(s.blocks[:full], s.b, &s.carry)
	if full < n {
		s.last = spaces
		copy(s.last[:], s.b[full*blockBytes:])
		indexBlocks(s.blocks[full:], s.last[:], &s.carry)
	}
}

// pair finds the closing bracket of every opening one, and marks the bytes whose
// innermost container is an object.
func (s *scanner) pair() DecodeError {
	opens := int(s.carry.opens)
	if cap(s.ends) < opens {
		s.ends = make([]uint32, opens+opens/4)
	}
	s.ends = s.ends[:opens]
	clear(s.ends)
	var stack [MaxDepth]uint32 // ranks of the open brackets
	var objects uint64         // for each open container a bit: 1 is an object
	depth, rank := 0, uint32(0)
	for w := range s.blocks {
		k := &s.blocks[w]
		inObject, object, from := -(objects & 1), uint64(0), uint64(1)
		for m := k.open | k.close; m != 0; m &= m - 1 {
			bit, i := m&-m, w<<blockShift|bits.TrailingZeros64(m)
			object |= inObject & (bit - from) // from the last bracket to this one
			from = bit
			curly := uint64(s.b[i]>>5) & 1 // { and } have this bit, [ and ] do not
			if k.open&bit != 0 {
				if depth == MaxDepth {
					return ErrDepth
				}
				stack[depth] = rank
				depth++
				rank++
				objects = objects<<1 | curly
			} else {
				if depth == 0 || objects&1 != curly {
					return ErrSyntax
				}
				depth--
				s.ends[stack[depth]] = uint32(i + 1)
				objects >>= 1
			}
			inObject = -(objects & 1)
		}
		k.object = object | inObject&-from
	}
	if depth > 0 {
		return ErrSyntax
	}
	return 0
}

// end returns the index after the bracket that closes the container at i, or -1.
func (s *scanner) end(i int) int {
	k := &s.blocks[i>>blockShift]
	rank := k.rank + uint64(bits.OnesCount64(k.open&(1<<(i&(blockBytes-1))-1)))
	if rank < uint64(len(s.ends)) && s.ends[rank] != 0 {
		return int(s.ends[rank])
	}
	s.fail(ErrSyntax)
	return -1
}

// quoteAfter returns the index of the first quote after i, or -1. If i is the quote
// that opens a string, that is the one that closes it.
func (s *scanner) quoteAfter(i int) int {
	i++
	w := i >> blockShift
	if w < len(s.blocks) {
		if m := s.blocks[w].quote >> (i & (blockBytes - 1)); m != 0 {
			return i + bits.TrailingZeros64(m)
		}
		for w++; w < len(s.blocks); w++ {
			if m := s.blocks[w].quote; m != 0 {
				return w<<blockShift + bits.TrailingZeros64(m)
			}
		}
	}
	s.fail(ErrSyntax)
	return -1
}

// validUTF8 reports whether the text is valid UTF-8. Only its runs of bytes that are
// not ASCII are looked at.
func (s *scanner) validUTF8() bool {
	if s.carry.high == 0 {
		return true
	}
	for i := s.highFrom(0); i < len(s.b); i = s.highFrom(i) {
		from := i
		for i < len(s.b) && s.b[i] >= utf8.RuneSelf {
			i++
		}
		if !utf8.Valid(s.b[from:i]) {
			return false
		}
	}
	return true
}

// highFrom returns the index of the first byte from i on that is not ASCII.
func (s *scanner) highFrom(i int) int {
	w := i >> blockShift
	if w >= len(s.blocks) {
		return len(s.b)
	}
	m := s.blocks[w].high >> (i & (blockBytes - 1)) << (i & (blockBytes - 1))
	for m == 0 {
		if w++; w == len(s.blocks) {
			return len(s.b)
		}
		m = s.blocks[w].high
	}
	return w<<blockShift + bits.TrailingZeros64(m)
}
