package creatives

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sharedCase returns a file of the cases next to the repository, if it is there.
func sharedCase(name string) ([]byte, bool) {
	dir, err := os.Getwd()
	for range 6 {
		if b, found := os.ReadFile(filepath.Join(dir, "shared", "cases", "edge", name)); err == nil && found == nil {
			return b, true
		}
		dir = filepath.Dir(dir)
	}
	return nil, false
}

// TestFeedCases loads the feeds that were found to fail: those in testdata, and
// those next to the repository, if they are there.
func TestFeedCases(t *testing.T) {
	toronto, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	one := func(f *Feed, id string, wrong func(*Product) string) string {
		p := f.Product(id)
		if p == nil {
			return "no product " + id
		}
		if w := wrong(p); w != "" {
			return id + ": " + w
		}
		return ""
	}
	sale := func(f *Feed, id, when string, want bool) string {
		return one(f, id, func(p *Product) string {
			if p.OnSale(at(when)) != want {
				return fmt.Sprintf("on sale at %s: got %v; want %v (%v to %v)", when, !want, want, p.SaleFrom, p.SaleTo)
			}
			return ""
		})
	}
	text := func(f *Feed, id, title, link string) string {
		return one(f, id, func(p *Product) string {
			if p.Title.Raw != title || link != "" && p.Link.Raw != link {
				return fmt.Sprintf("got %q at %q; want %q at %q", p.Title.Raw, p.Link.Raw, title, link)
			}
			return ""
		})
	}
	for name, check := range map[string]func(*Feed, *FeedReport) []string{
		"f11-sale-prices.tsv": func(f *Feed, r *FeedReport) []string {
			return []string{count(f, r, 3, 2), sale(f, "s1", "2026-11-28T12:00:00Z", false), sale(f, "s2", "2026-11-28T12:00:00Z", false), sale(f, "s4", "2026-11-28T12:00:00Z", false)}
		},
		"f12-sale-dates.tsv": func(f *Feed, r *FeedReport) []string {
			return []string{count(f, r, 3, 0),
				sale(f, "d1", "2026-11-20T04:59:59Z", false), sale(f, "d1", "2026-11-20T05:00:00Z", true), sale(f, "d1", "2026-11-29T04:59:59Z", true), sale(f, "d1", "2026-11-29T05:00:00Z", false),
				sale(f, "d3", "2026-11-27T04:59:59Z", false), sale(f, "d3", "2026-11-27T05:00:00Z", true), sale(f, "d3", "2026-12-01T04:58:59Z", true), sale(f, "d3", "2026-12-01T05:00:00Z", false),
				sale(f, "d4", "2026-11-27T05:00:00Z", true), sale(f, "d4", "2026-12-01T05:00:00Z", false)}
		},
		"f13-cr-only.tsv":      func(f *Feed, r *FeedReport) []string { return []string{count(f, r, 1, 0), text(f, "t1", "Shoe", "")} },
		"f13-header-only.tsv":  func(f *Feed, r *FeedReport) []string { return []string{count(f, r, 0, 0)} },
		"f13-trailing-tab.tsv": func(f *Feed, r *FeedReport) []string { return []string{count(f, r, 2, 0)} },
		"f14-links.tsv": func(f *Feed, r *FeedReport) []string {
			return []string{count(f, r, 2, 0), text(f, "l1", "Shoe", "https://shop.example/gr%C3%B6%C3%9Fe?q=%C3%BC#fr%C3%BCh"), text(f, "l2", "Shoe", "https://xn--shp-tna.shop.example/p")}
		},
		"f15-texts.tsv": func(f *Feed, r *FeedReport) []string {
			return []string{count(f, r, 3, 0), text(f, "x1", "Salt & Pepper", ""), text(f, "x2", `"Salt" and "Pepper"`, ""), text(f, strings.Repeat("鞋", 45), "Long id", "")}
		},
	} {
		load := func(t *testing.T, b []byte) {
			f, r, err := LoadFeed(bytes.NewReader(b), FeedOptions{Domains: []string{"shop.example"}, Zone: toronto})
			if err != nil {
				t.Fatal(err)
			}
			for _, wrong := range check(f, r) {
				if wrong != "" {
					t.Error(wrong)
				}
			}
		}
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join("testdata", "feeds", name))
			if err != nil {
				t.Fatal(err)
			}
			load(t, b)
		})
		t.Run("shared/"+name, func(t *testing.T) {
			b, ok := sharedCase(name)
			if !ok {
				t.Skip("no cases here")
			}
			load(t, b)
		})
	}
}

