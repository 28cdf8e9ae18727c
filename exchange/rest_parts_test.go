package exchange

import (
	"testing"

	"rebound/rtb"
)

func TestRestReadsOnlyTheParts(t *testing.T) {
	body := patched(t, `{"site":{"cat":["IAB1"],"keywords":"a,b","content":{"cat":["IAB2"],"keywords":"c"}},
	 "device":{"sua":{"browsers":[{"brand":"Firefox"}],"platform":{"brand":"Linux"}}},
	 "user":{"keywords":"d","data":[{"name":"p","segment":[{"id":"1"}]}]}}`)
	p := testProfile(t, nil)
	for _, parts := range []rtb.Parts{0, rtb.PartKeywords, rtb.PartSegments, rtb.PartCategories, rtb.PartBrowser, rtb.AllParts} {
		var d Decoder
		var o rtb.Opportunity
		if err := d.Head(body, p, &o); err != nil {
			t.Fatal(err)
		}
		if err := d.Rest(p, &o, parts); err != nil {
			t.Fatal(err)
		}
		check := func(part rtb.Parts, got, want int) {
			t.Helper()
			if !parts.Has(part) {
				want = 0
			}
			if got != want {
				t.Errorf("parts %04b: got %d of part %04b; want %d", parts, got, part, want)
			}
		}
		check(rtb.PartKeywords, len(o.Keywords), 4)
		check(rtb.PartKeywords, o.UserKeywords, 3)
		check(rtb.PartSegments, len(o.UserSegments), 1)
		check(rtb.PartCategories, len(o.Supply.Cats), 2)
		check(rtb.PartBrowser, len(o.Device.Browser), len("Firefox"))
		if string(o.Device.OS) != "Linux" || string(o.Supply.Domain) != "pub.example" || len(o.Imps) != 1 {
			t.Errorf("parts %04b: got os %q, domain %q, %d impressions; want those of the request", parts, o.Device.OS, o.Supply.Domain, len(o.Imps))
		}
	}
}

func TestHeadReadsTheListedSources(t *testing.T) {
	body := patched(t, `{"user":{"eids":[{"uids":[{"id":"a"},{"id":"b"}],"source":"One.example","mm":2},{"source":"two.example","uids":[{"id":"c"}]},
	 {"source":"","uids":[{"id":"d"}]},{"source":"one.example","uids":[{"id":"e"}],"uids":[{"id":"f"}]}],"ext":{"eids":[{"source":"two.example","uids":[{"id":"g"}]}]}}}`)
	f := func(sources []string, unlisted bool, want string) {
		t.Helper()
		d := Decoder{Sources: sources, Unlisted: unlisted}
		var o rtb.Opportunity
		if err := d.Head(body, testProfile(t, nil), &o); err != nil {
			t.Fatal(err)
		}
		got := ""
		for i := range o.IDs {
			if x := &o.IDs[i]; x.Kind == rtb.IDEID {
				got += string(x.Scope) + "=" + string(x.Value) + " "
			}
		}
		if got != want {
			t.Errorf("sources %q: got %q; want %q", sources, got, want)
		}
		if n := len(o.IDs); n == 0 || string(o.IDs[n-1].Value) != "x1" {
			t.Errorf("sources %q: got %v; want user.id at the end", sources, o.IDs)
		}
	}
	f(nil, false, "One.example=a One.example=b two.example=c one.example=f two.example=g ")
	f([]string{}, false, "")
	f([]string{"ONE.example"}, false, "One.example=a One.example=b one.example=f ")
	f([]string{"other.example", "two.example"}, false, "two.example=c two.example=g ")
	f(nil, true, "One.example=a One.example=b two.example=c one.example=f two.example=g ")
	f([]string{}, true, "One.example=a One.example=b two.example=c one.example=f two.example=g ")
	f([]string{"two.example"}, true, "two.example=c two.example=g One.example=a One.example=b one.example=f ")
}
