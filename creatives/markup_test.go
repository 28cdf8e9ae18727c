package creatives

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

const hostile = `<script>alert("x")</script>'"\` + "\u2028" + ` ${AUCTION_PRICE} %%CLICK%% {{click}} &amp;`

// sample is markup data with a hostile product.
func sample(t testing.TB) *Markup {
	t.Helper()
	f, rows := loadFeed(t, feedHeader+row(map[string]string{"title": strings.ReplaceAll(hostile, "&", "&amp;"), "link": "https://shop.example/p/1?a=1&b='2'", "sale_price": "12.00 USD"}), FeedOptions{})
	if f.Good != 1 {
		t.Fatal(rows)
	}
	return &Markup{Size: rtb.Size{W: 300, H: 250}, Products: f.All(), Click: []byte("https://t.example/v1/c?k=A-_&x='"),
		Pixel: []byte("https://t.example/v1/imp?k=B&p=${AUCTION_PRICE}"), Advertiser: `O'Neill & "Sons"`, Campaign: "autumn", Line: "cart",
		SiteDomain: []byte(`"><script>news.example`), CacheBuster: 77, Now: time.Unix(1_790_000_000, 0)}
}

func compileOne(t testing.TB, s Spec) *Creative {
	t.Helper()
	s.ID = "c1"
	if s.Size == "" {
		s.Size = "300x250"
	}
	out, problems := Compile([]Spec{s}, os.ReadFile)
	if len(problems) > 0 {
		t.Fatalf("got %+v", problems)
	}
	return out[0]
}

// appendMarkup appends the creative's markup as the browser gets it.
func appendMarkup(dst []byte, c *Creative, m *Markup) ([]byte, error) {
	start := len(dst)
	b, size, err := c.AppendQuoted(dst, m)
	if err != nil {
		return b, err
	}
	var text string
	if err := json.Unmarshal(b[start:], &text); err != nil {
		return b, err
	}
	if len(text) != size && !strings.Contains(text, "\uFFFD") {
		return b, fmt.Errorf("got size %d; want %d", size, len(text))
	}
	return append(b[:start], text...), nil
}

