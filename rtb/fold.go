package rtb

// Lower returns the lower-case form of an ASCII letter, and any other byte unchanged.
func Lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c |= 'a' - 'A'
	}
	return c
}

// EqualFold reports whether two texts are equal without regard to the case of ASCII letters.
// Other characters equal only themselves, unlike with [strings.EqualFold], for which the
// Kelvin sign K (U+212A) is a k.
func EqualFold(text []byte, s string) bool {
	if len(text) != len(s) {
		return false
	}
	for i, c := range text {
		if c != s[i] && Lower(c) != Lower(s[i]) {
			return false
		}
	}
	return true
}
