package exchange

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"rebound/rtb"
)

// wantIndex indexes a text byte by byte, as plainly as possible.
func wantIndex(text []byte) (blocks []block, c carry) {
	inside, escaped := false, false
	set := func(dst *uint64, n int, yes bool) {
		if yes {
			*dst |= 1 << n
		}
	}
	for at := 0; at < len(text); at += blockBytes {
		k := block{rank: c.opens}
		for n := range blockBytes {
			b := byte(' ')
			if at+n < len(text) {
				b = text[at+n]
			}
			set(&k.high, n, b >= utf8.RuneSelf)
			set(&c.high, 0, b >= utf8.RuneSelf)
			set(&c.slashes, 0, b == '\\')
			quote := b == '"' && !escaped
			set(&k.escape, n, escaped && b != '"' && b != '\\')
			escaped = b == '\\' && !escaped
			set(&k.quote, n, quote)
			inside = inside != quote
			set(&k.inside, n, inside)
			space := b == ' ' || b == '\t' || b == '\r' || b == '\n'
			if b < ' ' && (inside || !space) {
				c.control = 1
			}
			if inside {
				continue
			}
			set(&k.open, n, b == '{' || b == '[')
			set(&k.close, n, b == '}' || b == ']')
			set(&k.comma, n, b == ',')
			set(&k.colon, n, b == ':')
			set(&k.space, n, space)
			if b == '{' || b == '[' {
				c.opens++
			}
		}
		blocks = append(blocks, k)
	}
	set(&c.inside, 0, inside)
	set(&c.escaped, 0, escaped)
	return blocks, c
}

// sameIndex compares the index of a text by this processor's instructions and by
// portable Go with that of wantIndex.
func sameIndex(t *testing.T, text []byte) {
	t.Helper()
	want, wantCarry := wantIndex(text)
	padded := append(bytes.Clone(text), bytes.Repeat([]byte(" "), blockBytes)...)
	for name, index := range map[string]func([]block, []byte, *carry){"this processor": indexBlocks, "portable": indexGeneric} {
		blocks := make([]block, len(want))
		var c carry
		if half := len(blocks) / 2; len(blocks) > 0 { // in two calls, for the carry
			index(blocks[:half], padded, &c)
			index(blocks[half:], padded[half*blockBytes:], &c)
		}
		if !slices.Equal(blocks, want) {
			t.Fatalf("%s: %q\ngot  %x\nwant %x", name, text, blocks, want)
		}
		flag := func(x uint64) uint64 { return min(x, 1) }
		got := carry{flag(c.inside), c.escaped, c.opens, flag(c.control), flag(c.slashes), flag(c.high)}
		if got != wantCarry {
			t.Fatalf("%s: %q: got %+v; want %+v", name, text, got, wantCarry)
		}
	}
}

func TestIndex(t *testing.T) {
	for _, text := range []string{"", "{}", requestR0, personal, strings.Repeat(`\`, 200), strings.Repeat(`"\\\"`, 70), strings.Repeat("\x80[\"", 99)} {
		for i := range min(len(text), 130) {
			sameIndex(t, []byte(text[i:]))
		}
	}
	rng := rand.New(rand.NewPCG(64, 2))
	const bytesOfJSON = `{}[]":,\\\\""ux ` + "\n\t\r\x00\x1f\x0c\x1a\x7f\x80\xc3\xff"
	for range 20_000 {
		text := make([]byte, rng.IntN(300))
		for i := range text {
			text[i] = bytesOfJSON[rng.IntN(len(bytesOfJSON))]
		}
		sameIndex(t, text)
	}
}

// The index of every text is the same by the processor's instructions and in portable
// Go, and its bits are those of the plain rules.
func FuzzIndex(f *testing.F) {
	seeds(f)
	f.Fuzz(sameIndex)
}

// verdict is what Head, and Rest after it, say about the JSON of a body.
func verdict(d *Decoder, p *Profile, body []byte) (err error, malformed bool) {
	var o rtb.Opportunity
	if err = d.Head(body, p, &o); err == nil {
		err = d.Rest(p, &o, rtb.AllParts)
	}
	return err, err == ErrSyntax || err == ErrUTF8 || err == ErrDepth
}

// Every change of one byte of a text is found: brackets, strings and control
// characters by Head, anything else by Rest.
func TestEveryByteCounts(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) { s.AllowNoInventory = true })
	base := imp0(`"x":{"a":[1e-5, 20,"\u0041\\",{"b":null},[[]]] ,"c":true,"d":-0.5E+7}`)
	var d Decoder
	for i := range base {
		for _, c := range []byte(`{}[]":,\/u0123e+-.tfn` + " \n\x00\x7f\xc3") {
			body := bytes.Clone(base)
			body[i] = c
			valid := json.Valid(body) && utf8.Valid(body)
			if err, malformed := verdict(&d, p, body); malformed == valid {
				t.Errorf("byte %d: got %v; encoding/json says valid %v: %q", i, err, valid, body)
			}
		}
	}
}