func render(t testing.TB, markup string, m *Markup) string {
	t.Helper()
	c := compileOne(t, Spec{Type: "html_template", HTML: markup + `<a href="{{click}}"></a><img src="{{pixel}}">`, ClickURL: "https://shop.example/"})
	b, err := appendMarkup(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	tail, _ := appendMarkup(nil, compileOne(t, Spec{Type: "html_template", HTML: `<a href="{{click}}"></a><img src="{{pixel}}">`, ClickURL: "https://shop.example/"}), m)
	return strings.TrimSuffix(string(b), string(tail))
}

func TestEveryPlaceIsEscaped(t *testing.T) {
	conformance.Covers(t, "K1", "K2", "K5")
	m := sample(t)
	f := func(markup, want string) {
		t.Helper()
		if got := render(t, markup, m); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", markup, got, want)
		}
	}
	title := `&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&#39;&#34;\` + "\u2028" + ` &#36;&#123;AUCTION_PRICE} &#37;%CLICK&#37;% &#123;&#123;click}} &amp;amp;`
	f(`<b>{{item.title}}</b>`, `<b>`+title+`</b>`)
	f(`<b title='{{ item.title }}'>`, `<b title='`+title+`'>`)
	f(`<img src="https://x.example/?t={{item.title}}">`, `<img src="https://x.example/?t=`+string(appendURL(nil, hostile))+`">`)
	f(`<script>var t = '{{item.title}}';</script>`, `<script>var t = '\u003Cscript\u003Ealert(\u0022x\u0022)\u003C\u002Fscript\u003E\u0027\u0022\u005C\u2028 \u0024\u007BAUCTION_PRICE} \u0025\u0025CLICK\u0025\u0025 \u007B\u007Bclick}} \u0026amp;';</script>`)
	f(`<a href="{{item.link}}">`, `<a href="https://shop.example/p/1?a=1&amp;b=&#39;2&#39;">`)
	f(`<a href="https://r.example/?u={{item.link}}">`, `<a href="https://r.example/?u=https%3A%2F%2Fshop.example%2Fp%2F1%3Fa%3D1%26b%3D%272%27">`)
	f(`<i>{{advertiser}}</i>`, `<i>O&#39;Neill &amp; &#34;Sons&#34;</i>`)
	f(`<i data-a="{{campaign}}/{{line}}/{{creative}}">{{site_domain}}</i>`, `<i data-a="autumn/cart/c1">scriptnews.example</i>`)
	f(`<i style="width:{{width}}px">{{height}} {{cb}}</i>`, `<i style="width:300px">250 77</i>`)
	f(`<i>{{item.price}} {{item.sale_price}}</i>`, `<i>15.00 USD 12.00 USD</i>`)
	f(`<a href="{{click}}">`, `<a href="https://t.example/v1/c?k=A-_&amp;x=&#39;">`)
	f(`<a href="https://r.example/?u={{click_esc}}">`, `<a href="https://r.example/?u=https%3A%2F%2Ft.example%2Fv1%2Fc%3Fk%3DA-_%26x%3D%27">`)
	f(`<img src="{{pixel}}">`, `<img src="https://t.example/v1/imp?k=B&amp;p=${AUCTION_PRICE}">`)
	f(`<script>p("{{pixel}}")</script>`, `<script>p("https:\u002F\u002Ft.example\u002Fv1\u002Fimp?k\u003DB\u0026p\u003D${AUCTION_PRICE}")</script>`)
	f(`<p>${AUCTION_ID} %%CACHEBUSTER%%</p>`, `<p>${AUCTION_ID} %%CACHEBUSTER%%</p>`)
	f(`<textarea>{{item.brand}}</textarea>`, `<textarea></textarea>`)

	m.ClickMacro, m.ClickMacroEsc = []byte("%%CLICK_URL_UNESC%%"), []byte("%%CLICK_URL_ESC%%")
	f(`<a href="{{click}}">`, `<a href="%%CLICK_URL_UNESC%%https%3A%2F%2Ft.example%2Fv1%2Fc%3Fk%3DA-_%26x%3D%27">`)
	got := render(t, `<a href="https://r.example/?u={{click_esc}}">`, m)
	if !strings.HasPrefix(got, `<a href="https://r.example/?u=%%CLICK_URL_ESC%%`) {
		t.Fatalf("got %s", got)
	}
	once, err := url.QueryUnescape(strings.TrimSuffix(strings.TrimPrefix(got, `<a href="https://r.example/?u=%%CLICK_URL_ESC%%`), `">`))
	twice, err2 := url.QueryUnescape(once)
	if err != nil || err2 != nil || twice != string(m.Click) {
		t.Errorf("got %q after decoding twice; want %q", twice, m.Click)
	}
}

func TestEscapingCanBeUndone(t *testing.T) {
	conformance.Covers(t, "K1")
	for _, s := range []string{hostile, "", "a", "50% off", "%%", "%", "\u2029x", "\xe2\x80", "${", "日本語", "\x00\x1f"} {
		if got := html.UnescapeString(string(appendUntrustedHTML(nil, s))); got != strings.ReplaceAll(s, "\x00", "\uFFFD") {
			t.Errorf("HTML of %q: got %q back", s, got)
		}
		if got, err := url.QueryUnescape(string(appendURL(nil, s))); err != nil || got != s {
			t.Errorf("URL of %q: got %q back, %v", s, got, err)
		}
		if once, two := appendURL(nil, appendURL(nil, s)), appendURL2(nil, s); !bytes.Equal(once, two) {
			t.Errorf("twice encoded %q: got %s; want %s", s, two, once)
		}
	}
}

