package reports

import (
	"math/rand/v2"
	"testing"
)

// plainEnd returns the end of the object or array at the beginning of a text, byte by byte;
// -1 if it does not end.
func plainEnd(text []byte) int {
	depth, inText := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{', c == '[':
			depth++
		case c == '}', c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Values are skipped eight bytes at a time, names and texts by words: at any place in a
// word, they end where they end byte by byte.
func TestSkip(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{"{", "}", "[", "]", `"`, `\"`, `\\`, ",", ":", "a", "y_Y", "é", "ÛÝ", "\x7f", "|", "0123456789", " "}
	for range 20_000 {
		var text []byte
		inText := false
		for range random.IntN(60) {
			p := parts[random.IntN(len(parts))]
			if !inText && p[0] == '\\' { // only strings have escapes
				continue
			}
			inText = inText != (p == `"`)
			text = append(text, p...)
		}
		nested := append([]byte("[{"), text...)
		want := plainEnd(nested)
		s := scanner{b: append([]byte("       "[random.IntN(7):]), nested...)}
		if s.i = len(s.b) - len(nested); want < 0 {
			want = len(nested)
		}
		want += s.i
		if s.skip(); s.i != want {
			t.Fatalf("%s: got %d; want %d", s.b, s.i, want)
		}
	}
}

func TestMember(t *testing.T) {
	for _, c := range []struct{ text, key, rest string }{
		{`"id":1}                `, "id", `1}                `},
		{`,"id":1}               `, "id", `1}               `},
		{`,"id":1}`, "id", `1}`},
		{` , "id" : 1}               `, "id", ` 1}               `},
		{`"":1}                  `, "", `1}                  `},
		{`"sevenly":1}           `, "sevenly", `1}           `},
		{`"eightful":1}          `, "eightful", `1}          `},
		{`"exactly_fifteen":1}   `, "exactly_fifteen", `1}   `},
		{`"exactly_sixteen_":1}  `, "exactly_sixteen_", `1}  `},
		{`"a_name_of_more_than_twenty_four_bytes":1}`, "a_name_of_more_than_twenty_four_bytes", `1}`},
		{`"i\"d":1}              `, `i\"d`, `1}              `},
		{`"i\\":1}               `, `i\\`, `1}               `},
		{`"reserved_mic\"":1}    `, `reserved_mic\"`, `1}    `},
	} {
		s := scanner{b: []byte(c.text)}
		if !s.member() || string(s.key) != c.key || string(s.b[s.i:]) != c.rest {
			t.Errorf("%s: got %q, then %q", c.text, s.key, s.b[s.i:])
		}
	}
	for _, text := range []string{"", "}", `"`, `"id`, `"id"`, `"id" 1                     `, `"id"1                     `, `id:1                     `, `1                       `, `"i\":1}                 `, `]                       `} {
		s := scanner{b: []byte(text)}
		if s.member() || s.bad != (text != "}") {
			t.Errorf("%s: got %q, bad %v", text, s.key, s.bad)
		}
	}
}
