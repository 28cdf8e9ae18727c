package creatives

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rebound/internal/conformance"
	"rebound/internal/spec"
	"rebound/rtb"
)

func film() Spec {
	return Spec{Type: "vast", Duration: 15 * time.Second, ClickURL: "https://shop.example/", Title: "Buy {{item.title}}",
		Media: []MediaSpec{{URL: "https://shop.example/f.mp4?a=1&b=2", W: 1280, H: 720, Bitrate: 1400}, {URL: "https://shop.example/f.webm", W: 640, H: 360}}}
}

func sound() Spec {
	return Spec{Type: "audio", Duration: 15 * time.Second, ClickURL: "https://shop.example/", Media: []MediaSpec{{URL: "https://shop.example/a.mp3"}}}
}

func words() Spec {
	return Spec{Type: "native", Native: &NativeSpec{Title: "{{item.title}}", Desc: "Now the best of all", Sponsored: "Shop", Price: "{{item.price}}",
		PrivacyURL: "https://shop.example/privacy", Images: []NativeImageSpec{{URL: "{{item.image}}", W: 1200, H: 627}, {Type: "icon", URL: "https://shop.example/{{item.id}}/{{width}}x{{height}}.png", W: 80, H: 80}}}}
}

func compileSpec(t testing.TB, s Spec) *Creative {
	t.Helper()
	s.ID = "c1"
	out, problems := Compile([]Spec{s}, nil)
	if len(problems) > 0 {
		t.Fatalf("got %+v", problems)
	}
	return out[0]
}

// filled is markup data with a hostile product, for every format.
func filled(t testing.TB) *Markup {
	m := sample(t)
	m.View, m.EventBase, m.EventQuery = []byte("https://t.example/v1/view?k=V"), []byte("https://t.example/v1/vast/"), []byte("?k=E")
	m.BidID = rtb.BidID{1}
	v := rtb.Video{Mimes: [][]byte{[]byte("video/mp4"), []byte("audio/mpeg")}, API: []int{7}}
	m.Imp = &rtb.Impression{Video: v, Audio: v, Native: rtb.Native{Ver: []byte("1.2"), Privacy: true, HasTrackers: true, Trackers: []rtb.NativeTracker{{Event: 1, Image: true}, {Event: 2, Image: true}},
		Assets: []rtb.NativeAsset{{ID: 1, Required: true, Kind: rtb.NativeTitle, Len: 40}, {ID: 2, Kind: rtb.NativeImage, Type: 3, WMin: 100, HMin: -1},
			{ID: 3, Kind: rtb.NativeData, Type: 2, Len: 13}, {ID: 4, Kind: rtb.NativeImage, Type: 1, W: 50, H: 50, WMin: -1, HMin: -1}, {ID: 5, Kind: rtb.NativeData, Type: 7}}}}
	return m
}

// strictXML fails on what is not well formed, and gives the text of every
// element by its name.
func strictXML(t testing.TB, text []byte) map[string][]string {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(text)))
	out := map[string][]string{}
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		switch x := token.(type) {
		case xml.StartElement:
			open = append(open, x.Name.Local)
			out[x.Name.Local] = append(out[x.Name.Local], "")
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if n := len(open); n > 0 {
				l := out[open[n-1]]
				l[len(l)-1] += string(x)
			}
		}
	}
}

