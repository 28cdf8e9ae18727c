package exchange

import (
	"fmt"
	"strings"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// show returns a list's entries in one text.
func show(list [][]byte) string {
	var out []string
	for _, e := range list {
		out = append(out, string(e))
	}
	return strings.Join(out, " ")
}

// V6, B10: lists that come as one text, or with several entries in one text, are
// read like the arrays that they should have been.
func TestJoinedLists(t *testing.T) {
	conformance.Covers(t, "V6")
	p := testProfile(t, nil)
	for body, want := range map[string]string{
		`["a.example","b.example"]`:                                 "a.example b.example",
		`"a.example,b.example"`:                                     "a.example b.example",
		`"a.example, b.example"`:                                    "a.example b.example",
		`"a.example;b.example"`:                                     "a.example b.example",
		`"a.example|b.example"`:                                     "a.example b.example",
		`"a.example b.example"`:                                     "a.example b.example",
		`"a.example\nb.example\tc.example"`:                         "a.example b.example c.example",
		`["a.example,b.example","c.example"]`:                       "a.example b.example c.example",
		`["'a.example'","\"b.example\""]`:                           "a.example b.example",
		`"[\"a.example\",\"b.example\"]"`:                           "a.example b.example",
		`",, ;|"`:                                                   "",
		`"a.example, (a label)"`:                                    "a.example a label",
		`["b\u00fccher.example"]`:                                   "xn--bcher-kva.example",
		`["https://www.b\u00fccher.example:1/x"]`:                   "www.xn--bcher-kva.example",
		`["b%C3%BCcher.example"]`:                                   "xn--bcher-kva.example",
		`["https%3A%2F%2Fa.example%2F"]`:                            "a.example",
		`["//a.example/x","a.example.","@a.example","*.a.example"]`: "a.example a.example a.example *.a.example",
	} {
		o := mustDecode(t, p, root0(`"badv":`+body))
		if got := show(o.BAdv); got != want || o.BlockListsBad {
			t.Errorf("badv %s: got %q, bad %v; want %q", body, got, o.BlockListsBad, want)
		}
	}
	for body, want := range map[string]string{
		`"IAB1,IAB22-1"`: "IAB1 IAB22-1", `["IAB1|IAB22"]`: "IAB1 IAB22", `["IAB22-1:Sports","IAB3 - Business"]`: "IAB22-1 IAB3 - Business",
		`["IAB22-Shopping"]`: "IAB22", `["\"iab7-3\""]`: "iab7-3", `["IAB"]`: "IAB", `"IAB 22, IAB 7-1"`: "IAB22 IAB7-1", `["IAB25-WS1"]`: "IAB25-WS1", `["BSW1"]`: "BSW1", `"22;23"`: "22 23", `[22, 23]`: "22 23",
	} {
		for _, name := range []string{"bcat", "acat"} {
			if o := mustDecode(t, p, root0(`"`+name+`":`+body)); show(append(o.BCat, o.ACat...)) != want || o.BlockListsBad {
				t.Errorf("%s %s: got %q; want %q", name, body, append(o.BCat, o.ACat...), want)
			}
		}
	}
	for body, want := range map[string]string{
		`["com.a","id123456789"]`: "com.a 123456789", `"com.a,com.b"`: "com.a com.b", `["https://apps.apple.com/app/id9?mt=8"]`: "9",
		`["https://play.google.com/store/apps/details?id=com.a"]`: "com.a",
	} {
		if o := mustDecode(t, p, root0(`"bapp":`+body)); show(o.BApp) != want {
			t.Errorf("bapp %s: got %q; want %q", body, o.BApp, want)
		}
	}
	for body, want := range map[string][2]string{ // wseat, bseat
		`["seat-1"]`: {"seat-1", "seat-1"}, `"seat-1,seat-2"`: {"seat-1 seat-2 seat-1,seat-2", "seat-1 seat-2 seat-1,seat-2"},
		`["seat 1"]`: {"seat 1", "seat 1 seat 1"}, `["\"seat-1\""]`: {"seat-1", "seat-1"}, `[7,"8;9"]`: {"7 8 9 8;9", "7 8 9 8;9"},
		`[""]`: {"", ""}, `" , "`: {"", ""},
	} {
		o := mustDecode(t, p, root0(`"wseat":`+body+`,"bseat":`+body))
		if show(o.WSeat) != want[0] || show(o.BSeat) != want[1] {
			t.Errorf("%s: got wseat %q and bseat %q; want %q", body, o.WSeat, o.BSeat, want)
		}
		if invited := len(o.WSeat) > 0; !invited {
			t.Errorf("wseat %s invites everybody; want at least an entry that matches nothing", body)
		}
	}
	deal := mustDecode(t, p, imp0(`"banner":{},"pmp":{"deals":[{"id":"d","wseat":"s1|s2","wadomain":"a.example, b\u00fccher.example"}]}`)).Imps[0].Deals[0]
	if got := show(deal.WSeat) + "; " + show(deal.WADomain); got != "s1 s2 s1|s2; a.example xn--bcher-kva.example" {
		t.Errorf("deal: got %s", got)
	}
	long := mustDecode(t, p, root0(`"badv":"`+strings.Repeat("a.example,", maxBlocked+1)+`"`))
	if !long.BlockListsBad {
		t.Error("a text with more entries than are read is not unreadable")
	}
	if o := mustDecode(t, p, root0(`"BADV":["a.example"],"badv":[]`)); !o.BlockListsBad {
		t.Error("a list under a key in two cases is not unreadable")
	}
}

// B12, B13: codes in texts, with separators, labels and quotes.
func TestJoinedCodes(t *testing.T) {
	p := testProfile(t, nil)
	for body, want := range map[string]string{
		`[1,3]`: "[1 3]", `"1,3"`: "[1 3]", `"1;3"`: "[1 3]", `"1|3"`: "[1 3]", `"1 3"`: "[1 3]", `["1,3",4]`: "[1 3 4]", `" 3 "`: "[3]",
		`["3: Expandable (Automatic)"]`: "[3]", `["3 - Expandable","6"]`: "[3 6]", `["\"3\""]`: "[3]", `"[1,3]"`: "[1 3]", `"3.0,4"`: "[3 4]",
		`["3-Expandable, 7=Autoplay"]`: "[3 7]", `"3 MRAID 2, 5"`: "[3 5]", `""`: "[]", `[""]`: "[]", `[]`: "[]", `null`: "[]", `["\u0033"]`: "[3]",
		`["x"]`: "bad", `"all"`: "bad", `"1-3"`: "bad", `["Expandable: 3"]`: "bad", `[{}]`: "bad", `true`: "bad", `"1,x"`: "bad", `",,"`: "bad",
	} {
		for _, name := range []string{"battr", "btype"} {
			b := mustDecode(t, p, imp0(`"banner":{"w":300,"h":250,"`+name+`":`+body+`}`)).Imps[0].Banner
			got := fmt.Sprint(append(b.BAttr, b.BType...))
			if b.ListsBad {
				got = "bad"
			}
			if got != want {
				t.Errorf("%s %s: got %s; want %s", name, body, got, want)
			}
		}
	}
}

func TestMediaTypesOfImpressions(t *testing.T) {
	p := testProfile(t, nil)
	for body, want := range map[string]string{
		`["image/jpg","image/png"]`: "image/jpeg image/png", `"image/jpg,image/gif"`: "image/jpeg image/gif", `["text/html;charset=utf-8"]`: "text/html", `["x"]`: "x",
	} {
		b := mustDecode(t, p, imp0(`"banner":{"w":300,"h":250,"mimes":`+body+`}`)).Imps[0].Banner
		if got := show(b.Mimes); got != want {
			t.Errorf("%s: got %q; want %q", body, got, want)
		}
	}
}

func TestPlacesInOneForm(t *testing.T) {
	p := testProfile(t, nil)
	for body, want := range map[string]rtb.Supply{
		`"site":{"domain":"B\u00dcCHER.example","page":"https://b\u00fccher.example/\u00e9?q=\u00e9"}`: {Domain: []byte("xn--bcher-kva.example"), Page: []byte("https://xn--bcher-kva.example/\u00e9?q=\u00e9")},
		`"site":{"domain":"pub.example","page":"pub.example/a"}`:                                       {Domain: []byte("pub.example"), Page: []byte("pub.example/a")},
		`"site":{"page":"https%3A%2F%2Fpub.example%2Fa"}`:                                              {Page: []byte("https://pub.example/a")},
	} {
		got := mustDecode(t, p, []byte(`{"id":"r","imp":[{"id":"1","banner":{}}],`+body+`}`)).Supply
		if string(got.Domain) != string(want.Domain) || string(got.Page) != string(want.Page) {
			t.Errorf("%s: got %q and %q; want %q and %q", body, got.Domain, got.Page, want.Domain, want.Page)
		}
	}
}
