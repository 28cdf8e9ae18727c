package exchange

import "unicode/utf8"

// This file is the syntax: RFC 8259 to the letter, one pass, no recursion. The
// walk over objects and arrays that a reader cares about is enter, member and
// element; skip checks and passes over everything else, value does so and gives
// back what it was. After the first fault the scanner stands at the end, so
// every loop over member or element ends and readers check err once.

// MaxDepth is how deep a request's JSON may be nested. skip keeps one bit per
// level in a word.
const MaxDepth = 64

// kind is what a JSON value is.
type kind uint8

const (
	kindNone kind = iota // a fault
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is one JSON value as it stands in the text; the raw form of a string is
// without its quotes.
type value struct {
	raw  []byte
	kind kind
	esc  bool // the string holds escapes
}

// given tells whether there is a value at all: null is absent.
func (v value) given() bool { return v.kind > kindNull }

type scanner struct {
	b     []byte
	i     int    // the next byte
	depth int    // open containers
	first bool   // the container just entered has given no member yet
	high  uint64 // all bytes of strings, or'ed: shows whether any is not ASCII
	key   []byte // of the last member, unescaped
	buf   []byte // unescaped text of this request
	err   DecodeError
}

// start begins a new text; unescaped text of the last one is void.
func (s *scanner) start(b []byte) {
	s.b, s.i, s.depth, s.first, s.high, s.key, s.err = b, 0, 0, false, 0, nil, 0
	s.buf = s.buf[:0]
}

func (s *scanner) fail(e DecodeError) {
	if s.err == 0 {
		s.err = e
	}
	s.i = len(s.b)
}

// validUTF8 checks what the scan left open.
func (s *scanner) validUTF8() bool { return s.high&highBits == 0 || utf8.Valid(s.b) }

// space is the index of the first byte from i on that is no white space.
func (s *scanner) space(i int) int {
	for i < len(s.b) && s.b[i] <= ' ' {
		switch s.b[i] {
		case ' ', '\n', '\r', '\t':
			i++
		default:
			return i
		}
	}
	return i
}

// enter goes into the container at hand if it opens with the given byte.
func (s *scanner) enter(open byte) bool {
	if s.i >= len(s.b) || s.b[s.i] != open {
		return false
	}
	if s.depth == MaxDepth {
		s.fail(ErrDepth)
		return false
	}
	s.depth++
	s.first = true
	s.i++
	return true
}

// next goes to the next member or element, or leaves the container.
func (s *scanner) next(closing byte) bool {
	i := s.space(s.i)
	if i >= len(s.b) {
		s.fail(ErrSyntax)
		return false
	}
	switch c := s.b[i]; {
	case c == closing:
		s.first = false
		s.depth--
		s.i = i + 1
		return false
	case s.first:
		s.first = false
	case c == ',':
		i = s.space(i + 1)
	default:
		s.fail(ErrSyntax)
		return false
	}
	s.i = i
	return true
}

// member goes to the next value of the object that was entered; its key is in
// s.key. It leaves the object and returns false after the last.
func (s *scanner) member() bool {
	if !s.next('}') {
		return false
	}
	i := s.i
	end, esc := s.str(i)
	if end < 0 {
		return false
	}
	s.key = s.b[i+1 : end-1]
	if esc {
		s.key, _ = s.unescape(s.key)
	}
	if end = s.colon(end); end < 0 {
		return false
	}
	s.i = s.space(end)
	return true
}

// element goes to the next value of the array that was entered. It leaves the
// array and returns false after the last.
func (s *scanner) element() bool { return s.next(']') }

// value reads the value at hand; containers are checked and passed over.
func (s *scanner) value() value {
	i := s.i
	if i >= len(s.b) {
		s.fail(ErrSyntax)
		return value{}
	}
	switch s.b[i] {
	case '"':
		end, esc := s.str(i)
		if end < 0 {
			return value{}
		}
		s.i = end
		return value{s.b[i+1 : end-1], kindString, esc}
	case '{', '[':
		k := kindObject
		if s.b[i] == '[' {
			k = kindArray
		}
		s.skip()
		if s.err != 0 {
			return value{}
		}
		return value{s.b[i:s.i], k, false}
	case 't', 'f', 'n':
		return s.literal()
	}
	end := number(s.b, i)
	if end < 0 {
		s.fail(ErrSyntax)
		return value{}
	}
	s.i = end
	return value{s.b[i:end], kindNumber, false}
}

func (s *scanner) literal() value {
	word, k := "null", kindNull
	switch s.b[s.i] {
	case 't':
		word, k = "true", kindTrue
	case 'f':
		word, k = "false", kindFalse
	}
	end := s.i + len(word)
	if end > len(s.b) || string(s.b[s.i:end]) != word {
		s.fail(ErrSyntax)
		return value{}
	}
	v := value{s.b[s.i:end], k, false}
	s.i = end
	return v
}

// skip checks the value at hand and passes over it: the loop that most bytes of
// a request go through, so it calls little. The kinds of its open containers are
// the bits of one word: 1 for an object.
func (s *scanner) skip() {
	b, i := s.b, s.i
	var stack uint64
	level, limit := 0, MaxDepth-s.depth
	key := false // a key must follow, not a value
	for {
		if i < len(b) && b[i] <= ' ' {
			i = s.space(i)
		}
		if i >= len(b) {
			s.fail(ErrSyntax)
			return
		}
		c := b[i]
		switch {
		case c == '"':
			if short := s.short(i + 1); short > 0 {
				i = short
			} else if i, _ = s.str(i); i < 0 {
				return
			}
			if key {
				if i = s.colon(i); i < 0 {
					return
				}
				key = false
				continue
			}
		case key:
			s.fail(ErrSyntax)
			return
		case c == '{' || c == '[':
			if level == limit {
				s.fail(ErrDepth)
				return
			}
			level++
			stack <<= 1
			if c == '{' {
				stack |= 1
			}
			i = s.space(i + 1)
			if i >= len(b) || b[i] != c+2 { // } is { + 2, ] is [ + 2
				key = c == '{'
				continue
			}
		default:
			if i = s.atom(i); i < 0 {
				return
			}
		}
		// After a value: close what closes, up to the next comma.
		for level > 0 {
			if i < len(b) && b[i] <= ' ' {
				i = s.space(i)
			}
			if i >= len(b) || b[i] != '}'-byte(^stack&1)<<5 { // ] is } - 32
				break
			}
			i++
			level--
			stack >>= 1
		}
		if level == 0 {
			s.i = i
			return
		}
		if i >= len(b) || b[i] != ',' {
			s.fail(ErrSyntax)
			return
		}
		i++
		key = stack&1 != 0
	}
}

// colon passes over the colon after a key; -1 is a fault.
func (s *scanner) colon(i int) int {
	if i < len(s.b) && s.b[i] == ':' {
		return i + 1
	}
	if i = s.space(i); i < len(s.b) && s.b[i] == ':' {
		return i + 1
	}
	s.fail(ErrSyntax)
	return -1
}

// atom passes over a number, true, false or null; -1 is a fault.
func (s *scanner) atom(i int) int {
	switch s.b[i] {
	case 't', 'f', 'n':
		s.i = i
		if s.literal(); s.err != 0 {
			return -1
		}
		return s.i
	}
	end := number(s.b, i)
	if end < 0 {
		s.fail(ErrSyntax)
	}
	return end
}
