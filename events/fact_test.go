package events

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// fillIn sets every field of v that it can, so that a field which an encoder
// forgets shows.
func fillIn(t testing.TB, v reflect.Value, n *int) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Date(2026, 10, 1, 8, 0, *n%60, 123456789, time.UTC)
		return
	case *rtb.Currency:
		*x = rtb.USD
		return
	case *rtb.Day:
		*x = rtb.Day(20000 + *n)
		return
	case *rtb.Flights:
		*x = rtb.Flights{20001, 0, 20002}
		return
	case *rtb.BudgetID:
		*x = rtb.BudgetOf(rtb.CapLineDay, "shop", "autumn", "cart", 20727)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(t, v.Elem(), n)
	case reflect.Struct:
		for i := range v.NumField() {
			if tag := v.Type().Field(i).Tag.Get("json"); tag != "-" && v.Type().Field(i).IsExported() {
				fillIn(t, v.Field(i), n)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fillIn(t, v.Index(0), n)
		fillIn(t, v.Index(1), n)
	case reflect.Array:
		for i := range v.Len() {
			fillIn(t, v.Index(i), n)
		}
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fillIn(t, k, n)
		fillIn(t, e, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.String:
		v.SetString("text " + string(rune('A'+*n%26)) + "\"\\\n\t\x01 <é☃𝄞>")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n) * 1001)
	case reflect.Uint8:
		v.SetUint(uint64(*n%200 + 1))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	default:
		t.Fatalf("cannot fill in %s: teach this test", v.Type())
	}
}

