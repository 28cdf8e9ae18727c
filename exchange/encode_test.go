package exchange

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prebid/openrtb/v20/openrtb2"

	"rebound/internal/conformance"
	"rebound/rtb"
)

func r0Opportunity() *rtb.Opportunity {
	return &rtb.Opportunity{ID: []byte("r0"), Imps: []rtb.Impression{{ID: []byte("1")}, {ID: []byte("2")}}}
}

// parseResponse parses a response strictly, as an exchange would.
func parseResponse(t testing.TB, body []byte) openrtb2.BidResponse {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var r openrtb2.BidResponse
	if err := dec.Decode(&r); err != nil || dec.More() {
		t.Fatalf("cannot read response: %v in %s", err, body)
	}
	return r
}

// R1-R5, R10-R12, P4, P10: the complete response, without null or empty members.
func TestR1Response(t *testing.T) {
	conformance.Covers(t, "R1", "R3", "R5", "R10", "R11", "R12", "P10")
	p := testProfile(t, nil)
	got := AppendResponse([]byte("kept"), p, r0Opportunity(), &Response{ID: rtb.BidID{1}, Offers: []rtb.Offer{sampleOffer()}})
	want := `kept{"id":"r0","bidid":"AQAAAAAAAAAAAAAAAAAAAA","cur":"USD","seatbid":[{"seat":"seat-1","bid":[{"id":"BwAAAAAAAAAAAAAAAAAAAA","impid":"1","price":2.31,` +
		`"adm":"<a href=\"https://edge.example/v1/c?k=abc\"><img src=\"https://edge.example/v1/imp?k=abc&p=${AUCTION_PRICE}\"></a>",` +
		`"adomain":["shop.example"],"cid":"c0","crid":"cr0","cat":["IAB22"],"cattax":1,"mtype":1,"w":300,"h":250,"exp":300,"language":"en",` +
		`"nurl":"https://edge.example/v1/win?k=abc&p=${AUCTION_PRICE}","burl":"https://edge.example/v1/bill?k=abc&p=${AUCTION_PRICE}",` +
		`"lurl":"https://edge.example/v1/loss?k=abc&l=${AUCTION_LOSS}"}]}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	parseResponse(t, got[4:])
}

// R8, P3, P10: offers that must not be sent are left out.
func TestR8NothingToSend(t *testing.T) {
	conformance.Covers(t, "R8", "P3", "P10")
	p := testProfile(t, nil)
	o := r0Opportunity()
	free, lost, none := sampleOffer(), sampleOffer(), sampleOffer()
	free.Price, lost.Imp, none.Currency = 0, 2, rtb.Currency{}
	negative := sampleOffer()
	negative.Price = -1
	if got := AppendResponse(nil, p, o, &Response{Offers: []rtb.Offer{free, lost, none, negative}}); len(got) != 0 {
		t.Errorf("got %s; want nothing", got)
	}
	eur := sampleOffer()
	eur.Currency = rtb.Currency{'E', 'U', 'R'}
	second := sampleOffer()
	second.Imp = 1
	r := parseResponse(t, AppendResponse(nil, p, o, &Response{Offers: []rtb.Offer{free, sampleOffer(), eur, second}}))
	if bids := r.SeatBid[0].Bid; r.Cur != "USD" || len(bids) != 2 || bids[0].ImpID != "1" || bids[1].ImpID != "2" {
		t.Errorf("got %+v; want the two in USD", r)
	}
}

// R13-R17, R3: optional fields are present if their values are known.
func TestR13OptionalFields(t *testing.T) {
	conformance.Covers(t, "R13", "R14", "NA12")
	p := testProfile(t, func(s *ProfileSpec) { s.RequiredBidFields = []string{"attr"}; s.ADomainMax = 1; s.Seat = "11" })
	of := sampleOffer()
	of.Format, of.Protocol, of.Duration, of.APIs = rtb.FormatVideo, 3, 15*time.Second, []int{7, 2}
	of.Deal, of.Bundle, of.IURL, of.Ext = []byte("d1"), "com.shop", "https://img.example/i.png", []byte(`"dsa":{"adrender":1}`)
	of.AdDomains = []string{"shop.example", "other.example"}
	of.Flex = rtb.FlexSize{WRatio: 6, HRatio: 5}
	r := parseResponse(t, AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{of}}))
	b := r.SeatBid[0].Bid[0]
	if r.SeatBid[0].Seat != "11" || b.MType != 2 || b.Protocol != 3 || b.Dur != 15 || b.API != 7 || len(b.APIs) != 2 || b.DealID != "d1" ||
		b.Bundle != "com.shop" || b.IURL == "" || string(b.Ext) != `{"dsa":{"adrender":1}}` || len(b.ADomain) != 1 || b.WRatio != 6 || b.HRatio != 5 {
		t.Errorf("got %+v", b)
	}
	of.Format = rtb.FormatNative
	text := string(AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{of}}))
	if strings.Contains(text, `"w":`) || !strings.Contains(text, `"attr":[]`) || !strings.Contains(text, `"mtype":4`) {
		t.Errorf("NA12: got %s", text)
	}
}

// P3, P4: prices are plain decimals, at most six places, never 0.
func TestP4Prices(t *testing.T) {
	conformance.Covers(t, "P4")
	p := testProfile(t, nil)
	form := regexp.MustCompile(`"price":(\d+(\.\d{1,6})?),`)
	rng := rand.New(rand.NewPCG(1, 2))
	prices := []rtb.CPM{1, 10, 999_999, 1_000_000, 2_310_000, rtb.MaxCPM}
	for range 1000 {
		prices = append(prices, rtb.CPM(rng.Int64N(int64(rtb.MaxCPM))+1))
	}
	for _, price := range prices {
		of := sampleOffer()
		of.Price = price
		text := AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{of}})
		m := form.FindSubmatch(text)
		if m == nil {
			t.Fatalf("no plain price in %s", text)
		}
		if v, err := rtb.ParseMicros(m[1], rtb.RoundDown); err != nil || rtb.CPM(v) != price {
			t.Errorf("price %d printed as %s", price, m[1])
		}
	}
}

// R1, R18, R19: strings survive the round trip, and macros stay literal.
func TestR18Strings(t *testing.T) {
	conformance.Covers(t, "R1", "R18", "R19")
	p := testProfile(t, nil)
	var all strings.Builder
	for r := range rune(0x300) {
		all.WriteRune(r)
	}
	for _, s := range []string{"a\"b/é", all.String(), "\u2028\u2029\U0001F600\ufffd", "${AUCTION_PRICE}%%X%%{clickurl}</script>"} {
		o := r0Opportunity()
		o.ID = []byte(s)
		o.Imps[0].ID = []byte(s + "i")
		of := sampleOffer()
		setMarkup(&of, s)
		text := AppendResponse(nil, p, o, &Response{Offers: []rtb.Offer{of}})
		r := parseResponse(t, text)
		if r.ID != s || r.SeatBid[0].Bid[0].ImpID != s+"i" || r.SeatBid[0].Bid[0].AdM != s {
			t.Errorf("%q came back as %q, %q", s, r.ID, r.SeatBid[0].Bid[0].AdM)
		}
		if bytes.ContainsAny(text, "\u2028\u2029\n\x00\x1f") {
			t.Errorf("%q has raw line ends or control characters", text)
		}
		if strings.HasPrefix(s, "${") && !bytes.Contains(text, []byte(s)) {
			t.Errorf("macros are not literal in %s", text)
		}
	}
	if got := string(rtb.AppendQuoted(nil, "a\xffb\xc3")); got != `"a\ufffdb\ufffd"` {
		t.Errorf("bytes that are no UTF-8 became %s", got)
	}
}

// R1: the id of a request survives decoder and encoder byte for byte.
func TestR1IDRoundTrip(t *testing.T) {
	conformance.Covers(t, "R1")
	p := testProfile(t, nil)
	for raw, want := range map[string]string{`"a\"b/é"`: `a"b/é`, `"\u0061\u0000\ud83d\ude00"`: "a\x00\U0001F600", `17`: "17", `"a/b\/c"`: "a/b/c"} {
		o := mustDecode(t, p, []byte(`{"id":`+raw+`,"imp":[{"id":`+raw+`,"banner":{}}],"site":{}}`))
		r := parseResponse(t, AppendResponse(nil, p, o, &Response{Offers: []rtb.Offer{sampleOffer()}}))
		if r.ID != want || r.SeatBid[0].Bid[0].ImpID != want {
			t.Errorf("%s came back as %q", raw, r.ID)
		}
		n := parseResponse(t, p.AppendNoBid(nil, o, rtb.NoBidLate, 0))
		if n.ID != want || n.NBR == nil || *n.NBR != 15 || n.SeatBid != nil {
			t.Errorf("no-bid of %s: %+v", raw, n)
		}
	}
}

