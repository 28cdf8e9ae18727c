package exchange

import (
	"bytes"
	"net/url"

	"rebound/internal/inventory"
	"rebound/rtb"
)

// listForm is how the entries of a list may be joined. The standard wants one
// array element for each entry; some senders put several into one text.
type listForm uint8

const (
	// plainTexts are never split: keywords and ids.
	plainTexts listForm = iota
	// invitedSeats are split at commas, semicolons and bars. White space does not
	// split them, because a part of a seat's name could be ours.
	invitedSeats
	// blockedSeats are also split at white space. Lists of seats keep the text as a
	// whole too, which may be the name of one seat.
	blockedSeats
	// labeledCodes are split like blockedSeats; labels after a code are dropped.
	labeledCodes
	// domains are split like codes, and brought into punycode.
	domains
	// bundles are split like codes, and reduced to the store id.
	bundles
	// mimeTypes are split like codes, except at semicolons, after which the
	// parameters of a type are dropped; aliases become the registered name.
	mimeTypes
)

// splitsAt reports whether a byte separates entries.
func (f listForm) splitsAt(c byte) bool { return entryBytes[c]>>f&1 != 0 }

// quotes are the quotation marks that senders put around the entries of a list in a text.
const quotes = " \t\r\n\"'`[]()"

// entryBytes tells for each byte which forms it separates the entries of, one bit for
// each, and with isQuote whether it is one of quotes.
var entryBytes = func() (t [256]uint8) {
	set := func(bytes string, bits uint8) {
		for _, c := range []byte(bytes) {
			t[c] |= bits
		}
	}
	const all = 1<<invitedSeats | 1<<blockedSeats | 1<<labeledCodes | 1<<domains | 1<<bundles | 1<<mimeTypes
	set(",|", all)
	set(";", all&^(1<<mimeTypes))
	set(" \t\r\n", all&^(1<<invitedSeats))
	set(quotes, isQuote)
	return t
}()

const isQuote = 1 << 7

// trimQuotes removes quotation marks from both ends.
func trimQuotes(text []byte) []byte {
	for len(text) > 0 && entryBytes[text[0]]&isQuote != 0 {
		text = text[1:]
	}
	for len(text) > 0 && entryBytes[text[len(text)-1]]&isQuote != 0 {
		text = text[:len(text)-1]
	}
	return text
}

// plainBytes has the bytes of texts that are one entry without quotation marks: of any form,
// or of media types.
var plainBytes = func() (t [256]uint8) {
	for c := range t {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' || c == '_' || c == '.' {
			t[c] = inAnyForm | inMediaType
		}
	}
	t['/'], t['+'] = inMediaType, inMediaType
	return t
}()

const (
	inAnyForm = 1 << iota
	inMediaType
)

// plainEntry returns the entry that a text is, in the form in which it is compared. It
// returns nil for a text that must be looked at more closely; most need not.
func (f listForm) plainEntry(text []byte) []byte {
	all := uint8(inAnyForm | inMediaType)
	for _, c := range text {
		all &= plainBytes[c]
	}
	switch {
	case len(text) == 0:
	case f == mimeTypes && all&inMediaType != 0:
		return inventory.MediaType(text)
	case all&inAnyForm == 0:
	case f == labeledCodes:
		return categoryCode(text)
	case f == domains && (text[0] == '.' || text[len(text)-1] == '.'):
	case f == bundles && text[0]|0x20 == 'i': // perhaps id123456789
	default:
		return text
	}
	return nil
}

// appendTexts appends the texts of the list at hand to dst: an array of strings
// or numbers, or a single one. bad reports that something in it cannot be read, or
// that there are more than limit.
func (s *scanner) appendTexts(dst [][]byte, limit int, form listForm) (list [][]byte, bad bool) {
	room := len(dst) + limit
	if !s.enter('[') {
		return s.appendText(dst, room, s.value(), form)
	}
	for s.element() {
		v := s.value()
		if v.kind == kindString && !v.esc && len(dst) < room {
			if entry := form.plainEntry(v.raw); len(entry) > 0 {
				dst = append(dst, entry)
				continue
			}
		}
		var unread bool
		dst, unread = s.appendText(dst, room, v, form)
		bad = bad || unread
	}
	return dst, bad
}

// appendText appends the entries of one text. bad reports that it is none, or that there
// are more than room.
func (s *scanner) appendText(dst [][]byte, room int, v value, form listForm) (list [][]byte, bad bool) {
	t := s.text(v)
	switch {
	case !v.given():
	case v.kind != kindString && v.kind != kindNumber:
		return dst, true
	case len(t) > 0 && form == plainTexts:
		if len(dst) == room {
			return dst, true
		}
		dst = append(dst, t)
	case len(t) > 0:
		return s.appendEntries(dst, room, t, form)
	}
	return dst, false
}

