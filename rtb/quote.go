package rtb

import (
	"math/bits"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// plain marks the bytes that a JSON string can hold unescaped: ASCII except
// control characters, the quote and the backslash. The characters <, >, &, $ and
// braces are not escaped, so markup stays short and macros stay literal.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// AppendQuoted appends text as a JSON string (RFC 8259 §7). It escapes U+2028 and
// U+2029, which end a line in JavaScript, and replaces invalid UTF-8 by U+FFFD.
func AppendQuoted[T ~string | ~[]byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	if skipPlain(text, 0) == len(text) { // most texts
		dst = append(dst, text...)
	} else {
		dst = AppendEscaped(dst, text)
	}
	return append(dst, '"')
}

// AppendEscaped is AppendQuoted without the quotes: it appends the content of a JSON
// string.
func AppendEscaped[T ~string | ~[]byte](dst []byte, text T) []byte {
	from := 0
	for i := skipPlain(text, 0); i < len(text); i = skipPlain(text, i) {
		if c := text[i]; c < utf8.RuneSelf {
			dst = appendEscape(append(dst, text[from:i]...), c)
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(text[i:min(i+utf8.UTFMax, len(text))]))
		if r == '\u2028' || r == '\u2029' || r == utf8.RuneError && size == 1 {
			dst = append(dst, text[from:i]...)
			switch r {
			case '\u2028':
				dst = append(dst, `\u2028`...)
			case '\u2029':
				dst = append(dst, `\u2029`...)
			default:
				dst = append(dst, `\ufffd`...)
			}
			from = i + size
		}
		i += size
	}
	return append(dst, text[from:]...)
}

// EscapeFrom makes the bytes of b from start on the content of a JSON string, as
// AppendEscaped does. It allocates only to grow b.
func EscapeFrom(b []byte, start int) []byte {
	end := len(b)
	if skipPlain(b, start) == end {
		return b
	}
	b = AppendEscaped(b, b[start:end])
	return append(b[:start], b[end:]...)
}

// MarkupSafe reports whether a text is the same in JSON strings, HTML and XML: whether it
// consists of visible ASCII characters that none of them escapes.
func MarkupSafe(text string) bool {
	return skipPlain(text, 0) == len(text) && !strings.ContainsAny(text, " &<>'`\x7f")
}

// skipPlain returns the index of the first byte from i on that is not plain, or the length
// of the text. Most bytes are plain, so it looks at eight at once.
func skipPlain[T ~string | ~[]byte](text T, i int) int {
	for ; len(text)-i >= 8; i += 8 {
		if m := notPlain(eightBytes(text, i)); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	if n := len(text) - i; n > 0 && len(text) >= 8 {
		// The last n bytes, followed by zeros, which are not plain.
		return i + bits.TrailingZeros64(notPlain(eightBytes(text, len(text)-8)>>(64-8*n)))/8
	}
	for i < len(text) && plain[text[i]] {
		i++
	}
	return i
}

// eightBytes returns the bytes of text from i on as a little-endian word. The compiler
// makes one load of it.
func eightBytes[T ~string | ~[]byte](text T, i int) uint64 {
	_ = text[i+7]
	return uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
		uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
}

// notPlain marks the bytes of x that are not plain by their highest bit. The borrow of
// a subtraction can mark wrong bytes only above a right one, so the lowest mark is
// always right.
func notPlain(x uint64) uint64 {
	const low, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^low*'"', x^low*'\\'
	return ((quote - low) | (slash - low) | (x - low*' ') | x) & high
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
