package reports

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebound/events"
)

func TestQueriesThatCannotBeAnswered(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", w.record(1))
	s := w.open()
	w.update(s)
	kathmandu, err := time.LoadLocation("Asia/Kathmandu")
	if err != nil {
		t.Fatal(err)
	}
	hour := w.now.Truncate(time.Hour)
	for _, c := range []struct {
		q    Query
		want string
	}{
		{Query{Dims: []string{"planet"}, Metrics: []string{"bids"}}, `"planet"`},
		{Query{Dims: []string{"day", "hour"}, Metrics: []string{"bids"}}, "one dimension of time"},
		{Query{Dims: []string{"line"}, Metrics: []string{"requests"}}, "no such dimension"},
		{Query{Dims: []string{"domain", "device"}, Metrics: []string{"bids"}}, "--scan"},
		{Query{Metrics: nil}, "no metrics"},
		{Query{Metrics: []string{"luck"}}, `"luck"`},
		{Query{Metrics: []string{"requests"}, Advertiser: "shop"}, "belongs to no advertiser"},
		{Query{Dims: []string{"day"}, Metrics: []string{"bids"}, Zone: kathmandu}, "do not begin"},
	} {
		c.q.From, c.q.To = hour, hour.Add(time.Hour)
		if _, err := s.Query(context.Background(), c.q); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v; want an error with %s", c.q, err, c.want)
		}
	}
	if _, err := s.Query(context.Background(), Query{Metrics: []string{"bids"}, From: hour.Add(time.Minute), To: hour.Add(time.Hour)}); err == nil {
		t.Error("got an answer for a part of an hour")
	}
	if _, err := s.Canned(context.Background(), "qps_waste", Query{Advertiser: "shop", From: hour, To: hour.Add(time.Hour)}); !errors.Is(err, ErrNotYours) {
		t.Errorf("got %v; want ErrNotYours", err)
	}
}

// What no rollup holds, a scan of the logs answers. It says what it reflects, and names the
// lines that it cannot read.
func TestScan(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", w.record(1), "no record")
	w.notice(events.KindBill, 1, w.now, 100)
	o, broken := w.options(), 0
	o.Broken = func(error) { broken++ }
	hour := w.now.Truncate(time.Hour)
	r, err := Scan(context.Background(), o, Query{Dims: []string{"domain", "device"}, Metrics: []string{"bids", "requests"}, From: hour, To: hour.Add(time.Hour)})
	if err != nil || len(r.Table.Rows) != 1 || fmt.Sprint(r.Table.Rows[0]) != "[news.example pc 1 1000000]" {
		t.Fatalf("got %+v, %v", r, err)
	}
	if r.AsOf.Seq != 1 || r.AsOf.Broken != 1 || broken != 1 {
		t.Errorf("got %+v and %d broken lines; want fact 1 and one broken line", r.AsOf, broken)
	}
}

