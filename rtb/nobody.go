package rtb

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// nobodyWords are values that senders write if they have no identifier, in lower
// case and without anything but letters: null values of programming languages and
// answers of consent tools.
var nobodyWords = []string{
	"null", "nil", "none", "undefined", "undef", "nan", "na", "notset", "notavailable", "notapplicable", "notprovided", "unset",
	"unknown", "unidentified", "missing", "empty", "blank", "void", "default", "invalid", "error", "deleted", "redacted", "removed",
	"anonymous", "anonymized", "anonymised", "anon", "guest", "false", "true", "objectobject", "noid", "nouid", "nouser", "nouserid",
	"nobody", "noconsent", "noconsentgiven", "optout", "optedout", "optoutuser", "useroptout", "useroptedout", "isoptout", "donottrack",
	"dnt", "lmt", "limitadtracking", "notrack", "tobereplaced", "placeholder", "replaceme",
}

// maxNobodyWord is the length up to which a value is compared with nobodyWords.
const maxNobodyWord = 24

// nobodyWord and nobodyHash hold the words, and the hex and base64 forms of the MD5,
// SHA-1 and SHA-256 of the empty text and of each word as senders write it. hashStarts
// holds how the latter begin.
var nobodyWord, nobodyHash, hashStarts = nobodyTables()

// starts is a set of the first four bytes of texts, in any letter case. It may report
// texts that begin with others.
type starts [1 << 15 / 64]uint64

func (s *starts) bit(text []byte) (word *uint64, bit uint64) {
	const spread = 0x9e3779b1
	n := (binary.LittleEndian.Uint32(text) | 0x20202020) * spread >> 17
	return &s[n/64], 1 << (n % 64)
}

func (s *starts) add(text []byte) {
	word, bit := s.bit(text)
	*word |= bit
}

func (s *starts) has(text []byte) bool {
	word, bit := s.bit(text)
	return *word&bit != 0
}

func nobodyTables() (words, hashes map[string]bool, begin *starts) {
	words, hashes, begin = make(map[string]bool, len(nobodyWords)), map[string]bool{}, &starts{}
	add := func(sum []byte) {
		for _, text := range []string{hex.EncodeToString(sum), base64.RawStdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum)} {
			hashes[text] = true
			begin.add([]byte(text))
		}
	}
	texts := []string{"", " ", "0", "-1", "(null)", "(none)", "(not set)", "n/a", "opt-out", "opt_out", "opted_out", "[object Object]",
		"00000000-0000-0000-0000-000000000000"}
	for _, w := range nobodyWords {
		words[w] = true
		texts = append(texts, w, strings.ToUpper(w), strings.ToUpper(w[:1])+w[1:])
	}
	for _, t := range append(texts, "NaN") {
		m, s1, s2 := md5.Sum([]byte(t)), sha1.Sum([]byte(t)), sha256.Sum256([]byte(t))
		add(m[:])
		add(s1[:])
		add(s2[:])
	}
	return words, hashes, begin
}

// Classes of the bytes of identifiers.
const (
	byteLetter = 1 << iota
	byteDigit
	byteMacro // begins or ends a macro within an identifier
	byteWide  // beyond ASCII
)

var byteClass = func() (t [256]uint8) {
	for c := range t {
		switch b := byte(c); {
		case letter(b):
			t[c] = byteLetter
		case b >= '0' && b <= '9':
			t[c] = byteDigit
		case strings.IndexByte("$#{}<%", b) >= 0:
			t[c] = byteMacro
		case b >= 0x80:
			t[c] = byteWide
		}
	}
	return t
}()