// VD14: every protocol is well formed whatever the product is called.
func TestVASTIsWellFormed(t *testing.T) {
	conformance.Covers(t, "VD14", "K1")
	full := film()
	full.Skippable, full.Trackers = 5*time.Second, TrackersSpec{Imp: []string{"https://o.example/i?a=1&b=2"}, Click: []string{"https://o.example/c"}}
	full.Verification, full.Companion = &VerificationSpec{Vendor: `a"<b`, URL: "https://v.example/o.js", Parameters: "]]>"}, &CompanionSpec{"https://shop.example/c.png", "300x250"}
	tag := Spec{Type: "vast", Duration: 15 * time.Second, ClickURL: "https://shop.example/", TagURL: "https://tag.example/?a=1&p=${AUCTION_PRICE}", Mimes: []string{"video/mp4"}}
	voice := sound()
	voice.TagURL, voice.Media, voice.Mimes = tag.TagURL, nil, []string{"audio/mpeg"}
	written := map[int]bool{}
	for _, s := range []Spec{film(), full, tag, sound(), voice} {
		c := compileSpec(t, s)
		for _, p := range c.body.(*clip).protocols {
			m := filled(t)
			m.Protocol, written[p] = p, true
			b, err := appendMarkup(nil, c, m)
			if err != nil {
				t.Fatal(err)
			}
			doc := strictXML(t, b)
			for name, want := range map[string]string{"Impression": "https://t.example/v1/imp?k=B&p=${AUCTION_PRICE}", "Error": "https://t.example/v1/vast/error?k=E&e=[ERRORCODE]"} {
				if got := doc[name]; len(got) == 0 || got[0] != want {
					t.Errorf("protocol %d %s: got %q; want %q", p, name, got, want)
				}
			}
			if s.Title != "" && doc["AdTitle"][0] != "Buy "+hostile {
				t.Errorf("protocol %d: got title %q; want %q", p, doc["AdTitle"][0], "Buy "+hostile)
			}
			if len(s.Media) > 0 && (len(doc["MediaFile"]) != 1 || doc["MediaFile"][0] != s.Media[0].URL) {
				t.Errorf("protocol %d: got files %q", p, doc["MediaFile"])
			}
			if s.TagURL != "" && !slices.Contains(append(doc["VASTAdTagURI"], doc["DAASTAdTagURI"]...), s.TagURL) {
				t.Errorf("protocol %d: got no tag in %s", p, b)
			}
			if !strings.Contains(string(b), ` version="`+protocolVersions[p]+`"`) {
				t.Errorf("protocol %d: got no version in %.90s", p, b)
			}
		}
	}
	if len(written) != 14 {
		t.Errorf("got protocols %v written; want all 14", written)
	}
}

// NA4: the response is JSON whatever the product is called, and lengths are kept.
func TestNativeIsJSON(t *testing.T) {
	conformance.Covers(t, "NA4", "NA7", "K1")
	c, m := compileSpec(t, words()), filled(t)
	b, err := appendMarkup(nil, c, m)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Ver    string
		Assets []struct {
			ID    int
			Title struct{ Text string }
			Img   struct {
				URL  string
				W, H int
			}
			Data struct{ Value string }
		}
		EventTrackers []struct {
			Event, Method int
			URL           string
		}
		Privacy string
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	if want := string([]rune(hostile)[:39]) + "…"; doc.Assets[0].Title.Text != want {
		t.Errorf("got title %q; want %q", doc.Assets[0].Title.Text, want)
	}
	got := fmt.Sprintln(doc.Ver, doc.Assets[1].Img, doc.Assets[2].Data, doc.Assets[3].Img, len(doc.Assets), doc.EventTrackers, doc.Privacy)
	want := "1.2 {https://img.example/1.jpg 1200 627} {Now the best…} {https://shop.example/SKU1/50x50.png 50 50} 4 [{1 1 https://t.example/v1/imp?k=B&p=${AUCTION_PRICE}} {2 1 https://t.example/v1/view?k=V}] https://shop.example/privacy\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(string(b), "<script") || strings.Contains(string(b), "%%") {
		t.Errorf("got %s", b)
	}
}

// No format allocates: what is appended was compiled before.
func TestFormatsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations are counted without the race detector")
	}
	m := filled(t)
	dst := make([]byte, 0, 64<<10)
	for _, s := range []Spec{film(), sound(), words()} {
		c := compileSpec(t, s)
		m.Protocol = 13
		if n := testing.AllocsPerRun(200, func() { dst, _, _ = c.AppendQuoted(dst[:0], m) }); n != 0 || len(dst) == 0 {
			t.Errorf("%s: got %g allocations for %d bytes; want 0", s.Type, n, len(dst))
		}
		if c.Type == "native" {
			if n := testing.AllocsPerRun(200, func() { c.FitsProducts(m.Imp, m.Products, m.Now) }); n != 0 {
				t.Errorf("FitsProducts: got %g allocations; want 0", n)
			}
		}
	}
}