func count(f *Feed, r *FeedReport, good, ignored int) string {
	if f.Good != good || f.Bad != 0 || r.IgnoredFields != ignored {
		return fmt.Sprintf("got %d products, %v, %v; want %d, nothing skipped, %d ignored", f.Good, r.Skipped, r.Ignored, good, ignored)
	}
	return ""
}

// A sale price that is not below the price, or cannot be read, is ignored, and
// the product is kept.
func TestSalePrices(t *testing.T) {
	for sale, want := range map[string]string{"12.00 USD": "12.00 USD", "USD 12": "12 USD", "14.99 USD": "14.99 USD", "": "", "15.00 USD": "", "15 USD": "", "0.00 USD": "", "0 USD": "",
		"15.01 USD": "ignored", "12,00 USD": "ignored", "1.299,00 USD": "ignored", "12.00": "ignored", "12.00 EUR": "ignored", "-1 USD": "ignored", "$12.00": "ignored",
		"n/a": "ignored", "12.00 USD 11.00 USD": "ignored", "1e1 USD": "ignored", "99999999999999 USD": "ignored", "NaN USD": "ignored"} {
		f, r := loadReport(t, feedHeader+row(map[string]string{"sale_price": sale}), FeedOptions{})
		got := ""
		if p := f.Product("sku1"); p == nil {
			got = "no product"
		} else if got = p.SalePrice.Raw; r.IgnoredFields == 1 && got == "" && r.Ignored[0].Path == "sale_price" && r.Ignored[0].Line == 2 {
			got = "ignored"
		}
		if got != want || f.Bad != 0 {
			t.Errorf("%q: got %q, %v; want %q", sale, got, r, want)
		}
	}
}

