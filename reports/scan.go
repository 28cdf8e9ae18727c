package reports

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
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
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return s.b[s.i]
	}
	return s.peekSpaced()
}

// peekSpaced is peek for any byte.
func (s *scanner) peekSpaced() byte {
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
func (s *scanner) member() bool { return s.shortMember() || s.anyMember() }

// shortName is the number of bytes that are searched for the end of a name: most are shorter.
const shortName = 16

// shortMember is member for a short name without escapes and white space. For another one,
// and for none, it returns false and changes nothing.
func (s *scanner) shortMember() bool {
	i := s.i
	if i < len(s.b) && s.b[i] == ',' {
		i++
	}
	if i++; i+shortName >= len(s.b) || s.b[i-1] != '"' {
		return false
	}
	b := s.b[i : i+shortName+1]
	n := 0
	w := binary.LittleEndian.Uint64(b)
	found := firstOf(w, '"') | firstOf(w, '\\')
	if found == 0 {
		n = 8
		w = binary.LittleEndian.Uint64(b[8:])
		found = firstOf(w, '"') | firstOf(w, '\\')
	}
	if n += bits.TrailingZeros64(found) / 8; n >= shortName || b[n] != '"' || b[n+1] != ':' {
		return false
	}
	s.key, s.i = b[:n], i+n+2
	return true
}

// anyMember is member for any name.
func (s *scanner) anyMember() bool {
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

// shortText is the number of bytes of a string that are searched in place for its end. A call
// of bytes.IndexByte takes longer for strings that end within them.
const shortText = 24

// skipText skips a string, whose first quote is next. It returns true if the string is short
// and has no escapes. Other strings may have escapes.
func (s *scanner) skipText() bool {
	i := s.i + 1
	for end := min(i+shortText, len(s.b)-7); i < end; i += 8 {
		w := binary.LittleEndian.Uint64(s.b[i:])
		if found := firstOf(w, '"') | firstOf(w, '\\'); found != 0 {
			if i += bits.TrailingZeros64(found) / 8; s.b[i] == '"' {
				s.i = i + 1
				return true
			}
			break
		}
	}
	s.skipLongText(i)
	return false
}

// skipLongText skips a string whose last quote is at or after an index.
func (s *scanner) skipLongText(from int) {
	for {
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

// text returns a string; nil for a value of another type.
func (s *scanner) text() []byte {
	if s.peek() != '"' {
		s.skip()
		return nil
	}
	start := s.i
	plain := s.skipText()
	if s.bad {
		return nil
	}
	b := s.b[start+1 : s.i-1]
	if plain || bytes.IndexByte(b, '\\') < 0 {
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
	text := s.scalar()
	if len(text) > 18 {
		n, _ := strconv.ParseInt(string(text), 10, 64)
		return n
	}
	n := int64(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			n, _ = strconv.ParseInt(string(text), 10, 64)
			break
		}
		n = 10*n + int64(c-'0')
	}
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