func TestFormatsKeepTheLimit(t *testing.T) {
	for _, s := range []Spec{film(), words()} {
		s.MaxAdm = 4096
		c, m := compileSpec(t, s), filled(t)
		m.Protocol = 13
		m.Pixel = []byte("https://t.example/" + strings.Repeat("x", 4000))
		if b, err := appendMarkup([]byte("before"), c, m); !errors.Is(err, ErrTooLarge) || string(b) != "before" {
			t.Errorf("%s: got %d bytes, %v; want ErrTooLarge", s.Type, len(b), err)
		}
	}
	m := filled(t)
	m.Protocol = 5
	if _, err := appendMarkup(nil, compileSpec(t, film()), m); !errors.Is(err, ErrProtocol) {
		t.Errorf("a wrapper of media: got %v; want ErrProtocol", err)
	}
}

func TestFormatProblems(t *testing.T) {
	f := func(path string, base func() Spec, change func(*Spec)) {
		t.Helper()
		s := base()
		s.ID = "c1"
		change(&s)
		_, problems := Compile([]Spec{s}, nil)
		if !slices.ContainsFunc(problems, func(p spec.Problem) bool { return p.Path == "[0]."+path && p.Want != "" }) {
			t.Errorf("%s: got %+v", path, problems)
		}
	}
	f("duration", film, func(s *Spec) { s.Duration = 0 })
	f("duration", film, func(s *Spec) { s.Duration = 1500 * time.Millisecond })
	f("media", film, func(s *Spec) { s.Media = nil })
	f("media", film, func(s *Spec) { s.TagURL = "https://tag.example/" })
	f("media[0].url", film, func(s *Spec) { s.Media[0].URL = "http://shop.example/f.mp4" })
	f("media[0].mime", film, func(s *Spec) { s.Media[0].URL = "https://shop.example/f" })
	f("media[0].mime", film, func(s *Spec) { s.Media[0].Mime = "audio/mpeg" })
	f("media[0].mime", sound, func(s *Spec) { s.Media[0].Mime = "video/mp4" })
	f("media[0].w", film, func(s *Spec) { s.Media[0].W = 0 })
	f("media[0].bitrate", film, func(s *Spec) { s.Media[0].Bitrate = -1 })
	f("media[0].delivery", film, func(s *Spec) { s.Media[0].Delivery = "steaming" })
	f("protocols[1]", film, func(s *Spec) { s.Protocols = []int{3, 6} })
	f("protocols[0]", film, func(s *Spec) { s.Protocols = []int{9} })
	f("protocols[0]", film, func(s *Spec) { s.Skippable, s.Protocols = time.Second, []int{2} })
	f("skippable", film, func(s *Spec) { s.Skippable = 15 * time.Second })
	f("linearity", film, func(s *Spec) { s.Linearity = 2 })
	f("interactive", film, func(s *Spec) { s.API = []int{8} })
	f("interactive", film, func(s *Spec) { s.Interactive = "https://shop.example/s.html" })
	f("api", film, func(s *Spec) { s.Media[0].URL = "https://shop.example/v.js" })
	f("title", film, func(s *Spec) { s.Title = "{{item.image}}" })
	f("title", film, func(s *Spec) { s.Title = "{{item.title" })
	f("tag_url", film, func(s *Spec) { s.Media, s.TagURL, s.Mimes = nil, "http://tag.example/", []string{"video/mp4"} })
	f("mimes", film, func(s *Spec) { s.Media, s.TagURL = nil, "https://tag.example/" })
	f("verification.vendor", film, func(s *Spec) { s.Verification = &VerificationSpec{URL: "https://v.example/"} })
	f("verification.url", film, func(s *Spec) { s.Verification = &VerificationSpec{Vendor: "v"} })
	f("companion.size", film, func(s *Spec) { s.Companion = &CompanionSpec{"https://v.example/c.png", "big"} })
	f("trackers.imp[0]", film, func(s *Spec) { s.Trackers.Imp = []string{"javascript:alert(1)"} })
	f("size", film, func(s *Spec) { s.Size = "300x250" })
	f("html", film, func(s *Spec) { s.HTML = "x" })
	f("placements", sound, func(s *Spec) { s.Placements = []int{1} })
	f("click_url", sound, func(s *Spec) { s.ClickURL = "" })
	f("max_adm", film, func(s *Spec) { s.MaxAdm = 300 })
	f("native", words, func(s *Spec) { s.Native = nil })
	f("native.title", words, func(s *Spec) { s.Native.Title = "{{item.titel}}" })
	f("native.images[0].url", words, func(s *Spec) { s.Native.Images[0].URL = "http://x.example/a.png" })
	f("native.images[0].url", words, func(s *Spec) { s.Native.Images[0].URL = "{{item.title}}" })
	f("native.images[0].type", words, func(s *Spec) { s.Native.Images[0].Type = "mian" })
	f("native.images[0].w", words, func(s *Spec) { s.Native.Images[0].W = 0 })
	f("native.privacy_url", words, func(s *Spec) { s.Native.PrivacyURL = "shop.example" })
	f("media", words, func(s *Spec) { s.Media = film().Media })
	f("native", func() Spec {
		return Spec{Type: "html", Size: "300x250", HTML: `<a href="{{click}}">`, ClickURL: "https://shop.example/"}
	}, func(s *Spec) { s.Native = words().Native })
}