// Dates include their last day in the zone of the advertiser, ends may be open, and
// a span that cannot be read means that there is no sale.
func TestSaleDates(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	const open = ""
	for span, want := range map[string][2]string{
		"2026-11-20/2026-11-28":                             {"2026-11-19T23:00:00Z", "2026-11-28T23:00:00Z"},
		"2026-11-20/2026-11-20":                             {"2026-11-19T23:00:00Z", "2026-11-20T23:00:00Z"},
		"2026-11-20 / 2026-11-28":                           {"2026-11-19T23:00:00Z", "2026-11-28T23:00:00Z"},
		"2026-10-25/2026-10-25":                             {"2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // a day of 25 hours
		"2026-03-29/2026-03-29":                             {"2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, // of 23
		"2026-11-20/":                                       {"2026-11-19T23:00:00Z", open},
		"/2026-11-28":                                       {open, "2026-11-28T23:00:00Z"},
		"2026-11-20T08:00/2026-11-28":                       {"2026-11-20T07:00:00Z", "2026-11-28T23:00:00Z"},
		"2026-11-20/2026-11-28T20:00":                       {"2026-11-19T23:00:00Z", "2026-11-28T19:00:00Z"},
		"2026-11-20T08:00:30/2026-11-28T20:00:15":           {"2026-11-20T07:00:30Z", "2026-11-28T19:00:15Z"},
		"2026-11-20 08:00/2026-11-28 20:00":                 {"2026-11-20T07:00:00Z", "2026-11-28T19:00:00Z"},
		"2026-11-20T08:00-05/2026-11-28T20:00-05":           {"2026-11-20T13:00:00Z", "2026-11-29T01:00:00Z"},
		"2026-11-20T08:00-0500/2026-11-28T20:00-05:00":      {"2026-11-20T13:00:00Z", "2026-11-29T01:00:00Z"},
		"2026-11-20T08:00:00+0100/2026-11-28T20:00:00Z":     {"2026-11-20T07:00:00Z", "2026-11-28T20:00:00Z"},
		"2026-11-20T08:00:00.5Z/2026-11-28T20:00:00.250+02": {"2026-11-20T08:00:00.5Z", "2026-11-28T18:00:00.25Z"},
		"2026-11-20T08:00Z/":                                {"2026-11-20T08:00:00Z", open},
		"2026-11-20":                                        {"ignored"},
		"/":                                                 {"ignored"},
		"2026-11-28/2026-11-20":                             {"ignored"},
		"2026-11-20T08:00/2026-11-20T08:00":                 {"ignored"},
		"20.11.2026/28.11.2026":                             {"ignored"},
		"2026-02-30/2026-03-01":                             {"ignored"},
		"soon/later":                                        {"ignored"},
		"2026-11-20/2026-11-28/2026-12-01":                  {"ignored"},
	} {
		f, r := loadReport(t, feedHeader+row(map[string]string{"sale_price": "12.00 USD", "sale_price_effective_date": span}), FeedOptions{Zone: rome})
		p := f.Product("sku1")
		if p == nil || f.Bad != 0 {
			t.Errorf("%q: got %v; want the product", span, r)
			continue
		}
		if want[0] == "ignored" {
			if p.SalePrice.Raw != "" || r.IgnoredFields != 1 || r.Ignored[0].Path != "sale_price_effective_date" {
				t.Errorf("%q: got %q, %v; want no sale, and why", span, p.SalePrice.Raw, r.Ignored)
			}
			continue
		}
		show := func(at time.Time) string {
			if at.IsZero() {
				return open
			}
			return at.Format(time.RFC3339Nano)
		}
		if got := [2]string{show(p.SaleFrom), show(p.SaleTo)}; got != want || r.IgnoredFields != 0 || p.SalePrice.Raw == "" {
			t.Errorf("%q: got %v, %v; want %v", span, got, r.Ignored, want)
		}
	}
}

// Rows end with LF, CR LF or CR, and a field in quotes may contain any of them, tabs
// and doubled quotes. Quotes that are part of a text stay.
func TestFeedLinesAndQuotes(t *testing.T) {
	const head, link = "id\ttitle\tlink\timage_link\tprice\tavailability\tbrand", "\thttps://shop.example/p\thttps://shop.example/i.jpg\t1 USD\tin_stock"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"LF":                      {head + "\nA\tShoe" + link + "\tB\nB\tHat" + link + "\tB\n", []string{"Shoe", "Hat"}},
		"CR LF":                   {head + "\r\nA\tShoe" + link + "\tB\r\nB\tHat" + link + "\tB\r\n", []string{"Shoe", "Hat"}},
		"CR":                      {head + "\rA\tShoe" + link + "\tB\rB\tHat" + link + "\tB\r", []string{"Shoe", "Hat"}},
		"CR without the last":     {head + "\rA\tShoe" + link + "\tB\rB\tHat" + link + "\tB", []string{"Shoe", "Hat"}},
		"LF without the last":     {head + "\nA\tShoe" + link, []string{"Shoe"}},
		"CR in a text":            {head + "\nA\tBig\rShoe" + link + "\tB\n", []string{"Big Shoe"}},
		"CR, then LF":             {head + "\rA\tShoe" + link + "\tB\nB\tHat" + link + "\n", []string{"Shoe", "Hat"}},
		"blank lines":             {head + "\n\n \t \nA\tShoe" + link + "\n\n", []string{"Shoe"}},
		"trailing tabs":           {head + "\t\t\nA\tShoe" + link + "\tB\t\t\t\nB\tHat" + link + "\n", []string{"Shoe", "Hat"}},
		"trailing tabs in rows":   {head + "\nA\tShoe" + link + "\tB\t\t \t\nB\tHat" + link + "\n", []string{"Shoe", "Hat"}},
		"a break in quotes":       {head + "\nA\t\"Big\nShoe\"" + link + "\tB\nB\tHat" + link + "\n", []string{"Big Shoe", "Hat"}},
		"CR LF in quotes":         {head + "\r\nA\t\"Big\r\n\r\nred\r\nShoe\"" + link + "\tB\r\nB\tHat" + link + "\r\n", []string{"Big red Shoe", "Hat"}},
		"CR in quotes":            {head + "\rA\t\"Big\rShoe\"" + link + "\tB\rB\tHat" + link + "\r", []string{"Big Shoe", "Hat"}},
		"a break in the last":     {head + "\nA\tShoe" + link + "\t\"B\nC\"\nB\tHat" + link + "\n", []string{"Shoe", "Hat"}},
		"two breaks in a row":     {head + "\nA\t\"Big\nShoe\"" + link + "\t\"B\nC\"\nB\tHat" + link + "\n", []string{"Big Shoe", "Hat"}},
		"a break and quotes":      {head + "\nA\t\"Big \"\"red\"\"\nShoe\"" + link + "\n", []string{`Big "red" Shoe`}},
		"all in quotes":           {"\"" + strings.ReplaceAll(head, "\t", "\"\t\"") + "\"\n\"A\"\t\"A \"\"fine\"\" shoe\"" + strings.ReplaceAll(link+"\t", "\t", "\"\t\"")[1:] + "B\"\n", []string{`A "fine" shoe`}},
		"a tab in quotes":         {head + "\nA\t\"Big\tShoe\"" + link + "\tB\n", []string{"Big Shoe"}},
		"quotes of two words":     {head + "\nA\t\"Salt\" and \"Pepper\"" + link + "\n", []string{`"Salt" and "Pepper"`}},
		"quotes around the start": {head + "\nA\t\"Salt\" mill" + link + "\n", []string{`"Salt" mill`}},
		"quotes around the end":   {head + "\nA\tMill \"Salt\"" + link + "\n", []string{`Mill "Salt"`}},
		"inches":                  {head + "\nA\tScreen 24\"" + link + "\nB\t24\" screen" + link + "\n", []string{`Screen 24"`, `24" screen`}},
		"no closing quote":        {head + "\nA\t\"Big shoe" + link + "\nB\tHat 5\"" + link + "\n", []string{`"Big shoe`, `Hat 5"`}},
		"no closing quote at all": {head + "\nA\tShoe" + link + "\t\"B\nB\tHat" + link + "\n", []string{"Shoe", "Hat"}},
		"one quote in two fields": {head + "\nA\t\"Big" + link + "\tB\"\nB\tHat" + link + "\n", []string{`"Big`, "Hat"}},
		"only a quote":            {head + "\nA\t\"" + link + "\nB\t\"\"\"\"" + link + "\n", []string{`"`, `"`}},
		"a byte-order mark":       {"\uFEFF\"id\"" + head[2:] + "\nA\tShoe" + link + "\n", []string{"Shoe"}},
	} {
		f, r := loadReport(t, c.text, FeedOptions{})
		var got []string
		for _, p := range f.All() {
			got = append(got, p.Title.Raw)
		}
		if !slices.Equal(got, c.want) || f.Bad != 0 || r.Truncated {
			t.Errorf("%s: got %q, %v; want %q", name, got, r.Skipped, c.want)
		}
	}
}

// A skipped row is reported with the line where it begins.
func TestFeedLineNumbers(t *testing.T) {
	text := feedHeader + row(map[string]string{"title": "\"Big\nred\nshoe\""}) + row(map[string]string{"id": "2", "link": "x"}) + row(map[string]string{"id": "3", "title": "\"a\nb\"", "price": "x"}) + row(map[string]string{"id": "4", "price": "x"})
	_, skipped := loadFeed(t, text, FeedOptions{})
	var lines []int
	for _, p := range skipped {
		lines = append(lines, p.Line)
	}
	if !slices.Equal(lines, []int{5, 6, 8}) {
		t.Errorf("got %v; want lines 5, 6 and 8", skipped)
	}
}

// Entities are decoded once, in texts, ids and links.
func TestFeedEntities(t *testing.T) {
	for text, want := range map[string]string{"Salt &amp; Pepper": "Salt & Pepper", "Salt &amp;amp; Pepper": "Salt &amp; Pepper", "&quot;Salt&quot;": `"Salt"`, "Rock &#39;n&#x27; roll": "Rock 'n' roll",
		"M&uuml;ller": "Müller", "5&nbsp;kg": "5 kg", "&lt;b&gt;": "<b>", "A & B": "A & B", "AT&T; Co": "AT&T; Co", "a &copy b": "a &copy b", "a &copyx; b": "a &copyx; b", "&;&#;&#x;": "&;&#;&#x;",
		"one&#10;two\u0007three": "one two three", "&semi;": ";", "&euro;": "€", "a  b": "a b", "&amp": "&amp", "&" + strings.Repeat("a", 100) + ";": "&" + strings.Repeat("a", 100) + ";"} {
		f, r := loadReport(t, feedHeader+row(map[string]string{"title": text}), FeedOptions{})
		if p := f.Product("sku1"); p == nil || p.Title.Raw != want {
			t.Errorf("%q: got %+v, %v; want %q", text, p, r.Skipped, want)
		}
	}
	f, _ := loadFeed(t, feedHeader+row(map[string]string{"id": "A&amp;B", "complements": "C&amp;D", "link": "https://shop.example/?a=1&amp;b=2&copy=3", "image_link": "https://shop.example/i?w=1&amp;h=2"}), FeedOptions{})
	p := f.Product("a&b")
	if p == nil || p.SKU.Raw != "A&B" || p.Link.Raw != "https://shop.example/?a=1&b=2&copy=3" || p.Image.Raw != "https://shop.example/i?w=1&h=2" || p.Complements[0] != "c&d" {
		t.Errorf("got %+v", p)
	}
}

// Links are ASCII, whatever the feed has.
func TestFeedLinksAreASCII(t *testing.T) {
	for link, want := range map[string]string{
		"https://shop.example/größe?q=ü#früh":         "https://shop.example/gr%C3%B6%C3%9Fe?q=%C3%BC#fr%C3%BCh",
		"https://shop.example/gr%C3%B6%C3%9Fe":        "https://shop.example/gr%C3%B6%C3%9Fe",
		"https://shop.example/100%/ü":                 "",
		"https://shöp.shop.example:8443/p":            "https://xn--shp-tna.shop.example:8443/p",
		"https://SHÖP.shop.example/P":                 "https://xn--shp-tna.shop.example/P",
		"https://shop.example/靴/👟?a=b&c=é":            "https://shop.example/%E9%9D%B4/%F0%9F%91%9F?a=b&c=%C3%A9",
		"https://shop.example/?u=https://ü.example/é": "https://shop.example/?u=https://%C3%BC.example/%C3%A9",
		"https://ü.example/":                          "",
	} {
		f, r := loadReport(t, feedHeader+row(map[string]string{"link": link}), FeedOptions{Domains: []string{"shop.example"}})
		got := ""
		if p := f.Product("sku1"); p != nil {
			got = p.Link.Raw
		}
		if got != want {
			t.Errorf("%s: got %q, %v; want %q", link, got, r.Skipped, want)
		}
	}
	f, _ := loadFeed(t, feedHeader+row(map[string]string{"image_link": "https://bücher.example/é.jpg"}), FeedOptions{})
	if got := f.Product("sku1").Image.Raw; got != "https://xn--bcher-kva.example/%C3%A9.jpg" {
		t.Errorf("got %q", got)
	}
}

// The limit of ids is the same 50 characters, whatever bytes they have.
func TestFeedIDs(t *testing.T) {
	for id, good := range map[string]bool{strings.Repeat("鞋", 50): true, strings.Repeat("鞋", 51): false, strings.Repeat("👟", 50): true, strings.Repeat("x", 50): true, strings.Repeat("x", 51): false,
		strings.Repeat("&amp;", 50): true, "\u0001": false, "A B": true} {
		f, _ := loadFeed(t, feedHeader+row(map[string]string{"id": id}), FeedOptions{})
		if (f.Good == 1) != good {
			t.Errorf("%q (%d characters): got %d products; want %v", id, utf8.RuneCountInString(id), f.Good, good)
		}
	}
}

// An optional field that cannot be read costs the field, not the product.
func TestOptionalFields(t *testing.T) {
	text := strings.Replace(feedHeader, "\n", "\tbrand\tproduct_type\titem_group_id\n", 1) + strings.TrimSuffix(row(nil), "\n") + "\t" + strings.Repeat("b", 71) + "\t" + strings.Repeat("t", 2000) + "\t" + strings.Repeat("g", 99) + "\n"
	f, r := loadReport(t, text, FeedOptions{})
	if p := f.Product("sku1"); p == nil || p.Brand.Raw != "" || r.IgnoredFields != 1 || r.Ignored[0].Path != "brand" {
		t.Errorf("got %+v, %v; want the product without a brand", p, r)
	}
	for word, stock := range map[string]bool{"In Stock": true, "in-stock": true, "https://schema.org/InStock": true, "http://schema.org/OutOfStock": false, "pre-order": false, "Back Order": false} {
		f, r := loadReport(t, feedHeader+row(map[string]string{"availability": word}), FeedOptions{})
		if p := f.Product("sku1"); p == nil || p.InStock != stock {
			t.Errorf("%q: got %+v, %v; want in stock: %v", word, p, r.Skipped, stock)
		}
	}
}

// A file that is not complete is not taken while there is an older feed.
func TestHalfWrittenFeed(t *testing.T) {
	rows := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(row(map[string]string{"id": fmt.Sprint("p", from+i)}))
		}
		return b.String()
	}
	whole := feedHeader + rows(0, 100)
	old, _ := loadFeed(t, whole, FeedOptions{})
	kept := 0
	for cut := len(feedHeader) + 1; cut < len(whole); cut++ {
		f, r := loadReport(t, whole[:cut], FeedOptions{Previous: old})
		if f.Kept == "" && whole[cut-1] != '\n' && f.Good < 100 {
			t.Fatalf("cut at %d of %d: got %d products, %v; want the older feed", cut, len(whole), f.Good, r.Truncated)
		}
		if f.Kept != "" {
			kept++
		}
		if whole[cut-1] == '\n' {
			if f, _ := loadReport(t, whole[:cut], FeedOptions{Previous: old, Fresh: true}); f.Kept == "" {
				t.Fatalf("cut at %d, written a moment ago: got %d products; want the older feed", cut, f.Good)
			}
		}
	}
	if kept < len(whole)/2 {
		t.Errorf("got the older feed %d times of %d", kept, len(whole))
	}
	for name, text := range map[string]string{"new prices": strings.ReplaceAll(whole, "15.00", "16.00"), "more rows": whole + rows(100, 1), "without the last line end": strings.TrimSuffix(whole, "\n"), "one less": feedHeader + rows(1, 99)} {
		fresh := name != "one less"
		if f, _ := loadFeed(t, text, FeedOptions{Previous: old, Fresh: fresh}); f.Kept != "" {
			t.Errorf("%s: got the older feed, %q; want the new one", name, f.Kept)
		}
	}
	// Without an older feed there is nothing to keep, but the report says so.
	if f, r := loadReport(t, whole[:len(whole)-60], FeedOptions{}); f.Good != 99 || !r.Truncated {
		t.Errorf("at start: got %d products, truncated %v", f.Good, r.Truncated)
	}
}