func TestUnsafePlacesAreRefused(t *testing.T) {
	conformance.Covers(t, "K1", "K6", "T22")
	f := func(markup, got string) {
		t.Helper()
		_, problems := Compile([]Spec{{ID: "c1", Type: "html_template", Size: "1x1", HTML: "<a href=\"{{click}}\"></a>\n" + markup, ClickURL: "https://shop.example/"}}, nil)
		if len(problems) == 0 || !strings.Contains(problems[0].Got, got) || problems[0].Path != "[0].html" {
			t.Errorf("%s: got %+v; want a problem with %q", markup, problems, got)
			return
		}
		if problems[0].Line != 2 {
			t.Errorf("%s: got line %d; want 2", markup, problems[0].Line)
		}
	}
	f(`{{item.titel}}`, "{{item.titel}}")
	f(`{{`, "{{ without }}")
	f(`<a title={{item.title}}>`, "cannot be escaped")
	f(`<a onclick="x('{{item.title}}')">`, "cannot be escaped")
	f(`<a style="color:{{item.title}}">`, "cannot be escaped")
	f(`<a {{item.title}}>`, "cannot be escaped")
	f(`<{{item.title}}>`, "cannot be escaped")
	f(`<!-- {{item.title}} -->`, "cannot be escaped")
	f(`<style>{{item.title}}</style>`, "cannot be escaped")
	f(`<script>var x = {{item.title}}</script>`, "cannot be escaped")
	f("<script>var x = `{{item.title}}`</script>", "cannot be escaped")
	f(`<script>// '{{item.title}}`, "cannot be escaped")
	f(`<script>/* ' */ {{item.title}}`, "cannot be escaped")
	f(`<script>'\'' + {{item.title}}`, "cannot be escaped")
	f(`<script>'\{{item.title}}'</script>`, "cannot be escaped")
	f(`<iframe srcdoc="{{item.title}}">`, "cannot be escaped")
	f(`<a href="{{item.title}}">`, "at the start of a URL")
	f(`<a href=" {{item.title}}">`, "at the start of a URL")
	f(`<a href="{{click_esc}}">`, "at the start of a URL")
	f(`<a href="https://r.example/?u={{click}}">`, "inside another URL")
	f(`<img src="http://cdn.example/x.png">`, "http://cdn.example/x.png")
	f(`<img src="HTTP://cdn.example/x.png">`, "HTTP://cdn.example/x.png")
}

func TestUnknownMacroNamesTheNearest(t *testing.T) {
	_, problems := Compile([]Spec{{ID: "c1", Type: "html_template", Size: "1x1", HTML: "{{click}}\n\n{{item.titel}}", ClickURL: "https://shop.example/"}}, nil)
	if len(problems) != 1 || problems[0].Line != 3 || problems[0].Hint != "did you mean item.title?" {
		t.Errorf("got %+v; want line 3 and a hint", problems)
	}
}

func TestAppendLimits(t *testing.T) {
	conformance.Covers(t, "K11")
	m := sample(t)
	c := compileOne(t, Spec{Type: "html_template", HTML: `<a href="{{click}}">{{item.title}}</a>`, MaxAdm: 256})
	dst := []byte("before")
	got, err := appendMarkup(dst, c, m)
	if !errors.Is(err, ErrTooLarge) || string(got) != "before" {
		t.Errorf("got %q, %v; want what was there and ErrTooLarge", got, err)
	}
	m.Products = nil
	if got, err = appendMarkup(dst, c, m); !errors.Is(err, ErrNoProduct) || string(got) != "before" {
		t.Errorf("got %q, %v; want ErrNoProduct", got, err)
	}
}

