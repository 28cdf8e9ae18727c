package creatives

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"rebound/rtb"
)

// golden are creatives and their crids. Exchanges have approved them: a change here
// voids every approval.
func golden() map[string]Spec {
	no := false
	return map[string]Spec{
		"html":     {Type: "html", Sizes: []string{"300x250", "728x90"}, HTML: `<a href="{{click}}">x</a>`, ClickURL: "https://shop.example/", Language: "en", Cat: []string{"IAB22"}},
		"http":     {Type: "html", Size: "300x250", HTML: `<a href="{{click}}">x</a>`, ClickURL: "http://shop.example/", Secure: &no, Attr: []int{1, 2}, API: []int{5}},
		"template": {Type: "html_template", Size: "300x250", HTML: `<a href="{{click}}">{{item.title}}</a>`, Fill: []string{"complements"}, CRID: "our-name"},
		"image":    {Type: "image", Size: "300x250", ImageURL: "https://shop.example/{{width}}.png", Alt: "Shop", ClickURL: "https://shop.example/"},
		"vast": {Type: "vast", Title: "Shop", Duration: 15 * time.Second, Skippable: 5 * time.Second, ClickURL: "https://shop.example/", Placements: []int{1},
			Media:        []MediaSpec{{URL: "https://shop.example/f.mp4", W: 1280, H: 720, Bitrate: 1400}, {URL: "https://shop.example/g.webm", W: 640, H: 360}},
			Verification: &VerificationSpec{Vendor: "v.example", URL: "https://v.example/omid.js", Parameters: "a=1"}, Companion: &CompanionSpec{ImageURL: "https://shop.example/c.png", Size: "300x250"},
			Trackers: TrackersSpec{Imp: []string{"https://t.example/i"}, Click: []string{"https://t.example/c"}}},
		"wrapper": {Type: "vast", Duration: 6 * time.Second, ClickURL: "https://shop.example/", Mimes: []string{"video/mp4"}, TagURL: "https://ads.example/v?p=${AUCTION_PRICE}"},
		"audio":   {Type: "audio", Duration: 15 * time.Second, ClickURL: "https://shop.example/", Media: []MediaSpec{{URL: "https://shop.example/s.mp3", Bitrate: 128}}},
		"native": {Type: "native", ClickURL: "https://shop.example/", Native: &NativeSpec{Title: "Shop", Sponsored: "Shop", Desc: "Shoes", CTAText: "Buy", PrivacyURL: "https://shop.example/privacy",
			Images: []NativeImageSpec{{URL: "https://shop.example/m.jpg", W: 1200, H: 627}, {Type: "icon", URL: "https://shop.example/i.png", W: 80, H: 80}}}},
	}
}

func TestGoldenCRIDs(t *testing.T) {
	want := map[string]string{
		"html": "c1-402455dde7bf", "html 728x90": "c1-a696e2472727", "http": "c1-7ac63b18ee61", "template": "our-name-ac8052abde51", "image": "c1-5510a5b7d14c", "vast": "c1-bea56aec0d34", "wrapper": "c1-1fe3dee604ff", "audio": "c1-066853fc4fde", "native": "c1-a8b839e05258",
	}
	for name, s := range golden() {
		c := compileSpec(t, s)
		if c.CRID != want[name] {
			t.Errorf("%s: got %q; want %q", name, c.CRID, want[name])
		}
		if name == "html" {
			if got := c.CRIDOf(rtb.Size{W: 728, H: 90}); got != want["html 728x90"] {
				t.Errorf("html 728x90: got %q; want %q", got, want["html 728x90"])
			}
		}
	}
}

// How a value is written, or a default that is written out, does not change a crid.
func TestCRIDIsOfTheMeaning(t *testing.T) {
	yes := true
	for name, change := range map[string]func(*Spec){
		"size as sizes": func(s *Spec) { s.Size, s.Sizes = "", []string{s.Size} }, "secure: true": func(s *Spec) { s.Secure = &yes },
		"language": func(s *Spec) { s.Language = "EN" }, "fill": func(s *Spec) { s.Fill = []string{"cart", "viewed"} }, "iurl": func(s *Spec) { s.IURL = "https://shop.example/a.png" },
		"fallback": func(s *Spec) { s.Fallback = "" }, "max_adm": func(s *Spec) { s.MaxAdm = 20 << 10 }, "approval": func(s *Spec) { s.Approval = map[string]string{"x": "approved"} },
		"advertiser": func(s *Spec) { s.Advertiser = "shop" },
	} {
		s := Spec{Type: "html", Size: "300x250", HTML: `<a href="{{click}}">x</a>`, ClickURL: "https://shop.example/", Language: "en"}
		before := compileSpec(t, s).CRID
		if change(&s); compileSpec(t, s).CRID != before {
			t.Errorf("%s: got another crid", name)
		}
	}
}

