package collect

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestSplitBatch(t *testing.T) {
	many := "[" + strings.TrimSuffix(strings.Repeat(`{},`, 1001), ",") + "]"
	tests := []struct {
		name, body string
		n          int
		err        error
	}{
		{"object", `{"event":"x"}`, 1, nil},
		{"pretty object", "\xef\xbb\xbf {\n \"event\": \"x\"\n}\n", 1, nil},
		{"array", ` [{"a":1}, {"b":2} , 3] `, 3, nil},
		{"empty array", `[]`, 0, nil},
		{"lines", "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}", 3, nil},
		{"lines, one torn", "{\"a\":1}\n{\"b\":\n{\"c\":3}\n", 3, nil},
		{"1,000", "[" + strings.TrimSuffix(strings.Repeat(`{},`, 1000), ",") + "]", 1000, nil},
		{"1,001", many, 0, ErrTooMany},
		{"1,001 lines", strings.Repeat("{}\n", 1001), 0, ErrTooMany},
		{"empty", " \n ", 0, ErrUnreadable},
		{"torn array", `[{"a":1},`, 0, ErrUnreadable},
		{"array and more", `[{"a":1}] {"b":2}`, 0, ErrUnreadable},
		{"text", "hello", 0, ErrUnreadable},
		{"form", "event=x&uid=u", 0, ErrUnreadable},
		{"too large", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, 0, ErrTooLarge},
	}
	for _, tt := range tests {
		list, err := SplitBatch([]byte(tt.body))
		if len(list) != tt.n || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %d, %v; want %d, %v", tt.name, len(list), err, tt.n, tt.err)
		}
	}
}

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestInflate(t *testing.T) {
	if b, err := Inflate(zip(t, []byte("hello"))); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := Inflate(zip(t, make([]byte, MaxBatchBytes+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a decompression bomb: got %v; want too large", err)
	}
	if b, err := Inflate(zip(t, make([]byte, MaxBatchBytes))); err != nil || len(b) != MaxBatchBytes {
		t.Errorf("exactly the limit: got %d, %v", len(b), err)
	}
	whole := zip(t, []byte("hello"))
	for _, b := range [][]byte{nil, []byte("hello"), whole[:len(whole)-4]} {
		if _, err := Inflate(b); err == nil || errors.Is(err, ErrTooLarge) {
			t.Errorf("%q: got %v; want unreadable", b, err)
		}
	}
}

// Every event of a server is accepted, a duplicate or rejected with a reason, and accepted
// events survive a round trip through the log format.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		`{"event":"view_item","user":{"uid":"u"},"items":[{"id":"A","price":1.5}]}`,
		`[{"event":"purchase","order_id":"1","user":{"xid":"c"}},{"event":"purchase","order_id":"1","user":{"xid":"c"}}]`,
		"{\"event\":\"x\",\"user\":{\"ifa\":\"6D92078A-8246-4BA4-AE5B-76104861E7DC\"}}\n{}\nnull\n",
		`{"event_name":"Lead","user_data":{"em":"` + hash("a") + `"},"custom_data":{"value":"1e400"}}`,
		`{"event":"x","user":{"uid":"u","eids":[{"source":"id5-sync.com","uids":[{"id":"i"}]}]},"consent":{"gpp_sid":[7,8]}}`,
		"\x1f\x8b", "[[[[", `{"event":"x","ts":1e308,"user":{"uid":"u"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := SplitBatch(body)
		if err != nil {
			return
		}
		w := newWorld(t)
		adv := w.setup.Load().advertisers["shop"]
		r, err := w.RecordBatch(context.Background(), Sender{Advertiser: adv}, list)
		if err != nil {
			t.Fatal(err)
		}
		if r.Accepted+r.Duplicates+len(r.Rejected) != len(list) {
			t.Fatalf("got %+v for %d events", r, len(list))
		}
		for i := range w.facts {
			line, err := json.Marshal(&w.facts[i])
			if err != nil {
				t.Fatal(err)
			}
			if fact := w.facts[i]; fact.ID == "" || strings.ContainsAny(fact.ID, " \r\n\t") {
				t.Fatalf("message id %q", fact.ID)
			}
			if len(line) > 512<<10 {
				t.Fatalf("fact of %d bytes", len(line))
			}
		}
	})
}
