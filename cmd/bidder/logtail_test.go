package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// A follower reads every record once, in order: through rotation, packing before it has
// read the end of a file, half-written lines and lines that cannot be read.
func TestLogFollower(t *testing.T) {
	dir := t.TempDir()
	r := &logReader{logFolders: logFolders{bids: dir}, warn: func(error) {}}
	file := func(n int) string {
		return filepath.Join(dir, fmt.Sprintf("bids-20261001T%02d0000.000Z-000001.ndjson", n))
	}
	record := func(n int) string {
		return fmt.Sprintf(`{"v":1,"ts":"2026-10-01T10:00:%02dZ","exchange":"demo","request":null,"decision":{"nobid":"floor"}}`+"\n", n)
	}
	write := func(name, text string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.WriteString(text)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pack := func(name string) {
		t.Helper()
		if err := events.Pack(name); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	write(file(1), record(1))
	write(file(2), record(2)+record(3))
	pack(file(1))
	follow, err := r.printLast(w, &logFilter{}, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, f := range follow {
			f.close()
		}
	}()
	poll := func() {
		t.Helper()
		if err := printNew(w, follow, &logFilter{}, false); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	write(file(2), record(4)[:20])
	poll()
	write(file(2), record(4)[20:]+"no record\n"+record(5))
	pack(file(2)) // it is gone before the follower reads the rest
	write(file(3), record(6))
	pack(file(3))
	write(file(4), record(7))
	poll()
	poll()
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		got = append(got, line[17:19])
	}
	if want := "02 03 04 05 06 07"; strings.Join(got, " ") != want || r.broken != 1 {
		t.Errorf("got %v and %d broken lines; want %s and 1", got, r.broken, want)
	}
}

// Filters select facts and records by exchange, line, visitor, reason, kind and time.
func TestLogFilter(t *testing.T) {
	ann, at := rtb.Key{1}, time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	bid := bidEntry(&events.BidRecord{TS: at, Exchange: "demo", Visitor: &rtb.Visitor{Key: ann}, Decision: &events.Decision{
		Bids:    []events.DecisionBid{{Advertiser: "shop", Campaign: "autumn", Line: "cart"}},
		Dropped: []events.DecisionDrop{{Advertiser: "shop", Campaign: "autumn", Line: "viewed", Reason: rtb.NoBidFloor}}}})
	nobid := bidEntry(&events.BidRecord{TS: at.Add(time.Hour), Exchange: "other", Decision: &events.Decision{NoBid: rtb.NoBidNoAudience}})
	loss := factEntry(&events.Fact{TS: at, Kind: events.KindLoss, Advertiser: "shop", Notice: &events.Notice{Exchange: "demo", Campaign: "autumn", Line: "cart", LossReason: 102, Flags: []string{"expired"}}})
	link := factEntry(&events.Fact{TS: at, Kind: events.KindLink, Visitor: rtb.Key{9}, Link: &events.Link{LinkKey: events.LinkKey{KeyKind: "ifa", Key: ann}}})
	all := []*logEntry{&bid, &nobid, &loss, &link}
	for name, c := range map[string]struct {
		f    logFilter
		want string // by index
	}{
		"none":        {logFilter{}, "0 1 2 3"},
		"exchange":    {logFilter{exchange: "demo"}, "0 2"},
		"line":        {logFilter{line: "cart"}, "0 2"},
		"refused":     {logFilter{line: "shop/autumn/viewed"}, "0"},
		"reason":      {logFilter{reason: "floor"}, "0"},
		"request":     {logFilter{reason: "no_audience"}, "1"},
		"loss reason": {logFilter{reason: "102"}, "2"},
		"flag":        {logFilter{reason: "expired"}, "2"},
		"visitor":     {logFilter{keys: []rtb.Key{ann}}, "0 3"},
		"kinds":       {logFilter{kinds: []string{"nobid", "link"}}, "1 3"},
		"from":        {logFilter{from: at.Add(time.Minute)}, "1"},
		"to":          {logFilter{to: at.Add(time.Minute)}, "0 2 3"},
		"two":         {logFilter{exchange: "demo", kinds: []string{"loss"}}, "2"},
	} {
		var got []string
		for i, e := range all {
			if c.f.selects(e) {
				got = append(got, fmt.Sprint(i))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v; want %s", name, got, c.want)
		}
	}
}
