package privacy

import (
	"fmt"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

func fmtPaths(p []string) string { return fmt.Sprint(p) }

func TestBrowser(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	const none, cookie, all = 0, 1, 2
	for _, c := range []struct {
		name    string
		consent Consent
		want    int
		refusal rtb.NoBidReason
	}{
		{"nothing said", Consent{}, all, 0},
		{"opted out", Consent{OptOut: true, GDPR: b("0")}, none, rtb.NoBidPrivacyOptedOut},
		{"C4 TC1", Consent{GDPR: b("1"), GDPRConsent: b(tc1)}, all, 0},
		{"C4 TC2", Consent{GDPR: b("1"), GDPRConsent: b(tc2)}, none, rtb.NoBidPrivacyGDPR},
		{"C4 TC3", Consent{GDPR: b("1"), GDPRConsent: b(tc3)}, none, rtb.NoBidPrivacyGDPR},
		{"C4 TC10", Consent{GDPR: b("1"), GDPRConsent: b(tc10)}, none, rtb.NoBidPrivacyGDPR},
		{"TC4: a cookie, no profile", Consent{GDPR: b("1"), GDPRConsent: b(tc4)}, cookie, rtb.NoBidPrivacyGDPR},
		{"TC5: a cookie, no profile", Consent{GDPR: b("1"), GDPRConsent: b(tc5)}, cookie, rtb.NoBidPrivacyGDPR},
		{"TC6: purpose 4 is not needed here", Consent{GDPR: b("1"), GDPRConsent: b(tc6)}, all, 0},
		{"gdpr without consent", Consent{GDPR: b("1")}, none, rtb.NoBidPrivacyGDPR},
		{"gdpr a macro", Consent{GDPR: b("${GDPR}")}, none, rtb.NoBidPrivacyGDPR},
		{"gdpr 0", Consent{GDPR: b("0"), GDPRConsent: b(tc10)}, all, 0},
		{"no flag, from France", Consent{Country: b("FR")}, none, rtb.NoBidPrivacyGDPR},
		{"no flag, a refusing string", Consent{GDPRConsent: b(tc10)}, none, rtb.NoBidPrivacyGDPR},
		{"us_privacy opt-out", Consent{USPrivacy: b("1YYN")}, none, rtb.NoBidPrivacyUSP},
		{"us_privacy", Consent{USPrivacy: b("1YNN")}, all, 0},
		{"gpp opt-out", Consent{GPP: b(gppSale), GPPSID: b("7")}, none, rtb.NoBidPrivacyGPP},
		{"gpp", Consent{GPP: b(gppNone), GPPSID: b("7")}, all, 0},
		{"gpp, two sections named", Consent{GPP: b("DBACNYA~" + tc1 + "~1YNN"), GPPSID: b("2_6")}, all, 0},
		{"gpp TC4: a cookie, no profile", Consent{GPP: b("DBABMA~" + tc4), GPPSID: b("2")}, cookie, rtb.NoBidPrivacyGPP},
		{"gpp_sid unreadable", Consent{GPP: b(gppNone), GPPSID: b("7,x")}, none, rtb.NoBidPrivacyGPP},
		{"gpp_sid a macro", Consent{GPPSID: b("${GPP_SID}")}, none, rtb.NoBidPrivacyGPP},
		{"Sec-GPC", Consent{SecGPC: b("1")}, none, rtb.NoBidPrivacyGPC},
		{"Sec-GPC in Canada", Consent{SecGPC: b("1"), Country: b("CAN")}, none, rtb.NoBidPrivacyGPC},
		{"npa", Consent{NPA: b("1")}, none, rtb.NoBidPrivacyNPA},
		{"npa 0", Consent{NPA: b("0")}, all, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &Policy{VendorID: 42, UnknownCountryAllow: true}
			got := p.Browser(&c.consent)
			want := Grant{SetCookie: c.want >= cookie, Sync: c.want >= cookie, StoreProfile: c.want == all,
				Refusal: c.refusal}
			if got != want {
				t.Errorf("got %+v; want %+v", got, want)
			}
		})
	}
	got := shop().Browser(&Consent{})
	if got.SetCookie || got.Refusal != rtb.NoBidPrivacyUnknownCountry {
		t.Errorf("nothing said under a refusing policy: got %+v; want nothing allowed", got)
	}
}

