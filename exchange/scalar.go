package exchange

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"rebound/rtb"
)

// This file reads scalars tolerantly: 1, 1.0, "1" and true are the same flag, a
// string may hold a number, a number may replace a string, and null is absent.

// maxInt is the largest integer that is read; greater ones are clamped to it.
const maxInt = 1<<31 - 1

// text returns the value as text: a string, or a number as written; nil for anything
// else.
func (s *scanner) text(v value) []byte {
	switch {
	case v.kind == kindString && v.esc:
		t, _ := s.unescape(v.raw)
		return t
	case v.kind == kindString, v.kind == kindNumber:
		return v.raw
	}
	return nil
}

// exact returns text that must be echoed exactly, such as an id. It returns nil for
// text that is not valid Unicode (half a surrogate pair) or longer than max.
func (s *scanner) exact(v value, max int) []byte {
	t, ok := v.raw, v.kind == kindString || v.kind == kindNumber
	if !ok || len(t) > 6*max {
		return nil
	}
	if v.esc {
		t, ok = s.unescape(t)
	}
	if !ok || len(t) > max {
		return nil
	}
	return t
}

// readText reads the value at hand as text.
func (s *scanner) readText() []byte {
	i := s.i
	if i >= len(s.b) || s.b[i] != '"' || s.carry.slashes != 0 {
		return s.text(s.value())
	}
	end := s.quoteAfter(i)
	if end < 0 {
		return nil
	}
	s.i = end + 1
	return s.b[i+1 : end]
}

// unescape appends the text of a string to the scratch memory. Half a surrogate pair
// becomes U+FFFD and makes ok false. What is not an escape sequence gives any text.
func (s *scanner) unescape(raw []byte) (text []byte, ok bool) {
	from := len(s.buf)
	s.buf = slices.Grow(s.buf, len(raw)+8) // no escape sequence is shorter than its text
	buf := s.buf
	ok = true
	for i := 0; i < len(raw); {
		if len(raw)-i >= 8 { // copy eight bytes, of which those up to a backslash count
			x := binary.LittleEndian.Uint64(raw[i:])
			n := slashIn(x)
			binary.LittleEndian.PutUint64(buf[len(buf):len(buf)+8], x)
			buf = buf[:len(buf)+n]
			if i += n; n == 8 {
				continue
			}
		}
		switch {
		case raw[i] != '\\':
			buf = append(buf, raw[i])
			i++
		case i+1 < len(raw) && raw[i+1] != 'u':
			buf = append(buf, plainEscape(raw[i+1]))
			i += 2
		default:
			r, n, whole := unicodeEscape(raw[i:])
			buf = utf8.AppendRune(buf, r)
			i += n
			ok = ok && whole
		}
	}
	s.buf = buf
	return buf[from:len(buf):len(buf)], ok
}

// slashIn returns how many of the eight bytes are before the first backslash.
func slashIn(x uint64) int {
	y := x ^ lowBits*'\\'
	return bits.TrailingZeros64((y-lowBits)&^y&highBits) / 8
}

// unicodeEscape returns the character of the \u sequence at the start of raw, or of the
// surrogate pair, and its length. Half a pair becomes U+FFFD, and is not whole.
func unicodeEscape(raw []byte) (r rune, n int, whole bool) {
	r, _ = hex4(raw, 2)
	if !utf16.IsSurrogate(r) {
		return r, 6, true
	}
	if len(raw) > 7 && raw[6] == '\\' && raw[7] == 'u' {
		low, _ := hex4(raw, 8)
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, 12, true
		}
	}
	return utf8.RuneError, 6, false
}

func plainEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // " \ /
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// numeral returns the text of a number, or of a string that holds one; nil for
// anything else.
func numeral(v value) []byte {
	switch v.kind {
	case kindNumber:
		return v.raw
	case kindString:
		t := bytes.TrimSpace(v.raw)
		if len(t) > 0 && number(t, 0) == len(t) {
			return t
		}
	}
	return nil
}

