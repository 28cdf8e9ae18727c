package exchange

import "unicode/utf8"

// This file implements the syntax of JSON (RFC 8259) in one pass without recursion.
// Callers walk objects and arrays with enter, member and element. skip checks and
// skips any other value; value also returns it. After the first error the scanner is
// at the end of the text, so every loop over members or elements ends, and callers
// check err once.

// MaxDepth is the maximum nesting depth of a request's JSON. skip keeps one bit per
// level in a word.
const MaxDepth = 64

// kind is the type of a JSON value.
type kind uint8

const (
	kindNone kind = iota // a syntax error
	kindNull
	kindFalse
	kindTrue
	kindNumber
	kindString
	kindArray
	kindObject
)

// value is one JSON value in its raw form; that of a string is without the quotes.
type value struct {
	raw  []byte
	kind kind
	esc  bool // the string holds escapes
}

// given reports whether there is a value; null counts as absent.
func (v value) given() bool { return v.kind > kindNull }

type scanner struct {
	b     []byte
	i     int    // the next byte
	depth int    // open containers
	first bool   // no member or element of the current container was read yet
	high  uint64 // all bytes of strings, or'ed: the high bits show whether any is not ASCII
	key   []byte // of the last member, unescaped
	buf   []byte // scratch memory for unescaped text of this request
	err   DecodeError
}

// start begins a new text and invalidates the unescaped text of the last one.
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

// validUTF8 reports whether the text is valid UTF-8, which the scan does not check.
func (s *scanner) validUTF8() bool { return s.high&highBits == 0 || utf8.Valid(s.b) }

// space returns the index of the first byte from i on that is not white space.
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

// open enters the container at hand if it opens with the given byte, and skips any
// other value.
func (s *scanner) open(b byte) bool {
	if s.enter(b) {
		return true
	}
	s.skip()
	return false
}

// enter enters the container at hand if it opens with the given byte.
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

// next moves to the next member or element, or leaves the container.
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

// member moves to the next value of the current object and sets s.key. After the
// last one it leaves the object and returns false.
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

// element moves to the next value of the current array. After the last one it leaves
// the array and returns false.
func (s *scanner) element() bool { return s.next(']') }

// value reads the value at hand; containers are checked and skipped.
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

// skip checks and skips the value at hand. Most bytes of a request go through its
// loop, so it makes few calls. The bits of one word hold the types of its open
// containers: 1 for an object.
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

// colon returns the index after the colon that follows a key, or -1.
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

// atom returns the end of a number, true, false or null, or -1.
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
