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
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	default:
		t.Fatalf("cannot fill in %s: teach this test", v.Type())
	}
}

// AppendFact writes every field that encoding/json writes, and the same values.
func TestAppendFactIsComplete(t *testing.T) {
	var f Fact
	n := 0
	fillIn(t, reflect.ValueOf(&f).Elem(), &n)
	want, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := AppendFact(nil, &f)
	if err != nil {
		t.Fatal(err)
	}
	var a, b map[string]any
	if err := json.Unmarshal(want, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			t.Errorf("field %s: got %v; want %v", k, b[k], a[k])
		}
	}
	if len(a) != len(b) {
		t.Errorf("got %d fields; want %d", len(b), len(a))
	}
	var back Fact
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	f.Grant.ExpectSeq = 0
	if !reflect.DeepEqual(f, back) {
		t.Errorf("read back\n%+v; want\n%+v", back, f)
	}
}

// The fields' names never change: the file holds one fact of each kind.
func TestFactGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/facts.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	kinds := map[Kind]bool{}
	for f, err := range ReadFacts("testdata/facts.ndjson", bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[f.Kind] = true
		if got, err = AppendFact(got, f); err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
	if len(kinds) < 15 {
		t.Errorf("got %d kinds; want an example of each", len(kinds))
	}
}

// A time that nobody can read again is refused, and nothing is left behind.
func TestAppendFactTime(t *testing.T) {
	dst := []byte("before")
	got, err := AppendFact(dst, &Fact{ID: "x", Kind: KindTick, At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err == nil || string(got) != "before" {
		t.Errorf("got %q, %v; want an error and nothing written", got, err)
	}
}

// FuzzFact: whatever reads as a fact is written and read again unchanged, by
// AppendFact and encoding/json alike, on one line.
func FuzzFact(f *testing.F) {
	golden, err := os.ReadFile("testdata/facts.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"v":1,"id":"\u2028\ud800","kind":"event","props":{"a":"<b>","\u0000":""},"keys":[{}],"items":[{"id":""}]}`))
	f.Add([]byte(`{"id":"a","kind":"b","day":"","budget":"a/b//total","url":{},"on":false}`))
	f.Add([]byte(`{"id":"a","kind":"b","at":"2026-10-01T08:00:00+02:00","bid":1e-6,"price":2.3150000001,"flags":[""]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var a Fact
		if json.Unmarshal(in, &a) != nil {
			t.Skip()
		}
		line, err := AppendFact(nil, &a)
		if err != nil {
			t.Skip()
		}
		if bytes.ContainsAny(line, "\n\r") || !json.Valid(line) {
			t.Fatalf("not one line of JSON: %q", line)
		}
		var b Fact
		if err := json.Unmarshal(line, &b); err != nil {
			t.Fatalf("cannot read back %s: %v", line, err)
		}
		again, err := AppendFact(nil, &b)
		if err != nil || !bytes.Equal(line, again) {
			t.Fatalf("got %s, %v; want %s", again, err, line)
		}
		std, err := json.Marshal(&a)
		if err != nil {
			t.Fatalf("encoding/json refuses what AppendFact writes: %v", err)
		}
		var c Fact
		if err := json.Unmarshal(std, &c); err != nil {
			t.Fatal(err)
		}
		if third, err := AppendFact(nil, &c); err != nil || !bytes.Equal(line, third) {
			t.Fatalf("got %s; encoding/json has %s (%v)", line, third, err)
		}
	})
}

var sample = Fact{V: 1, Seq: 17, ID: "bill:AAECAwQFBgcICQoLDA0ODw", TS: time.Date(2026, 10, 1, 8, 0, 0, 123456789, time.UTC),
	At: time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC), Kind: KindBill, Advertiser: "shop", Visitor: rtb.Key{1}, Node: "n1", Currency: rtb.USD,
	Notice: &Notice{BidID: rtb.BidID{2}, Exchange: "demo", Grant: "r1", Campaign: "autumn", Line: "cart", Creative: "c1", Day: 20727, Caps: 15,
		Bid: 2_310_000, Price: 1_900_000, PriceTold: true, Charge: 1900, BidCur: rtb.USD, Reserved: 2310, Bills: true,
		Issued: time.Date(2026, 10, 1, 7, 59, 0, 0, time.UTC), BillExpiry: time.Date(2026, 10, 1, 8, 59, 0, 0, time.UTC)}}

func BenchmarkAppendFact(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		var err error
		if buf, err = AppendFact(buf[:0], &sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshalFact(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(&sample); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshalFact(b *testing.B) {
	line, err := AppendFact(nil, &sample)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		var f Fact
		if err := json.Unmarshal(line, &f); err != nil {
			b.Fatal(err)
		}
	}
}
