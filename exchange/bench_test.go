package exchange

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	goccy "github.com/goccy/go-json"
	"github.com/prebid/openrtb/v20/openrtb2"
	"github.com/valyala/fastjson"

	"rebound/rtb"
)

var benchShapes = []string{"app", "site", "video", "native"}

func benchBody(t testing.TB, shape string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "bench", shape+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Each shape of request through our decoder and through the libraries that we
// could have used instead. Head is what a request of an unknown visitor costs.
func BenchmarkDecode(b *testing.B) {
	for _, shape := range benchShapes {
		body := benchBody(b, shape)
		run := func(name string, decode func() error) {
			b.Run(shape+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if err := decode(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		p := testProfile(b, nil)
		var d Decoder
		var o rtb.Opportunity
		run("head", func() error { return d.Head(body, p, &o) })
		run("head+rest", func() error {
			if err := d.Head(body, p, &o); err != nil {
				return err
			}
			return d.Rest(p, &o)
		})
		var fp fastjson.Parser
		run("fastjson-parse", func() error { _, err := fp.ParseBytes(body); return err })
		run("fastjson-extract", func() error {
			v, err := fp.ParseBytes(body)
			if err == nil {
				fastjsonExtract(v)
			}
			return err
		})
		run("goccy", func() error { var r openrtb2.BidRequest; return goccy.Unmarshal(body, &r) })
		run("encoding-json", func() error { var r openrtb2.BidRequest; return json.Unmarshal(body, &r) })
	}
}

var sink int

// fastjsonExtract reads about what Head reads.
func fastjsonExtract(v *fastjson.Value) {
	n := len(v.GetStringBytes("id")) + v.GetInt("tmax") + v.GetInt("at") + v.GetInt("test")
	for _, c := range v.GetArray("cur") {
		n += len(c.GetStringBytes())
	}
	for _, k := range []string{"ua", "ip", "ipv6", "os", "osv", "make", "model", "language", "ifa"} {
		n += len(v.GetStringBytes("device", k))
	}
	for _, k := range []string{"country", "region", "city", "zip"} {
		n += len(v.GetStringBytes("device", "geo", k))
	}
	for _, k := range []string{"devicetype", "w", "h", "lmt", "dnt"} {
		n += v.GetInt("device", k)
	}
	n += len(v.GetStringBytes("user", "id")) + len(v.GetStringBytes("user", "buyeruid"))
	n += len(v.GetStringBytes("user", "consent")) + len(v.GetStringBytes("user", "ext", "consent"))
	for _, e := range v.GetArray("user", "eids") {
		n += len(e.GetStringBytes("source"))
		for _, u := range e.GetArray("uids") {
			n += len(u.GetStringBytes("id"))
		}
	}
	n += v.GetInt("regs", "gdpr") + v.GetInt("regs", "ext", "gdpr") + v.GetInt("regs", "coppa")
	n += len(v.GetStringBytes("regs", "gpp")) + len(v.GetStringBytes("regs", "us_privacy"))
	sink += n
}

func BenchmarkAppendResponse(b *testing.B) {
	p := testProfile(b, nil)
	o := rtb.Opportunity{ID: []byte("r-1"), Imps: []rtb.Impression{{ID: []byte("1")}}}
	offers := []rtb.Offer{sampleOffer()}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], p, &o, rtb.BidID{1}, offers)
	}
}

func BenchmarkRedact(b *testing.B) {
	k := rtb.NewKeyring([32]byte{1})
	body := benchBody(b, "site")
	var dst []byte
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = Redact(dst[:0], body, k, "demo"); err != nil {
			b.Fatal(err)
		}
	}
}

func sampleOffer() rtb.Offer {
	return rtb.Offer{Imp: 0, Bid: rtb.BidID{7}, Price: 2_310_000, Currency: rtb.USD, Format: rtb.FormatBanner,
		Size: rtb.Size{W: 300, H: 250}, Campaign: "c0", CreativeID: "cr0", AdDomains: []string{"shop.example"},
		Cats: []string{"IAB22"}, CatTax: 1, Language: "en", Exp: 300,
		Markup: []byte(`<a href="https://edge.example/v1/c?k=abc"><img src="https://edge.example/v1/imp?k=abc&p=${AUCTION_PRICE}"></a>`),
		NURL:   []byte("https://edge.example/v1/win?k=abc&p=${AUCTION_PRICE}"),
		BURL:   []byte("https://edge.example/v1/bill?k=abc&p=${AUCTION_PRICE}"),
		LURL:   []byte("https://edge.example/v1/loss?k=abc&l=${AUCTION_LOSS}")}
}
