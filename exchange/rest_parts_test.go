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
