package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"rebound/rtb"
)

// decoder reads the members of a JSON object into a Fact. It exists because
// followers must decode well over 100,000 facts a second, which encoding/json
// does not; the two agree on everything that AppendBody and AppendWho write.
type decoder struct {
	b   []byte
	i   int
	err error
}

var errSyntax = errors.New("invalid JSON")

// decodeMembers reads the members of an object, without its braces, into f.
// Unknown members are skipped.
func decodeMembers(b []byte, f *Fact) error {
	d := &decoder{b: b}
	d.members(func(key []byte) { d.field(key, f) })
	if d.err == nil && d.i != len(d.b) {
		d.fail(errSyntax)
	}
	return d.err
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = fmt.Errorf("at byte %d: %w", d.i, err)
	}
}

func (d *decoder) space() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\t' || d.b[d.i] == '\r' || d.b[d.i] == '\n') {
		d.i++
	}
}

// take consumes c, after white space, if it is next.
func (d *decoder) take(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

func (d *decoder) must(c byte) {
	if !d.take(c) {
		d.fail(fmt.Errorf("%w: want %q", errSyntax, c))
	}
}

// members calls each with the key of every member; each must consume the value.
func (d *decoder) members(each func(key []byte)) {
	for {
		key := d.text()
		d.must(':')
		if d.err != nil {
			return
		}
		each(key)
		if d.err != nil || !d.take(',') {
			return
		}
	}
}

// object reads an object member by member; null is an object without members.
func (d *decoder) object(each func(key []byte)) {
	if d.null() {
		return
	}
	d.must('{')
	if d.err != nil || d.take('}') {
		return
	}
	d.members(each)
	d.must('}')
}

// array calls each at the beginning of every element; each must consume the element.
func (d *decoder) array(each func()) {
	if d.null() {
		return
	}
	d.must('[')
	if d.err != nil || d.take(']') {
		return
	}
	for d.err == nil {
		each()
		if !d.take(',') {
			break
		}
	}
	d.must(']')
}

func (d *decoder) null() bool {
	d.space()
	if bytes.HasPrefix(d.b[d.i:], []byte("null")) {
		d.i += 4
		return true
	}
	return false
}

// text reads a string; the result may point into the input.
func (d *decoder) text() []byte {
	if d.null() {
		return nil
	}
	d.must('"')
	if d.err != nil {
		return nil
	}
	start, plain := d.i, true
	for ; d.i < len(d.b); d.i++ {
		switch c := d.b[d.i]; {
		case c == '"':
			s := d.b[start:d.i]
			d.i++
			if plain || utf8.Valid(s) && bytes.IndexByte(s, '\\') < 0 {
				return s
			}
			return d.unescape(d.b[start-1 : d.i])
		case c == '\\':
			plain = false
			d.i++
		case c >= utf8.RuneSelf:
			plain = false
		case c < ' ':
			d.fail(errSyntax)
			return nil
		}
	}
	d.fail(errSyntax)
	return nil
}

// unescape passes strings with escapes or invalid UTF-8 to the standard library.
func (d *decoder) unescape(quoted []byte) []byte {
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		d.fail(err)
	}
	return []byte(s)
}

func (d *decoder) str() string { return string(d.text()) }

// number returns the text of a number.
func (d *decoder) number() []byte {
	d.space()
	start := d.i
	for d.i < len(d.b) && (d.b[d.i] >= '0' && d.b[d.i] <= '9' || bytes.IndexByte([]byte("+-.eE"), d.b[d.i]) >= 0) {
		d.i++
	}
	if text := d.b[start:d.i]; len(text) > 0 {
		if !isInteger(text) && !json.Valid(text) {
			d.fail(fmt.Errorf("%w: want a number", errSyntax))
		}
	} else if !d.null() {
		d.fail(fmt.Errorf("%w: want a number", errSyntax))
	}
	return d.b[start:d.i]
}

// isInteger reports whether a text is an integer without a sign, as most numbers are.
func isInteger(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return text[0] != '0' || len(text) == 1
}

func (d *decoder) int() int64 {
	s := d.number()
	if len(s) == 0 || s[0] == 'n' {
		return 0
	}
	n, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil {
		d.fail(err)
	}
	return n
}

func (d *decoder) uint() uint64 {
	n := d.int()
	if n < 0 {
		d.fail(fmt.Errorf("got %d; want no negative number", n))
	}
	return uint64(n)
}

func (d *decoder) micros() rtb.Micros { return rtb.Micros(d.int()) }

func (d *decoder) cpm() (p rtb.CPM) {
	s := d.number()
	if d.err == nil && len(s) > 0 && s[0] != 'n' {
		if err := p.UnmarshalJSON(s); err != nil {
			d.fail(err)
		}
	}
	return p
}

func (d *decoder) bool() bool {
	d.space()
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(d.b[d.i:], []byte(word)) {
			d.i += len(word)
			return word == "true"
		}
	}
	if !d.null() {
		d.fail(fmt.Errorf("%w: want true or false", errSyntax))
	}
	return false
}

// textValue is a type that reads its own text.
type textValue interface{ UnmarshalText([]byte) error }

func (d *decoder) value(v textValue) {
	if s := d.text(); d.err == nil {
		if err := v.UnmarshalText(s); err != nil {
			d.fail(err)
		}
	}
}

func (d *decoder) time() (t time.Time) {
	s := d.text()
	if d.err != nil || len(s) == 0 {
		return t
	}
	if err := t.UnmarshalText(s); err != nil {
		d.fail(err)
	}
	return t.UTC()
}

func (d *decoder) strs() (list []string) {
	d.array(func() { list = append(list, d.str()) })
	return list
}

func (d *decoder) hashes() (list []uint32) {
	d.array(func() { list = append(list, uint32(d.uint())) })
	return list
}

func (d *decoder) strMap() map[string]string {
	var m map[string]string
	d.object(func(key []byte) {
		if m == nil {
			m = map[string]string{}
		}
		k := string(key)
		m[k] = d.str()
	})
	return m
}

// skip skips a value of any type.
func (d *decoder) skip() {
	d.space()
	if d.i == len(d.b) {
		d.fail(errSyntax)
		return
	}
	switch d.b[d.i] {
	case '"':
		d.text()
	case '{':
		d.object(func([]byte) { d.skip() })
	case '[':
		d.array(d.skip)
	case 't', 'f':
		d.bool()
	default:
		d.number()
	}
}