// Nobody reports whether the value of an identifier is a placeholder that identifies
// no one: it is empty, zeros or one repeated character, a null or opt-out word, an
// unexpanded macro, or the hash of one of these. Such a value must be neither stored
// nor looked up: it would join strangers. It applies to identifiers of every kind and
// does not allocate.
func Nobody(id []byte) bool {
	for len(id) > 0 && (id[0] <= ' ' || id[0] == '"' || id[0] == '\'') {
		id = id[1:]
	}
	for len(id) > 0 && (id[len(id)-1] <= ' ' || id[len(id)-1] == '"' || id[len(id)-1] == '\'') {
		id = id[:len(id)-1]
	}
	if len(id) == 0 || uniform(id) || enclosed(id) {
		return true
	}
	seen, letters := uint8(0), 0
	for _, c := range id {
		class := byteClass[c]
		seen |= class
		letters += int(class & byteLetter)
	}
	switch {
	case seen&byteMacro != 0 && unexpanded(id),
		isHashLen(len(id)) && hashStarts.has(id) && hashOfNobody(id),
		string(id) == "-1":
		return true
	case seen&(byteDigit|byteWide) != 0 || letters > maxNobodyWord:
		return false // it is not a word
	}
	var stack [maxNobodyWord]byte
	word := appendWord(stack[:0], id)
	return len(word) == 0 || nobodyWord[string(word)]
}

// uniform reports whether an identifier consists of zeros, or of one other character
// that is repeated so often that no scheme of identifiers would give it out. Hyphens
// and the braces of a UUID do not count.
func uniform(id []byte) bool {
	var first byte
	n := 0
	for _, c := range id {
		switch {
		case c == '-' || c == '{' || c == '}' || c == '.' || c == ':':
			continue
		case n == 0:
			first = c | 0x20
		case c|0x20 != first:
			return false
		}
		n++
	}
	switch first {
	case '0' | 0x20:
		return true
	case 'x', '*' | 0x20, '?' | 0x20, '_' | 0x20:
		return n >= 3
	}
	return n == 0 || n >= 16
}

// enclosed reports whether an identifier is a macro that its sender should have
// replaced, by its ends.
func enclosed(id []byte) bool {
	first, last := id[0], id[len(id)-1]
	return len(id) > 4 && first == '_' && id[1] == '_' && last == '_' && id[len(id)-2] == '_' || // __UID__
		len(id) > 2 && first == last && (first == '%' || first == '#' || first == '@' || first == '$' || first == '!' || first == '|') ||
		first == '$' && len(id) > 1 && (letter(id[1]) || id[1] == '!' || id[1] == '$') || // $UID, $!{uid}
		first == '[' && last == ']' || first == '{' && last == '}' || first == '<' && last == '>'
}

// unexpanded reports whether an identifier contains a macro that its sender should have
// replaced, in the notations of exchanges, tag managers and template languages.
func unexpanded(id []byte) bool {
	for i := 0; i+1 < len(id); i++ {
		switch a, b := id[i], id[i+1]; a {
		case '$', '#':
			if b == '{' || b == '(' && a == '$' { // ${UID}, #{uid}, $(uid)
				return true
			}
		case '{', '}':
			if a == b { // {{uid}}
				return true
			}
		case '<':
			if b == '%' || letter(b) { // <%= uid %>, <uid>
				return true
			}
		case '%':
			if b == '%' || b == '{' || i+2 < len(id) && encodedBrace(b, id[i+2]) { // %%UID%%, %{uid}, %7Buid%7D
				return true
			}
		}
	}
	return false
}

// encodedBrace reports whether %ab is a brace or a bracket.
func encodedBrace(a, b byte) bool {
	b |= 0x20
	return (a == '7' || a == '5') && (b == 'b' || b == 'd')
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// isHashLen reports whether a text may be MD5, SHA-1 or SHA-256 in hex or base64.
func isHashLen(n int) bool {
	switch n {
	case 22, 24, 27, 28, 32, 40, 43, 44, 64:
		return true
	}
	return false
}

func hashOfNobody(id []byte) bool {
	var stack [64]byte
	b := append(stack[:0], id...)
	for len(b) > 0 && b[len(b)-1] == '=' {
		b = b[:len(b)-1]
	}
	if nobodyHash[string(b)] {
		return true
	}
	lowerASCII(b)
	return nobodyHash[string(b)]
}

// appendWord appends the letters of an identifier in lower case.
func appendWord(dst, id []byte) []byte {
	for _, c := range id {
		if letter(c) {
			dst = append(dst, c|0x20)
		}
	}
	return dst
}
