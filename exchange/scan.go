package exchange

import "bytes"

// This file walks through an indexed JSON text (RFC 8259, index.go) without
// recursion. Callers walk objects and arrays with enter, member and element. skip
// skips any other value; value also returns it. Only what is walked through is
// checked here; check judges the rest. After the first error the scanner is at the
// end of the text, so every loop over members or elements ends, and callers check err
// once.

// MaxDepth is the maximum nesting depth of a request's JSON. pair keeps one bit per
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
	b       []byte
	i       int    // the next byte
	first   bool   // no member or element of the current container was read yet
	checked bool   // check found nothing wrong
	key     []byte // of the last member, unescaped
	buf     []byte // scratch memory for unescaped text of this request
	err     DecodeError
	fault   DecodeError // what start found wrong

	// The index of b.
	blocks []block
	ends   []uint32 // of each opening bracket: the index after its closing one, or 0
	carry  carry
	last   [blockBytes]byte // the last block, if the text does not fill it
}

func (s *scanner) fail(e DecodeError) {
	if s.err == 0 {
		s.err = e
	}
	s.i = len(s.b)
}

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
	// Most requests have no white space between tokens.
	b, i := s.b, s.i
	switch {
	case i < len(b) && b[i] == ',' && !s.first:
		i++
	case i < len(b) && b[i] == '"' && s.first:
		s.first = false
	case i < len(b) && b[i] == '}':
		s.first, s.i = false, i+1
		return false
	default:
		if !s.next('}') {
			return false
		}
		i = s.i
	}
	if i >= len(b) || b[i] != '"' {
		if i = s.space(i); i >= len(b) || b[i] != '"' {
			s.fail(ErrSyntax)
			return false
		}
	}
	end := s.quoteAfter(i)
	if end < 0 {
		return false
	}
	s.key = b[i+1 : end]
	if s.carry.slashes != 0 && s.escaped(s.key) {
		s.key, _ = s.unescape(s.key)
	}
	if i = end + 1; i < len(b) && b[i] == ':' {
		i++
	} else if i = s.colon(i); i < 0 {
		return false
	}
	if i < len(b) && b[i] <= ' ' {
		i = s.space(i)
	}
	s.i = i
	return true
}

// element moves to the next value of the current array. After the last one it leaves
// the array and returns false.
func (s *scanner) element() bool {
	// Most requests have no white space between tokens.
	if b, i := s.b, s.i; i+1 < len(b) && b[i+1] > ' ' {
		switch {
		case b[i] == ',' && !s.first:
			s.i = i + 1
			return true
		case b[i] == ']':
			s.first, s.i = false, i+1
			return false
		case s.first && b[i] > ' ':
			s.first = false
			return true
		}
	}
	return s.next(']')
}

// escaped reports whether the text of a string has escapes.
func (s *scanner) escaped(text []byte) bool {
	return s.carry.slashes != 0 && bytes.IndexByte(text, '\\') >= 0
}

// value reads the value at hand; containers are skipped.
func (s *scanner) value() value {
	i := s.i
	if i >= len(s.b) {
		s.fail(ErrSyntax)
		return value{}
	}
	switch s.b[i] {
	case '"':
		end := s.quoteAfter(i)
		if end < 0 {
			return value{}
		}
		s.i = end + 1
		raw := s.b[i+1 : end]
		return value{raw, kindString, s.escaped(raw)}
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
	}
	end := atomEnd(s.b, i)
	if end < 0 {
		s.fail(ErrSyntax)
		return value{}
	}
	s.i = end
	return value{s.b[i:end], atomKind(s.b[i]), false}
}

// skip skips the value at hand.
func (s *scanner) skip() {
	i := s.i
	if i >= len(s.b) {
		s.fail(ErrSyntax)
		return
	}
	end := -1
	switch s.b[i] {
	case '"':
		if end = s.quoteAfter(i) + 1; end == 0 {
			return
		}
	case '{', '[':
		if end = s.end(i); end < 0 {
			return
		}
	default:
		if end = atomEnd(s.b, i); end < 0 {
			s.fail(ErrSyntax)
			return
		}
	}
	s.i = end
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
