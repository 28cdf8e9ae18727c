package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/rtb"
)

// seeds are requests of every kind that the tests know.
func seeds(f *testing.F) {
	f.Helper()
	for _, s := range []string{requestR0, personal, `{"id":`, "\xef\xbb\xbf{}", `{"id":"\ud800","imp":[{}],"site":{}}`,
		`{"id":1,"imp":[{"id":2,"native":{"request":"{\"native\":{\"assets\":[]}}"},"pmp":{"deals":[{"id":"d","durfloors":[{"mindur":1}]}]}}],"app":{}}`,
		`{"id":"r","imp":[{"id":"1","video":{"rqddurs":[15],"protocols":[2]},"audio":{}}],"dooh":{},"regs":{"gdpr":1,"GDPR":0,"gpp_sid":["7"]}}`,
		`{"id":"r","id":"s","imp":[[]],"site":{},"badv":"a","cur":["USD",7]}`, strings.Repeat("[", 100), `{"id":-0.0e-1,"imp":[1]}`} {
		f.Add([]byte(s))
	}
	for _, shape := range benchShapes {
		f.Add(benchBody(f, shape))
	}
}

// depthOf is how deep the JSON text is nested.
func depthOf(b []byte) (deepest int) {
	depth, in := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case in && c == '\\':
			i++
		case c == '"':
			in = !in
		case !in && (c == '{' || c == '['):
			depth++
			deepest = max(deepest, depth)
		case !in && (c == '}' || c == ']'):
			depth--
		}
	}
	return deepest
}

// Head and Rest accept a body as JSON exactly if encoding/json and utf8 do, and what
// they decode is consistent.
func FuzzDecode(f *testing.F) {
	seeds(f)
	spec := ProfileSpec{ID: "demo", Seat: "seat-1", AllowNoInventory: true}
	p, _ := spec.Compile()
	var d Decoder
	var o rtb.Opportunity
	f.Fuzz(func(t *testing.T, body []byte) {
		err, syntax := verdict(&d, p, body)
		text := bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
		if valid := json.Valid(text) && utf8.Valid(text); valid == syntax && err != ErrNotObject {
			if !valid || depthOf(text) <= MaxDepth {
				t.Fatalf("got %v; valid JSON in UTF-8: %v", err, valid)
			}
		}
		if d.Head(body, p, &o) != nil {
			return
		}
		restErr := d.Rest(p, &o, rtb.AllParts)
		if len(o.Imps) > maxImps || len(o.IDs) > 2*maxEIDs+4 {
			t.Fatalf("%d impressions, %d identifiers", len(o.Imps), len(o.IDs))
		}
		for i := range o.Imps {
			m := &o.Imps[i]
			if restErr == nil && (len(m.ID) == 0 || m.Formats == 0) || m.Floor < 0 || m.Floor > rtb.MaxCPM || m.FloorCur.IsZero() {
				t.Fatalf("unusable impression %+v", m)
			}
			if m.Native.Request != nil && !json.Valid(m.Native.Request) {
				t.Fatalf("native request %q", m.Native.Request)
			}
		}
	})
}

// A response survives the round trip, whatever the request's ids and the markup.
func FuzzEncodeRoundTrip(f *testing.F) {
	f.Add("r0", "1", "<b>${AUCTION_PRICE}</b>", int64(2_310_000), "deal")
	f.Add("a\"b/é\u2028", "\x00\x1f", "\\\"\u2029]]>", int64(1), "")
	spec := ProfileSpec{ID: "demo", Seat: "seat-1"}
	p, _ := spec.Compile()
	f.Fuzz(func(t *testing.T, id, imp, adm string, price int64, deal string) {
		o := rtb.Opportunity{ID: []byte(id), Imps: []rtb.Impression{{ID: []byte(imp)}}}
		of := sampleOffer()
		of.Price, of.Deal = rtb.CPM(price), []byte(deal)
		setMarkup(&of, adm)
		body := AppendResponse(nil, p, &o, &Response{ID: rtb.BidID{1}, Offers: []rtb.Offer{of}})
		if of.Price <= 0 {
			if len(body) > 0 {
				t.Fatalf("a bid at %d: %s", price, body)
			}
			return
		}
		var r openrtb2.BidResponse
		if err := json.Unmarshal(body, &r); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		b := r.SeatBid[0].Bid[0]
		want := func(s string) string { return strings.ToValidUTF8(string([]rune(s)), "\ufffd") }
		if r.ID != want(id) || b.ImpID != want(imp) || b.AdM != want(adm) || b.DealID != want(deal) {
			t.Fatalf("%q %q %q came back as %q %q %q", id, imp, adm, r.ID, b.ImpID, b.AdM)
		}
		raw := struct {
			SeatBid []struct{ Bid []struct{ Price json.Number } }
		}{}
		if err := json.Unmarshal(body, &raw); err != nil {
			t.Fatal(err)
		}
		if v, err := rtb.ParseMicros(raw.SeatBid[0].Bid[0].Price.String(), rtb.RoundDown); err != nil || int64(v) != price {
			t.Fatalf("price %d came back as %d", price, v)
		}
	})
}

