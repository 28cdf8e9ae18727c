package bench

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"rebound/loadtest"
	"rebound/loadtest/scale"
)

// Every table of the report has as many cells in each row as in its head, and a case
// that could not be measured says why.
func TestReportTables(t *testing.T) {
	measured := loadtest.Measured{Rounds: []loadtest.Round{{Requests: 10, Bids: 5, CPUMicros: 20, BytesRead: 100, ResidentBytes: 1 << 20}}, Statuses: []int{200, 204}, Invalid: []string{"wrong size"}}
	r := Report{Benchmarks: "goos: linux\nBenchmarkPath/1k-2  1  5 ns/op\nPASS\n", Measured: []Measurement{
		{Case: Case{Name: "good"}, Result: &loadtest.ComparisonResult{Subject: measured, Control: measured, QuietRatio: 1.5}, Proof: Proof{NoBids: map[string]float64{"floor": 2, "late": 3}, Bill: "bill ok"}},
		{Case: Case{Name: "bad"}, Failed: "no server"},
	}}
	var out strings.Builder
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	columns := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := strings.Count(line, "|")
		if columns != 0 && n != columns {
			t.Errorf("got %d cells; want %d: %s", n-1, columns-1, line)
		}
		columns = n
	}
	for _, want := range []string{"not measured: no server", "late 3, floor 2", "1: wrong size", "bill ok", "BenchmarkPath/1k-2  1  5 ns/op"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// The proof adds up the series of each metric and names the reasons of no-bids.
func TestProof(t *testing.T) {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		text := "# HELP x\nrebound_bidder_requests_total{exchange=\"a\"} 1\nrebound_bidder_requests_total{exchange=\"b\"} 2\nrebound_bidder_nobids_total{exchange=\"a\",reason=\"floor\"} 3\n"
		if n > 1 {
			text = strings.NewReplacer(" 1\n", " 11\n", " 3\n", " 7\n").Replace(text)
		}
		_, _ = w.Write([]byte(text))
	}))
	defer s.Close()
	admin := strings.TrimPrefix(s.URL, "http://")
	before, err := readMetrics(context.Background(), admin)
	if err != nil {
		t.Fatal(err)
	}
	after, err := readMetrics(context.Background(), admin)
	if err != nil {
		t.Fatal(err)
	}
	if p := proofOf(before, after); p.Requests != 10 || p.reasons() != "floor 4" {
		t.Errorf("got %+v", p)
	}
}

// The configuration without a bid log differs in that only.
func TestShopWithoutBidLog(t *testing.T) {
	small := scale.Options{Lines: 20, Candidates: 2}
	read := func(s Shop) string {
		path, err := s.write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	with, without := read(Shop{Size: small}), read(Shop{Size: small, NoBidLog: true})
	if more, ok := strings.CutPrefix(without, with); !ok || !strings.Contains(more, "off: true") {
		t.Errorf("got %q in addition", more)
	}
}

// A program that ends before it is ready is named with what it said.
func TestStartFails(t *testing.T) {
	_, err := start(context.Background(), -1, "/bin/sh", "-c", `echo '{"msg":"no luck"}' >&2; exit 3`)
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v; want its message", err)
	}
}
