package bench

import (
	"encoding/json"
	"os"
	"testing"

	goccy "github.com/goccy/go-json"
	"github.com/prebid/openrtb/v20/openrtb2"
	"github.com/valyala/fastjson"

	"rebound/exchange"
	"rebound/rtb"
)

// Each shape of request, decoded by our decoder and by the libraries that could
// be used instead. Head alone is the cost of a request of an unknown visitor.
func BenchmarkDecode(b *testing.B) {
	spec := exchange.ProfileSpec{ID: "demo", Seat: "seat-1"}
	p, problems := spec.Compile()
	if len(problems) > 0 {
		b.Fatalf("cannot compile profile: %v", problems)
	}
	for _, shape := range []string{"web", "app", "site", "video", "native"} {
		body, err := os.ReadFile("../../exchange/testdata/bench/" + shape + ".json")
		if err != nil {
			b.Fatal(err)
		}
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
		var d exchange.Decoder
		var o rtb.Opportunity
		run("head", func() error { return d.Head(body, p, &o) })
		run("head+rest", func() error {
			if err := d.Head(body, p, &o); err != nil {
				return err
			}
			return d.Rest(p, &o, rtb.AllParts)
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