// appendEntries appends the entries that are joined in a text. full reports that
// there are more than room.
func (s *scanner) appendEntries(dst [][]byte, room int, text []byte, form listForm) (list [][]byte, full bool) {
	add := func(entry []byte) {
		switch {
		case len(entry) == 0:
		case len(dst) >= room:
			full = true
		default:
			dst = append(dst, entry)
		}
	}
	from, parts := 0, 0
	for i := 0; i <= len(text); i++ {
		if i < len(text) && !form.splitsAt(text[i]) {
			continue
		}
		if entry := s.entry(text[from:i], form); len(entry) > 0 {
			if last := len(dst) - 1; form == labeledCodes && parts > 0 && rtb.EqualFold(dst[last], "iab") && entry[0]-'0' <= 9 {
				at := len(s.buf) // "IAB 22" is one code
				s.buf = append(append(s.buf, dst[last]...), entry...)
				dst[last] = s.buf[at:len(s.buf):len(s.buf)]
			} else {
				add(entry)
			}
			parts++
		}
		from = i + 1
	}
	if parts > 1 && (form == invitedSeats || form == blockedSeats) {
		add(text)
	}
	return dst, full
}

// entry returns one entry of a list in the form in which it is compared.
func (s *scanner) entry(text []byte, form listForm) []byte {
	text = trimQuotes(text)
	switch form {
	case labeledCodes:
		return categoryCode(text)
	case domains:
		text = s.asciiHost(text)
		start, end := inventory.HostPart(text)
		return bytes.Trim(text[start:end], ".")
	case bundles:
		return inventory.Bundle(text)
	case mimeTypes:
		return inventory.MediaType(text)
	}
	return text
}

// categoryCode drops a label that is joined to a category of the IAB Content
// Taxonomy 1.0: IAB22-1 of "IAB22-1:Sports" and IAB22 of "IAB22-Shopping".
// Exchanges have their own codes such as IAB25-WS1, which are kept. Other texts
// come back unchanged.
func categoryCode(text []byte) []byte {
	if len(text) < 4 || !rtb.EqualFold(text[:3], "iab") {
		return text
	}
	i := digits(text, 3)
	if i == 3 {
		return text
	}
	if i == len(text) || text[i] != '-' {
		return text[:i]
	}
	digit, j := false, i+1
	for ; j < len(text) && (text[j]-'0' <= 9 || text[j]|0x20-'a' <= 'z'-'a'); j++ {
		digit = digit || text[j]-'0' <= 9
	}
	if digit {
		return text[:j]
	}
	return text[:i]
}

// asciiHost returns a host name, or a URL, whose host name is in ASCII (punycode).
// Plain ASCII comes back unchanged.
func (s *scanner) asciiHost(text []byte) []byte {
	if s.carry.high|s.carry.slashes == 0 && bytes.IndexByte(text, '%') < 0 || !inventory.NeedsASCII(text) {
		return text
	}
	if _, _, ok := bytes.Cut(text, []byte("://")); !ok && bytes.IndexByte(text, '%') >= 0 {
		if plain, err := url.PathUnescape(string(text)); err == nil {
			text = []byte(plain) // an encoded address
		}
	}
	start, end := inventory.HostPart(text)
	if !inventory.NeedsASCII(text[start:end]) {
		return text
	}
	from := len(s.buf)
	s.buf = append(s.buf, text[:start]...)
	s.buf = append(s.buf, inventory.ASCIIHost(string(text[start:end]))...)
	s.buf = append(s.buf, text[end:]...)
	return s.buf[from:len(s.buf):len(s.buf)]
}

// textList reads the list at hand into the decoder's memory.
func (d *Decoder) textList(limit int, form listForm) (list [][]byte, bad bool) {
	from := len(d.texts)
	d.texts, bad = d.s.appendTexts(d.texts, limit, form)
	return d.texts[from:len(d.texts):len(d.texts)], bad
}

// inviteList reads a list that restricts bids to its entries. A list that is
// present but names nothing, such as [""] or [null], allows nothing: it becomes a
// list of one empty text, which matches nothing. An empty array counts as absent.
func (d *Decoder) inviteList(limit int, form listForm) (list [][]byte, bad bool) {
	s := &d.s
	at := s.i
	list, bad = d.textList(limit, form)
	names := func() bool { // a filled array, or a text that is not empty
		return s.b[at] == '[' && s.b[s.space(at+1)] != ']' || s.b[at] == '"' && s.b[at+1] != '"'
	}
	if len(list) > 0 || bad || s.err != 0 || !names() {
		return list, bad
	}
	from := len(d.texts)
	d.texts = append(d.texts, s.b[at:at])
	return d.texts[from:len(d.texts):len(d.texts)], false
}

// someTexts reads a list that restricts nothing, so unreadable entries are ignored.
func (d *Decoder) someTexts(dst *[][]byte) { *dst, _ = d.textList(maxTexts, plainTexts) }

// block reads a restricting list: bad is set if it cannot be read, or if it is
// present twice.
func (d *Decoder) block(dst *[][]byte, bad *bool, form listForm) {
	twice := len(*dst) > 0
	list, unread := d.textList(maxTexts, form)
	*dst = list
	*bad = *bad || unread || twice
}

// invite reads a list of those whom a deal invites, as [Decoder.inviteList].
func (d *Decoder) invite(dst *[][]byte, bad *bool, form listForm) {
	twice := len(*dst) > 0
	list, unread := d.inviteList(maxTexts, form)
	*dst = list
	*bad = *bad || unread || twice
}

// appendKeywords appends keywords: a text with commas, or a list of such texts.
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
