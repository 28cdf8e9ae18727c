package creatives

import (
	"html"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rebound/rtb"
)

// plainText returns a text of a feed as people read it: entities such as &amp; are
// decoded once, and line breaks, other control characters and runs of space are one
// space.
func plainText(s string) string {
	s = decodeEntities(s)
	if !strings.ContainsFunc(s, unicode.IsControl) && !strings.Contains(s, "  ") && !strings.Contains(s, "\u00a0") {
		return s
	}
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// maxEntity is the longest entity of HTML, &CounterClockwiseContourIntegral;.
const maxEntity = 33

// decodeEntities decodes the entities of HTML that end with a semicolon. Without
// one, &copy in a URL is a parameter.
func decodeEntities(s string) string {
	at := strings.IndexByte(s, '&')
	if at < 0 || strings.IndexByte(s[at:], ';') < 0 {
		return s
	}
	var b strings.Builder
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at:]
		end := strings.IndexByte(s[:min(len(s), maxEntity)], ';')
		text, ok := "", false
		if end > 1 {
			text, ok = entity(s[:end+1])
		}
		if ok {
			b.WriteString(text)
			s = s[end+1:]
		} else {
			b.WriteByte('&')
			s = s[1:]
		}
		at = strings.IndexByte(s, '&')
	}
	b.WriteString(s)
	return b.String()
}

// entity returns the text of one entity, such as &amp;.
func entity(s string) (string, bool) {
	for i := 1; i < len(s)-1; i++ {
		c := rtb.Lower(s[i])
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '#' && i == 1) {
			return "", false
		}
	}
	text := html.UnescapeString(s)
	// A known name that only begins the entity leaves the rest and the semicolon.
	if text == s || strings.ContainsRune(text, utf8.RuneError) || len(text) > 1 && strings.HasSuffix(text, ";") {
		return "", false
	}
	return text, true
}

// zonedLayouts are the forms of a time with its zone that feeds use, and localLayouts
// those without, which are in the advertiser's zone.
var (
	zonedLayouts = []string{time.RFC3339, "2006-01-02T15:04Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04Z07", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07"}
	localLayouts = []string{"2006-01-02T15:04", "2006-01-02T15:04:05"}
)

// parseSpan parses sale_price_effective_date: two ISO 8601 dates or times with a
// slash between them, either of which may be missing for an open end. A date alone
// includes the whole day. The end is exclusive; zero times are open ends.
func parseSpan(span string, zone *time.Location) (from, to time.Time, ok bool) {
	first, last, two := strings.Cut(span, "/")
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if !two || first == "" && last == "" {
		return from, to, false
	}
	if first != "" {
		if from, _, ok = parseInstant(first, zone); !ok {
			return from, to, false
		}
	}
	if last != "" {
		day := false
		if to, day, ok = parseInstant(last, zone); !ok {
			return from, to, false
		}
		if day {
			y, m, d := to.In(zone).Date()
			to = time.Date(y, m, d+1, 0, 0, 0, 0, zone).UTC()
		}
	}
	return from, to, from.IsZero() || to.IsZero() || to.After(from)
}

// parseInstant parses one end of a span. day is set if it is a date.
func parseInstant(s string, zone *time.Location) (t time.Time, day, ok bool) {
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return t.UTC(), true, true
	}
	if len(s) > len(time.DateOnly) && (s[len(time.DateOnly)] == ' ' || s[len(time.DateOnly)] == 't') {
		s = s[:len(time.DateOnly)] + "T" + strings.ReplaceAll(s[len(time.DateOnly)+1:], " ", "")
	}
	for _, layout := range zonedLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), false, true
		}
	}
	for _, layout := range localLayouts {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t.UTC(), false, true
		}
	}
	return time.Time{}, false, false
}
