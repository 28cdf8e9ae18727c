package config

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/internal/spec"
)

const feedHead = "id\ttitle\tlink\timage_link\tprice\tavailability\n"

func feedRow(id, price string) string {
	return id + "\tShoe\thttps://shop.example/1\thttps://shop.example/1.jpg\t" + price + "\tin_stock\n"
}

const feedShop = "version: 1\nfeeds: [{id: m, file: m.tsv}]\nadvertisers: [{id: shop, domains: [shop.example], feed: m, timezone: America/Toronto}]\n"

func loadFeedShop(t *testing.T, fsys fs.FS, previous *Snapshot, now time.Time) *Snapshot {
	t.Helper()
	s, err := LoadFS(fsys, "c.yaml", Options{Previous: previous, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func warns(s *Snapshot, text string) bool {
	return slices.ContainsFunc(s.Warnings, func(p spec.Problem) bool { return strings.Contains(p.String(), text) })
}

// A changed feed is detected, loaded, and named by the reload; an unchanged one
// is not read again.
func TestReloadOfFeeds(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	file := &fstest.MapFile{Data: []byte(feedHead + feedRow("a", "1 USD") + feedRow("b", "2 USD")), ModTime: now.Add(-time.Hour)}
	fsys := fstest.MapFS{"c.yaml": {Data: []byte(feedShop)}, "m.tsv": file}
	first := loadFeedShop(t, fsys, nil, now)
	if !slices.Contains(first.Lists(), "m.tsv") {
		t.Errorf("watched: got %q; want the feed too", first.Lists())
	}
	again := loadFeedShop(t, fsys, first, now)
	if again.FeedIndex["m"] != first.FeedIndex["m"] || len(Diff(first, again)) != 0 {
		t.Errorf("unchanged: got %q; want the feed in use", Diff(first, again))
	}
	file.Data = []byte(feedHead + feedRow("a", "1 USD") + feedRow("b", "3 USD"))
	priced := loadFeedShop(t, fsys, again, now)
	if got := Diff(again, priced); len(got) != 1 || got[0] != "feed m: 2 products, 0 bad rows -> 2 products, 0 bad rows (0 added, 0 removed, 1 changed)" || priced.FeedIndex["m"].Product("b").Price.Raw != "3 USD" {
		t.Errorf("a price: got %q", got)
	}
	// Half of a row is missing.
	file.Data = file.Data[:len(file.Data)-20]
	half := loadFeedShop(t, fsys, priced, now)
	if got := Diff(priced, half); half.FeedIndex["m"].Good != 2 || len(got) != 1 || !strings.Contains(got[0], "ends in the middle of a row") || !warns(half, "ends in the middle") {
		t.Errorf("half a row: got %q, %v", got, half.Warnings)
	}
	// A whole row is missing, from a file that was written a moment ago.
	file.Data, file.ModTime = []byte(feedHead+feedRow("a", "1 USD")), now.Add(-settle/2)
	fresh := loadFeedShop(t, fsys, half, now)
	if fresh.FeedIndex["m"].Good != 2 || !warns(fresh, "a moment ago") {
		t.Errorf("a moment ago: got %d products, %v; want those from before", fresh.FeedIndex["m"].Good, fresh.Warnings)
	}
	settled := loadFeedShop(t, fsys, fresh, now.Add(settle/2))
	if f := settled.FeedIndex["m"]; f.Good != 1 || f.Kept != "" {
		t.Errorf("later: got %d products, %q; want the new file", f.Good, f.Kept)
	}
	// Other domains mean other products, so the same file is read again.
	fsys["c.yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(feedShop, "[shop.example]", "[other.example]", 1))}
	if other := loadFeedShop(t, fsys, settled, now.Add(time.Hour)); other.FeedIndex["m"].Kept == "" || !warns(other, "host") {
		t.Errorf("other domains: got %v", other.Warnings)
	}
}

// growing is a file system whose feed changes while it is read.
type growing struct{ fstest.MapFS }

func (g growing) Open(name string) (fs.File, error) {
	f, err := g.MapFS.Open(name)
	if err == nil && name == "m.tsv" {
		return &growingFile{File: f}, nil
	}
	return f, err
}

type growingFile struct {
	fs.File
	looks int
}

type grownInfo struct{ fs.FileInfo }

func (g grownInfo) Size() int64 { return g.FileInfo.Size() + 1 }

func (g *growingFile) Stat() (fs.FileInfo, error) {
	info, err := g.File.Stat()
	if g.looks++; g.looks > 1 {
		return grownInfo{info}, err
	}
	return info, err
}

func TestFeedThatChangesWhileItIsRead(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	fsys := fstest.MapFS{"c.yaml": {Data: []byte(feedShop)}, "m.tsv": {Data: []byte(feedHead + feedRow("a", "1 USD"))}}
	if s := loadFeedShop(t, growing{fsys}, nil, now); s.FeedIndex["m"].Good != 1 || !warns(s, "changed while it was read") {
		t.Errorf("at start: got %v; want the products and a warning", s.Warnings)
	}
	first := loadFeedShop(t, fsys, nil, now)
	fsys["m.tsv"].Data = []byte(feedHead + feedRow("a", "1 USD") + feedRow("b", "1 USD"))
	if s := loadFeedShop(t, growing{fsys}, first, now); s.FeedIndex["m"].Good != 1 || !warns(s, "changed while it was read") {
		t.Errorf("at reload: got %d products, %v; want those from before", s.FeedIndex["m"].Good, s.Warnings)
	}
}

// A feed without products is a warning at start and at reload, whatever makes it
// empty.
func TestEmptyFeeds(t *testing.T) {
	for name, text := range map[string]string{"a header only": feedHead, "a header without an end": strings.TrimSuffix(feedHead, "\n"), "blank lines": feedHead + "\n\t\n", "bad rows": feedHead + feedRow("a", "free"),
		"foreign links": feedHead + strings.Replace(feedRow("a", "1 USD"), "shop.example/1\t", "other.example/1\t", 1), "Latin-1": feedHead + strings.Replace(feedRow("a", "1 USD"), "Shoe", "Gr\xf6\xdfe", 1)} {
		fsys := fstest.MapFS{"c.yaml": {Data: []byte(feedShop)}, "m.tsv": {Data: []byte(text)}}
		first := loadFeedShop(t, fsys, nil, time.Time{})
		if !warns(first, "no products") || first.FeedIndex["m"].Good != 0 {
			t.Errorf("%s: got %v; want a warning", name, first.Warnings)
		}
		if again := loadFeedShop(t, fsys, first, time.Time{}); !warns(again, "no products") {
			t.Errorf("%s, at reload: got %v; want a warning", name, again.Warnings)
		}
		fsys["m.tsv"] = &fstest.MapFile{Data: []byte(feedHead + feedRow("a", "1 USD"))}
		full := loadFeedShop(t, fsys, first, time.Time{})
		fsys["m.tsv"] = &fstest.MapFile{Data: []byte(text)}
		if kept := loadFeedShop(t, fsys, full, time.Time{}); kept.FeedIndex["m"].Good != 1 || !warns(kept, "far fewer") {
			t.Errorf("%s, after a full feed: got %v; want the older feed and a warning", name, kept.Warnings)
		}
	}
}

// Dates without a zone are the advertiser's.
func TestFeedDatesAreTheAdvertisers(t *testing.T) {
	text := "id\ttitle\tlink\timage_link\tprice\tavailability\tsale_price\tsale_price_effective_date\n" + strings.TrimSuffix(feedRow("a", "2 USD"), "\n") + "\t1 USD\t2026-11-20/2026-11-28\n"
	s := loadFeedShop(t, fstest.MapFS{"c.yaml": {Data: []byte(feedShop)}, "m.tsv": {Data: []byte(text)}}, nil, time.Time{})
	if p := s.FeedIndex["m"].Product("a"); !p.SaleTo.Equal(time.Date(2026, 11, 29, 5, 0, 0, 0, time.UTC)) {
		t.Errorf("got a sale to %v; want midnight in Toronto", p.SaleTo)
	}
	shared := feedShop + "  - {id: other, domains: [shop.example], feed: m, timezone: Europe/Rome}\n"
	shared = strings.Replace(shared, "advertisers: [{id: shop, domains: [shop.example], feed: m, timezone: America/Toronto}]", "advertisers:\n  - {id: shop, domains: [shop.example], feed: m, timezone: America/Toronto}", 1)
	if s := loadFeedShop(t, fstest.MapFS{"c.yaml": {Data: []byte(shared)}, "m.tsv": {Data: []byte(text)}}, nil, time.Time{}); !warns(s, "Europe/Rome") {
		t.Errorf("two zones: got %v; want a warning", s.Warnings)
	}
}

// A reload that moves midnight is warned of; other changes are not.
func TestZoneChangesAreRisks(t *testing.T) {
	load := func(zone string) *Snapshot {
		text := "version: 1\nadvertisers: [{id: shop, domains: [shop.example]" + zone + "}, {id: other, domains: [other.example]}]\n"
		return loadFeedShop(t, fstest.MapFS{"c.yaml": {Data: []byte(text)}}, nil, time.Time{})
	}
	utc, named, rome := load(""), load(", timezone: UTC"), load(", timezone: Europe/Rome")
	if got := append(Risks(utc, named), Risks(rome, rome)...); len(got) != 0 {
		t.Errorf("the same zones: got %v", got)
	}
	for _, pair := range [][2]*Snapshot{{utc, rome}, {rome, named}} {
		got := Risks(pair[0], pair[1])
		if len(got) != 1 || got[0].Path != "advertisers[0].timezone" || !strings.Contains(got[0].String(), "Europe/Rome") {
			t.Errorf("got %v; want the advertiser's zone", got)
		}
	}
}