func TestParseSIDs(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]", "7": "[7]", "7,8": "[7 8]", "2_6_7": "[2 6 7]", "-1": "[-1]",
		",": "bad", "7,": "bad", ",7": "bad", "7,,8": "bad", "-": "bad", "--1": "bad", "1-": "bad", "[7]": "bad", "999999": "bad", "7 8": "bad",
		"1,1,1,1": "[1 1 1 1]", "1,1,1,1,1": "bad",
	} {
		ids, ok := parseSIDs([]byte(text), make([]int, 0, 4))
		got := fmt.Sprint(ids)
		if !ok {
			got = "bad"
		}
		if got != want {
			t.Errorf("%q: got %s; want %s", text, got, want)
		}
	}
}

// G7, G28, G29: the rules of a bid request hold at the pixel too.
func TestBrowserFollowsTheSameRules(t *testing.T) {
	conformance.Covers(t, "G7", "G28", "G29")
	p := shop()
	for _, c := range []struct {
		name    string
		consent Consent
		allowed bool
	}{
		{"usnat", Consent{GDPR: []byte("0"), GPP: []byte("DBABLA~BVVqAAAAAgA.QA"), GPPSID: []byte("7")}, true},
		{"usnat in service provider mode", Consent{GDPR: []byte("0"), GPP: []byte("DBABL~CVQqAAAAAABk"), GPPSID: []byte("7")}, false},
		{"usca in service provider mode", Consent{GDPR: []byte("0"), GPP: []byte("DBABBg~BVoAAABk"), GPPSID: []byte("8")}, false},
		{"usmd in service provider mode", Consent{GDPR: []byte("0"), GPP: []byte("DBABEY~BBZWg"), GPPSID: []byte("24")}, false},
		{"usnat without a sharing notice", Consent{GDPR: []byte("0"), GPP: []byte("DBABL~BlQqAAAAAAW"), GPPSID: []byte("7")}, false},
		{"usnat without a sale notice", Consent{GDPR: []byte("0"), GPP: []byte("DBABL~BagAAAAAAAW"), GPPSID: []byte("7")}, false},
		{"of November 2026, vendors disclosed", Consent{GDPR: []byte("1"), GDPRConsent: []byte("CQtAQoAQtAQoAAKABAENBkFgAPLAAELAAAYgAZAAAAAAAQAAMgAAAAAAIAAA.IAZAAAAAAAQA")}, true},
		{"of November 2026, no vendors disclosed", Consent{GDPR: []byte("1"), GDPRConsent: []byte("CQtAQoAQtAQoAAKABAENBkFgAPLAAELAAAYgAZAAAAAAAQAAMgAAAAAAIAAA")}, false},
		{"of global scope", Consent{GDPR: []byte("1"), GDPRConsent: []byte("CQtAQoAQtAQoAAKABAENBkFAAPLAAELAAAYgAZAAAAAAAQAAMgAAAAAAIAAA.IAZAAAAAAAQA")}, false},
		{"of global scope in GPP", Consent{GDPR: []byte("1"), GPP: []byte("DBABMA~CQtAQoAQtAQoAAKABAENBkFAAPLAAELAAAYgAZAAAAAAAQAAMgAAAAAAIAAA.IAZAAAAAAAQA"), GPPSID: []byte("2")}, false},
	} {
		if g := p.Browser(&c.consent); g.SetCookie != c.allowed || g.Sync != c.allowed || g.StoreProfile != c.allowed {
			t.Errorf("%s: got %+v; want allowed %v", c.name, g, c.allowed)
		}
	}
}