// lineOf returns the line that the journal would write for f after previous.
func lineOf(t testing.TB, f *Fact, previous Hash) Line {
	t.Helper()
	body, err := AppendBody(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	l := Line{Seq: f.Seq, TS: f.TS, Body: body, Who: AppendWho(nil, f, [16]byte{1, 2, 3})}
	d, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	l.Hash = Chain(previous, l.Seq, l.TS, d)
	return l
}

// ofKinds returns a fact of every kind with every field set that the kind has.
func ofKinds(t testing.TB) []Fact {
	var all []Fact
	n := 0
	for kind, of := range map[Kind]func(*Fact) any{
		KindEvent: func(f *Fact) any { return &f.Event }, KindLink: func(f *Fact) any { return &f.Link },
		KindConfig: func(f *Fact) any { return &f.Config }, KindGrant: func(f *Fact) any { return &f.Grant },
		KindPause: func(f *Fact) any { return &f.Pause }, KindAdjust: func(f *Fact) any { return &f.Adjustment },
		KindAcceptLoss: func(f *Fact) any { return &f.AcceptLoss }, KindApproval: func(f *Fact) any { return &f.Approval }, KindBill: func(f *Fact) any { return &f.Notice },
		KindOptOut: func(f *Fact) any { return &f.Keys }, KindTick: func(f *Fact) any { return &f.Node },
	} {
		f := Fact{V: 1, Seq: uint64(len(all) + 1), Kind: kind}
		for _, p := range []any{of(&f), &f.ID, &f.TS, &f.At, &f.Advertiser, &f.Visitor, &f.Node, &f.Currency} {
			fillIn(t, reflect.ValueOf(p).Elem(), &n)
		}
		if f.Grant != nil {
			f.Grant.ExpectSeq = 0 // not stored
		}
		all = append(all, f)
	}
	return all
}

// A fact of every kind is the same after it was written and read: a field that
// one of the two forgets shows here.
func TestFactRoundTrip(t *testing.T) {
	for _, f := range ofKinds(t) {
		l := lineOf(t, &f, Hash{9})
		text := l.Append(nil)
		if !json.Valid(text) || bytes.ContainsAny(text, "\n\r") {
			t.Fatalf("%s: not one line of JSON: %s", f.Kind, text)
		}
		back, err := ParseLine(text)
		if err != nil {
			t.Fatalf("%s: %v", f.Kind, err)
		}
		if !reflect.DeepEqual(back, l) || !back.Follows(Hash{9}) || back.Follows(Hash{8}) {
			t.Errorf("%s: got %+v; want %+v", f.Kind, back, l)
		}
		var got Fact
		if err := back.Decode(&got); err != nil {
			t.Fatalf("%s: %v", f.Kind, err)
		}
		f.LineHash = l.Hash
		if !reflect.DeepEqual(got, f) {
			t.Errorf("%s: got\n%+v; want\n%+v", f.Kind, got, f)
		}
	}
}

// Everything that can identify a person is in who: after erasure none of it is
// left, the chain is still valid, and money is unchanged.
func TestErase(t *testing.T) {
	for _, f := range ofKinds(t) {
		l := lineOf(t, &f, Hash{})
		if f.Kind == KindOptOut {
			if l.Who != nil {
				t.Errorf("opt_out: got who %s; want the keys in the body", l.Who)
			}
			continue
		}
		var who map[string]any
		if err := json.Unmarshal(l.Who, &who); err != nil {
			t.Fatalf("%s: %v", f.Kind, err)
		}
		l.Erase()
		text := string(l.Append(nil))
		for _, v := range append([]string{f.Visitor.String()}, texts(who)...) {
			if quoted, _ := json.Marshal(v); strings.Contains(text, string(quoted)) {
				t.Errorf("%s: %s is still in %s", f.Kind, quoted, text)
			}
		}
		back, err := ParseLine([]byte(text))
		if err != nil || !back.Erased() || !back.Follows(Hash{}) {
			t.Fatalf("%s: got %+v, %v; want an erased line that fits", f.Kind, back, err)
		}
		var got Fact
		if err := back.Decode(&got); err != nil || !got.Erased || !got.Visitor.IsZero() || got.ID != f.ID {
			t.Errorf("%s: got %+v, %v", f.Kind, got, err)
		}
		if f.Notice != nil && (got.Notice == nil || got.Notice.Charge != f.Notice.Charge) {
			t.Errorf("%s: the charge is gone", f.Kind)
		}
	}
}

// texts returns the strings in v that are long enough to be looked for, but not the salt.
func texts(v any) (list []string) {
	switch v := v.(type) {
	case string:
		list = append(list, v)
	case []any:
		for _, x := range v {
			list = append(list, texts(x)...)
		}
	case map[string]any:
		for k, x := range v {
			if k != "key_kind" {
				list = append(list, texts(x)...)
			}
		}
	}
	return list
}

// A changed byte anywhere in a line is detected, particularly in numbers.
func TestEveryByteIsCovered(t *testing.T) {
	l := lineOf(t, &sample, Hash{7})
	text := l.Append(nil)
	for i := range text {
		for _, bit := range []byte{1, 2, 4, 16, 64} {
			changed := bytes.Clone(text)
			changed[i] ^= bit
			got, err := ParseLine(changed)
			if err == nil && got.Follows(Hash{7}) {
				t.Fatalf("byte %d: %s is taken for good", i, changed)
			}
		}
	}
}

// The fields' names and the hashes never change: the file holds one fact of each kind.
func TestFactGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/facts.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := bytes.Cut(want, []byte("\n"))
	h, err := ParseHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	got := h.Append(nil)
	previous := h.Previous
	kinds := map[Kind]bool{}
	for f, err := range ReadFacts("testdata/facts.ndjson", bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[f.Kind] = true
		l := lineOf(t, f, previous)
		previous = l.Hash
		got = append(l.Append(got), '\n')
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
	if len(kinds) < 15 {
		t.Errorf("got %d kinds; want an example of each", len(kinds))
	}
}

// A time that could not be read back is refused, and nothing is appended.
func TestAppendBodyTime(t *testing.T) {
	dst := []byte("before")
	got, err := AppendBody(dst, &Fact{ID: "x", Kind: KindTick, At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err == nil || string(got) != "before" {
		t.Errorf("got %q, %v; want an error and nothing written", got, err)
	}
}

// FuzzLine: whatever is read as a line is written again byte for byte, and
// whatever is read as a fact is valid JSON and survives being written.
func FuzzLine(f *testing.F) {
	golden, err := os.ReadFile("testdata/facts.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		f.Add([]byte(strings.TrimSuffix(line, "\n")))
	}
	for _, body := range []string{`"id":"\u2028\ud800","kind":"event","who":{"props":{"a":"<b>","\u0000":""},"keys":[{}]}`, `"id":"a","kind":"b","day":"","url":{}`,
		`"id":"a","kind":"bill","at":"2026-10-01T08:00:00+02:00","bid":1e-6,"price":2.3150000001,"flags":[""]`, `"id":"a","kind":"bill","who":"00"`} {
		f.Add([]byte(`{"v":1,"seq":3,"ts":"2026-10-01T08:00:00.000000000Z","synced":2,` + body + `,"h":"00112233445566778899aabbccddeeff"}`))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := ParseLine(in)
		if err != nil {
			return
		}
		if out := l.Append(nil); !bytes.Equal(in, out) {
			t.Fatalf("got %q; want %q", out, in)
		}
		var a, b Fact
		if l.Decode(&a) != nil {
			return
		}
		if !json.Valid(in) {
			t.Fatalf("read as a fact, but no JSON: %q", in)
		}
		if a.Seq == 0 {
			t.Fatal("got no sequence")
		}
		body, err := AppendBody(nil, &a)
		if err != nil {
			return
		}
		again := Line{Seq: a.Seq, Body: body, Who: AppendWho(nil, &a, [16]byte{})}
		if err := again.Decode(&b); err != nil {
			t.Fatalf("cannot read back %s: %v", body, err)
		}
		twice, err := AppendBody(nil, &b)
		if err != nil || !bytes.Equal(body, twice) {
			t.Fatalf("got %s, %v; want %s", twice, err, body)
		}
	})
}

var sample = Fact{V: 1, Seq: 17, ID: "bill:AAECAwQFBgcICQoLDA0ODw", TS: time.Date(2026, 10, 1, 8, 0, 0, 123456789, time.UTC),
	At: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), Kind: KindBill, Advertiser: "shop", Visitor: rtb.Key{1}, Node: "n1", Currency: rtb.USD,
	Notice: &Notice{BidID: rtb.BidID{2}, Exchange: "demo", Grant: "r1", Campaign: "autumn", Line: "cart", Creative: "c1", Day: 20727, Caps: 15,
		Bid: 2_310_000, Price: 1_900_000, PriceTold: true, Charge: 1900, BidCur: rtb.USD, Reserved: 2310, Bills: true,
		Issued: time.Date(2026, 10, 1, 7, 59, 0, 0, time.UTC), BillExpiry: time.Date(2026, 10, 1, 8, 59, 0, 0, time.UTC)}}

func BenchmarkAppendBody(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = AppendBody(buf[:0], &sample); err != nil {
			b.Fatal(err)
		}
		buf = AppendWho(buf, &sample, [16]byte{})
	}
}

// BenchmarkDecode compares the decoder of facts with encoding/json.
func BenchmarkDecode(b *testing.B) {
	l := lineOf(b, &sample, Hash{})
	text := l.Append(nil)
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l, err := ParseLine(text)
			var f Fact
			if err == nil {
				err = l.Decode(&f)
			}
			if err != nil || !l.Follows(Hash{}) {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var f Fact
			if err := json.Unmarshal(text, &f); err != nil {
				b.Fatal(err)
			}
		}
	})
}