func TestImage(t *testing.T) {
	c := compileOne(t, Spec{Type: "image", ImageURL: "https://cdn.example/{{width}}x{{height}}.png?a=1&b=2", Alt: `A "shop"`, ClickURL: "https://shop.example/"})
	got, err := appendMarkup(nil, c, sample(t))
	want := `<a href="https://t.example/v1/c?k=A-_&amp;x=&#39;" target="_blank" rel="noopener"><img src="https://cdn.example/300x250.png?a=1&amp;b=2" width="300" height="250" alt="A &#34;shop&#34;" style="border:0;display:block"></a>` +
		`<img src="https://t.example/v1/imp?k=B&amp;p=${AUCTION_PRICE}" width="1" height="1" alt="" style="position:absolute;left:-9999px">`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if c.NeedsProduct || c.Mimes[0] != "image/png" || c.Landing(nil) != "https://shop.example/" {
		t.Errorf("got %+v", c)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations differ under the race detector")
	}
	m := sample(t)
	m.ClickMacro = []byte("%%C%%")
	c := compileOne(t, Spec{Type: "html_template", HTML: `<a href="{{click}}" title="{{item.title}}">{{advertiser}} {{campaign}} {{cb}} {{site_domain}}</a><script>x('{{pixel}}')</script>`})
	dst := make([]byte, 0, 8<<10)
	if n := testing.AllocsPerRun(200, func() { dst, _, _ = c.AppendQuoted(dst[:0], m) }); n != 0 {
		t.Errorf("got %v allocations; want 0", n)
	}
	f := loadShelf(t)
	v := visitor(rtb.ProductSeen{Advertiser: "shop", ID: "a", Kind: rtb.ProductViewed})
	out := make([]*Product, 0, 4)
	if n := testing.AllocsPerRun(200, func() { out = c.Select(out[:0], v, f, "shop", time.Unix(0, 0)) }); n != 0 || len(out) != 1 {
		t.Errorf("Select: got %v allocations, %d products; want 0, 1", n, len(out))
	}
}

