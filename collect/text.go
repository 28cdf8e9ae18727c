package collect

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// hasEmail reports whether a text contains something that looks like an e-mail address, plain or
// percent-encoded.
func hasEmail(s string) bool {
	for from := 0; from < len(s); {
		i := strings.IndexByte(s[from:], '@')
		width := 1
		if j := indexFold(s[from:], "%40"); j >= 0 && (i < 0 || j < i) {
			i, width = j, 3
		}
		if i < 0 {
			return false
		}
		at := from + i
		from = at + width
		if at > 0 && isLocal(s[at-1]) && dottedHost(s[from:]) {
			return true
		}
	}
	return false
}

func isLocal(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-+'%", c) >= 0 || c >= 0x80
}

// dottedHost reports whether s begins with a host name that contains a dot.
func dottedHost(s string) bool {
	label, dot := false, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '.' && label:
			dot, label = true, false
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c >= 0x80:
			if dot {
				return true
			}
			label = true
		default:
			return false
		}
	}
	return false
}

func indexFold(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return i
		}
	}
	return -1
}

// hashText parses a SHA-256, given as 64 hex digits in any case or as 43 or 44 characters
// of base64, and returns it as 64 lower-case hex digits.
func hashText(s string) (string, bool) {
	s = strings.TrimSpace(s)
	switch len(s) {
	case 64:
		if b, err := hex.DecodeString(s); err == nil {
			return hex.EncodeToString(b), true
		}
	case 44, 43:
		s = strings.TrimSuffix(s, "=")
		b, err := base64.RawStdEncoding.DecodeString(s)
		if err != nil {
			b, err = base64.RawURLEncoding.DecodeString(s)
		}
		if err == nil && len(b) == 32 {
			return hex.EncodeToString(b), true
		}
	}
	return "", false
}

// ifaText returns a device id in lower case. It returns false for a value that is not a
// UUID, and for the all-zero UUID that a device without consent sends.
func ifaText(s string) (string, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) != 36 {
		return "", false
	}
	zero := true
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return "", false
			}
			continue
		}
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
		zero = zero && c == '0'
	}
	return s, !zero
}

// sanitize trims a text, removes control characters and invalid UTF-8, and truncates it to
// at most max bytes without splitting a rune.
func sanitize(s string, max int) string {
	s = strings.TrimSpace(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == utf8.RuneError {
				return -1
			}
			return r
		}, s)
	}
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
