package creatives

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"rebound/internal/spec"
	"rebound/rtb"
)

// text is a text of the configuration with item macros in it, for places that are
// not HTML. It is escaped as it is appended, because it may have to be cut first.
type text []piece

// compileText cuts a text into pieces; allowed tells which macros it may hold.
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

// itemWord tells whether a macro is a word about a product: no URL.
func itemWord(m macro) bool { return m.item() && m != macroImage && m != macroLink }

// imagePart tells whether a macro may stand in a picture's URL.
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

// cuttable tells whether a text may lose its end: half a price is a wrong one.
func (t text) cuttable() bool { return !t.uses(macroPrice) && !t.uses(macroSalePrice) }

// item is what an item macro stands for; nothing without a product.
func item(m macro, products []*Product, now time.Time) string {
	if m == macroNone || len(products) == 0 {
		return ""
	}
	return products[0].text(m, now).Raw
}

// runes is the length in characters.
func (t text) runes(products []*Product, now time.Time) int {
	n := 0
	for i := range t {
		n += utf8.RuneCountInString(t[i].lit) + utf8.RuneCountInString(item(t[i].macro, products, now))
	}
	return n
}

// ellipsis takes the last place of a text that was cut.
const ellipsis = "…"

// appendJSON appends the text for a JSON string, cut to a number of characters;
// 0 cuts nothing.
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
		dst = appendHostileJSON(appendJSON(dst, lit), value)
	}
	if cut {
		dst = append(dst, ellipsis...)
	}
	return dst
}

// firstRunes are the first n characters of s, and how many of n are left.
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
		dst = appendHostileXML(appendXML(dst, t[i].lit), item(t[i].macro, products, now))
	}
	return dst
}

// appendURL appends a picture's URL in a size, for a JSON string.
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
			dst = appendHostileJSON(dst, products[0].text(m, time.Time{}).Raw)
		default:
			dst = append(dst, products[0].text(m, time.Time{}).URL...)
		}
	}
	return dst
}

// sample is a picture's URL with something for its macros.
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
