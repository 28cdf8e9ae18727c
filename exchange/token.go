package exchange

import (
	"encoding/binary"
	"math/bits"
)

// This file scans the tokens of JSON, strings and numbers (RFC 8259).

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// str scans the string whose opening quote must be at i. It returns the index after
// the closing quote, or -1, and whether the string has escapes.
func (s *scanner) str(i int) (end int, esc bool) {
	b := s.b
	if i >= len(b) || b[i] != '"' {
		s.fail(ErrSyntax)
		return -1, false
	}
	i++
	high := s.high
	for {
		for len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i : i+8])
			high |= x
			m := special(x)
			if m == 0 {
				i += 8
				continue
			}
			if i += bits.TrailingZeros64(m) >> 3; b[i] == '"' {
				s.high = high
				return i + 1, esc
			}
			break
		}
		for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' {
			high |= uint64(b[i])
			i++
		}
		if i < len(b) && b[i] == '"' {
			s.high = high
			return i + 1, esc
		}
		n := escape(b, i)
		if n == 0 {
			s.fail(ErrSyntax)
			return -1, false
		}
		esc = true
		i += n
	}
}

// special marks the bytes of x that are a quote, a backslash or a control
// character. The borrow of a subtraction can mark wrong bytes only above a right
// one, so the lowest mark is always right.
func special(x uint64) uint64 {
	q := x ^ lowBits*'"'
	e := x ^ lowBits*'\\'
	return ((q-lowBits)&^q | (e-lowBits)&^e | (x-lowBits*0x20)&^x) & highBits
}

// short returns the end of a string without escapes whose closing quote is within
// eight bytes of i, its first byte, and 0 for any other, which str must scan.
func (s *scanner) short(i int) int {
	if len(s.b)-i < 8 {
		return 0
	}
	x := binary.LittleEndian.Uint64(s.b[i : i+8])
	m := special(x)
	if i += bits.TrailingZeros64(m) >> 3; m == 0 || s.b[i] != '"' {
		return 0
	}
	s.high |= x
	return i + 1
}

// escape returns the length of the escape sequence at i, or 0 if it is not one.
func escape(b []byte, i int) int {
	if i+1 >= len(b) || b[i] != '\\' {
		return 0
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(b, i+2); ok {
			return 6
		}
	}
	return 0
}

// number returns the end of the number at i, or -1 if it is not one.
func number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return -1
	case b[i] == '0':
		i++
	case b[i] >= '1' && b[i] <= '9':
		i = digits(b, i)
	default:
		return -1
	}
	if i < len(b) && b[i] == '.' {
		from := i + 1
		if i = digits(b, from); i == from {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = digits(b, from); i == from {
			return -1
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}
