package events

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"rebound/rtb"
)

// The fields' names never change.
func TestRecordGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/records.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	for r, err := range ReadRecords("records.ndjson", bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s; want\n%s", got.String(), want)
	}
}

// A borrowed record shares no memory with what it was filled from, and keeps its
// own from one use to the next.
func TestRecordMemory(t *testing.T) {
	body := []byte(`{"id":"r1"}`)
	v := rtb.Visitor{Key: rtb.Key{1}, Segments: []rtb.SegmentState{{ID: 7, Recent: []rtb.Second{5}}}}
	var r BidRecord
	r.SetRequest(body)
	r.SetVisitor(&v)
	d := r.Decide()
	d.Bids = append(d.Bids, DecisionBid{Line: "cart"})
	body[2], v.Segments[0].Recent[0] = 'X', 6
	if string(r.Request) != `{"id":"r1"}` || r.Visitor.Segments[0].Recent[0] != 5 || r.Decision.Bids[0].Line != "cart" {
		t.Errorf("got %s, %+v, %+v: the record shares memory", r.Request, r.Visitor, r.Decision)
	}
	r.Reset()
	if r.Request != nil || r.Visitor != nil || r.Decision != nil {
		t.Errorf("got %+v after Reset; want it empty", r)
	}
	if allocs := testing.AllocsPerRun(100, func() {
		r.Reset()
		r.SetRequest(body)
		r.SetVisitor(&v)
		d := r.Decide()
		d.Bids = append(d.Bids, DecisionBid{Line: "cart"})
	}); allocs != 0 && !raceOn {
		t.Errorf("got %v allocations for a used record; want 0", allocs)
	}
	if r.SetVisitor(nil); r.Visitor != nil {
		t.Error("a visitor is left")
	}
}

// A bare OpenRTB request is distinguished from a record whatever the order of its keys.
func TestBareRequest(t *testing.T) {
	for in, want := range map[string]bool{
		`{"id":"1","imp":[{"id":"1"}]}`:                      true,
		`{"imp":[],"user":{"request":1}}`:                    true,
		`{"exchange":"x","request":{"id":"1","imp":[]}}`:     false,
		`{"request":{},"imp":[]}`:                            false,
		`{"v":1,"imp":[]}`:                                   false,
		`{"a":"\"imp\":","id":"1"}`:                          false,
		` { "i\"d" : "x,\"imp" , "imp" : [ {"request":1} ]}`: true,
		`{"id":"imp"}`:                                       false,
		`[{"imp":1}]`:                                        false,
		`{"imp`:                                              false,
		`"imp"`:                                              false,
		``:                                                   false,
	} {
		if got := isBareRequest([]byte(in)); got != want {
			t.Errorf("%s: got %v; want %v", in, got, want)
		}
	}
}

// FuzzRecord: reading never panics, and what reads as a record is written and
// read again unchanged.
func FuzzRecord(f *testing.F) {
	golden, err := os.ReadFile("testdata/records.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`{"id":"1","imp":[{"id":"1"}],"at":2}`))
	f.Add([]byte(`{"v":1,"ts":"2026-10-01T08:00:00Z","request":null,"market":{"":{"min_to_win":-1}}}`))
	f.Add([]byte(`{"request":{"a":"<\u2028>"},"visitor":{},"decision":{"bids":[{}],"dropped":[{"reason":""}]}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := decodeRecord(in)
		if err != nil {
			return
		}
		line, err := json.Marshal(a)
		if err != nil {
			return // a time or a name that cannot be written
		}
		b, err := decodeRecord(line)
		if err != nil {
			t.Fatalf("cannot read back %s: %v", line, err)
		}
		again, err := json.Marshal(b)
		if err != nil || !bytes.Equal(line, again) {
			t.Fatalf("got %s, %v; want %s", again, err, line)
		}
		if a.V == 0 && isBareRequest(in) && !json.Valid(a.Request) {
			t.Fatalf("request is not JSON: %q", a.Request)
		}
		if !reflect.DeepEqual(a.Market, b.Market) {
			t.Fatalf("market: got %v; want %v", b.Market, a.Market)
		}
	})
}
