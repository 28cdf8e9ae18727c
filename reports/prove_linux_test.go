package reports

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// part writes the records from one number to another of a month of traffic: a fifth have a
// bid, whose notices replace the facts. Sites, countries and devices have the skew of real
// traffic. An earlier part is deleted, as if it were too old to be kept.
func (w *world) part(first, end, records int) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "bids")
	if err := os.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("bids-%09d.ndjson", first)))
	if err != nil {
		w.t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	w.first, w.facts = w.first+uint64(len(w.facts)), nil
	start := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	step := 31 * 24 * time.Hour / time.Duration(records)
	seed := uint64(first) + 1
	random := func(n int) int { // skewed towards 0
		seed = seed*6364136223846793005 + 1442695040888963407
		x := float64(seed>>11) / (1 << 53)
		return int(x * x * x * float64(n))
	}
	countries, sizes, agents := []string{"USA", "CAN", "GBR", "DEU", "FRA", "ITA", "ESP", "NLD"}, [][2]int{{300, 250}, {728, 90}, {320, 50}, {160, 600}, {300, 600}, {970, 250}}, []string{"Chrome/1 Safari/1", "Safari/1", "Firefox/1", "Edg/1"}
	reasons := []string{"unknown_visitor", "no_audience", "floor", "paced", "frequency", "privacy_gdpr", "size", "no_id"}
	for i := first; i < end; i++ {
		w.now = start.Add(step * time.Duration(i))
		size := sizes[random(len(sizes))]
		exchange, line, creative := "ex"+strconv.Itoa(random(3)), "line"+strconv.Itoa(random(10)), "creative"+strconv.Itoa(random(4))
		fmt.Fprintf(out, `{"v":1,"ts":"%s","exchange":"%s","node":"n1","sample_weight":1,"privacy":{"level":"personalised"},"deadline_us":100000,"took_us":40,"request":{"id":"r%d","imp":[{"id":"1","tagid":"slot-%d",`+
			`"banner":{"w":%d,"h":%d,"api":[3,5],"battr":[1,2,3]},"bidfloor":0.5,"bidfloorcur":"USD","secure":1,"ext":{"gpid":"/1234/home#slot"}}],"site":{"id":"s1","domain":"site%d.example","page":"https://site.example/a/long/path/of/an/article",`+
			`"cat":["IAB1","IAB2"],"publisher":{"id":"p1","name":"Publisher"}},"device":{"ua":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 %s","ip":"192.0.2.0","devicetype":%d,"os":"Android","geo":{"country":"%s","region":"R%d"},"language":"en"},`+
			`"user":{"id":"_________________________"},"at":1,"tmax":120,"cur":["USD"],"bcat":["IAB25","IAB26"],"source":{"tid":"0123456789"}},"decision":`,
			w.now.Format(time.RFC3339Nano), exchange, i, random(50), size[0], size[1], random(5000), agents[random(4)], 1+random(6), countries[random(8)], random(20))
		if i%5 != 0 {
			fmt.Fprintf(out, `{"nobid":"%s"}}`+"\n", reasons[random(len(reasons))])
			continue
		}
		fmt.Fprintf(out, `{"bids":[{"bid_id":"%s","impid":"1","advertiser":"shop","campaign":"c","line":"%s","creative":"%s","item":"sku%d","price":2,"value":4,"reserved_micros":2000,"recency_s":%d,"frequency":%d,`+
			`"factors":{"cpm":3.5,"recency":1.8,"intensity":1,"multiplier":1,"shading":1,"rate":1},"draw":0.5}],"dropped":[{"line":"other","campaign":"c","advertiser":"shop","reason":"floor"}]}}`+"\n",
			bidID(i), line, creative, random(2000), 1+random(3_000_000), random(30))
		kinds := []events.Kind{events.KindLoss}
		if random(10) < 4 {
			kinds = []events.Kind{events.KindWin, events.KindBill, events.KindImp}
		}
		for _, k := range kinds {
			charge := rtb.Micros(0)
			if k == events.KindBill {
				charge = rtb.Micros(1000 + random(1000))
			}
			w.notice(k, i, w.now, charge)
			n := w.facts[len(w.facts)-1].Notice
			n.Exchange, n.Line, n.Creative, n.LossReason = exchange, line, creative, 102
		}
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		w.t.Fatal(err)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) //nolint:errcheck // it cannot fail for the own process
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestProveReportsAreFast builds the rollups of a month of REPORT_RECORDS (10,000,000) bid
// records and their notices, and asks every canned report about the whole month. It prints
// records per CPU second and the CPU time of each report, asked three times.
func TestProveReportsAreFast(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("run by make prove")
	}
	records := 10_000_000
	if n, err := strconv.Atoi(os.Getenv("REPORT_RECORDS")); err == nil {
		records = n
	}
	w := newWorld(t)
	s := w.open()
	var p Progress
	var spent time.Duration
	const part = 250_000
	for first := 0; first < records; first += part {
		w.part(first, min(first+part, records), records)
		began := cpu()
		more := w.update(s)
		spent += cpu() - began
		p.Records, p.Facts = p.Records+more.Records, p.Facts+more.Facts
	}
	rate := float64(p.Records+p.Facts) / spent.Seconds()
	info, err := os.Stat(w.options().Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records and %d facts counted in %.1f s of CPU time: %.0f a second; the rollups have %d MiB", p.Records, p.Facts, spent.Seconds(), rate, info.Size()>>20)
	if rate < 5000 {
		t.Errorf("got %.0f records a second of CPU time; want 5,000", rate)
	}
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	from := rtb.DayOf(time.Date(2026, 10, 1, 12, 0, 0, 0, zone), zone)
	for _, n := range Names() {
		took := make([]time.Duration, 0, 3)
		for range cap(took) { // other programs slow some of them down
			began := cpu()
			r, err := s.Canned(context.Background(), n[0], Query{From: from.Start(zone), To: (from + 30).Start(zone), Zone: zone})
			if err != nil || len(r.Table.Rows) == 0 {
				t.Fatalf("%s: %v, %d rows", n[0], err, len(r.Table.Rows))
			}
			took = append(took, cpu()-began)
		}
		t.Logf("%-18s %s of CPU time", n[0], took)
		if records == 10_000_000 && slices.Min(took) > time.Second {
			t.Errorf("%s took %s of CPU time; want less than a second", n[0], slices.Min(took))
		}
	}
}
