package privacy

import (
	"testing"
	"time"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// The strings of this file were made with an encoder of their own and
// cross-checked with other decoders before this package existed.
const (
	tc1  = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
	tc2  = "CP1R2oAP1R2oAAKABBENBkFgAHIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
	tc3  = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAZAAAAAAAgAAMgAAAAAAAAAA"
	tc4  = "CP1R2oAP1R2oAAKABBENBkFgAMIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAAA"
	tc5  = "CP1R2oAP1R2oAAKABBENBkFgAIAAAEIAAAqIAZAAAAAAAQAAMgAAAAAAIAAA"
	tc6  = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAZAAAAAAAQAAMgAAAAAAAAACIAAgAqA"
	tc7  = "CP1R2oAP1R2oAAKABBENBkFgAPIAAAAAAAqIAFAgAAoAAAA"
	tc8  = tc1 + ".IAZAAAAAAAQA"
	tc9  = tc1 + ".IAZAIAAAAAAA"
	tc10 = "CP1R2oAP1R2oAAKABBENBkFgAAAAAAAAAAqIAZAAAAAAAAAAMgAAAAAAAAAA"
	tc11 = "CP1R2oAP1R2oAAKABBENBkFgAHIAAAAAAIqIAZAAAAAAAQAAMgAAAAAAAAAA"
)

func shop() *Policy { return &Policy{VendorID: 42} }

func gdpr(consent string) *rtb.Signals {
	return &rtb.Signals{GDPR: rtb.Yes, Consent: []byte(consent), Country: []byte("FRA")}
}

func TestTCFVectors(t *testing.T) {
	conformance.Covers(t, "G2", "G4", "G5", "G7", "G8", "G10")
	for _, c := range []struct {
		name, consent string
		want          rtb.Level
	}{
		{"TC1 everything granted", tc1, rtb.LevelPersonalised},
		{"TC2 purpose 1 off", tc2, rtb.LevelContextual},
		{"TC3 vendor off", tc3, rtb.LevelNone},
		{"TC4 purposes 3 and 4 off", tc4, rtb.LevelContextual},
		{"TC5 purpose 1 by consent, 2 and 7 by legitimate interest", tc5, rtb.LevelContextual},
		{"TC6 publisher forbids purpose 4", tc6, rtb.LevelContextual},
		{"TC7 vendor beyond the list", tc7, rtb.LevelNone},
		{"TC8 disclosed vendors have us", tc8, rtb.LevelPersonalised},
		{"TC9 disclosed vendors lack us", tc9, rtb.LevelNone},
		{"TC10 nothing granted", tc10, rtb.LevelNone},
		{"TC11 purpose 1 not shown", tc11, rtb.LevelContextual},
		{"no string", "", rtb.LevelNone},
		{"version 1 string", "BONciguONcjGKADACHENAOLS1rAHDAFAAEAASABQAMwAeACEAFw", rtb.LevelNone},
		{"a GPP string", "DBABLA~BVVqAAAAAgA.QA", rtb.LevelNone},
		{"padding", tc1 + "=", rtb.LevelNone},
		{"cut short", tc1[:30], rtb.LevelNone},
		{"a dot too many", tc1 + ".", rtb.LevelNone},
		{"two cores", tc1 + "." + tc1, rtb.LevelNone},
		{"junk", "gdprConsentString", rtb.LevelNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shop().Decide(gdpr(c.consent))
			want := rtb.Permissions{Level: c.want, Signal: SignalTCF, ConsentHash: got.ConsentHash}
			if c.want != rtb.LevelPersonalised {
				want.Refusal = rtb.NoBidPrivacyGDPR
			}
			if got != want || (got.ConsentHash != 0) != (c.consent != "") {
				t.Errorf("got %+v; want %+v", got, want)
			}
		})
	}
}