func TestFeedChanges(t *testing.T) {
	load := func(text string) *Feed { f, _ := loadFeed(t, feedHeader+text, FeedOptions{}); return f }
	a := load(row(nil) + row(map[string]string{"id": "2"}) + row(map[string]string{"id": "3"}))
	for name, c := range map[string]struct {
		to   *Feed
		want [3]int
	}{
		"the same":   {load(row(map[string]string{"id": "3"}) + row(map[string]string{"id": "2"}) + row(nil)), [3]int{}},
		"a price":    {load(row(map[string]string{"price": "16 USD"}) + row(map[string]string{"id": "2"}) + row(map[string]string{"id": "3"})), [3]int{0, 0, 1}},
		"other rows": {load(row(nil) + row(map[string]string{"id": "4"})), [3]int{1, 2, 0}},
		"a sale":     {load(row(map[string]string{"sale_price": "1 USD", "sale_price_effective_date": "/2027-01-01"}) + row(map[string]string{"id": "2"}) + row(map[string]string{"id": "3"})), [3]int{0, 0, 1}},
	} {
		added, removed, changed := a.Changes(c.to)
		if got := [3]int{added, removed, changed}; got != c.want {
			t.Errorf("%s: got %v; want %v", name, got, c.want)
		}
	}
	if b := load(row(nil)); a.Sum == b.Sum {
		t.Error("got one hash for two files")
	}
}

func TestUTF16IsNamed(t *testing.T) {
	if _, _, err := LoadFeed(strings.NewReader("\xff\xfei\x00d\x00\t\x00"), FeedOptions{}); err == nil || !strings.Contains(err.Error(), "UTF-16") {
		t.Errorf("got %v; want UTF-16 named", err)
	}
}
