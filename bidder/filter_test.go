package bidder

import (
	"testing"

	"rebound/campaigns"
	"rebound/creatives"
	"rebound/exchange"
	"rebound/internal/conformance"
	"rebound/rtb"
)

func texts(list ...string) [][]byte {
	var b [][]byte
	for _, s := range list {
		b = append(b, []byte(s))
	}
	return b
}

// Rule B10.
func TestBlockedDomains(t *testing.T) {
	conformance.Covers(t, "B10")
	for _, c := range []struct {
		entry, adomain string
		want           bool
	}{
		{"shop.example", "shop.example", true},
		{"WWW.Shop.Example", "shop.example", true},
		{"https://www.shop.example/path?x=1", "shop.example", true},
		{"http://shop.example:8080", "shop.example", true},
		{"shop.example.", "shop.example", true},
		{" shop.example ", "shop.example", true},
		{"ads.shop.example", "eu.shop.example", true},
		{"op.example", "shop.example", false},
		{"myshop.example", "shop.example", false},
		{"shop.example.evil", "shop.example", false},
		{"", "shop.example", false},
		{".", "shop.example", false},
		{"://", "shop.example", false},
		{"shop.co.uk", "www.shop.co.uk", true},
		{"other.co.uk", "www.shop.co.uk", false},
		{"example", "shop.example", true}, // a whole top level is blocked with everything below it
	} {
		if got := blocksDomain([]byte(c.entry), registrableDomain(c.adomain)); got != c.want {
			t.Errorf("badv %q against %q: got %v; want %v", c.entry, c.adomain, got, c.want)
		}
	}
}

// Rules B8, B9.
func TestCategories(t *testing.T) {
	conformance.Covers(t, "B8", "B9")
	for _, c := range []struct {
		name       string
		bcat, acat [][]byte
		tax        int
		cats       []string
		blocked    bool
	}{
		{name: "no lists", tax: 1, cats: []string{"IAB22"}},
		{name: "no lists, no categories", tax: 1},
		{name: "the same", bcat: texts("IAB22"), tax: 1, cats: []string{"IAB22"}, blocked: true},
		{name: "case", bcat: texts("iab22"), tax: 1, cats: []string{"IAB22"}, blocked: true},
		{name: "parent blocks child", bcat: texts("IAB22"), tax: 1, cats: []string{"IAB22-1"}, blocked: true},
		{name: "child does not block parent", bcat: texts("IAB22-1"), tax: 1, cats: []string{"IAB22"}},
		{name: "prefix is no parent", bcat: texts("IAB2"), tax: 1, cats: []string{"IAB22"}},
		{name: "empty entry", bcat: texts(""), tax: 1, cats: []string{"IAB22"}},
		{name: "another taxonomy", bcat: texts("22"), tax: 7, cats: []string{"IAB22"}, blocked: true},
		{name: "another taxonomy, no list", tax: 7, cats: []string{"IAB22"}},
		{name: "we know no category", bcat: texts("IAB1"), tax: 1, blocked: true},
		{name: "allowed", acat: texts("IAB22"), tax: 1, cats: []string{"IAB22-3"}},
		{name: "not allowed", acat: texts("IAB1"), tax: 1, cats: []string{"IAB22"}, blocked: true},
		{name: "one of two allowed", acat: texts("IAB1"), tax: 1, cats: []string{"IAB22", "IAB1-2"}},
		{name: "both lists", acat: texts("IAB22"), bcat: texts("IAB22-3"), tax: 1, cats: []string{"IAB22-3"}, blocked: true},
	} {
		o := &rtb.Opportunity{BCat: c.bcat, ACat: c.acat, CatTax: c.tax}
		if got := categoryBlocked(o, c.cats); got != c.blocked {
			t.Errorf("%s: got blocked %v; want %v", c.name, got, c.blocked)
		}
	}
}

// Rule B14.
func TestLanguages(t *testing.T) {
	conformance.Covers(t, "B14")
	for _, c := range []struct {
		name, creative string
		wlang, wlangb  [][]byte
		want           bool
	}{
		{name: "no list", creative: "en", want: true},
		{name: "no list, not known", want: true},
		{name: "listed", creative: "en", wlang: texts("fr", "en"), want: true},
		{name: "not listed", creative: "en", wlang: texts("fr")},
		{name: "case", creative: "en", wlang: texts("EN"), want: true},
		{name: "no words", creative: "xx", wlang: texts("fr"), want: true},
		{name: "not known", wlang: texts("fr")},
		{name: "primary part", creative: "en", wlangb: texts("en-GB"), want: true},
		{name: "same region", creative: "en-GB", wlangb: texts("en-GB"), want: true},
		{name: "another region", creative: "en-US", wlangb: texts("en-GB")},
		{name: "one of two lists", creative: "en", wlang: texts("fr"), wlangb: texts("en")},
		{name: "the other of two lists", creative: "en", wlang: texts("en"), wlangb: texts("fr")},
		{name: "both lists", creative: "en", wlang: texts("fr", "en"), wlangb: texts("en-GB"), want: true},
		{name: "a list of nothing", creative: "en", wlang: texts("")},
	} {
		o := &rtb.Opportunity{WLang: c.wlang, WLangB: c.wlangb}
		if got := languageFits(o, c.creative); got != c.want {
			t.Errorf("%s: got %v; want %v", c.name, got, c.want)
		}
	}
}

