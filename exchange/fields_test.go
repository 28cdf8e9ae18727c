package exchange

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// bidMembers are the members of a bid by the version that introduced them, from
// the specifications (OpenRTB 2.3 §4.2.3, 2.4 §4.2.3, 2.5 §4.2.3, 2.6 §4.2.3).
var bidMembers = map[string][]string{
	"2.3": {"id", "impid", "price", "adid", "nurl", "adm", "adomain", "bundle", "iurl", "cid", "crid", "cat", "attr", "dealid", "h", "w", "ext"},
	"2.4": {"api", "protocol", "qagmediarating", "exp"},
	"2.5": {"burl", "lurl", "tactic", "language", "wratio", "hratio"},
	"2.6": {"cattax", "apis", "langb", "dur", "mtype", "slotinpod"},
}

// membersUpTo are the members of a bid at a version.
func membersUpTo(version string) []string {
	var list []string
	for v, names := range bidMembers {
		if v <= version {
			list = append(list, names...)
		}
	}
	return list
}

// fullOffer is an offer with a value for every field.
func fullOffer() rtb.Offer {
	of := sampleOffer()
	of.Format, of.Size, of.Flex = rtb.FormatBanner, rtb.Size{W: 300, H: 250}, rtb.FlexSize{WRatio: 6, HRatio: 5}
	of.Attrs, of.APIs, of.Protocol, of.Duration, of.Exp = []int{1}, []int{5, 7}, 3, 15*time.Second, 300*time.Second
	of.Deal, of.Bundle, of.IURL, of.Ext = []byte("d"), "com.shop", "https://img.example/i.png", []byte(`"x":1`)
	return of
}

// bidKeys are the members of the first bid of a response.
func bidKeys(t *testing.T, response []byte) []string {
	t.Helper()
	var r struct {
		SeatBid []struct{ Bid []map[string]any }
	}
	if err := json.Unmarshal(response, &r); err != nil || len(r.SeatBid) == 0 {
		t.Fatalf("%s: %v", response, err)
	}
	return slices.Sorted(maps.Keys(r.SeatBid[0].Bid[0]))
}

// R11, R13: a profile sends no field of a newer version than its own, unless it
// lists it.
func TestFieldsOfTheVersion(t *testing.T) {
	conformance.Covers(t, "R13")
	for version := range bidMembers {
		p := testProfile(t, func(s *ProfileSpec) {
			s.OpenRTBVersion = version
			s.BillingSource = ByFormat[string]{Banner: "nurl", Video: "nurl", Audio: "nurl", Native: "nurl"}
		})
		got := bidKeys(t, AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{fullOffer()}}))
		ours := []string{"id", "impid", "price", "nurl", "adm", "adomain", "bundle", "iurl", "cid", "crid", "cat", "attr", "dealid", "h", "w", "ext", "api", "protocol",
			"exp", "burl", "lurl", "language", "wratio", "hratio", "cattax", "apis", "dur", "mtype"}
		want := slices.DeleteFunc(ours, func(name string) bool { return !slices.Contains(membersUpTo(version), name) })
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%s: got %v; want %v", version, got, want)
		}
	}
	p := testProfile(t, func(s *ProfileSpec) { s.OpenRTBVersion, s.BidFields = "2.5", []string{"mtype", "dur"} })
	got := bidKeys(t, AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{fullOffer()}}))
	for name, want := range map[string]bool{"mtype": true, "dur": true, "cattax": false, "apis": false, "api": true, "language": true} {
		if slices.Contains(got, name) != want {
			t.Errorf("2.5 with mtype and dur: %s in the bid %v; want %v", name, !want, want)
		}
	}
}