func TestGPPVectors(t *testing.T) {
	conformance.Covers(t, "G12", "G13", "G14", "G20")
	for _, c := range []struct {
		name, gpp string
		sid       int
		allowed   bool
	}{
		{"GV1 usnat none", "DBABLA~BVVqAAAAAgA.QA", 7, true},
		{"GV2 usnat sale", "DBABLA~BVVaAAAAAgA.QA", 7, false},
		{"GV3 usnat sharing", "DBABLA~BVVmAAAAAgA.QA", 7, false},
		{"GV4 usnat targeted advertising", "DBABLA~BVVpAAAAAgA.QA", 7, false},
		{"GV5 usnat GPC", "DBABLA~BVVqAAAAAgA.YA", 7, false},
		{"GV6 usnat version 2 targeted advertising", "DBABLA~CVVpAAAAAACA.QA", 7, false},
		{"GV7 usca sale", "DBABBg~BVYAAACA", 8, false},
		{"GV8 usca none", "DBABBg~BVoAAACA", 8, true},
		{"GV9 uspv1 opted out", "DBABTA~1YYN", 6, false},
		{"GV10 tcfeu and usp, section 2", "DBACNYA~" + tc1 + "~1YNN", 2, true},
		{"GV10 tcfeu and usp, section 6", "DBACNYA~" + tc1 + "~1YNN", 6, true},
		{"GV10 with TC2, section 2", "DBACNYA~" + tc2 + "~1YNN", 2, false},
		{"GV12 ustx none", "DBABEw~BVoAAAgA", 16, true},
		{"GV13 ustx targeted advertising", "DBABEw~BVkAAAgA", 16, false},
		{"GV14 ustx sale", "DBABEw~BVYAAAgA", 16, false},
		{"GV15 usut targeted advertising", "DBABFg~BVZAAAgA", 11, false},
		{"GV16 usin none", "DBABUYA~BBhWgAAA", 25, true},
		{"GV17 usin targeted advertising", "DBABUYA~BBhWQAAA", 25, false},
		{"GV18 usmd targeted advertising", "DBABEYA~BBhWQA", 24, false},
		{"GV19 usva targeted advertising", "DBABRg~BVkAACA", 9, false},
		{"GV20 usva none", "DBABRg~BVoAACA", 9, true},
		{"G13 section not in the string", "DBABBg~BVoAAACA", 7, false},
		{"G13 unknown section", "DBABLA~BVVqAAAAAgA.QA", 40, false},
		{"G13 header alone", "DBABLA", 7, false},
		{"more sections than the header lists", "DBABLA~BVVqAAAAAgA.QA~1YNN", 7, false},
		{"G20 usnat known child", "DBABLA~BVVqAAAAkgA.QA", 7, false},
		{"cut short", "DBABLA~BVVqAAAAA", 7, false},
		{"usnat version 3", "DBABLA~DVVqAAAAAgA.QA", 7, false},
		{"unknown subsection", "DBABLA~BVVqAAAAAgA.gA", 7, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &rtb.Signals{GDPR: rtb.No, Country: []byte("USA"), GPP: []byte(c.gpp), GPPSID: []int{c.sid}}
			got := shop().Decide(s)
			if allowed := got.Level == rtb.LevelPersonalised; allowed != c.allowed {
				t.Fatalf("got %+v; want allowed %v", got, c.allowed)
			}
			if got.Signal != SignalGPP || !c.allowed && got.Refusal != rtb.NoBidPrivacyGPP {
				t.Errorf("got %+v; want signal gpp and its reason", got)
			}
		})
	}
}

func TestUSPrivacyVectors(t *testing.T) {
	conformance.Covers(t, "G11")
	for text, allowed := range map[string]bool{
		"1YYN": false, "1YNN": true, "1--": false, "1---": true, "1YY": false, "1-Y-": false, "1YN-": true,
		"1NYN": false, "1NNN": true, "2YNN": false, "1ynn": false, "1YNNN": false, "1YN?": false,
		"${US_PRIVACY}": false, "uspConsentString": false,
	} {
		s := &rtb.Signals{GDPR: rtb.No, Country: []byte("USA"), USPrivacy: []byte(text)}
		got := shop().Decide(s)
		if (got.Level == rtb.LevelPersonalised) != allowed || got.Signal != SignalUSP {
			t.Errorf("%q: got %+v; want allowed %v by usp", text, got, allowed)
		}
	}
}

// Strings on which other parsers spin (G15) or panic (G16).
var hostile = []string{
	"DBABKqqqqqqqqg", "DBABAAAAAAAAAAAI",
	"CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgAJPAAAAA",
	"CP1x2oAP1R2oAAKABBENBkFgAAAAAAAAAAqIABMAAY",
}

func TestHostileStrings(t *testing.T) {
	conformance.Covers(t, "G15", "G16")
	start := time.Now()
	for _, text := range hostile {
		p := &Policy{VendorID: 42, CacheEntries: -1}
		for range 1000 {
			as := gdpr(text)
			if got := p.Decide(as); got.Level != rtb.LevelNone {
				t.Fatalf("%q as consent: got %+v; want none", text, got)
			}
			for _, sids := range [][]int{nil, {7}, {2}} {
				g := &rtb.Signals{GDPR: rtb.No, GPP: []byte(text), GPPSID: sids}
				if got := p.Decide(g); got.Level == rtb.LevelPersonalised {
					t.Fatalf("%q as gpp with %v: got %+v; want a refusal", text, sids, got)
				}
			}
		}
	}
	if took := time.Since(start); took > 5*time.Second && !raceOn {
		t.Errorf("16,000 decisions took %v; want far below a second", took)
	}
}

// The longest strings that are read, built to make loops long.
func TestLongestStringsAreBounded(t *testing.T) {
	conformance.Covers(t, "G15")
	long := func(head, fill string) []byte {
		for len(head) < MaxStringLen {
			head += fill
		}
		return []byte(head[:MaxStringLen])
	}
	start := time.Now()
	p := &Policy{VendorID: 42, CacheEntries: -1}
	for _, s := range [][]byte{
		long(tc1[:37], "_"), long(tc1[:37], "A"), long(tc1, "."), long(tc1, ".IAZAAAAAAAQA"),
		long("DBABLA~", "~"), long("DB__", "_"), long("DBABLA~BVVqAAAAAgA", ".QA"), long("DBAA", "~"), long("DBABLA~", "A"),
	} {
		for range 100 {
			p.Decide(&rtb.Signals{GDPR: rtb.Yes, Consent: s, GPP: s})
		}
	}
	if took := time.Since(start); took > 5*time.Second && !raceOn {
		t.Errorf("1,800 parses of %d characters took %v; want well below a second", MaxStringLen, took)
	}
	over := append(long(tc1, "A"), 'A')
	if got := p.Decide(&rtb.Signals{GDPR: rtb.Yes, Consent: over}); got.Level != rtb.LevelNone || got.ConsentHash != 0 {
		t.Errorf("a string past the limit: got %+v; want none, unread", got)
	}
}