// A redacted request is one line of JSON, with personal fields or without them. With them it
// leads to the same keys.
func FuzzRedact(f *testing.F) {
	seeds(f)
	spec := ProfileSpec{ID: "demo", Seat: "seat-1", AllowNoInventory: true}
	p, _ := spec.Compile()
	k := rtb.NewKeyring([32]byte{9})
	f.Fuzz(func(t *testing.T, body []byte) {
		var d Decoder
		said, malformed := verdict(&d, p, body)
		if malformed || said == ErrNotObject {
			if red, err := d.AppendRedacted(nil, p, k); err == nil || len(red) > 0 {
				t.Fatalf("got %q; the decoder says %v", red, said)
			}
			return
		}
		red, err := redact(nil, bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), p, k)
		if err != nil {
			t.Fatal(err)
		}
		before, headErr := headOnly(p, body)
		if !json.Valid(red) || bytes.ContainsAny(red, "\r\n") {
			t.Fatalf("got %q", red)
		}
		if !errors.Is(said, ErrMalformed) {
			if again, err := d.AppendRedacted(nil, p, k); err != nil || !bytes.Equal(again, red) {
				t.Fatalf("by the decoder: got %q, %v; want %q", again, err, red)
			}
			if bare, err := d.AppendAnonymous(nil, p); err != nil || !json.Valid(bare) || bytes.ContainsAny(bare, "\r\n") {
				t.Fatalf("anonymous: got %q, %v", bare, err)
			}
		}
		if headErr != nil {
			return
		}
		after, headErr := headOnly(p, red)
		if headErr != nil {
			t.Fatalf("%v in %s", headErr, red)
		}
		a, b := keysOf(before, k), keysOf(after, k.ForReplay())
		if len(a) != len(b) {
			t.Fatalf("keys %v became %v in %s", a, b, red)
		}
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("key %d differs in %s", i, red)
			}
		}
	})
}

func headOnly(p *Profile, body []byte) (*rtb.Opportunity, error) {
	var d Decoder
	o := new(rtb.Opportunity)
	err := d.Head(body, p, o)
	return o, err
}

// No price parameter causes a panic, and every accepted price is in range.
func FuzzPrice(f *testing.F) {
	for _, s := range []string{"1.2", "", "AUDIT", "${AUCTION_PRICE}", "%24%7BAUCTION_PRICE%7D", "MS41MA==", "OG46wAAMCggBI0VniavN7-mNy0VTKPbB3o5CMQ", "1e9", "-1", "%", "=", " "} {
		f.Add([]byte(s))
	}
	var profiles []*Profile
	for _, codec := range []string{"plain", "b64", "hmac-sha1", "aes-cbc"} {
		keys := map[string][]PriceKeySpec{
			"hmac-sha1": {{Encryption: googleE, Integrity: googleI}}, "aes-cbc": {{Encryption: "AAAAAAAAAAAAAAAAAAAAAA"}},
		}[codec]
		profiles = append(profiles, testProfile(f, func(s *ProfileSpec) { s.PriceCodec, s.PriceKeys = codec, keys }))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		for _, p := range profiles {
			price, status := p.ParsePrice(raw)
			least, _ := p.ParseMinToWin(raw)
			if price < 0 || price > rtb.MaxCPM || status != PriceOK && price != 0 || least < 0 {
				t.Fatalf("%q: got %d, %v", raw, price, status)
			}
			p.PriceStamp(raw)
		}
		if _ = ParseLoss(raw).String(); !bytes.Equal(before, raw) {
			t.Fatalf("the input was written to")
		}
	})
}
