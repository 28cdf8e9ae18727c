package inventory

import "testing"

func TestASCIIHost(t *testing.T) {
	for name, want := range map[string]string{
		"shop.example": "shop.example", "Shop.Example.": "shop.example", " shop.example ": "shop.example", "": "",
		"b\u00fccher.example": "xn--bcher-kva.example", "B\u00dcCHER.Example": "xn--bcher-kva.example",
		"bu\u0308cher.example": "xn--bcher-kva.example", "b%C3%BCcher.example": "xn--bcher-kva.example",
		"XN--BCHER-KVA.example": "xn--bcher-kva.example", "www.b\u00fccher.example.": "www.xn--bcher-kva.example",
		"\uff53\uff48\uff4f\uff50.example": "shop.example", "b\u00fccher\u3002example": "xn--bcher-kva.example",
		"stra\u00dfe.example": "xn--strae-oqa.example", "under_score.example": "under_score.example", "%zz": "%zz",
	} {
		if got := ASCIIHost(name); got != want {
			t.Errorf("%q: got %q; want %q", name, got, want)
		}
	}
}

func TestHostPart(t *testing.T) {
	for text, want := range map[string]string{
		"shop.example": "shop.example", "https://shop.example/a": "shop.example", "HTTPS://user:pass@Shop.Example:443/a?b#c": "Shop.Example",
		"//shop.example/a": "shop.example", "shop.example:8080": "shop.example", "shop.example/a:b": "shop.example", "shop.example?u=https://x.example": "shop.example",
		"/a/b": "", "": "", "https://": "", "https://shop.example\\@x.example": "shop.example",
	} {
		start, end := HostPart(text)
		if got := text[start:end]; got != want {
			t.Errorf("%q: got %q; want %q", text, got, want)
		}
	}
}

func TestBundle(t *testing.T) {
	for text, want := range map[string]string{
		"com.shop.app": "com.shop.app", " com.shop.app\n": "com.shop.app", `"com.shop.app"`: "com.shop.app", "123456789": "123456789",
		"id123456789": "123456789", "ID123456789": "123456789", "idle.game": "idle.game", "id": "id", "": "",
		"https://play.google.com/store/apps/details?id=com.bad.app":                 "com.bad.app",
		"https://play.google.com/store/apps/details?hl=en&id=com.bad.app":           "com.bad.app",
		"play.google.com/store/apps/details?id=com.bad.app&gl=US#x":                 "com.bad.app",
		"https%3A%2F%2Fplay.google.com%2Fstore%2Fapps%2Fdetails%3Fid%3Dcom.bad.app": "com.bad.app",
		"market://details?id=com.bad.app":                                           "com.bad.app",
		"https://apps.apple.com/us/app/x/id123456789":                               "123456789",
		"https://apps.apple.com/us/app/x/id123456789?mt=8":                          "123456789",
		"https://itunes.apple.com/app/id123456789/":                                 "123456789",
		"https://www.amazon.com/dp/B004DLPXAO":                                      "B004DLPXAO",
		"https://www.amazon.com/gp/mas/dl/android?p=com.bad.app":                    "com.bad.app",
		"https://channelstore.roku.com/details/12345/name":                          "12345",
	} {
		if got := string(Bundle([]byte(text))); got != want {
			t.Errorf("%q: got %q; want %q", text, got, want)
		}
	}
}

func TestMediaType(t *testing.T) {
	for text, want := range map[string]string{
		"image/jpg": "image/jpeg", "IMAGE/JPG": "image/jpeg", "image/pjpeg": "image/jpeg", "image/jpeg": "image/jpeg", "Image/Gif": "Image/Gif",
		"text/html; charset=utf-8": "text/html", "image/jpg;q=1": "image/jpeg", "audio/mp3": "audio/mpeg", "": "",
		"application/x-a-name-that-is-longer-than-any-alias": "application/x-a-name-that-is-longer-than-any-alias",
	} {
		if got := string(MediaType([]byte(text))); got != want {
			t.Errorf("%q: got %q; want %q", text, got, want)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"https://u@b\u00fccher.example:1/a", "id1", "market://details?id=x", "//", "%", "xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		start, end := HostPart(s)
		if start < 0 || end < start || end > len(s) {
			t.Fatalf("%q: host at %d to %d", s, start, end)
		}
		host := ASCIIHost(s[start:end])
		if again := ASCIIHost(host); again != host && !NeedsASCII(host) {
			t.Fatalf("%q became %q, and %q the second time", s, host, again)
		}
		Bundle([]byte(s))
	})
}

func TestASCIIURL(t *testing.T) {
	for u, want := range map[string]string{
		"https://shop.example/a?b#c":                 "https://shop.example/a?b#c",
		"https://shop.example/größe?q=ü#früh":        "https://shop.example/gr%C3%B6%C3%9Fe?q=%C3%BC#fr%C3%BCh",
		"https://shöp.shop.example/p":                "https://xn--shp-tna.shop.example/p",
		"https://SHÖP.example:8443/ä?u=https://ö.x/": "https://xn--shp-tna.example:8443/%C3%A4?u=https://%C3%B6.x/",
		"https://jö:pä@shöp.example":                 "https://j%C3%B6:p%C3%A4@xn--shp-tna.example",
		"https://shop.example/%C3%B6/ö":              "https://shop.example/%C3%B6/%C3%B6",
		"https://shop.example/a b\r\nX: y":           "https://shop.example/a%20b%0D%0AX:%20y",
		"https://shop.example/日本語":                   "https://shop.example/%E6%97%A5%E6%9C%AC%E8%AA%9E",
		"https://日本語.example/":                       "https://xn--wgv71a119e.example/",
		"https://shop.example/\xff":                  "https://shop.example/%FF",
	} {
		if got := ASCIIURL(u); got != want {
			t.Errorf("%q: got %q; want %q", u, got, want)
		}
	}
}
