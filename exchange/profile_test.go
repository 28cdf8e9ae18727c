package exchange

import (
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"rebound/internal/conformance"
	"rebound/internal/spec"
	"rebound/rtb"
)

func readSpec(t *testing.T, text string) (ProfileSpec, error) {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	var s ProfileSpec
	err := dec.Decode(&s)
	return s, err
}

// The generic profile has the defaults, except for fields that make a first try easier.
func TestGenericProfile(t *testing.T) {
	text, err := os.ReadFile("../examples/exchanges/generic.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := readSpec(t, string(text)+"\nid: demo\nseat: seat-1\n")
	if err != nil {
		t.Fatal(err)
	}
	got, problems := s.Compile()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := testProfile(t, func(s *ProfileSpec) {
		s.RequiredBidFields = []string{"adomain", "crid"}
		s.AllowNoInventory = true
	})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestProfileDefaults(t *testing.T) {
	p := testProfile(t, nil)
	if p.MaxBody != 256<<10 || p.MaxInflated != 1<<20 || p.MalformedStatus != 400 || p.ContentType != "application/json" || !p.GzipIn || !p.GzipOut ||
		p.At != 2 || p.DefaultCur != rtb.USD || p.AuctionTTL != 5*time.Minute || p.MultibidMax != 1 || p.CRIDMax != 64 || p.IDSpace != "demo" || p.NBREnabled {
		t.Errorf("got %+v", p)
	}
	if p.BillWindow(rtb.FormatVideo) != time.Hour || p.Exp(rtb.FormatBanner) != 5*time.Minute || p.BillingSource(rtb.FormatNative) != rtb.BillOnBURL {
		t.Error("wrong defaults by format")
	}
	if p.Admits(netip.MustParseAddr("203.0.113.1")) || !p.Admits(netip.MustParseAddr("127.0.0.1")) || !p.Admits(netip.MustParseAddr("::ffff:127.0.0.1")) {
		t.Error("without secret and sources only loopback may come in")
	}
	open := testProfile(t, func(s *ProfileSpec) { s.Secret = "s" })
	if !open.Admits(netip.MustParseAddr("203.0.113.1")) || open.SecretOK(nil) || !open.SecretOK([]byte("s")) || !p.SecretOK(nil) {
		t.Error("a secret opens to any source, for who knows it")
	}
	if !p.WrapNative(&rtb.Native{Wrapped: true}) || p.WrapNative(&rtb.Native{}) {
		t.Error("NA2: native markup follows its request")
	}
	always := testProfile(t, func(s *ProfileSpec) { s.NativeWrapper = "always" })
	never := testProfile(t, func(s *ProfileSpec) { s.NativeWrapper = "never" })
	if !always.WrapNative(&rtb.Native{}) || never.WrapNative(&rtb.Native{Wrapped: true}) {
		t.Error("NA2: native_wrapper is not obeyed")
	}
}

func TestProfileFields(t *testing.T) {
	s, err := readSpec(t, `
id: ex
seat: "12"
seat_numeric: true
sources: [203.0.113.0/24]
rtt_allowance: 0s
safety: 1ms
default_tmax: 2s
auction_ttl: 1d
bill_window: {video: 2h}
exp: {video: 90m}
billing_source: {video: vast, native: native, banner: pixel, audio: nurl}
max_body: 64KiB
resp_max_bytes: 4096
gzip_out: false
default_cur: eur
nbr_map: {floor: 500}
price_codec: hmac-sha1
price_keys: [{encryption: "`+googleE+`", integrity: "`+googleI+`"}]
`)
	if err != nil {
		t.Fatal(err)
	}
	p, problems := s.Compile()
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if p.RTTAllowance != 0 || p.Safety != time.Millisecond || p.AuctionTTL != 24*time.Hour || p.BillWindow(rtb.FormatVideo) != 2*time.Hour ||
		p.MaxBody != 64<<10 || p.RespMaxBytes != 4096 || p.GzipOut || p.DefaultCur.String() != "EUR" || p.NBR(rtb.NoBidFloor) != 500 {
		t.Errorf("got %+v", p)
	}
	for f, want := range map[rtb.Formats]rtb.BillingSource{rtb.FormatVideo: rtb.BillOnVAST, rtb.FormatNative: rtb.BillOnImp,
		rtb.FormatBanner: rtb.BillOnImp, rtb.FormatAudio: rtb.BillOnNURL} {
		if got := p.BillingSource(f); got != want {
			t.Errorf("%v bills on %v; want %v", f, got, want)
		}
	}
}

// Every mistake is reported with its path.
func TestProfileProblems(t *testing.T) {
	conformance.Covers(t, "E7")
	for path, change := range map[string]func(*ProfileSpec){
		"id": func(s *ProfileSpec) { s.ID = "Demo" }, "seat": func(s *ProfileSpec) { s.Seat = "" },
		"sources": func(s *ProfileSpec) { s.Sources = []string{"localhost"} }, "malformed_status": func(s *ProfileSpec) { s.MalformedStatus = 500 },
		"auction": func(s *ProfileSpec) { s.Auction = "third" }, "price_codec": func(s *ProfileSpec) { s.PriceCodec = "rot13" },
		"price_keys[1]":            func(s *ProfileSpec) { s.PriceKeys = make([]PriceKeySpec, 2) },
		"price_keys":               func(s *ProfileSpec) { s.PriceCodec = "aes-cbc" },
		"price_keys[0].encryption": func(s *ProfileSpec) { s.PriceCodec = "aes-cbc"; s.PriceKeys = []PriceKeySpec{{Encryption: "c2VjcmV0"}} },
		"price_unit":               func(s *ProfileSpec) { s.PriceUnit = "cents" }, "price_in": func(s *ProfileSpec) { s.PriceIn = []string{"click"} },
		"default_tmax": func(s *ProfileSpec) { s.DefaultTMax = spec.Duration(5 * time.Millisecond) }, "nbr_map": func(s *ProfileSpec) { s.NBRMap = map[string]int{"x": 1} },
		"nbr_map.floor": func(s *ProfileSpec) { s.NBRMap = map[string]int{"floor": 99} }, "billing_source.banner": func(s *ProfileSpec) { s.BillingSource.Banner = "vast" },
		"bill_window.video": func(s *ProfileSpec) { s.BillWindow.Video = spec.Duration(time.Minute) }, "required_bid_fields": func(s *ProfileSpec) { s.RequiredBidFields = []string{"adm2"} },
		"buyeruid_codec": func(s *ProfileSpec) { s.BuyerUIDCodec = "hex" }, "native_wrapper": func(s *ProfileSpec) { s.NativeWrapper = "maybe" },
		"at_500_first_price": func(s *ProfileSpec) { s.At500FirstPrice = []int{1} }, "match_url": func(s *ProfileSpec) { s.MatchURL = "http://x.example" },
		"price_macro": func(s *ProfileSpec) { s.PriceMacro = "${A B}" }, "quota_qps": func(s *ProfileSpec) { s.QuotaQPS = -1 },
	} {
		s := ProfileSpec{ID: "demo", Seat: "seat-1"}
		change(&s)
		_, problems := s.Compile()
		found := false
		for _, p := range problems {
			found = found || p.Path == path
			if p.Got == "" || p.Want == "" || strings.Contains(p.String(), "c2VjcmV0") {
				t.Errorf("%s: poor problem %q", path, p.String())
			}
		}
		if !found {
			t.Errorf("%s: got %v", path, problems)
		}
	}
	s := ProfileSpec{}
	if _, problems := s.Compile(); len(problems) != 2 {
		t.Errorf("an empty specification lacks id and seat; got %v", problems)
	}
	for _, text := range []string{"default_tmax: fast", "default_tmax: -5ms", "auction_ttl: 1.5d", "max_body: 1MB", "max_body: -1", "unknown: 1"} {
		if _, err := readSpec(t, text); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// A number of seconds beyond the range of a Duration is clamped, not negative; and no
// bid can be open for longer than notices are accepted.
func TestLongTimes(t *testing.T) {
	m := mustDecode(t, testProfile(t, nil), imp0(`"banner":{},"exp":9223372036854775807`)).Imps[0]
	if m.Exp != 365*24*time.Hour {
		t.Errorf("exp is %s; want a year", m.Exp)
	}
	for path, s := range map[string]ProfileSpec{
		"max_exp":            {MaxExp: spec.Duration(7 * 24 * time.Hour)},
		"bill_window.banner": {AuctionTTL: spec.Duration(24 * time.Hour), BillWindow: ByFormat[spec.Duration]{Banner: spec.Duration(7 * 24 * time.Hour)}},
	} {
		s.ID, s.Seat = "demo", "seat-1"
		_, problems := s.Compile()
		if len(problems) != 1 || problems[0].Path != path {
			t.Errorf("%s: got %v", path, problems)
		}
	}
}
