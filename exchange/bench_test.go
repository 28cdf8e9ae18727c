package exchange

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebound/rtb"
)

var benchShapes = []string{"web", "app", "site", "video", "native"}

func benchBody(t testing.TB, shape string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "bench", shape+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Head alone is the cost of a request of an unknown visitor. internal/bench compares
// with other libraries.
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
			return d.Rest(p, &o, rtb.AllParts)
		})
	}
}

// The URLs of the offer are as long as those with signed claims are.
func BenchmarkAppendResponse(b *testing.B) {
	p := testProfile(b, nil)
	o := rtb.Opportunity{ID: []byte("80ce30c53c16e6ede735f123ef6e32361bfc7b22"), Imps: []rtb.Impression{{ID: []byte("1")}}}
	offers := []rtb.Offer{longOffer()}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], p, &o, &Response{ID: rtb.BidID{1}, Offers: offers})
	}
}

func longOffer() rtb.Offer {
	of := sampleOffer()
	token := strings.Repeat("AbCdEf0123_-", 12)
	url := func(kind, query string) []byte {
		return []byte("https://edge.shop.example/v1/" + kind + "?k=" + token + query)
	}
	of.NURL, of.BURL, of.LURL = url("win", "&p=${AUCTION_PRICE}"), url("bill", "&p=${AUCTION_PRICE}"), url("loss", "&l=${AUCTION_LOSS}")
	setMarkup(&of, fmt.Sprintf(`<div style="width:300px;height:250px"><a href="%s" target="_blank"><img src="https://cdn.shop.example/a/b/c.png" width="300" height="250" alt="Shoes"></a><img src="%s" width="1" height="1"></div>`,
		url("c", "&u=https%3A%2F%2Fshop.example%2Fp%2F1"), url("imp", "&p=${AUCTION_PRICE}")))
	return of
}

func BenchmarkRedact(b *testing.B) {
	k := rtb.NewKeyring([32]byte{1})
	p := testProfile(b, nil)
	for _, shape := range benchShapes {
		body := benchBody(b, shape)
		run := func(name string, redact func(dst []byte) ([]byte, error)) {
			b.Run(shape+"/"+name, func(b *testing.B) {
				var dst []byte
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if dst, err = redact(dst[:0]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("alone", func(dst []byte) ([]byte, error) { return redact(dst, body, p, k) })
		var d Decoder
		var o rtb.Opportunity
		if err := d.Head(body, p, &o); err != nil {
			b.Fatal(err)
		}
		run("decoded", func(dst []byte) ([]byte, error) { return d.AppendRedacted(dst, p, k) })
	}
}

func sampleOffer() rtb.Offer {
	of := rtb.Offer{Imp: 0, Bid: rtb.BidID{7}, Price: 2_310_000, Currency: rtb.USD, Format: rtb.FormatBanner,
		Size: rtb.Size{W: 300, H: 250}, Campaign: "c0", CreativeID: "cr0", AdDomains: []string{"shop.example"},
		Cats: []string{"IAB22"}, CatTax: 1, Language: "en", Exp: 300 * time.Second,
		NURL: []byte("https://edge.example/v1/win?k=abc&p=${AUCTION_PRICE}"),
		BURL: []byte("https://edge.example/v1/bill?k=abc&p=${AUCTION_PRICE}"),
		LURL: []byte("https://edge.example/v1/loss?k=abc&l=${AUCTION_LOSS}")}
	setMarkup(&of, `<a href="https://edge.example/v1/c?k=abc"><img src="https://edge.example/v1/imp?k=abc&p=${AUCTION_PRICE}"></a>`)
	return of
}

func setMarkup(of *rtb.Offer, text string) {
	of.Markup, of.MarkupSize = rtb.AppendQuoted(nil, text), len(text)
}
