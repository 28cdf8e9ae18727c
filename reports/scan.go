package reports

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// scanner reads the members of a JSON line that the reports need and skips the others
// without looking into them. What it returns points into the line. After an error it is at
// the end of the line, so that every loop ends.
type scanner struct {
	b   []byte
	i   int
	key []byte // of the last member
	bad bool
}

func (s *scanner) fail() { s.bad, s.i = true, len(s.b) }

// peek returns the next byte after white space; 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// enter begins an object or an array. It skips another value and returns false.
func (s *scanner) enter(c byte) bool {
	if s.peek() == c {
		s.i++
		return true
	}
	s.skip()
	return false
}

// more goes to the next element of an object or array that ends with end, and reports
// whether there is one.
func (s *scanner) more(end byte) bool {
	c := s.peek()
	if c == ',' {
		s.i++
		c = s.peek()
	}
	switch c {
	case end:
		s.i++
		return false
	case 0:
		s.fail()
		return false
	}
	return true
}

// member goes to the value of an object's next member and sets key.
func (s *scanner) member() bool {
	if !s.more('}') {
		return false
	}
	if s.b[s.i] != '"' {
		s.fail()
		return false
	}
	start := s.i + 1
	s.skipText()
	s.key = s.b[start:max(s.i-1, start)] // a key with escapes is no known name
	if s.bad || s.peek() != ':' {
		s.fail()
		return false
	}
	s.i++
	return true
}

// skipText skips a string, whose first quote is next.
func (s *scanner) skipText() {
	for from := s.i + 1; ; {
		n := bytes.IndexByte(s.b[from:], '"')
		if n < 0 {
			s.fail()
			return
		}
		end := from + n
		escapes := end
		for s.b[escapes-1] == '\\' {
			escapes--
		}
		from = end + 1
		if (end-escapes)%2 == 0 {
			s.i = from
			return
		}
	}
}

// skip skips a value.
func (s *scanner) skip() {
	switch s.peek() {
	case '"':
		s.skipText()
	case '{', '[':
		s.skipNested()
	case 0, ',', ':', '}', ']':
		s.fail()
	default:
		for s.i < len(s.b) && !isEnd(s.b[s.i]) {
			s.i++
		}
	}
}

func isEnd(c byte) bool { return c == ',' || c == '}' || c == ']' || c <= ' ' }

// skipNested skips an object or an array.
func (s *scanner) skipNested() {
	for depth := 0; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.i++
				return
			}
		case '"':
			if s.skipText(); s.bad {
				return
			}
			s.i--
		}
	}
	s.fail()
}

// text returns a string; nil for a value of another type.
func (s *scanner) text() []byte {
	if s.peek() != '"' {
		s.skip()
		return nil
	}
	start := s.i
	if s.skipText(); s.bad {
		return nil
	}
	b := s.b[start+1 : s.i-1]
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	var text string
	if json.Unmarshal(s.b[start:s.i], &text) != nil {
		s.fail()
	}
	return []byte(text)
}

// integer returns a whole number; 0 for another value.
func (s *scanner) integer() int64 {
	n, _ := strconv.ParseInt(string(s.scalar()), 10, 64)
	return n
}

// scalar returns the text of a string or a number, of which exchanges send either; nil for
// null, objects and arrays.
func (s *scanner) scalar() []byte {
	switch s.peek() {
	case '"':
		return s.text()
	case '{', '[', 'n':
		s.skip()
		return nil
	}
	start := s.i
	s.skip()
	return s.b[start:s.i]
}
