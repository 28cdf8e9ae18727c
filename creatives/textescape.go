package creatives

import "unicode/utf8"

// appendJSON appends s for a JSON string. It leaves exchange macros as they
// are, and is for our own URLs and texts of the configuration.
func appendJSON[T ~string | ~[]byte](dst []byte, s T) []byte { return appendJSONText(dst, s, false) }

// appendUntrustedJSON is appendJSON for untrusted texts: nothing in them may
// look like a macro, or end a script that contains the JSON.
func appendUntrustedJSON[T ~string | ~[]byte](dst []byte, s T) []byte {
	return appendJSONText(dst, s, true)
}

func appendJSONText[T ~string | ~[]byte](dst []byte, s T, untrusted bool) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := decodeRune(s, i)
			if r == 0x2028 || r == 0x2029 {
				dst = append(append(dst, `\u202`...), hexDigits[r&15])
			} else {
				dst = utf8.AppendRune(dst, r) // invalid UTF-8 becomes U+FFFD
			}
			i += n
			continue
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ', c == 0x7f, untrusted && escapedInJSON(c):
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return dst
}

func escapedInJSON(c byte) bool {
	switch c {
	case '$', '{', '%', '<', '>', '&', '[':
		return true
	}
	return false
}

func decodeRune[T ~string | ~[]byte](s T, i int) (rune, int) {
	var b [utf8.UTFMax]byte
	return utf8.DecodeRune(b[:copy(b[:], s[i:])])
}

// appendXML appends s for XML text and quoted attributes. Characters that XML
// does not allow (control characters, invalid UTF-8) become U+FFFD. It leaves
// exchange macros as they are.
func appendXML[T ~string | ~[]byte](dst []byte, s T) []byte { return appendXMLText(dst, s, false) }

// appendUntrustedXML is appendXML for untrusted texts: nothing in them may look
// like a macro.
func appendUntrustedXML[T ~string | ~[]byte](dst []byte, s T) []byte {
	return appendXMLText(dst, s, true)
}

func appendXMLText[T ~string | ~[]byte](dst []byte, s T, untrusted bool) []byte {
	for i := 0; i < len(s); {
		r, n := decodeRune(s, i)
		i += n
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&#34;"...)
		case r == '\'':
			dst = append(dst, "&#39;"...)
		case untrusted && (r == '$' || r == '{' || r == '%' || r == '['):
			dst = append(dst, "&#x"...)
			dst = append(dst, hexDigits[r>>4], hexDigits[r&15], ';')
		default:
			dst = appendXMLRune(dst, r)
		}
	}
	return dst
}

// appendXMLRune appends a character, or U+FFFD if XML 1.0 §2.2 does not allow
// it.
func appendXMLRune(dst []byte, r rune) []byte {
	if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r)
}

// appendCDATA appends s for the inside of a CDATA section. It leaves exchange
// macros as they are, and splits "]]>", the end of the section, between two
// sections.
func appendCDATA[T ~string | ~[]byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); {
		if s[i] == '>' && len(dst) >= 2 && dst[len(dst)-1] == ']' && dst[len(dst)-2] == ']' {
			dst = append(dst, "]]><![CDATA["...)
		}
		r, n := decodeRune(s, i)
		dst = appendXMLRune(dst, r)
		i += n
	}
	return dst
}
