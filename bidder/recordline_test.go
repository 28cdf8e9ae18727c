package bidder_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rebound/bidder"
	"rebound/events"
)

// No request breaks the bid log: whatever byte of it is damaged, and whatever is in a member
// that nobody reads, each record is one line of JSON that a reader of the log accepts. It has
// the request exactly if that is valid JSON.
func TestRequestsCannotBreakTheBidLog(t *testing.T) {
	w := lasting(t)
	dir := t.TempDir()
	l, err := events.OpenBidLog(events.BidLogOptions{Dir: dir, BufferBytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	b, s := w.everything(l), bidder.NewDecision()
	var valid []bool // of the requests, whose times tell them apart
	ask := func(body []byte) {
		b.Answer(&bidder.Request{Exchange: "demo", Body: bytes.Clone(body), Arrival: w.now.Add(time.Duration(len(valid)))}, s)
		valid = append(valid, json.Valid(body) && utf8.Valid(body))
	}
	for _, body := range [][]byte{
		w.r0, // a bid
		bytes.Replace(w.r0, []byte("u-retarget"), []byte("u-stranger"), 1),
		bytes.Replace(w.r0, []byte(`"at":1`), []byte(`"regs":{"gdpr":1}`), 1), // recorded without personal fields
	} {
		for i := range body {
			for _, c := range []byte("{}[]\":,\\u0\n\x00\xc3") {
				damaged := bytes.Clone(body)
				damaged[i] = c
				ask(damaged)
			}
			ask(body[:i])
		}
		for _, unread := range []string{
			`[}`, `{]`, `[[}]`, `{"a":[}`, `[{]}`, `{"a":1,}`, `[1,]`, `[,]`, `{,}`, `{"a"}`, `{"a":}`, `{1:2}`, `[1 2]`, `[1:2]`, `01`, `1.`, `.5`, `1e`, `+1`, `-`, `nul`, `truefalse`,
			`NaN`, `Infinity`, `'a'`, `"\x"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", "\"\xff\"", "\"\xed\xa0\x80\"", `"\ud800"`, "\"\u2028\"", "[\n1,\r\n2]", `"a`, `[`, `{`, `]`, `}`, ``, `//`, `/**/1`,
			strings.Repeat("[", 62) + strings.Repeat("]", 62), strings.Repeat(`{"a":`, 30) + "[[}]" + strings.Repeat("}", 30), `1} {"b":1`, "1}\n{\"id\":\"r\"",
		} {
			for _, place := range []string{`"at":1,"x":$`, `"at":1,"ext":{"x":$}`, `"at":1,"wlang":["en",$]`, `"x":$,"at":1`} {
				ask(bytes.Replace(body, []byte(`"at":1`), []byte(strings.Replace(place, "$", unread, 1)), 1))
			}
		}
	}
	over, stop := context.WithCancel(t.Context())
	stop()
	if err := l.Run(over); err != nil {
		t.Fatal(err)
	}
	lines, without := uint64(0), uint64(0)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			if lines++; !json.Valid(line) || !utf8.Valid(line) {
				t.Fatalf("no JSON: %q", line)
			}
		}
		for r, err := range events.ReadRecords(name, bytes.NewReader(text)) {
			if err != nil {
				t.Fatal(err)
			}
			lacks := string(r.Request) == "null"
			if lacks == valid[r.TS.Sub(w.now)] {
				t.Fatalf("got request %s with %+v; the request was valid JSON: %v", r.Request, r.Decision, !lacks)
			}
			if lacks {
				without++
			}
		}
	}
	if st := l.Stats(); lines != st.Written || st.Dropped != 0 || st.Redacted != without || without == 0 || lines < 1000 {
		t.Errorf("got %d lines, %d of them without a request; %+v", lines, without, st)
	}
}
