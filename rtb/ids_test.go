package rtb

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dchest/siphash"
)

func TestKeysAreApartByKindAndScope(t *testing.T) {
	r := NewKeyring([32]byte{1})
	seen := map[Key]string{}
	for kind := IDVisitor; kind <= IDPhone; kind++ {
		for _, scope := range []string{"", "a", "ab"} {
			for _, value := range []string{"", "b", "bb"} {
				k := r.Key(kind, scope, []byte(value))
				name := strings.Join([]string{string('0' + rune(kind)), scope, value}, "|")
				if other, dup := seen[k]; dup {
					t.Errorf("%s and %s have the same key", name, other)
				}
				seen[k] = name
			}
		}
	}
	if r.Key(IDVisitor, "", []byte("u")) == NewKeyring([32]byte{2}).Key(IDVisitor, "", []byte("u")) {
		t.Error("the secret does not matter")
	}
}

func TestPseudonymsOnlyInReplay(t *testing.T) {
	r := NewKeyring([32]byte{1})
	k := r.Key(IDIFA, "", []byte("x"))
	p := AppendPseudonym(nil, k)
	if r.Key(IDIFA, "", p) == k {
		t.Error("live traffic may not name a key")
	}
	if got := r.ForReplay().Key(IDIFA, "", p); got != k {
		t.Errorf("replay reads %s; want %s", got, k)
	}
}

func TestKeyAllocatesNothing(t *testing.T) {
	v := []byte("0123456789abcdef0123456789abcdef")
	for _, hash := range []string{HashSHA256, HashSip} {
		r := openKeyring(t, [32]byte{1}, hash)
		if n := testing.AllocsPerRun(100, func() { r.Key(IDEID, "pubcid.org", v) }); n != 0 {
			t.Errorf("%s: Key allocates %g times", hash, n)
		}
	}
}

func openKeyring(t testing.TB, secret [32]byte, hash string) *Keyring {
	t.Helper()
	r, err := OpenKeyring(secret, hash)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Stored keys must be found by every later version: these never change.
func TestKeysNeverChange(t *testing.T) {
	secret := [32]byte{1, 2, 3}
	for hash, want := range map[string]string{"": "S_jZE9rN-Yb8AwASs5_gUQ", HashSHA256: "S_jZE9rN-Yb8AwASs5_gUQ", HashSip: "kzdhT70X4Qvl7o1MpUpOsQ"} {
		r := openKeyring(t, secret, hash)
		if got := r.Key(IDEID, "PubCID.org", []byte("abc")).String(); got != want {
			t.Errorf("%q: got %s; want %s", hash, got, want)
		}
		if r.Key(IDEID, "pubcid.org", []byte("abc")) != r.Key(IDEID, "PubCID.org", []byte("abc")) || r.Key(IDIFA, "", []byte("AB")) != r.Key(IDIFA, "", []byte("ab")) {
			t.Errorf("%q: sources and advertising ids are case-insensitive", hash)
		}
		seen := map[Key]bool{}
		for _, other := range []*Keyring{r, openKeyring(t, [32]byte{9}, hash)} {
			for _, scope := range []string{"", "a", "ab"} {
				for _, kind := range []IDKind{IDVisitor, IDEID, IDXID} {
					seen[other.Key(kind, scope, []byte("bc"))] = true
				}
			}
		}
		if len(seen) != 18 {
			t.Errorf("%q: got %d different keys of 18 identifiers", hash, len(seen))
		}
		p := AppendPseudonym(nil, Key{7})
		if r.Key(IDIFA, "", p) == (Key{7}) || r.ForReplay().Key(IDIFA, "", p) != (Key{7}) {
			t.Errorf("%q: pseudonyms are read in replay only", hash)
		}
	}
	if _, err := OpenKeyring(secret, "md5"); err == nil {
		t.Error("an unknown hash was accepted")
	}
}

// The library computes SipHash-2-4-128: the first vectors of the reference implementation.
func TestSipHash(t *testing.T) {
	for input, want := range map[string]string{"": "a3817f04ba25a8e66df67214c7550293", "\x00": "da87c1d86b99af44347659119b22fc45"} {
		a, b := siphash.Hash128(0x0706050403020100, 0x0f0e0d0c0b0a0908, []byte(input))
		got := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, a), b)
		if hex.EncodeToString(got) != want {
			t.Errorf("%q: got %x; want %s", input, got, want)
		}
	}
}

