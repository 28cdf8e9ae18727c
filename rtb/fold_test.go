package rtb

import (
	"strings"
	"testing"
)

func TestEqualFold(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"gzip", "gzip", true},
		{"GZip", "gzIP", true},
		{"image/PNG", "IMAGE/png", true},
		{"IAB22-1", "iab22-1", true},
		{"gzip", "gzi", false},
		{"gzip", "gzip ", false},
		{"gzip", "", false},
		{"gzip", "gzIq", false},
		// The neighbors of the letters differ from each other in the same bit as a letter and its capital.
		{"@", "`", false},
		{"[", "{", false},
		{"iab_1", "iab\x7f1", false},
		{"\r", "-", false},
		// Unicode folds these, ASCII does not.
		{"É", "é", false},
		{"ſ", "s", false},
		{"\u212a", "k", false},
		{"É", "É", true},
		{"\xc3", "\xe3", false},
	} {
		if got := EqualFold([]byte(c.a), c.b); got != c.want {
			t.Errorf("EqualFold(%q, %q): got %t; want %t", c.a, c.b, got, c.want)
		}
		if got := EqualFold([]byte(c.b), c.a); got != c.want {
			t.Errorf("EqualFold(%q, %q): got %t; want %t", c.b, c.a, got, c.want)
		}
	}
}

// Every pair of bytes is equal exactly when one is the other or its lower or upper case.
func TestEqualFoldBytes(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			x, y := string([]byte{byte(a)}), string([]byte{byte(b)})
			want := a == b || a < 0x80 && b < 0x80 && strings.EqualFold(x, y)
			if got := EqualFold([]byte(x), y); got != want {
				t.Errorf("EqualFold(%q, %q): got %t; want %t", x, y, got, want)
			}
		}
	}
}

// On ASCII the standard library's folding is the same. Every other byte equals only itself,
// which is checked by giving it a character of its own that has no case.
func FuzzEqualFold(f *testing.F) {
	f.Add([]byte("Content-Encoding"), "content-encoding")
	f.Add([]byte("iab1"), "IAB1-2")
	f.Add([]byte("[@"), "{`")
	f.Add([]byte("\u212a"), "k")
	f.Add([]byte("\xff\xc3"), "\xff\xe3")
	f.Fuzz(func(t *testing.T, text []byte, s string) {
		want := strings.EqualFold(caseless(string(text)), caseless(s))
		if got := EqualFold(text, s); got != want {
			t.Errorf("EqualFold(%q, %q): got %t; want %t", text, s, got, want)
		}
		folded := []byte(s)
		for i, c := range folded {
			folded[i] = Lower(c)
		}
		if !EqualFold(folded, s) {
			t.Errorf("EqualFold(%q, %q): got false; want true", folded, s)
		}
	})
}

// caseless replaces each byte that is not ASCII by a character of the private use area.
func caseless(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < 0x80 {
			b.WriteByte(c)
		} else {
			b.WriteRune(0xe000 + rune(c))
		}
	}
	return b.String()
}