// R9: reasons and their codes.
func TestR9NoBid(t *testing.T) {
	conformance.Covers(t, "R9")
	p := testProfile(t, func(s *ProfileSpec) { s.NBRMap = map[string]int{"floor": 5001} })
	o := r0Opportunity()
	for r, want := range map[rtb.NoBidReason]string{
		rtb.NoBidUnknownVisitor: `{"id":"r0","nbr":8}`, rtb.NoBidMalformed: `{"id":"r0","nbr":2}`, rtb.NoBidFloor: `{"id":"r0","nbr":5001}`,
		rtb.NoBidPaced: `{"id":"r0","nbr":0}`, rtb.NoBidFrequency: `{"id":"r0","nbr":9}`,
	} {
		if got := string(p.AppendNoBid(nil, o, r, 0)); got != want {
			t.Errorf("%v: got %s; want %s", r, got, want)
		}
	}
	if got := p.AppendNoBid(nil, &rtb.Opportunity{}, rtb.NoBidMalformed, 0); len(got) != 0 {
		t.Errorf("a no-bid without an id: %s", got)
	}
}

// R9: BidSwitch forwards only the codes 1 to 11; its profile maps every reason to one
// of them, including the reasons with several codes.
func TestR9BidSwitchCodes(t *testing.T) {
	conformance.Covers(t, "R9")
	text, err := os.ReadFile("../examples/exchanges/bidswitch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSpec(t, string(text)+"\nid: demo\nseat: seat-1\n")
	if err != nil {
		t.Fatal(err)
	}
	p, problems := s.Compile()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for r := rtb.NoBidNone + 1; r < rtb.NoBidReasons; r++ {
		if code := p.NBR(r); code < 1 || code > 11 {
			t.Errorf("%v: got nbr %d; want 1 to 11", r, code)
		}
	}
	for r, several := range map[rtb.NoBidReason][]int{rtb.NoBidSChain: {13, 14, 16, 17}, rtb.NoBidAdsTxt: {11, 12}} {
		for _, code := range several {
			if got := string(p.AppendNoBid(nil, r0Opportunity(), r, code)); got != `{"id":"r0","nbr":1,"ext":{"protocol":"5.3"}}` {
				t.Errorf("%v with code %d: got %s; want 1", r, code, got)
			}
		}
	}
}

// R5-R7, R16, T24: offers that the exchange would drop do not fit.
func TestR5Fits(t *testing.T) {
	conformance.Covers(t, "R5", "R6", "R7", "R16")
	p := testProfile(t, func(s *ProfileSpec) {
		s.RequiredBidFields = []string{"adomain", "attr", "bundle", "cat", "cid", "crid", "dealid", "iurl", "language"}
		s.CRIDMax, s.ADomainLenMax = 8, 20
	})
	full := func() rtb.Offer {
		of := sampleOffer()
		of.Bundle, of.Deal, of.IURL = "b", []byte("d"), "https://i.example"
		return of
	}
	for want, spoil := range map[string]func(*rtb.Offer){
		"": func(*rtb.Offer) {}, "adm": func(o *rtb.Offer) { o.MarkupSize = 0 }, "crid": func(o *rtb.Offer) { o.CreativeID = "" },
		"adomain": func(o *rtb.Offer) { o.AdDomains = nil }, "bundle": func(o *rtb.Offer) { o.Bundle = "" }, "cat": func(o *rtb.Offer) { o.Cats = nil },
		"cid": func(o *rtb.Offer) { o.Campaign = "" }, "dealid": func(o *rtb.Offer) { o.Deal = nil }, "iurl": func(o *rtb.Offer) { o.IURL = "" },
		"language": func(o *rtb.Offer) { o.Language = "" },
	} {
		of := full()
		spoil(&of)
		if field, ok := p.Fits(&of); field != want || ok != (want == "") {
			t.Errorf("got %q, %v; want %q", field, ok, want)
		}
	}
	long := full()
	long.CreativeID = "123456789"
	if field, _ := p.Fits(&long); field != "crid" {
		t.Errorf("a crid of 9 bytes fits 8 (%q)", field)
	}
	long = full()
	long.AdDomains = []string{strings.Repeat("a", 21)}
	if field, _ := p.Fits(&long); field != "adomain" {
		t.Errorf("a domain of 21 bytes fits 20 (%q)", field)
	}
}