// Every field that is shown changes the id; the others do not.
func TestFormatsHaveACRIDOfTheirContent(t *testing.T) {
	seen := map[string]bool{}
	for _, change := range []func(*Spec){func(*Spec) {}, func(s *Spec) { s.Media[0].URL += "x" }, func(s *Spec) { s.Duration += time.Second }, func(s *Spec) { s.Title = "x" },
		func(s *Spec) { s.Trackers.Imp = []string{"https://o.example/"} }, func(s *Spec) { s.Verification = &VerificationSpec{Vendor: "v", URL: "https://v.example/"} }} {
		s := film()
		change(&s)
		seen[compileSpec(t, s).CRID] = true
	}
	if len(seen) != 6 {
		t.Errorf("got %d ids; want 6", len(seen))
	}
}

// FuzzFormats: whatever a product is called and a native request asks for, the
// markup is well formed, and no text is longer than asked for.
func FuzzFormats(f *testing.F) {
	f.Add(hostile, "1.2", 10, 3, 100, 50)
	f.Add("]]>]]", "1.0", 1, 1, 0, -1)
	f.Add("a\x00\x1b\xff\ufffe", `"`, 0, 0, 5000, 5000)
	f.Add("[ERRORCODE]${X}{{y}}", "", 5, 12, -5, 0)
	film, words := compileSpec(f, film()), compileSpec(f, words())
	f.Fuzz(func(t *testing.T, title, ver string, length, kind, w, least int) {
		m := filled(t)
		p := *m.Products[0]
		p.Title = newText(title)
		m.Products = []*Product{&p}
		for _, m.Protocol = range film.body.(*clip).protocols {
			b, err := appendMarkup(nil, film, m)
			if err != nil && !errors.Is(err, ErrTooLarge) {
				t.Fatal(err)
			}
			if err == nil && strictXML(t, b)["Impression"][0] != string(m.Pixel) {
				t.Fatalf("got %s", b)
			}
		}
		n := &rtb.Native{Ver: []byte(ver), Assets: []rtb.NativeAsset{{ID: 1, Kind: rtb.NativeTitle, Len: max(length, 0)},
			{ID: 2, Kind: rtb.NativeImage, Type: kind, W: w, WMin: least, H: least, HMin: w}, {ID: 3, Kind: rtb.NativeData, Type: kind, Len: max(length, 0)}}}
		m.Imp = &rtb.Impression{Native: *n}
		b, err := appendMarkup(nil, words, m)
		if err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		var doc struct {
			Assets []struct {
				Title, Data struct{ Text, Value string }
			}
		}
		if err == nil && json.Unmarshal(b, &doc) != nil {
			t.Fatalf("no JSON: %s", b)
		}
		for _, a := range doc.Assets {
			if size := max(utf8.RuneCountInString(a.Title.Text), utf8.RuneCountInString(a.Data.Value)); length > 0 && size > length {
				t.Fatalf("%d characters of %d: %s", size, length, b)
			}
		}
	})
}
