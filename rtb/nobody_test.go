package rtb

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

func TestNobody(t *testing.T) {
	sha := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	sum, md := sha256.Sum256(nil), md5.Sum(nil)
	for _, id := range []string{
		"", " ", "\t\n", "0", "00", "-", "--", "-1", "0.0", "0000-00", strings.Repeat("0", 32), "00000000-0000-0000-0000-000000000000",
		"{00000000-0000-0000-0000-000000000000}", "ffffffff-ffff-ffff-ffff-ffffffffffff", "FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF",
		"11111111-1111-1111-1111-111111111111", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "xxx", "***", "???",
		"null", "NULL", "Null", "(null)", "<null>", `"null"`, "nil", "None", "(none)", "undefined", "unknown", "UNKNOWN", "NaN", "n/a", "N.A.",
		"(not set)", "not_set", "not-set", "[object Object]", "anonymous", "false", "deleted", "redacted",
		"OPT_OUT", "OPTED_OUT", "optout", "opt-out", "Opt Out", "opted-out", "NO_UID", "no-id", "do_not_track", "DNT",
		"__UID__", "##UID##", "${UID}", "${USER_ID}", "$UID", "$$UID$$", "$!{uid}", "$(uid)", "{{uid}}", "{{ user.id }}", "{uid}", "[UID]", "[%uid%]",
		"%%USER_ID%%", "%UID%", "%{uid}", "<uid>", "<%= uid %>", "@@uid@@", "@uid@", "#{uid}", "%7Buid%7D", "%24%7BUID%7D", "prefix-${UID}",
		sha(""), strings.ToUpper(sha("")), sha("null"), sha("undefined"), sha("None"), sha("0"), sha(" "),
		base64.StdEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:]), hex.EncodeToString(md[:]),
		"da39a3ee5e6b4b0d3255bfef95601890afd80709",
	} {
		if !Nobody([]byte(id)) {
			t.Errorf("%q names somebody", id)
		}
	}
	for _, id := range []string{
		"1", "7", "42", "11111111", "abc", "c77", "x1", "user-1", "uid1", "null1", "6d92078a-8246-4ba4-ae5b-76104861e7dc", "AAAA", "naomi", "nana",
		"ID5*8Zr2bHk", "AwAAAKUxMjM0NQ+/==", "a%2Bb", "a$b", "a#b", "x_y", "E8H0AyJlL0s9Qm5dTz3u", sha("a@b.example"), "optoutable", "x", "uid", "user",
		"0001", "100", "f00", "größe", "~rb~AAAAAAAAAAAAAAAAAAAAAB", "a-1", "__a", "$5", "a%20b",
	} {
		if Nobody([]byte(id)) {
			t.Errorf("%q names nobody", id)
		}
	}
}

func TestNobodyDoesNotAllocate(t *testing.T) {
	ids := [][]byte{[]byte("6d92078a-8246-4ba4-ae5b-76104861e7dc"), []byte("OPT_OUT"), []byte("a-customer"), []byte(strings.Repeat("ab", 32))}
	if n := testing.AllocsPerRun(100, func() {
		for _, id := range ids {
			Nobody(id)
		}
	}); n != 0 {
		t.Errorf("got %v allocations; want none", n)
	}
}

// The shortcuts of Nobody find every word and every hash.
func TestNobodyTables(t *testing.T) {
	for word := range nobodyWord {
		if len(word) > maxNobodyWord || strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) {
			t.Errorf("%q: want at most %d letters in lower case", word, maxNobodyWord)
		}
	}
	for hash := range nobodyHash {
		if !Nobody([]byte(hash)) {
			t.Errorf("%q names somebody", hash)
		}
	}
}

func BenchmarkNobody(b *testing.B) {
	ids := [][]byte{[]byte("6d92078a-8246-4ba4-ae5b-76104861e7dc"), []byte("v1_k3JxQp0ZbT9wYcLmNs"), []byte("9f86d081884c7d659a2feaa0c55ad015")}
	for b.Loop() {
		for _, id := range ids {
			if Nobody(id) {
				b.Fatalf("%q names nobody", id)
			}
		}
	}
}
