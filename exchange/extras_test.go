package exchange

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Every mistake in the optional fields is reported with its path (M20 and others).
func TestExtraProblems(t *testing.T) {
	conformance.Covers(t, "M20")
	for path, change := range map[string]func(*ProfileSpec){
		"openrtb_version":       func(s *ProfileSpec) { s.OpenRTBVersion = "3" },
		"price_tick":            func(s *ProfileSpec) { s.PriceTick = -1 },
		"retry_window":          func(s *ProfileSpec) { s.RetryWindow = spec.Duration(time.Minute) },
		"gvl_id":                func(s *ProfileSpec) { s.GVLID = 1 << 16 },
		"attr":                  func(s *ProfileSpec) { s.Attr = []int{0} },
		"notice_sources":        func(s *ProfileSpec) { s.NoticeSources = []string{"all"} },
		"notices_left_out":      func(s *ProfileSpec) { s.NoticesLeftOut = []string{"imp"} },
		"billing_source.video":  func(s *ProfileSpec) { s.NoticesLeftOut = []string{"bill"} },
		"billing_source.native": func(s *ProfileSpec) { s.NoticesLeftOut, s.BillingSource.Native = []string{"win"}, "nurl" },
		"click_macro":           func(s *ProfileSpec) { s.ClickMacroRequired = true },
		"click_macro_esc":       func(s *ProfileSpec) { s.ClickMacroEsc = `"` },
		"price_macro":           func(s *ProfileSpec) { s.PriceMacroForms = []string{"{winning_price}"} },
		"price_in":              func(s *ProfileSpec) { s.PriceIn, s.PriceMacroRequired = []string{"win"}, []string{"imp", "bill"} },
		"price_macro_required":  func(s *ProfileSpec) { s.PriceMacroRequired = []string{"adm"} },
		"macros.budget":         func(s *ProfileSpec) { s.Macros = map[string]string{"budget": "${X}"} },
		"macros.mbr":            func(s *ProfileSpec) { s.Macros = map[string]string{"mbr": "a b"} },
		"macros":                func(s *ProfileSpec) { s.Macros = map[string]string{"mbr": strings.Repeat("x", maxMacros)} },
		"currency_macro":        func(s *ProfileSpec) { s.CurrencyMacro = "#" },
		"loss_macro":            func(s *ProfileSpec) { s.LossMacro = "<" },
	} {
		s := ProfileSpec{ID: "demo", Seat: "seat-1"}
		change(&s)
		found := false
		_, problems := s.Compile()
		for _, p := range problems {
			found = found || p.Path == path && p.Got != "" && p.Want != ""
		}
		if !found {
			t.Errorf("%s: got %v", path, problems)
		}
	}
}

// A bill notice that is left out does not count as a carrier of the required macro.
func TestPriceMacroMustBeInANoticeThatIsSent(t *testing.T) {
	s := ProfileSpec{ID: "demo", Seat: "s", PriceIn: []string{"bill"}, PriceMacroRequired: []string{"bill"}, NoticesLeftOut: []string{"bill"}}
	for _, b := range s.BillingSource.all() {
		*b = "nurl"
	}
	if _, problems := s.Compile(); len(problems) != 1 || problems[0].Path != "price_in" {
		t.Errorf("got %v; want price_in", problems)
	}
}

func TestMacrosThatAreLeftOut(t *testing.T) {
	conformance.Covers(t, "M1", "M2")
	p := testProfile(t, func(s *ProfileSpec) {
		s.CurrencyMacro, s.LossMacro, s.MinToWinMacro = "-", "-", "${MIN_BID_TO_WIN}"
		s.Macros = map[string]string{"mbr": "${AUCTION_MBR}", "ad_id": "${AUCTION_AD_ID}"}
		s.PriceMacro = "{winning_price}"
	})
	for kind, want := range map[rtb.NoticeKind]string{
		rtb.NoticeWin:  "&p={winning_price}&m=${MIN_BID_TO_WIN}&ad=${AUCTION_AD_ID}&mb=${AUCTION_MBR}",
		rtb.NoticeLoss: "&m=${MIN_BID_TO_WIN}", rtb.NoticeImp: "&p={winning_price}", rtb.NoticeClick: "",
	} {
		if got := string(p.AppendMacros(nil, kind)); got != want {
			t.Errorf("%v: got %q; want %q", kind, got, want)
		}
	}
	if _, status := p.ParsePrice([]byte("{winning_price}")); status != PriceMacro {
		t.Errorf("an unexpanded {winning_price} is %v", status)
	}
}