func TestIDsInJSON(t *testing.T) {
	type ids struct {
		K Key   `json:"k,omitzero"`
		B BidID `json:"b,omitzero"`
	}
	in := ids{K: Key{1, 2}, B: BidID{3}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out ids
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Fatalf("%s reads as %v, %v", b, out, err)
	}
	for _, bad := range []string{`{"k":"short"}`, `{"k":"!!!!!!!!!!!!!!!!!!!!!!"}`} {
		if json.Unmarshal([]byte(bad), &out) == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestDays(t *testing.T) {
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 3, 59, 0, 0, time.UTC) // 23:59 of the day before, still summer time
	if got := DayOf(at, zone).String(); got != "2026-10-31" {
		t.Errorf("day of %s = %s", at, got)
	}
	d := DayOf(at, zone) + 1
	if got := (d + 1).Start(zone).Sub(d.Start(zone)); got != 25*time.Hour {
		t.Errorf("the day the clocks go back has %s", got)
	}
}

func TestBudgetText(t *testing.T) {
	for _, c := range Caps {
		id := BudgetOf(c, "shop", "autumn", "cart", 20000)
		var got BudgetID
		if err := got.UnmarshalText([]byte(id.String())); err != nil || got != id {
			t.Errorf("%s reads as %v, %v", id, got, err)
		}
	}
	for _, bad := range []string{"", "a/b", "a/b/c/day", "a/b/c/day/x", "a/b/c/total/2026-01-01", "a/b/c/day/2026-01-01/x", "a/b/c/week"} {
		var got BudgetID
		if got.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestNoBidReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := NoBidNone; r < NoBidReasons; r++ {
		name := r.String()
		if seen[name] || (name == "") != (r == NoBidNone) {
			t.Errorf("reason %d has the name %q", r, name)
		}
		seen[name] = true
		var back NoBidReason
		if err := back.UnmarshalText([]byte(name)); err != nil || back != r {
			t.Errorf("%q reads as %d, %v; want %d", name, back, err, r)
		}
		if r != NoBidNone && (!strings.HasSuffix(r.Meaning(), ".") || !strings.HasSuffix(r.Remedy(), ".")) {
			t.Errorf("%s has the meaning %q and the remedy %q; want sentences", name, r.Meaning(), r.Remedy())
		}
	}
	if NoBidLate.NBR() != 15 || NoBidUnknownVisitor.NBR() != 8 || NoBidFrequency.NBR() != 9 {
		t.Error("wire codes are off")
	}
}

func TestFlagOr(t *testing.T) {
	f := func(a, b, want Flag) {
		t.Helper()
		if a.Or(b) != want || b.Or(a) != want {
			t.Errorf("%d or %d = %d; want %d", a, b, a.Or(b), want)
		}
	}
	f(Absent, No, No)
	f(No, Yes, Yes)
	f(Unreadable, No, Unreadable)
	f(Unreadable, Yes, Yes)
}

func TestVisitorCopyIsDeep(t *testing.T) {
	v := Visitor{Segments: []SegmentState{{ID: 1, Recent: []Second{5, 4}}}, Frequency: []FrequencyState{{Scope: 2, Buckets: []FrequencyBucket{{Start: 1, Span: 300, Count: 2}}}}}
	var c Visitor
	c.CopyFrom(&v)
	v.Segments[0].Recent[0] = 9
	v.Frequency[0].Buckets[0].Count = 9
	if c.Segments[0].Recent[0] != 5 || c.Frequency[0].Buckets[0].Count != 2 {
		t.Error("the copy shares memory")
	}
	if n := testing.AllocsPerRun(50, func() { c.CopyFrom(&v) }); n != 0 {
		t.Errorf("copying into used memory allocates %g times", n)
	}
	if v.Segment(1) == nil || v.Segment(2) != nil || v.Scope(2) == nil || v.Scope(1) != nil {
		t.Error("lookup is off")
	}
}
