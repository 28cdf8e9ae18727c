package creatives

import (
	"errors"
	"strings"
	"testing"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

const feedHeader = "id\ttitle\tlink\timage_link\tprice\tavailability\tsale_price\tsale_price_effective_date\tcomplements\n"

// row makes a good row with some fields replaced.
func row(replace map[string]string) string {
	values := map[string]string{"id": "SKU1", "title": "Shoe", "link": "https://shop.example/p/1", "image_link": "https://img.example/1.jpg",
		"price": "15.00 USD", "availability": "in stock"}
	for k, v := range replace {
		values[k] = v
	}
	var out []string
	for _, name := range strings.Split(strings.TrimSpace(feedHeader), "\t") {
		out = append(out, values[name])
	}
	return strings.Join(out, "\t") + "\n"
}

func loadFeed(t testing.TB, text string, o FeedOptions) (*Feed, spec.Problems) {
	t.Helper()
	f, report := loadReport(t, text, o)
	return f, report.Skipped
}

func loadReport(t testing.TB, text string, o FeedOptions) (*Feed, *FeedReport) {
	t.Helper()
	f, report, err := LoadFeed(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return f, report
}

func TestFeedRows(t *testing.T) {
	good := func(name string, replace map[string]string, check func(*Product) bool) {
		t.Helper()
		f, rows := loadFeed(t, feedHeader+row(replace), FeedOptions{Domains: []string{"shop.example"}})
		if len(rows) != 0 || f.Good != 1 {
			t.Errorf("%s: got %v; want a good row", name, rows)
			return
		}
		if p := f.All()[0]; !check(p) {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	good("plain", nil, func(p *Product) bool {
		return p.ID == "sku1" && p.SKU.Raw == "SKU1" && p.Amount == 15_000_000 && p.Currency == rtb.USD && p.InStock && p.Price.Raw == "15.00 USD"
	})
	good("currency first", map[string]string{"price": "usd 1"}, func(p *Product) bool { return p.Price.Raw == "1 USD" && p.Amount == 1_000_000 })
	good("subdomain", map[string]string{"link": "https://WWW.shop.example/x?y=1"}, func(p *Product) bool { return p.Link.Raw != "" })
	good("spaces and quotes", map[string]string{"id": "  \u00c4b-1 ", "title": `"A ""fine"" shoe"`}, func(p *Product) bool { return p.ID == "\u00e4b-1" && p.Title.Raw == `A "fine" shoe` })
	good("out of stock", map[string]string{"availability": "Out Of Stock"}, func(p *Product) bool { return !p.InStock })
	good("loopback picture", map[string]string{"image_link": "http://127.0.0.1:9/1.jpg"}, func(p *Product) bool { return true })
	good("complements", map[string]string{"complements": "SKU2, sku3,,SKU1"}, func(p *Product) bool { return len(p.Complements) == 2 && p.Complements[0] == "sku2" })
	good("sale", map[string]string{"sale_price": "12.00 USD", "sale_price_effective_date": "2026-11-01T00:00-0500/2026-11-30T00:00-0500"}, func(p *Product) bool {
		at := func(s string) bool { d, _ := time.Parse(time.DateOnly, s); return p.OnSale(d) }
		return !at("2026-10-31") && at("2026-11-02") && !at("2026-12-01")
	})

	bad := func(field string, replace map[string]string) {
		t.Helper()
		f, rows := loadFeed(t, feedHeader+row(nil)+row(replace), FeedOptions{Domains: []string{"shop.example"}})
		if f.Good != 1 || f.Bad != 1 || len(rows) != 1 || rows[0].Line != 3 || rows[0].Path != field || rows[0].Want == "" {
			t.Errorf("%v: got %v, %d good; want line 3 refused for %s", replace, rows, f.Good, field)
		}
	}
	bad("id", map[string]string{"id": " sku1 "}) // again
	bad("id", map[string]string{"id": ""})
	bad("id", map[string]string{"id": strings.Repeat("x", 51)})
	bad("title", map[string]string{"id": "2", "title": strings.Repeat("\u00e4", 151)})
	bad("link", map[string]string{"id": "2", "link": "https://evil.example/"})
	bad("link", map[string]string{"id": "2", "link": "https://notshop.example/"})
	bad("link", map[string]string{"id": "2", "link": "javascript:alert(1)"})
	bad("link", map[string]string{"id": "2", "link": "https://shop.example/a b"})
	bad("link", map[string]string{"id": "2", "link": "https://shop.example@evil.example/"})
	bad("link", map[string]string{"id": "2", "link": "/p/1"})
	bad("image_link", map[string]string{"id": "2", "image_link": "http://img.example/1.jpg"})
	bad("price", map[string]string{"id": "2", "price": "15.00"})
	bad("price", map[string]string{"id": "2", "price": "-1 USD"})
	bad("price", map[string]string{"id": "2", "price": "1e3 USD"})
	bad("availability", map[string]string{"id": "2", "availability": "maybe"})
	bad("", map[string]string{"id": "2", "title": "\xff"})
	bad("", map[string]string{"id": "2", "title": strings.Repeat("x", MaxRowBytes)})
	bad("", map[string]string{"id": "2", "complements": "a\tb"})
}

func TestFeedHeader(t *testing.T) {
	for _, text := range []string{"", "id\ttitle\n", feedHeader[:len(feedHeader)-1] + "\tid\n", "\x00\x01"} {
		if _, _, err := LoadFeed(strings.NewReader(text), FeedOptions{}); !errors.Is(err, ErrNoFeed) {
			t.Errorf("%q: got %v; want ErrNoFeed", text, err)
		}
	}
	loadFeed(t, "\xEF\xBB\xBFID\tTitle\tLink\tImage Link\tPrice\tAvailability\r\n", FeedOptions{})
}

func TestFeedKeepsTheOldOneWhenMuchIsGone(t *testing.T) {
	rows := func(n int) string {
		text := feedHeader
		for i := range n {
			text += row(map[string]string{"id": string(rune('a' + i))})
		}
		return text
	}
	old, _ := loadFeed(t, rows(10), FeedOptions{})
	if f, _ := loadFeed(t, rows(5), FeedOptions{Previous: old}); f.Kept != "" || f.Good != 5 {
		t.Errorf("half: got kept %q with %d; want the new feed", f.Kept, f.Good)
	}
	if f, _ := loadFeed(t, rows(4), FeedOptions{Previous: old}); f.Kept == "" || f.Good != 10 || f.Product("j") == nil {
		t.Errorf("less than half: got kept %q with %d; want the old feed", f.Kept, f.Good)
	}
	if f, _ := loadFeed(t, rows(4), FeedOptions{Previous: old, MinKeepPct: 40}); f.Kept != "" {
		t.Error("40 % allowed: got the old feed; want the new one")
	}
	if old.Kept != "" {
		t.Error("the feed in use was changed")
	}
}

func FuzzFeed(f *testing.F) {
	f.Add(feedHeader + row(nil))
	f.Add(feedHeader + row(map[string]string{"title": `"><script>alert('x')</script>`}))
	f.Add("id\ttitle\tlink\timage_link\tprice\tavailability\n\"\"\t\"\t\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		feed, _, err := LoadFeed(strings.NewReader(text), FeedOptions{Domains: []string{"shop.example"}})
		if err != nil {
			return
		}
		for _, p := range feed.All() {
			if strings.ContainsAny(p.Title.HTML, `<>"'`) || strings.ContainsAny(p.Title.JS, "<>\"'\n") || strings.ContainsAny(p.Title.URL, `<>"' &`) {
				t.Fatalf("got %+v; want every form escaped", p.Title)
			}
			if strings.Contains(p.Title.HTML, "${") || strings.Contains(p.Title.JS, "${") {
				t.Fatalf("got a macro in %+v", p.Title)
			}
			if !HostWithin(HostOf(p.Link.Raw), []string{"shop.example"}) {
				t.Fatalf("got link %q", p.Link.Raw)
			}
		}
	})
}