// Every example profile sends only fields of its own version, and those it lists.
func TestExampleProfilesKeepToTheirVersion(t *testing.T) {
	files, err := filepath.Glob("../examples/exchanges/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("got %v, %v; want the example profiles", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s, err := readSpec(t, keysFor(string(text))+"\nid: demo\nseat: \"12\"\nsecret: 0123456789abcdef\n")
		if err != nil {
			t.Fatal(err)
		}
		p, problems := s.Compile()
		if len(problems) > 0 {
			t.Fatalf("%s: %v", file, problems)
		}
		allowed := append(membersUpTo(p.OpenRTBVersion), s.BidFields...)
		for _, name := range bidKeys(t, AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{fullOffer()}})) {
			if !slices.Contains(allowed, name) {
				t.Errorf("%s: bids carry %s, which OpenRTB %s does not have", file, name, p.OpenRTBVersion)
			}
		}
		switch filepath.Base(file) {
		case "prebid25.yaml", "prebid26.yaml", "pubmatic.yaml": // their burl is never called
			if p.BillingSource(rtb.FormatBanner) != rtb.BillOnImp || p.BillingSource(rtb.FormatVideo) != rtb.BillOnVAST || p.BillingSource(rtb.FormatNative) != rtb.BillOnImp || p.Sends(rtb.NoticeBill) {
				t.Errorf("%s: bids wait for a burl that is never called", file)
			}
		}
		for _, f := range []rtb.Formats{rtb.FormatBanner, rtb.FormatVideo, rtb.FormatAudio, rtb.FormatNative} {
			if !p.Sends(p.BillingSource(f).Notice()) {
				t.Errorf("%s: %s is billed on a notice that bids do not carry", file, f)
			}
		}
	}
}

// keysFor replaces the environment's keys of an example by keys that are valid.
func keysFor(text string) string {
	for _, name := range []string{"GOOGLE_PRICE_ENCRYPTION", "GOOGLE_PRICE_INTEGRITY", "OPENX_PRICE_ENCRYPTION", "OPENX_PRICE_INTEGRITY"} {
		text = strings.ReplaceAll(text, "${"+name+"}", strings.Repeat("A", 43))
	}
	return text
}

func TestResponseExt(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) {
		s.ResponseExt, s.ProcessingTime = map[string]string{"protocol": "5.3", "a": `"`}, true
	})
	got := string(AppendResponse(nil, p, r0Opportunity(), &Response{Offers: []rtb.Offer{fullOffer()}, Took: 7 * time.Millisecond}))
	if want := `]}],"ext":{"a":"\"","protocol":"5.3","processing_time_ms":7}}`; !strings.HasSuffix(got, want) {
		t.Errorf("got %s; want it to end in %s", got, want)
	}
	if got, want := string(p.AppendNoBid(nil, r0Opportunity(), rtb.NoBidLate, 0)), `{"id":"r0","nbr":15,"ext":{"a":"\"","protocol":"5.3"}}`; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

func TestClickMacrosByFormat(t *testing.T) {
	p := testProfile(t, func(s *ProfileSpec) {
		s.ClickMacro, s.ClickMacroEsc, s.ClickMacroFormats = "%%C%%", "%%E%%", []string{"banner", "native"}
	})
	for f, want := range map[rtb.Formats]string{rtb.FormatBanner: "%%C%%%%E%%", rtb.FormatNative: "%%C%%%%E%%", rtb.FormatVideo: "", rtb.FormatAudio: ""} {
		if macro, escaped := p.ClickMacros(f); macro+escaped != want {
			t.Errorf("%s: got %q; want %q", f, macro+escaped, want)
		}
	}
}

func TestIsUUID(t *testing.T) {
	for text, want := range map[string]bool{"aebe52e7-03ee-455a-b3c4-e57283966239": true, "AEBE52E7-03EE-455A-B3C4-E57283966239": true,
		"aebe52e703ee455ab3c4e57283966239": false, "aebe52e7-03ee-455a-b3c4-e5728396623g": false, "": false, "aebe52e7x03ee-455a-b3c4-e57283966239": false} {
		if isUUID([]byte(text)) != want {
			t.Errorf("%q: got %v; want %v", text, !want, want)
		}
	}
}