func TestTicks(t *testing.T) {
	conformance.Covers(t, "P5")
	p := testProfile(t, func(s *ProfileSpec) { s.PriceTick = 10_000 })
	for in, want := range map[rtb.CPM]rtb.CPM{1_234_567: 1_230_000, 1_230_000: 1_230_000, 9_999: 0, 0: 0} {
		if got := p.OnTick(in); got != want {
			t.Errorf("%v: got %v; want %v", in, got, want)
		}
	}
	if got := testProfile(t, nil).OnTick(1_234_567); got != 1_234_567 {
		t.Errorf("without a tick: got %v", got)
	}
}

func TestBillingIDs(t *testing.T) {
	conformance.Covers(t, "R5")
	offered := [][]byte{[]byte("1"), []byte("2")}
	for _, c := range []struct {
		ours    []string
		offered [][]byte
		want    string
		ok      bool
	}{
		{nil, offered, "", true}, {[]string{"any"}, offered, "1", true}, {[]string{"2"}, offered, "2", true},
		{[]string{"3"}, offered, "", false}, {[]string{"any"}, nil, "", true},
	} {
		p := testProfile(t, func(s *ProfileSpec) { s.BillingIDs = c.ours })
		if got, ok := p.BillingID(c.offered); string(got) != c.want || ok != c.ok {
			t.Errorf("%v of %s: got %q, %v; want %q, %v", c.ours, c.offered, got, ok, c.want, c.ok)
		}
	}
	ext := "{" + string(AppendBillingID(nil, []byte(`1"2`))) + "," + string(AppendToken(nil, []byte("abc"))) + "}"
	if !json.Valid([]byte(ext)) || !strings.Contains(ext, `"event_notification_token":{"payload":"abc"}`) {
		t.Errorf("got ext %s", ext)
	}
}

func TestProcessingTime(t *testing.T) {
	conformance.Covers(t, "R20")
	r := Response{Offers: []rtb.Offer{sampleOffer()}, Took: 12_345 * time.Microsecond}
	const ext = `,"ext":{"processing_time_ms":12}}`
	p := testProfile(t, func(s *ProfileSpec) { s.ProcessingTime = true })
	if got := AppendResponse(nil, p, r0Opportunity(), &r); !json.Valid(got) || !strings.HasSuffix(string(got), ext) {
		t.Errorf("got %s; want %s at the end", got, ext)
	}
	if got := AppendResponse(nil, p, r0Opportunity(), &Response{Took: time.Second}); len(got) != 0 {
		t.Errorf("without a bid: got %s", got)
	}
	if got := AppendResponse(nil, testProfile(t, nil), r0Opportunity(), &r); !json.Valid(got) || strings.Contains(string(got), "processing_time") {
		t.Errorf("not enabled: got %s", got)
	}
}

// Rule M18: device headers are trusted only from the exchange's own networks.
func TestBelievesDevice(t *testing.T) {
	conformance.Covers(t, "M18")
	p := testProfile(t, func(s *ProfileSpec) { s.NoticeSources = []string{"203.0.113.0/24", "2001:db8::/32"} })
	for from, want := range map[string]bool{"203.0.113.9": true, "::ffff:203.0.113.9": true, "203.0.114.1": false, "2001:db8::1": true, "127.0.0.1": false} {
		if got := p.BelievesDevice(netip.MustParseAddr(from)); got != want {
			t.Errorf("%s: got %v; want %v", from, got, want)
		}
	}
	if testProfile(t, nil).BelievesDevice(netip.MustParseAddr("127.0.0.1")) || p.BelievesDevice(netip.Addr{}) {
		t.Error("a profile without notice_sources trusts an address")
	}
}

func TestLongMarkupDoesNotFit(t *testing.T) {
	conformance.Covers(t, "K11", "T24")
	p := testProfile(t, func(s *ProfileSpec) { s.AdmMaxBytes = 10 })
	if field, ok := p.Fits(&rtb.Offer{MarkupSize: 11}); ok || field != "adm_max" {
		t.Errorf("got %q, %v; want adm_max", field, ok)
	}
}