// Rules B12, B13, B15, B17, BN5, BN6.
func TestWhatACreativeMustSatisfy(t *testing.T) {
	conformance.Covers(t, "B12", "B13", "B15", "BN5", "BN6")
	size := rtb.Size{W: 300, H: 250}
	for _, c := range []struct {
		name     string
		creative func(*creatives.Creative)
		imp      func(*rtb.Impression)
		o        func(*rtb.Opportunity)
		want     rtb.NoBidReason
	}{
		{name: "all well"},
		{name: "no banner", imp: func(i *rtb.Impression) { i.Formats = rtb.FormatVideo }, want: rtb.NoBidNoFormat},
		{name: "size", imp: func(i *rtb.Impression) { i.Banner.Sizes = []rtb.Size{{W: 1, H: 1}} }, want: rtb.NoBidSize},
		{name: "mimes", imp: func(i *rtb.Impression) { i.Banner.Mimes = texts("image/gif") }, want: rtb.NoBidMimes},
		{name: "mimes listed", imp: func(i *rtb.Impression) { i.Banner.Mimes = texts("image/gif", "Text/HTML") }},
		{name: "api", creative: func(c *creatives.Creative) { c.APIs = []int{5} }, want: rtb.NoBidAPI},
		{name: "api listed", creative: func(c *creatives.Creative) { c.APIs = []int{5} }, imp: func(i *rtb.Impression) { i.Banner.API = []int{3, 5} }},
		{name: "secure", creative: func(c *creatives.Creative) { c.Secure = false }, imp: func(i *rtb.Impression) { i.Secure = rtb.Yes }, want: rtb.NoBidSecure},
		{name: "secure not said", creative: func(c *creatives.Creative) { c.Secure = false }, want: rtb.NoBidSecure},
		{name: "secure unreadable", creative: func(c *creatives.Creative) { c.Secure = false }, imp: func(i *rtb.Impression) { i.Secure = rtb.Unreadable }, want: rtb.NoBidSecure},
		{name: "insecure is fine", creative: func(c *creatives.Creative) { c.Secure = false }, imp: func(i *rtb.Impression) { i.Secure = rtb.No }},
		{name: "language", o: func(o *rtb.Opportunity) { o.WLang = texts("fr") }, want: rtb.NoBidLanguage},
		{name: "battr", creative: func(c *creatives.Creative) { c.Attrs = []int{3} }, imp: func(i *rtb.Impression) { i.Banner.BAttr = []int{1, 3} }, want: rtb.NoBidAttribute},
		{name: "battr of others", creative: func(c *creatives.Creative) { c.Attrs = []int{3} }, imp: func(i *rtb.Impression) { i.Banner.BAttr = []int{500} }},
		{name: "unreadable list", imp: func(i *rtb.Impression) { i.Banner.ListsBad = true }, want: rtb.NoBidAttribute},
		{name: "bcat", o: func(o *rtb.Opportunity) { o.BCat = texts("IAB22") }, want: rtb.NoBidCategory},
		{name: "excluded creative", imp: func(i *rtb.Impression) { i.ExcludedCreativeIDs = texts("cr0") }, want: rtb.NoBidCreativePending},
		{name: "another one excluded", imp: func(i *rtb.Impression) { i.ExcludedCreativeIDs = texts("cr1") }},
		{name: "nobody knows what is excluded", imp: func(i *rtb.Impression) { i.ExcludedBad = true }, want: rtb.NoBidCreativePending},
	} {
		list, problems := creatives.Compile([]creatives.Spec{{ID: "c0", Type: "html", Size: "300x250", HTML: `<a href="{{click}}">buy</a>`,
			ClickURL: "https://shop.example/", Language: "en"}}, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		cr := list[0]
		cr.CRID = "cr0"
		imp := &rtb.Impression{ID: []byte("1"), Formats: rtb.FormatBanner, Banner: rtb.Banner{Sizes: []rtb.Size{size}}}
		o := &rtb.Opportunity{CatTax: 1}
		if c.creative != nil {
			c.creative(cr)
		}
		if c.imp != nil {
			c.imp(imp)
		}
		if c.o != nil {
			c.o(o)
		}
		l := &campaigns.Line{Advertiser: &campaigns.Advertiser{Cats: []string{"IAB22"}}, Creatives: list, Alike: list}
		o.Imps = []rtb.Impression{*imp}
		d := &Decision{profile: &exchange.Profile{}, opportunity: *o, check: checkEvery}
		if _, got := d.fitting(l, 0, 0); got != c.want {
			t.Errorf("%s: got %q; want %q", c.name, got, c.want)
		}
	}
}

// A decision that is given back keeps nothing that belongs to the server's request.
func TestGiveBackForgetsTheRequest(t *testing.T) {
	b, d := &Bidder{}, NewDecision()
	d.served = Request{Exchange: "demo", Body: []byte("{}"), BeforeRead: func() {}, Trace: &Trace{}}
	d.request = &d.served
	b.giveBack(d)
	if d.request != nil || d.served.Body != nil || d.served.BeforeRead != nil || d.served.Trace != nil {
		t.Errorf("got %+v; want nothing", d.served)
	}
}
