package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

// The fields' names never change, and a record is written as encoding/json would.
func TestRecordGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/records.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	var got, std []byte
	for r, err := range ReadRecords("records.ndjson", bytes.NewReader(want)) {
		if err != nil {
			t.Fatal(err)
		}
		if got, err = AppendRecord(got, r); err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		std = append(append(std, line...), '\n')
	}
	if string(got) != string(want) {
		t.Errorf("got\n%s; want\n%s", got, want)
	}
	if string(std) != string(want) {
		t.Errorf("encoding/json: got\n%s; want\n%s", std, want)
	}
}

// Lines that were only outbid are counted, and those that were refused are listed.
func TestOutbidLinesAreCounted(t *testing.T) {
	r := BidRecord{V: 1, TS: time.Unix(1, 0), Request: []byte("{}"), Decision: &Decision{Dropped: []DecisionDrop{
		{Line: "a"}, {Line: "b", Reason: rtb.NoBidFloor}, {Line: "c"}, {Line: "d", Reason: rtb.NoBidFrequency}}}}
	line, err := AppendRecord(nil, &r)
	if want := `"decision":{"dropped":[{"line":"b","reason":"floor"},{"line":"d","reason":"frequency"}],"outbid":2}}`; err != nil || !strings.HasSuffix(string(line), want) {
		t.Errorf("got %s, %v; want the end %s", line, err, want)
	}
	read, err := decodeRecord(line)
	if err != nil || read.Decision.Outbid != 2 || len(read.Decision.Dropped) != 2 {
		t.Errorf("got %+v, %v", read.Decision, err)
	}
	if again, err := AppendRecord(nil, read); err != nil || !bytes.Equal(again, line) {
		t.Errorf("got %s, %v; want %s", again, err, line)
	}
}

// What JSON cannot hold is an error that leaves nothing behind.
func TestRecordThatCannotBeWritten(t *testing.T) {
	good := BidRecord{V: 1, TS: time.Unix(1, 0), Request: []byte("{}")}
	for name, spoil := range map[string]func(*BidRecord){
		"NaN":      func(r *BidRecord) { r.SampleWeight = math.NaN() },
		"infinite": func(r *BidRecord) { r.Decision = &Decision{Draw: math.Inf(-1)} },
		"year":     func(r *BidRecord) { r.TS = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"request":  func(r *BidRecord) { r.Request = []byte("{") },
	} {
		r := good
		spoil(&r)
		if line, err := AppendRecord([]byte("kept"), &r); err == nil || string(line) != "kept" {
			t.Errorf("%s: got %s, %v; want an error", name, line, err)
		}
	}
}

// Numbers are written as encoding/json writes them, and read back exactly.
func TestRecordNumbers(t *testing.T) {
	list := []float64{0.1, 1e-7, -3.5e-9, 1, 1e15, 123456789012345680, 1e21, 5e-324, math.MaxFloat64, 0.4711000000000001, 1 << 53, 1.8, -0.25, 0.0001, 0.00015, 123456.789, 999999999.9999, 1e9 + 0.5, 9.3e12 + 0.25, 0.30000000000000004}
	random := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		f := float64(1+random.Int64N(1e13)>>random.IntN(40)) / 1e4
		list = append(list, f, math.Nextafter(f, 0))
	}
	for _, f := range list {
		line, err := AppendRecord(nil, &BidRecord{TS: time.Unix(1, 0), Request: []byte("{}"), SampleWeight: f})
		if err != nil {
			t.Fatal(err)
		}
		number, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`"sample_weight":%s,`, number); !bytes.Contains(line, []byte(want)) {
			t.Errorf("got %s; want %s", line, want)
		}
		if r, err := decodeRecord(line); err != nil || r.SampleWeight != f {
			t.Errorf("%v: got %s, %v", f, line, err)
		}
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
		line, err := AppendRecord(nil, a)
		if err != nil {
			return // a time that cannot be written
		}
		b, err := decodeRecord(line)
		if err != nil {
			t.Fatalf("cannot read back %s: %v", line, err)
		}
		again, err := AppendRecord(nil, b)
		if err != nil || !bytes.Equal(line, again) {
			t.Fatalf("got %s, %v; want %s", again, err, line)
		}
		if x, y := asJSON(t, a), asJSON(t, b); x != y {
			t.Fatalf("got %s; want %s", y, x)
		}
		if a.V == 0 && isBareRequest(in) && !json.Valid(a.Request) {
			t.Fatalf("request is not JSON: %q", a.Request)
		}
		if !maps.Equal(a.Market, b.Market) {
			t.Fatalf("market: got %v; want %v", b.Market, a.Market)
		}
	})
}

// asJSON returns a record as encoding/json writes it, with outbid lines counted as
// AppendRecord counts them.
func asJSON(t *testing.T, r *BidRecord) string {
	if d := r.Decision; d != nil {
		all := len(d.Dropped)
		d.Dropped = slices.DeleteFunc(d.Dropped, func(x DecisionDrop) bool { return x.Reason == rtb.NoBidNone })
		d.Outbid = max(d.Outbid, all-len(d.Dropped))
	}
	r.TS = r.TS.UTC()
	for i := 0; r.Visitor != nil && i < len(r.Visitor.Frequency); i++ {
		if f := &r.Visitor.Frequency[i]; f.Buckets == nil {
			f.Buckets = []rtb.FrequencyBucket{}
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
