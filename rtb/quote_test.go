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
