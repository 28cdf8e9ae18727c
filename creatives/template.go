package creatives

import (
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// macro is a macro of a template.
type macro uint8

const (
	macroNone macro = iota
	macroClick
	macroClickEsc
	macroPixel
	macroTitle
	macroPrice
	macroSalePrice
	macroImage
	macroLink
	macroItemID
	macroBrand
	macroAdvertiser
	macroCampaign
	macroLine
	macroCreative
	macroSiteDomain
	macroCB
	macroWidth
	macroHeight
)

var macroNames = []string{"", "click", "click_esc", "pixel", "item.title", "item.price", "item.sale_price", "item.image",
	"item.link", "item.id", "item.brand", "advertiser", "campaign", "line", "creative", "site_domain", "cb", "width", "height"}

func (m macro) item() bool { return m >= macroTitle && m <= macroBrand }

// url reports whether the macro is a whole URL, and so may begin a URL.
func (m macro) url() bool {
	return m == macroClick || m == macroPixel || m == macroImage || m == macroLink
}

// number reports whether the macro is always digits, and so safe everywhere.
func (m macro) number() bool { return m >= macroCB }

// piece is literal markup and the macro that follows it.
type piece struct {
	lit   string // in a banner the content of a JSON string
	size  int    // of lit in bytes, before it was escaped
	macro macro
	place place
}

// template is the result of compiling markup.
type template struct {
	pieces []piece
	uses   [macroHeight + 1]bool // by macro
	closed bool                  // the markup ends between tags
}

// compileTemplate compiles markup. It reports every problem with its line in
// the markup.
func compileTemplate(markup string, report func(line int, got, want, hint string)) template {
	var t template
	var s scanner
	for rest := markup; ; {
		i := strings.Index(rest, "{{")
		if i < 0 {
			s.literal(rest)
			t.pieces = append(t.pieces, piece{lit: rest})
			t.closed = s.state == scanText
			return t
		}
		line := 1 + strings.Count(markup[:len(markup)-len(rest)+i], "\n")
		s.literal(rest[:i])
		end := strings.Index(rest[i:], "}}")
		if end < 0 {
			report(line, "{{ without }}", "a macro such as {{click}}", "")
			return t
		}
		name := strings.TrimSpace(rest[i+2 : i+end])
		m := macroNamed(name)
		if m == macroNone {
			reportUnknown(line, name, report)
		} else if got, want := misplaced(m, s.place()); got != "" {
			report(line, got, want, "")
		}
		t.uses[m] = true
		t.pieces = append(t.pieces, piece{lit: rest[:i], macro: m, place: s.place()})
		s.macro()
		rest = rest[i+end+2:]
	}
}

// escape makes the literal markup the content of JSON strings, next to each other in memory.
func (t *template) escape() {
	var text []byte
	ends := make([]int, len(t.pieces))
	for i := range t.pieces {
		t.pieces[i].size = len(t.pieces[i].lit)
		text = rtb.AppendEscaped(text, t.pieces[i].lit)
		ends[i] = len(text)
	}
	all, from := string(text), 0
	for i, end := range ends {
		t.pieces[i].lit, from = all[from:end], end
	}
}

func macroNamed(name string) macro {
	for i, n := range macroNames {
		if i > 0 && n == name {
			return macro(i)
		}
	}
	return macroNone
}

func reportUnknown(line int, name string, report func(int, string, string, string)) {
	if len(name) > 40 {
		name = name[:40] + "..."
	}
	report(line, "{{"+name+"}}", "one of "+strings.Join(macroNames[1:], ", "), spec.DidYouMean(name, macroNames[1:]))
}

// misplaced returns why a macro is not safe in a position, or nothing if it is.
func misplaced(m macro, p place) (got, want string) {
	name := "{{" + macroNames[m] + "}}"
	switch {
	case m.number() || m == macroClickEsc && p != inURLStart:
		return "", ""
	case p == inNowhere:
		return name + " where it cannot be escaped", "it in text, in a quoted attribute, or in a string of a script; only numbers may be anywhere"
	case p == inURLStart && !m.url():
		return name + " at the start of a URL", "a macro that is a URL: {{click}}, {{pixel}}, {{item.image}} or {{item.link}}"
	case p == inURL && m == macroClick:
		return name + " inside another URL", "{{click_esc}} there"
	case p == inURL && m == macroPixel:
		return name + " inside another URL", "it at the start of a URL"
	}
	return "", ""
}