// notShown are the fields that a crid does not cover: they decide who may use the
// creative and how, not what it looks like; and those that are covered by the markup.
var notShown = []string{"Advertiser", "Fallback", "Mimes", "FullScreen", "IURL", "CRID", "Approval", "MaxAdm", "HTML", "File", "Size", "Sizes", "Language", "Secure"}

// TestEveryFieldIsInTheCRID sets each field of a spec in turn, so that a new field is
// either part of what is approved or listed as not shown.
func TestEveryFieldIsInTheCRID(t *testing.T) {
	hash := func(s *Spec) string { return crid(s, &Creative{Secure: true}, "", rtb.Size{}) }
	seen := map[string]string{hash(&Spec{}): "nothing"}
	var walk func(v reflect.Value, path string, root *Spec)
	walk = func(v reflect.Value, path string, root *Spec) {
		for i := range v.NumField() {
			f, name := v.Field(i), path+v.Type().Field(i).Name
			if slices.Contains(notShown, name) {
				continue
			}
			before := reflect.New(f.Type()).Elem()
			before.Set(f)
			switch f.Kind() {
			case reflect.String:
				f.SetString("x")
			case reflect.Int, reflect.Int64:
				f.SetInt(7 * int64(time.Second))
			case reflect.Struct:
				walk(f, name+".", root)
				continue
			case reflect.Pointer:
				f.Set(reflect.New(f.Type().Elem()))
				walk(f.Elem(), name+".", root)
				f.Set(before)
				continue
			case reflect.Slice:
				f.Set(reflect.MakeSlice(f.Type(), 1, 1))
				switch e := f.Index(0); e.Kind() {
				case reflect.Struct:
					walk(e, name+".", root)
					f.Set(before)
					continue
				case reflect.String:
					e.SetString("x")
				default:
					e.SetInt(7)
				}
			default:
				t.Fatalf("%s: the test cannot set a %s", name, f.Kind())
			}
			h := hash(root)
			if other, again := seen[h]; again {
				t.Errorf("%s: got the crid of %s; want it in crid, or in notShown", name, other)
			}
			seen[h] = name
			f.Set(before)
		}
	}
	var s Spec
	walk(reflect.ValueOf(&s).Elem(), "", &s)
	if len(seen) < 45 {
		t.Errorf("got %d fields; want all", len(seen))
	}
}

// A value cannot be taken for a part of another.
func TestCRIDFieldsAreSeparate(t *testing.T) {
	a := compileSpec(t, Spec{Type: "image", Size: "300x250", ImageURL: "https://shop.example/a", Alt: "3:alt1:b", ClickURL: "https://shop.example/"})
	b := compileSpec(t, Spec{Type: "image", Size: "300x250", ImageURL: "https://shop.example/a3:alt", Alt: "b", ClickURL: "https://shop.example/"})
	if a.CRID == b.CRID {
		t.Error("got one crid for two creatives")
	}
}

// Every URL of a creative is ASCII in what is sent, however the configuration writes
// it, and both spellings have one crid.
func TestCreativeURLsAreASCII(t *testing.T) {
	spell := func(page string) []Spec {
		link := "https://" + page
		return []Spec{
			{Type: "html", Size: "300x250", HTML: `<a href="{{click}}">x</a>`, ClickURL: link, IURL: link},
			{Type: "image", Size: "300x250", ImageURL: link + "?w={{width}}", ClickURL: link},
			{Type: "vast", Duration: 15 * time.Second, ClickURL: link, Media: []MediaSpec{{URL: link + ".mp4", Mime: "video/mp4", W: 1, H: 1}}, Trackers: TrackersSpec{Imp: []string{link + "?p=${AUCTION_PRICE}"}, Click: []string{link}},
				Verification: &VerificationSpec{Vendor: "v", URL: link}, Companion: &CompanionSpec{ImageURL: link, Size: "1x1"}},
			{Type: "vast", Duration: 15 * time.Second, ClickURL: link, TagURL: link + "?p=${AUCTION_PRICE}", Mimes: []string{"video/mp4"}},
			{Type: "native", ClickURL: link, Native: &NativeSpec{Title: "x", PrivacyURL: link, Images: []NativeImageSpec{{URL: link, W: 1, H: 1}}}},
		}
	}
	letters, ascii := spell("b\u00fccher.example/gr\u00f6\u00dfe"), spell("xn--bcher-kva.example/gr%C3%B6%C3%9Fe")
	for i := range letters {
		a, b := compileSpec(t, letters[i]), compileSpec(t, ascii[i])
		if a.CRID != b.CRID || a.ClickURL != b.ClickURL || a.IURL != b.IURL || !reflect.DeepEqual(a.body, b.body) {
			t.Errorf("%s: got %q, %q, %q; want %q, %q, %q", a.Type, a.CRID, a.ClickURL, a.IURL, b.CRID, b.ClickURL, b.IURL)
		}
	}
	if c := compileSpec(t, letters[0]); c.ClickURL != "https://xn--bcher-kva.example/gr%C3%B6%C3%9Fe" {
		t.Errorf("got %q", c.ClickURL)
	}
}
