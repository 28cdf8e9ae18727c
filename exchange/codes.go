package exchange

import (
	"bytes"
	"strings"
)

// appendCodes appends the codes of a text: numbers between the separators of
// lists, each perhaps before a label. ok is false if an entry holds no code, or if
// there are more than room.
func appendCodes(dst []int, room int, text []byte) (list []int, ok bool) {
	start := len(dst)
	label, found := false, false // of the entry at hand
	for len(text) > 0 {
		c := text[0]
		switch {
		case c == ',' || c == ';' || c == '|':
			label, found = false, false
			text = text[1:]
			continue
		case strings.IndexByte(quotes, c) >= 0, label:
			text = text[1:]
			continue
		case c-'0' > 9:
			if !found {
				return dst, false
			}
			label = true
			continue
		}
		end := digits(text, 0)
		n, isCode := integer(value{raw: text[:end], kind: kindNumber})
		if !isCode || len(dst) == room {
			return dst, false
		}
		dst, found = append(dst, n), true
		if text = text[end:]; len(text) > 0 && text[0] == '.' { // 3.0 is 3
			text = text[digits(text, 1):]
		}
		if len(text) > 1 && text[0] == '-' && text[1]-'0' <= 9 {
			return dst, false // a range
		}
		label = len(text) > 0 && strings.IndexByte(quotes+",;|", text[0]) < 0
	}
	return dst, len(dst) > start
}

// intList reads the list of codes at hand: an array of numbers, a single one, or
// texts that hold some.
func (d *Decoder) intList() (list []int, bad bool) {
	s := &d.s
	from := len(d.ints)
	take := func(v value) {
		n, ok := integer(v)
		switch {
		case !v.given():
		case ok && len(d.ints)-from < maxInts:
			d.ints = append(d.ints, n)
		case !ok && v.kind == kindString:
			if t := s.text(v); len(bytes.TrimSpace(t)) > 0 {
				d.ints, ok = appendCodes(d.ints, from+maxInts, t)
				bad = bad || !ok
			}
		default:
			bad = true
		}
	}
	if s.enter('[') {
		for s.element() {
			if n, ok := s.plainInt(); ok && len(d.ints)-from < maxInts {
				d.ints = append(d.ints, n)
				continue
			}
			take(s.value())
		}
	} else {
		take(s.value())
	}
	return d.ints[from:len(d.ints):len(d.ints)], bad
}

// offeredCodes reads a list of offered codes; an entry that cannot be read is not offered.
func (d *Decoder) offeredCodes(dst *[]int) { *dst, _ = d.intList() }

// blockCodes reads a restricting list of codes.
func (d *Decoder) blockCodes(dst *[]int, bad *bool) {
	twice := len(*dst) > 0
	list, unread := d.intList()
	*dst = list
	*bad = *bad || unread || twice
}

// requireCodes reads a list of codes of which one must be met. A list without a
// readable code is unreadable, not absent.
func (d *Decoder) requireCodes(dst *[]int, bad *bool) {
	list, unread := d.intList()
	*dst = list
	*bad = *bad || unread && len(list) == 0
}