func BenchmarkAppend(b *testing.B) {
	m := sample(b)
	c := compileOne(b, Spec{Type: "html_template", HTML: `<a href="{{click}}" title="{{item.title}}"><img src="{{item.image}}">{{advertiser}} {{item.price}}</a>`})
	dst := make([]byte, 0, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		dst, _, _ = c.AppendQuoted(dst[:0], m)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{`<a href="{{click}}">{{item.title}}</a>`, `<script>x('{{item.title}}')</script>`, `<b title='{{item.title}}'>`, `<!-- {{cb}} --> {{item.title}}`,
		`<img src="https://x.example/{{item.title}}">`, "<script>`{{item.title}}`"} {
		f.Add(s)
	}
	m := sample(f)
	f.Fuzz(func(t *testing.T, markup string) {
		if strings.Contains(strings.ToLower(markup), "alert(") || strings.Contains(markup, "<script>alert") {
			t.Skip("the markup itself holds what the check looks for")
		}
		out, problems := Compile([]Spec{{ID: "c", Type: "html_template", Size: "1x1", HTML: "{{click}}" + markup, ClickURL: "https://shop.example/"}}, nil)
		if len(problems) > 0 {
			return
		}
		got, err := appendMarkup(nil, out[0], m)
		if err == nil && bytes.Contains(got, []byte(`<script>alert("x")`)) {
			t.Fatalf("got the product's script in %s", got)
		}
	})
}

func shelfRow(id string, replace map[string]string) string {
	r := map[string]string{"id": id}
	for k, v := range replace {
		r[k] = v
	}
	return row(r)
}

func loadShelf(t testing.TB) *Feed {
	t.Helper()
	f, _ := loadFeed(t, feedHeader+shelfRow("A", nil)+shelfRow("B", nil)+shelfRow("C", map[string]string{"availability": "out_of_stock"})+
		shelfRow("D", map[string]string{"complements": "C,A,B"}), FeedOptions{})
	return f
}

func visitor(seen ...rtb.ProductSeen) *rtb.Visitor { return &rtb.Visitor{Products: seen} }

func TestSelect(t *testing.T) {
	f := loadShelf(t)
	const day = 86400
	now := time.Unix(100*day, 0)
	seen := func(id string, daysAgo int, k rtb.ProductKind) rtb.ProductSeen {
		return rtb.ProductSeen{Advertiser: "shop", ID: id, Last: rtb.Second((100 - daysAgo) * day), Kind: k}
	}
	check := func(name string, fill []string, want string, products ...rtb.ProductSeen) {
		t.Helper()
		c := compileOne(t, Spec{Type: "html_template", HTML: `<a href="{{click}}">{{item.title}}</a>`, Fill: fill})
		got := c.Select(nil, visitor(products...), f, "shop", now)
		ids := ""
		for _, p := range got {
			ids += p.ID
		}
		if ids != want {
			t.Errorf("%s: got %q; want %q", name, ids, want)
		}
		if c.Select(nil, visitor(products...), f, "other", now) != nil {
			t.Errorf("%s: another advertiser got a product", name)
		}
	}
	check("nothing seen", nil, "")
	check("the last seen", nil, "b", seen("b", 1, rtb.ProductViewed), seen("a", 2, rtb.ProductCarted))
	check("carted only", []string{"cart"}, "a", seen("b", 1, rtb.ProductViewed), seen("a", 2, rtb.ProductCarted))
	check("wished is not asked for", nil, "", seen("b", 1, rtb.ProductWished))
	check("out of stock", nil, "a", seen("c", 1, rtb.ProductViewed), seen("a", 2, rtb.ProductViewed))
	check("not in the feed", nil, "a", seen("zz", 1, rtb.ProductViewed), seen("a", 2, rtb.ProductViewed))
	check("bought lately", nil, "a", seen("b", 29, rtb.ProductBought), seen("a", 31, rtb.ProductViewed))
	check("bought long ago", nil, "b", seen("b", 31, rtb.ProductBought))
	check("complements", []string{"complements"}, "a", seen("d", 1, rtb.ProductBought))
	check("complements not bought", []string{"complements"}, "b", seen("a", 1, rtb.ProductBought), seen("d", 1, rtb.ProductBought))
	check("complements last", []string{"complements", "viewed"}, "b", seen("d", 1, rtb.ProductBought), seen("b", 2, rtb.ProductViewed))
	c := compileOne(t, Spec{Type: "html_template", HTML: `<a href="{{click}}">{{item.title}}</a>`})
	if got := c.Landing(c.Select(nil, visitor(seen("a", 1, rtb.ProductViewed)), f, "shop", now)); got != "https://shop.example/p/1" {
		t.Errorf("landing: got %q; want the product's page", got)
	}
}

func TestCompileProblems(t *testing.T) {
	conformance.Covers(t, "K6")
	f := func(s Spec, path string) {
		t.Helper()
		out, problems := Compile([]Spec{s}, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		for _, p := range problems {
			if p.Path == "[0]."+path && p.Got != "" && p.Want != "" {
				if out[0] != nil {
					t.Errorf("%+v: got a creative in spite of problems", s)
				}
				return
			}
		}
		t.Errorf("%+v: got %+v; want a problem at %s", s, problems, path)
	}
	good := Spec{ID: "a", Type: "image", Size: "300x250", ImageURL: "https://x.example/a.jpg", ClickURL: "https://shop.example/"}
	change := func(do func(*Spec)) Spec { s := good; do(&s); return s }
	if _, problems := Compile([]Spec{good}, nil); len(problems) > 0 {
		t.Fatalf("the good one: %+v", problems)
	}
	f(change(func(s *Spec) { s.ID = "A" }), "id")
	f(change(func(s *Spec) { s.Type = "imag" }), "type")
	f(change(func(s *Spec) { s.Type = "" }), "type")
	f(change(func(s *Spec) { s.Size = "" }), "size")
	f(change(func(s *Spec) { s.Size = "300X250" }), "size")
	f(change(func(s *Spec) { s.Sizes = []string{"1x1"} }), "size")
	f(change(func(s *Spec) { s.Size, s.Sizes = "", []string{"1x1", "0x5"} }), "sizes[1]")
	f(change(func(s *Spec) { s.ImageURL = "" }), "image_url")
	f(change(func(s *Spec) { s.ImageURL = "http://x.example/a.jpg" }), "image_url")
	f(change(func(s *Spec) { s.ImageURL = "ftp://x.example/a.jpg" }), "image_url")
	f(change(func(s *Spec) { s.ClickURL = "" }), "click_url")
	f(change(func(s *Spec) { s.ClickURL = "http://shop.example/" }), "click_url")
	f(change(func(s *Spec) { s.IURL = "x" }), "iurl")
	f(change(func(s *Spec) { s.HTML = "x" }), "html")
	f(change(func(s *Spec) { s.Attr = []int{0} }), "attr[0]")
	f(change(func(s *Spec) { s.Language = "e" }), "language")
	f(change(func(s *Spec) { s.Fill = []string{"carts"} }), "fill[0]")
	f(change(func(s *Spec) { s.MaxAdm = 1 << 20 }), "max_adm")
	f(change(func(s *Spec) { s.CRID = strings.Repeat("x", 52) }), "crid")
	f(change(func(s *Spec) { s.Fallback = "b" }), "fallback")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/"}, "html")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/", HTML: "x"}, "html")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/", HTML: "{{click}}{{item.title}}"}, "html")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/", HTML: `{{click}}<a`}, "html")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/", HTML: "{{click}}" + strings.Repeat("x", MaxMarkup)}, "html")
	f(Spec{ID: "a", Type: "html", Size: "1x1", ClickURL: "https://shop.example/", File: "nowhere.html"}, "file")
	_, problems := Compile([]Spec{good, good}, nil)
	if len(problems) != 1 || problems[0].Path != "[1].id" {
		t.Errorf("the same id twice: got %+v", problems)
	}
}