// integer returns the value as an integer, truncated and clamped to +-maxInt; ok is
// false if it is not a number.
func integer(v value) (n int, ok bool) {
	t := numeral(v)
	if t == nil {
		return 0, false
	}
	neg := t[0] == '-'
	if neg {
		t = t[1:]
	}
	i := 0
	for ; i < len(t) && t[i]-'0' <= 9; i++ {
		if n = n*10 + int(t[i]-'0'); n > maxInt {
			n = maxInt
		}
	}
	if i < len(t) && bytes.ContainsAny(t[i:], "eE") {
		f, err := strconv.ParseFloat(string(t), 64)
		if err != nil {
			return 0, false
		}
		n = int(min(f, maxInt))
	}
	if neg {
		n = -n
	}
	return n, true
}

// plainInt reads the value at hand if it is a number of up to nine digits and the next member
// or element, or the end of the container follows at once, as in most requests. Otherwise it
// reads nothing.
func (s *scanner) plainInt() (n int, ok bool) {
	b, from := s.b, s.i
	i := from
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		n = n*10 + int(b[i]-'0')
	}
	if size := i - from; size == 0 || size > 9 || size > 1 && b[from] == '0' || i == len(b) || b[i] != ',' && b[i] != '}' && b[i] != ']' {
		return 0, false
	}
	s.i = i
	return n, true
}

// readInt reads the value at hand as an integer, and returns fallback if it is not a
// number.
func (s *scanner) readInt(fallback int) int {
	if n, ok := s.plainInt(); ok {
		return n
	}
	if n, ok := integer(s.value()); ok {
		return n
	}
	return fallback
}

// flag returns the value as a yes/no signal; anything that is neither is Unreadable.
func flag(v value) rtb.Flag {
	switch v.kind {
	case kindNone, kindNull:
		return rtb.Absent
	case kindTrue:
		return rtb.Yes
	case kindFalse:
		return rtb.No
	case kindString:
		switch string(v.raw) {
		case "true":
			return rtb.Yes
		case "false":
			return rtb.No
		}
	}
	t := numeral(v)
	switch {
	case t == nil:
		return rtb.Unreadable
	case string(t) == "1":
		return rtb.Yes
	case string(t) == "0":
		return rtb.No
	}
	switch m, err := rtb.ParseMicros(t, rtb.RoundUp); {
	case err == nil && m == 1_000_000:
		return rtb.Yes
	case err == nil && m == 0:
		return rtb.No
	}
	return rtb.Unreadable
}

// readFlag reads the value at hand as a flag.
func (s *scanner) readFlag() rtb.Flag {
	switch n, ok := s.plainInt(); {
	case !ok:
		return flag(s.value())
	case n == 0:
		return rtb.No
	case n == 1:
		return rtb.Yes
	}
	return rtb.Unreadable
}

// money returns the value as a price that a bid must reach, so it is rounded up. A
// negative price restricts nothing and becomes 0. ok is false if the value is not a
// number or exceeds rtb.MaxCPM.
func money(v value) (c rtb.CPM, ok bool) {
	t := numeral(v)
	if t == nil {
		return 0, false
	}
	m, err := rtb.ParseMicros(t, rtb.RoundUp)
	if err != nil || m > rtb.Micros(rtb.MaxCPM) {
		return 0, false
	}
	return rtb.CPM(max(m, 0)), true
}

// float returns the value as a floating-point number, for coordinates and ratios.
func float(v value) (f float64, ok bool) {
	t := numeral(v)
	if t == nil || len(t) > 64 {
		return 0, false
	}
	if f, ok := plainFloat(t); ok {
		return f, true
	}
	f, err := strconv.ParseFloat(string(t), 64)
	return f, err == nil
}

// plainFloat returns a number of up to 15 digits without an exponent. The digits and the
// power of ten are then exact, so their quotient is the nearest floating-point number.
func plainFloat(t []byte) (f float64, ok bool) {
	neg := t[0] == '-'
	if neg {
		t = t[1:]
	}
	if len(t) > 16 {
		return 0, false
	}
	n, point := 0, len(t)-1
	for i, c := range t {
		switch {
		case c-'0' <= 9:
			n = n*10 + int(c-'0')
		case c == '.':
			point = i
		default:
			return 0, false
		}
	}
	if f = float64(n) / powersOfTen[len(t)-1-point]; neg {
		f = -f
	}
	return f, true
}

// powersOfTen are the powers of ten that plainFloat divides by.
var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}
