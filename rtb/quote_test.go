package rtb_test

import (
	"encoding/json"
	"strings"
	"testing"

	"rebound/rtb"
)

// Every byte is quoted rightly at every place among eight and more, alone and twice.
func TestAppendQuotedEveryByte(t *testing.T) {
	for c := range 256 {
		for n := 1; n < 20; n++ {
			for at := range n {
				text := []byte(strings.Repeat("x", n))
				text[at], text[(at*7+3)%n] = byte(c), byte(c)
				quoted := rtb.AppendQuoted(nil, text)
				var got string
				if err := json.Unmarshal(quoted, &got); err != nil || got != strings.ToValidUTF8(string([]rune(string(text))), "\ufffd") {
					t.Fatalf("%q became %s, which reads as %q, %v", text, quoted, got, err)
				}
				if plain := c >= ' ' && c < 0x7f && c != '"' && c != '\\'; plain && string(quoted) != `"`+string(text)+`"` {
					t.Fatalf("%q became %s", text, quoted)
				}
			}
		}
	}
}

// What is escaped in place is what AppendEscaped appends, and what comes before stays.
func TestEscapeFrom(t *testing.T) {
	for _, text := range []string{"", "plain", "https://edge.example/v1/imp?k=A-_", `a "b" \ c`, "\u2028\xff\n", strings.Repeat(`"`, 100)} {
		got := rtb.EscapeFrom([]byte(`"<before`+text), len(`"<before`))
		if want := rtb.AppendEscaped([]byte(`"<before`), text); string(got) != string(want) {
			t.Errorf("%q: got %s; want %s", text, got, want)
		}
	}
}

func TestMarkupSafe(t *testing.T) {
	for c := range rune(0x80) {
		text := "https://e.example/" + string(c)
		escaped := c <= ' ' || c == 0x7f || strings.ContainsRune("\"&'<>\\`", c)
		if got := rtb.MarkupSafe(text); got == escaped {
			t.Errorf("%q: got %v; want %v", text, got, !escaped)
		}
	}
	if rtb.MarkupSafe("é") || !rtb.MarkupSafe("") {
		t.Error("got é safe or nothing unsafe")
	}
}