// A scan may have any number of dimensions, each value with its own sum.
func TestScanOfAllDimensions(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", w.record(1))
	hour := w.now.Truncate(time.Hour)
	q := Query{Dims: []string{"exchange", "advertiser", "campaign", "line", "creative", "format", "size", "deal", "item", "domain", "bundle", "country", "region", "device", "os", "browser"},
		Metrics: []string{"bids"}, From: hour, To: hour.Add(time.Hour)}
	r, err := Scan(context.Background(), w.options(), q)
	if err != nil || len(r.Table.Rows) != 1 || fmt.Sprint(r.Table.Rows[0]) != "[demo shop c cart x banner 300x250   news.example  CAN  pc  firefox 1]" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestStatement(t *testing.T) {
	w := newWorld(t)
	w.notice(events.KindBill, 1, w.now, 1500)
	s := w.open()
	w.update(s)
	day := w.now.Truncate(24 * time.Hour)
	r, err := s.Canned(context.Background(), "reconcile", Query{From: day, To: day.Add(24 * time.Hour)})
	if err == nil {
		err = r.AddStatement(strings.NewReader("day,imps,spend\n2026-10-01,3,0.0025\n2026-10-02,1,1\n"))
	}
	var b bytes.Buffer
	if err == nil {
		err = r.Write(&b, "csv")
	}
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || strings.Join(rows[1][len(rows[1])-4:], " ") != "3 2 2500 1000" || strings.Join(rows[2][len(rows[2])-4:], " ") != "1 1 1000000 1000000" {
		t.Errorf("got %v, %v", rows, err)
	}
	for _, bad := range []string{"", "day,imps\n", "day,imps,spend\nx,1,1\n", "day,imps,spend\n2026-10-01,x,1\n", "day,imps,spend\n2026-10-01,1,x\n"} {
		if err := r.AddStatement(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

func TestPeriods(t *testing.T) {
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) time.Time {
		v, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ of, from, to, want string }{
		{"day", "2026-11-01 00:00", "2026-11-03 00:00", "2026-11-01 25h0m0s, 2026-11-02 24h0m0s"}, // the clocks go back
		{"day", "2026-11-01 12:00", "2026-11-02 06:00", "2026-11-01 12h0m0s, 2026-11-02 6h0m0s"},
		{"week", "2026-10-31 00:00", "2026-11-03 00:00", "2026-10-26 49h0m0s, 2026-11-02 24h0m0s"},
		{"month", "2026-10-31 00:00", "2026-11-02 00:00", "2026-10 24h0m0s, 2026-11 25h0m0s"},
		{"hour", "2026-03-08 01:00", "2026-03-08 04:00", "2026-03-08T01:00-05:00 1h0m0s, 2026-03-08T03:00-04:00 1h0m0s"},
		{"", "2026-10-31 00:00", "2026-11-02 00:00", " 49h0m0s"},
	} {
		list, err := periods(c.of, at(c.from), at(c.to), zone)
		var got []string
		for _, p := range list {
			got = append(got, p.name+" "+(time.Duration(p.to-p.from)*time.Second).String())
		}
		if text := strings.Join(got, ", "); err != nil || text != c.want {
			t.Errorf("%s from %s to %s: got %s, %v; want %s", c.of, c.from, c.to, text, err, c.want)
		}
	}
}

// In a page a date stays on one line, and everything else can be copied as it is.
func TestPageKeepsHyphens(t *testing.T) {
	r := &Report{Zone: time.UTC, Table: &Table{Columns: []Column{{Name: "day"}, {Name: "domain"}, {"spend", unitMoney}},
		Rows: [][]any{{"2026-10-01", "the-news.example", int64(-1500)}}}}
	var b bytes.Buffer
	if err := r.Write(&b, "html"); err != nil || !strings.Contains(b.String(), "<td>2026\u201110\u201101</td><td>the-news.example</td><td>-0.0015</td>") {
		t.Errorf("got %v: %s", err, b.String())
	}
}

// Text from a bid request is no formula in a spreadsheet, and no markup in a page.
func TestTextFromOutsideIsInert(t *testing.T) {
	w := newWorld(t)
	w.write("bids-1.ndjson", strings.Replace(w.record(0), "News.example", "=cmd()<script>\\u001f\\u0000", 1))
	s := w.open()
	w.update(s)
	if got := w.csv(s, "domain", "requests"); got != "'=cmd()<script>,1" {
		t.Errorf("got %q", got)
	}
	r, err := s.Canned(context.Background(), "qps_waste", Query{From: w.now.Truncate(time.Hour), To: w.now.Truncate(time.Hour).Add(time.Hour)})
	var b bytes.Buffer
	if err == nil {
		err = r.Write(&b, "html")
	}
	if err != nil || strings.Contains(b.String(), "<script") || !strings.Contains(b.String(), "=cmd()&lt;script&gt;") {
		t.Errorf("got %v: %s", err, b.String())
	}
}
