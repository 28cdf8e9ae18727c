package creatives

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rebound/internal/spec"
	"rebound/rtb"
)

// text is a text of the configuration with item macros, for use outside HTML.
// It is escaped when it is appended, because it may have to be shortened first.
type text []piece

// compileText compiles a text. allowed reports which macros it may have.
func compileText(s string, allowed func(macro) bool, report func(got, want, hint string)) text {
	var t text
	for {
		i := strings.Index(s, "{{")
		if i < 0 {
			if s != "" {
				t = append(t, piece{lit: s})
			}
			return t
		}
		end := strings.Index(s[i:], "}}")
		if end < 0 {
			report("{{ without }}", "a macro such as {{item.title}}", "")
			return t
		}
		name := strings.TrimSpace(s[i+2 : i+end])
		m := macroNamed(name)
		if m == macroNone || !allowed(m) {
			names := macrosThat(allowed)
			report(spec.Quote("{{"+name[:min(len(name), 40)]+"}}"), "one of "+strings.Join(names, ", "), spec.DidYouMean(name, names))
		}
		t = append(t, piece{lit: s[:i], macro: m, place: inURL})
		if i == 0 && len(t) == 1 && m.url() {
			t[0].place = inURLStart
		}
		s = s[i+end+2:]
	}
}

func macrosThat(allowed func(macro) bool) []string {
	var names []string
	for m := macroNone + 1; m <= macroHeight; m++ {
		if allowed(m) {
			names = append(names, macroNames[m])
		}
	}
	return names
}

// itemWord reports whether a macro is a text about a product, not a URL.
func itemWord(m macro) bool { return m.item() && m != macroImage && m != macroLink }

// imagePart reports whether a macro may be in the URL of an image.
func imagePart(m macro) bool {
	return m == macroImage || m == macroItemID || m == macroWidth || m == macroHeight
}

func (t text) uses(m macro) bool {
	for i := range t {
		if t[i].macro == m {
			return true
		}
	}
	return false
}

func (t text) needsProduct() bool {
	for i := range t {
		if t[i].macro.item() {
			return true
		}
	}
	return false
}

// cuttable reports whether a text may be shortened. A shortened price would be
// wrong.
func (t text) cuttable() bool { return !t.uses(macroPrice) && !t.uses(macroSalePrice) }

// item returns the text of an item macro; empty if there is no product.
func item(m macro, products []*Product, now time.Time) string {
	if m == macroNone || len(products) == 0 {
		return ""
	}
	return products[0].text(m, now).Raw
}

// runes returns the length in characters.
func (t text) runes(products []*Product, now time.Time) int {
	n := 0
	for i := range t {
		n += utf8.RuneCountInString(t[i].lit) + utf8.RuneCountInString(item(t[i].macro, products, now))
	}
	return n
}

// ellipsis ends a text that was shortened.
const ellipsis = "…"

// appendJSON appends the text for a JSON string, shortened to limit characters;
// 0 means no limit.
func (t text) appendJSON(dst []byte, products []*Product, now time.Time, limit int) []byte {
	room, cut := limit, limit > 0 && t.runes(products, now) > limit
	if cut {
		room-- // for the ellipsis
	}
	for i := range t {
		lit, value := t[i].lit, item(t[i].macro, products, now)
		if cut {
			lit, room = firstRunes(lit, room)
			value, room = firstRunes(value, room)
		}
		dst = appendUntrustedJSON(appendJSON(dst, lit), value)
	}
	if cut {
		dst = append(dst, ellipsis...)
	}
	return dst
}

// firstRunes returns the first n characters of s, and how many of n are left.
func firstRunes(s string, n int) (string, int) {
	for i := range s {
		if n == 0 {
			return s[:i], 0
		}
		n--
	}
	return s, n
}

// appendXML appends the text for XML text.
func (t text) appendXML(dst []byte, products []*Product, now time.Time) []byte {
	for i := range t {
		dst = appendUntrustedXML(appendXML(dst, t[i].lit), item(t[i].macro, products, now))
	}
	return dst
}

// appendURL appends the URL of an image in a size, for a JSON string.
func (t text) appendURL(dst []byte, products []*Product, size rtb.Size) []byte {
	for i := range t {
		dst = appendJSON(dst, t[i].lit)
		switch m := t[i].macro; {
		case m == macroWidth:
			dst = strconv.AppendInt(dst, int64(size.W), 10)
		case m == macroHeight:
			dst = strconv.AppendInt(dst, int64(size.H), 10)
		case m == macroNone || len(products) == 0:
		case t[i].place == inURLStart:
			dst = appendUntrustedJSON(dst, products[0].text(m, time.Time{}).Raw)
		default:
			dst = append(dst, products[0].text(m, time.Time{}).URL...)
		}
	}
	return dst
}

// sample returns the URL of an image with sample values for its macros.
func (t text) sample() string {
	var b strings.Builder
	for i := range t {
		b.WriteString(t[i].lit)
		switch {
		case t[i].place == inURLStart:
			b.WriteString("https://x.example/")
		case t[i].macro != macroNone:
			b.WriteByte('1')
		}
	}
	return b.String()
}
