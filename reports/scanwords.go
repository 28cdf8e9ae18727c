package reports

import (
	"encoding/binary"
	"math/bits"
)

// Words with the same byte eight times.
const (
	ones  = 0x0101010101010101
	lows  = 0x7f * ones
	highs = 0x80 * ones
)

// firstOf returns a word whose lowest set bit is the highest one of the first byte of w that
// equals c; 0 if there is none.
func firstOf(w uint64, c byte) uint64 {
	w ^= ones * uint64(c)
	return (w - ones) &^ w & highs
}

// skipNested skips an object or an array, eight bytes at a time. It counts the brackets that
// are outside strings. Each class of byte is found for a whole word: the result has the high
// bit set in every byte that belongs to it.
func (s *scanner) skipNested() {
	depth, inText := 0, uint64(0) // all bits of inText are set within a string
	for i, next := s.i, 0; i < len(s.b); i = next {
		w := s.word(i)
		next = i + 8
		low := w & lows
		quotes := ((low ^ ones*(0x7f^'"')) + ones) &^ w & highs
		special := ((low | ones*0x20) + ones*5) &^ w & highs // from 0x5b to 0x5f and from 0x7b on: brackets, \ and a few others
		if special == 0 {
			inText ^= -uint64(bits.OnesCount64(quotes) & 1)
			continue
		}
		if e := firstOf(w, '\\'); e != 0 { // the next word begins after what is escaped
			n := bits.TrailingZeros64(e) / 8
			before := uint64(1)<<(8*n) - 1
			quotes, special = quotes&before, special&before
			next = i + n + 2
		}
		quotes = (quotes >> 7) * ones // each byte is the number of quotes up to it
		texts := quotes ^ inText      // odd in the bytes within a string
		inText ^= -(quotes >> 56 & 1)
		brackets := special >> 7 & w & (w>>1 ^ w>>2) &^ texts // [ ] { } are 0x5b, 0x5d, 0x7b and 0x7d; | is 0x7c
		opening := brackets & (w >> 1)
		if closing := bits.OnesCount64(brackets ^ opening); closing < depth || closing == 0 {
			depth += bits.OnesCount64(opening) - closing
			continue
		}
		for ; brackets != 0; brackets &= brackets - 1 {
			n := bits.TrailingZeros64(brackets)
			if depth += int(opening>>n&1)*2 - 1; depth == 0 {
				s.i = i + n/8 + 1
				return
			}
		}
	}
	s.fail()
}

// word returns the eight bytes from an index on, the first in the lowest place, and zeros
// after the end of the line.
func (s *scanner) word(i int) uint64 {
	if rest := s.b[i:]; len(rest) >= 8 {
		return binary.LittleEndian.Uint64(rest)
	}
	var last [8]byte
	copy(last[:], s.b[i:])
	return binary.LittleEndian.Uint64(last[:])
}