func TestInsecureIsAllowedWhereAskedFor(t *testing.T) {
	conformance.Covers(t, "B15")
	no := false
	c := compileOne(t, Spec{Type: "html", HTML: `<a href="{{click}}"><img src="http://cdn.example/x.png"></a>`, ClickURL: "https://shop.example/", Secure: &no})
	if c.Secure {
		t.Error("got a secure creative; want one that is not")
	}
	compileOne(t, Spec{Type: "html", HTML: `<a href="{{click}}"><svg xmlns="http://www.w3.org/2000/svg"></svg><img src="http://127.0.0.1:8081/x.png"></a>`, ClickURL: "https://shop.example/"})
}

func TestCRID(t *testing.T) {
	conformance.Covers(t, "R6")
	seen := map[string]string{}
	add := func(name string, s Spec) {
		t.Helper()
		out, problems := Compile([]Spec{s}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		crid := out[0].CRID
		if len(crid) > 64 {
			t.Errorf("%s: got %d bytes; want at most 64", name, len(crid))
		}
		if other := seen[crid]; other != "" {
			t.Errorf("%s: got the crid of %s", name, other)
		}
		seen[crid] = name
	}
	s := Spec{ID: "a", Type: "html", Size: "300x250", HTML: "<a href='{{click}}'>x</a>", ClickURL: "https://shop.example/"}
	add("plain", s)
	s2 := s
	s2.HTML += " "
	add("other markup", s2)
	s2 = s
	s2.ClickURL += "x"
	add("other landing page", s2)
	s2 = s
	s2.ID = strings.Repeat("a", 64)
	add("long id", s2)
	s2.ID = strings.Repeat("a", 63) + "b"
	add("another long id", s2)
	s2 = s
	s2.Size, s2.Sizes = "", []string{"300x250", "728x90"}
	sized, _ := Compile([]Spec{s2}, nil)
	small, wide := sized[0].CRIDOf(rtb.Size{W: 300, H: 250}), sized[0].CRIDOf(rtb.Size{W: 728, H: 90})
	if small == wide || len(wide) > 64 || sized[0].CRIDOf(rtb.Size{W: 1, H: 1}) != sized[0].CRID {
		t.Errorf("two sizes of a creative: got %q, %q; want an id each", small, wide)
	}
	out, _ := Compile([]Spec{s}, nil)
	if name := fmt.Sprint(seen[out[0].CRID]); name != "plain" {
		t.Errorf("the same again: got the crid of %q; want the first one's", name)
	}
}
