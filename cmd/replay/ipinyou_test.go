package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"rebound/internal/cli"
)

// pinYou is a day of iPinYou logs with known results: every bid is at 300 fen.
type pinYou struct {
	bids, imps, clicks, convs strings.Builder
	wins, clicked, converted  int
	spend                     float64 // fen per thousand
}

// write writes n auctions in the shape of a season.
func (p *pinYou) write(season, n int) {
	r := rand.New(rand.NewPCG(uint64(season), 3))
	visibility, format := []string{"0", "1", "2", "255"}, "0"
	if season == 3 {
		visibility, format = []string{"FirstView", "SecondView", "OtherView", "Na"}, "Fixed"
	}
	at := time.Date(2013, 6, 5+season, 10, 0, 0, 0, time.UTC)
	stamp := func(t time.Time) string {
		return strings.ReplaceAll(t.Format("20060102150405.000"), ".", "")
	}
	for i := range n {
		at = at.Add(time.Duration(r.IntN(2000)) * time.Millisecond)
		floor, price := []int{0, 5, 50}[r.IntN(3)], int(math.Exp(4.6+0.9*r.NormFloat64()))
		id := fmt.Sprintf("%016x%016x", season, i+1)
		tags := []string{"null", "", "10006,10110"}[i%3]
		head := func(t time.Time, kind string) string {
			return fmt.Sprintf("%s\t%s%s\t%s", id, stamp(t), kind, fmt.Sprintf("user%d\tMozilla/5.0 (Windows NT 6.1) Chrome/30\t118.81.189.*\t%d\t%d\t%d\t%s\t%s\t%s\tslot%d\t%d\t%d\t%s\t%s\t%d\tcreative7\t300",
				i%50, 15, 16, 1+i%3, "5F97t5E0BTK7XhNrUMpENpn", "null", "null", i%9, []int{300, 728}[i%2], []int{250, 90}[i%2], visibility[i%4], format, floor))
		}
		p.bids.WriteString(head(at, "") + "\t2259\t" + tags + "\n")
		if i%40 == 39 {
			p.bids.WriteString("\n")
		}
		paying := max(price, floor)
		if paying > 300 {
			continue
		}
		p.wins++
		p.spend += float64(paying)
		rest := fmt.Sprintf("\t%d\tnull\t2259\t%s\n", paying, tags)
		p.imps.WriteString(head(at.Add(time.Second), "\t1") + rest)
		if p.wins%7 == 0 {
			p.clicked++
			p.clicks.WriteString(head(at.Add(time.Minute), "\t2") + rest)
		}
		if p.wins%14 == 0 {
			p.converted++
			p.convs.WriteString(head(at.Add(5*time.Minute), "\t3") + rest)
		}
	}
}

// packed writes a file, compressed according to its name.
func packed(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	switch filepath.Ext(name) {
	case ".gz":
		z := gzip.NewWriter(f)
		_, err = z.Write([]byte(text))
		err = firstError(err, z.Close())
	case ".zst":
		var z *zstd.Encoder
		if z, err = zstd.NewWriter(f); err == nil {
			_, err = z.Write([]byte(text))
			err = firstError(err, z.Close())
		}
	default:
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// iPinYou's logs of both seasons replay with their floors, paying prices, clicks and
// conversions: the same bids win the same impressions at the same prices.
func TestIPinYou(t *testing.T) {
	for season, suffix := range map[int]string{2: ".gz", 3: ".zst"} {
		dir := t.TempDir()
		p := &pinYou{}
		p.write(season, 900)
		for name, text := range map[string]string{"bid.1.txt": p.bids.String(), "imp.1.txt": p.imps.String(), "clk.1.txt": p.clicks.String(), "conv.1.txt": p.convs.String()} {
			packed(t, filepath.Join(dir, name+suffix), text)
		}
		report := filepath.Join(dir, "report.json")
		status, out, errs := call(t.Context(), "--bids", filepath.Join(dir, "bid.*"), "--facts", filepath.Join(dir, "*[kpv].1.txt*"),
			"--config", "../../examples/day/ipinyou.yaml", "--report", report)
		if status != cli.ExitDone {
			t.Fatalf("season %d: status %d: %s%s", season, status, out, errs)
		}
		var r struct {
			Run struct {
				Requests int
				Market   struct{ Bids, Won, Exact, Above int }
			}
			Lines []struct {
				Bids, Wins, Clicks, Conversions int
				Spend                           int64 `json:"spend_micros"`
				Currency                        string
			}
		}
		b, err := os.ReadFile(report)
		if err != nil || json.Unmarshal(b, &r) != nil {
			t.Fatalf("report: %v", err)
		}
		l, m := r.Lines[0], r.Run.Market
		if m.Bids != 900 || m.Won != p.wins || m.Exact != p.wins || m.Above != 900-p.wins {
			t.Errorf("season %d: market %+v; want %d of 900 won, at known prices", season, m, p.wins)
		}
		want := int64(math.Round(p.spend * 10)) // micros of a yuan
		if r.Run.Requests != 900 || l.Wins != p.wins || l.Clicks != p.clicked || l.Conversions != p.converted || l.Spend != want || l.Currency != "CNY" {
			t.Errorf("season %d: got %+v; want %d wins, %d clicks, %d conversions, %d micros\n%s%s", season, l, p.wins, p.clicked, p.converted, want, out, errs)
		}
	}
}

// Lines that iPinYou's logs cannot have are named.
func TestIPinYouBadLines(t *testing.T) {
	p := &pinYou{}
	p.write(2, 2)
	good, _, _ := strings.Cut(p.bids.String(), "\n")
	for _, c := range []struct{ from, to, want string }{
		{"creative7\t300", "creative7\tcheap", "bid price"}, {"201306071", "2013061", "timestamp"}, {"\t300\t2259", "", "columns"}, {"\t300\t250\t", "\t0\t250\t", "slot size"},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		status, _, errs := call(t.Context(), "--format", "ipinyou", "--bids", file(t, good+"\n"+bad+"\n"), "--config", "../../examples/day/ipinyou.yaml")
		if status != cli.ExitFailed || !strings.Contains(errs, c.want) || !strings.Contains(errs, ":2:") {
			t.Errorf("%s: got status %d, %s", c.want, status, errs)
		}
	}
	clicks := strings.Replace(p.imps.String(), "\t1\tuser", "\t2\tuser", -1)
	if status, _, errs := call(t.Context(), "--bids", file(t, clicks), "--config", "../../examples/day/ipinyou.yaml"); status != cli.ExitFailed || !strings.Contains(errs, "--facts") {
		t.Errorf("clicks as bids: got status %d, %s", status, errs)
	}
}
