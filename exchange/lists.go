package exchange

import (
	"bytes"
	"time"

	"rebound/rtb"
)

// appendTexts appends the texts of the list at hand to dst: an array of strings
// or numbers, or one of them alone. bad tells that there is something that
// cannot be read, or more than limit.
func (s *scanner) appendTexts(dst [][]byte, limit int) (list [][]byte, bad bool) {
	room := len(dst) + limit
	take := func(v value) {
		t := s.text(v)
		switch {
		case !v.given():
		case v.kind != kindString && v.kind != kindNumber, len(dst) == room:
			bad = true
		case len(t) > 0:
			dst = append(dst, t)
		}
	}
	if !s.enter('[') {
		take(s.value())
		return dst, bad
	}
	for s.element() {
		take(s.value())
	}
	return dst, bad
}

// textList reads the list at hand into the decoder's memory.
func (d *Decoder) textList(limit int) (list [][]byte, bad bool) {
	from := len(d.texts)
	d.texts, bad = d.s.appendTexts(d.texts, limit)
	return d.texts[from:len(d.texts):len(d.texts)], bad
}

// inviteList reads a list of whom or what may answer. One that was given and
// names nothing, [""] or [null], invites nobody: it becomes a list of one empty
// text, which nothing matches. An empty list is no list.
func (d *Decoder) inviteList(limit int) (list [][]byte, bad bool) {
	s := &d.s
	at := s.i
	list, bad = d.textList(limit)
	if len(list) > 0 || bad || s.err != 0 || s.b[at] != '[' || s.b[s.space(at+1)] == ']' {
		return list, bad
	}
	from := len(d.texts)
	d.texts = append(d.texts, s.b[at:at])
	return d.texts[from:len(d.texts):len(d.texts)], false
}

// someTexts reads a list in which what cannot be read does not matter.
func (d *Decoder) someTexts(dst *[][]byte) { *dst, _ = d.textList(maxTexts) }

// block reads a list that binds us: bad is set when it cannot be read, or when
// it comes twice.
func (d *Decoder) block(dst *[][]byte, bad *bool) {
	twice := len(*dst) > 0
	list, unread := d.textList(maxTexts)
	*dst = list
	*bad = *bad || unread || twice
}

// invite reads a list of whom a deal invites, as [Decoder.inviteList].
func (d *Decoder) invite(dst *[][]byte, bad *bool) {
	twice := len(*dst) > 0
	list, unread := d.inviteList(maxTexts)
	*dst = list
	*bad = *bad || unread || twice
}

// intList reads the list of numbers at hand: an array or one alone.
func (d *Decoder) intList() (list []int, bad bool) {
	s := &d.s
	from := len(d.ints)
	take := func(v value) {
		n, ok := integer(v)
		switch {
		case !v.given():
		case !ok, len(d.ints)-from == maxInts:
			bad = true
		default:
			d.ints = append(d.ints, n)
		}
	}
	if s.enter('[') {
		for s.element() {
			take(s.value())
		}
	} else {
		take(s.value())
	}
	return d.ints[from:len(d.ints):len(d.ints)], bad
}

// codes reads a list of offered codes; what cannot be read is not offered.
func (d *Decoder) codes(dst *[]int) { *dst, _ = d.intList() }

// blockCodes reads a list of codes that binds us.
func (d *Decoder) blockCodes(dst *[]int, bad *bool) {
	twice := len(*dst) > 0
	list, unread := d.intList()
	*dst = list
	*bad = *bad || unread || twice
}

// requireCodes reads a list of codes of which one must be met; a list without a
// readable code is unreadable, not absent.
func (d *Decoder) requireCodes(dst *[]int, bad *bool) {
	list, unread := d.intList()
	*dst = list
	*bad = *bad || unread && len(list) == 0
}

// seconds reads a number of seconds; ok is false for what is there and is none.
func (s *scanner) seconds() (t time.Duration, ok bool) {
	v := s.value()
	n, ok := integer(v)
	return time.Duration(min(max(n, 0), maxSeconds)) * time.Second, ok || !v.given()
}

// maxSeconds bounds a number of seconds: a year, far below what a Duration holds.
const maxSeconds = 365 * 86400

// limit reads a number of seconds that binds us.
func (s *scanner) limit(dst *time.Duration, bad *bool) {
	t, ok := s.seconds()
	*dst = t
	*bad = *bad || !ok
}

// floor reads a floor; of two the higher holds.
func (s *scanner) floor(dst *rtb.CPM, bad *bool) {
	v := s.value()
	c, ok := money(v)
	switch {
	case !v.given():
	case !ok:
		*bad = true
	default:
		*dst = max(*dst, c)
	}
}

// currency reads a floor's currency: one that cannot be read, or two that
// differ, void the floor.
func (s *scanner) currency(dst *rtb.Currency, bad *bool) {
	v := s.value()
	t := s.text(v)
	if !v.given() || v.kind == kindString && len(t) == 0 {
		return
	}
	c, ok := rtb.ParseCurrency(t)
	if !ok || !dst.IsZero() && *dst != c {
		*bad = true
		return
	}
	*dst = c
}

// durFloorList reads floors by duration (OpenRTB 2.6 §3.2.35).
func (d *Decoder) durFloorList(bad *bool) []rtb.DurFloor {
	s := &d.s
	from := len(d.durFloors)
	if !s.enter('[') {
		*bad = *bad || s.value().given()
		return nil
	}
	for s.element() {
		if !s.enter('{') {
			*bad = *bad || s.value().given()
			continue
		}
		var f rtb.DurFloor
		for s.member() {
			switch string(s.key) {
			case "mindur":
				s.limit(&f.Min, bad)
			case "maxdur":
				s.limit(&f.Max, bad)
			case "bidfloor":
				s.floor(&f.Floor, bad)
			default:
				s.skip()
			}
		}
		if len(d.durFloors)-from == maxInts {
			*bad = true
			continue
		}
		d.durFloors = append(d.durFloors, f)
	}
	return d.durFloors[from:len(d.durFloors):len(d.durFloors)]
}

// appendKeywords appends keywords: a text with commas, or a list of such.
func (s *scanner) appendKeywords(dst [][]byte) [][]byte {
	if s.enter('[') {
		for s.element() {
			dst = splitKeywords(dst, s.readText())
		}
		return dst
	}
	return splitKeywords(dst, s.readText())
}

func splitKeywords(dst [][]byte, text []byte) [][]byte {
	for len(text) > 0 && len(dst) < maxTexts {
		word := text
		if i := bytes.IndexByte(text, ','); i >= 0 {
			word, text = text[:i], text[i+1:]
		} else {
			text = nil
		}
		if word = bytes.TrimSpace(word); len(word) > 0 {
			dst = append(dst, word)
		}
	}
	return dst
}
