package privacy

import (
	"strings"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

const gppNone, gppSale = "DBABLA~BVVqAAAAAgA.QA", "DBABLA~BVVaAAAAAgA.QA"

// Every signal alone and combined with others, named by its rule.
func TestDecide(t *testing.T) {
	conformance.Covers(t, "G1", "G2", "G3", "G17", "G18", "G19", "G21", "V15", "I6")
	us, fr, ca := []byte("USA"), []byte("fr"), []byte("CAN")
	for _, c := range []struct {
		name    string
		signals rtb.Signals
		level   rtb.Level
		refusal rtb.NoBidReason
		signal  string
	}{
		{"G3 nothing said in Canada", rtb.Signals{Country: ca}, rtb.LevelPersonalised, 0, "none"},
		{"G1 coppa", rtb.Signals{Country: ca, COPPA: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyCOPPA, "coppa"},
		{"G1 coppa unreadable", rtb.Signals{Country: ca, COPPA: rtb.Unreadable}, rtb.LevelContextual, rtb.NoBidPrivacyCOPPA, "coppa"},
		{"G1 coppa 0", rtb.Signals{Country: ca, COPPA: rtb.No}, rtb.LevelPersonalised, 0, "none"},
		{"G2 no consent", rtb.Signals{Country: ca, GDPR: rtb.Yes}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"G2 consent no string", rtb.Signals{GDPR: rtb.Yes, Consent: []byte(tc1), ConsentBad: true}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"V6 gdpr unreadable, no consent", rtb.Signals{Country: ca, GDPR: rtb.Unreadable}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"V6 gdpr unreadable, consent", rtb.Signals{GDPR: rtb.Unreadable, Consent: []byte(tc1)}, rtb.LevelPersonalised, 0, "tcf"},
		{"G3 no flag in France", rtb.Signals{Country: fr}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"G3 no flag in France, consent", rtb.Signals{Country: fr, Consent: []byte(tc1)}, rtb.LevelPersonalised, 0, "tcf"},
		{"G3 flag 0 in France", rtb.Signals{Country: fr, GDPR: rtb.No, Consent: []byte(tc10)}, rtb.LevelPersonalised, 0, "none"},
		{"no flag in Canada, a refusing string", rtb.Signals{Country: ca, Consent: []byte(tc10)}, rtb.LevelPersonalised, 0, "none"},
		{"V15 ext lost in France", rtb.Signals{Country: fr, ExtUnread: true, Consent: []byte(tc1)}, rtb.LevelContextual, rtb.NoBidPrivacyGDPR, "tcf"},
		{"V15 ext lost in Canada", rtb.Signals{Country: ca, ExtUnread: true}, rtb.LevelPersonalised, 0, "none"},
		{"V15 ext lost, flag there", rtb.Signals{GDPR: rtb.Yes, ExtUnread: true, Consent: []byte(tc1)}, rtb.LevelPersonalised, 0, "tcf"},
		{"V15 ext lost in the US", rtb.Signals{Country: us, ExtUnread: true}, rtb.LevelContextual, rtb.NoBidPrivacyUSP, "usp"},
		{"V15 ext lost in the US, us_privacy there", rtb.Signals{Country: us, ExtUnread: true, USPrivacy: []byte("1YNN")}, rtb.LevelPersonalised, 0, "usp"},
		{"V15 ext lost, no country", rtb.Signals{ExtUnread: true}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"G11 us_privacy no string", rtb.Signals{Country: us, USPBad: true}, rtb.LevelContextual, rtb.NoBidPrivacyUSP, "usp"},
		{"G12 gpp", rtb.Signals{Country: us, GPP: []byte(gppNone), GPPSID: []int{7}}, rtb.LevelPersonalised, 0, "gpp"},
		{"G13 gpp no string", rtb.Signals{Country: us, GPP: []byte(gppNone), GPPBad: true}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"G13 gpp_sid unreadable", rtb.Signals{Country: us, GPP: []byte(gppNone), GPPSIDBad: true}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"G13 gpp_sid without gpp", rtb.Signals{Country: us, GPPSID: []int{7}}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"gpp_sid says that no section applies", rtb.Signals{Country: us, GPP: []byte(gppSale), GPPSID: []int{-1}}, rtb.LevelPersonalised, 0, "gpp"},
		{"gpp_sid says none and one", rtb.Signals{Country: us, GPP: []byte(gppNone), GPPSID: []int{-1, 7}}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"gpp without gpp_sid, nothing refused", rtb.Signals{Country: us, GPP: []byte(gppNone)}, rtb.LevelPersonalised, 0, "gpp"},
		{"gpp without gpp_sid, refused", rtb.Signals{Country: us, GPP: []byte(gppSale)}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"gpp without gpp_sid, unreadable", rtb.Signals{Country: us, GPP: []byte("gppString")}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"too many gpp_sid", rtb.Signals{Country: us, GPP: []byte(gppNone), GPPSID: make([]int, 1000)}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"consent in gpp only", rtb.Signals{GDPR: rtb.Yes, GPP: []byte("DBABMA~" + tc1), GPPSID: []int{2}}, rtb.LevelPersonalised, 0, "tcf"},
		{"consent in gpp only, section not named", rtb.Signals{GDPR: rtb.Yes, GPP: []byte("DBABMA~" + tc1), GPPSID: []int{-1}}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"consent refused, gpp grants", rtb.Signals{GDPR: rtb.Yes, Consent: []byte(tc2), GPP: []byte("DBABMA~" + tc1), GPPSID: []int{2}}, rtb.LevelContextual, rtb.NoBidPrivacyGDPR, "tcf"},
		{"G17 gpc in the US", rtb.Signals{Country: us, GPC: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyGPC, "gpc"},
		{"G17 gpc in Guam", rtb.Signals{Country: []byte("GU"), GPC: rtb.Unreadable}, rtb.LevelContextual, rtb.NoBidPrivacyGPC, "gpc"},
		{"G17 gpc in Canada", rtb.Signals{Country: ca, GPC: rtb.Yes}, rtb.LevelPersonalised, 0, "none"},
		{"G17 gpc and a US section", rtb.Signals{Country: ca, GPC: rtb.Yes, GPP: []byte(gppNone), GPPSID: []int{7}}, rtb.LevelContextual, rtb.NoBidPrivacyGPC, "gpc"},
		{"G17 gpc, no country", rtb.Signals{GDPR: rtb.No, GPC: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyGPC, "gpc"},
		{"G18 us_privacy allows, gpp refuses", rtb.Signals{Country: us, USPrivacy: []byte("1YNN"), GPP: []byte("DBABLA~BVVpAAAAAgA.QA"), GPPSID: []int{7}}, rtb.LevelContextual, rtb.NoBidPrivacyGPP, "gpp"},
		{"G18 gpp allows, us_privacy refuses", rtb.Signals{Country: us, USPrivacy: []byte("1YYN"), GPP: []byte(gppNone), GPPSID: []int{7}}, rtb.LevelContextual, rtb.NoBidPrivacyUSP, "usp"},
		{"G18 the lower level is named", rtb.Signals{COPPA: rtb.Yes, GDPR: rtb.Yes}, rtb.LevelNone, rtb.NoBidPrivacyGDPR, "tcf"},
		{"G18 the first of equals is named", rtb.Signals{Country: us, COPPA: rtb.Yes, LMT: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyCOPPA, "coppa"},
		{"G18 consent, and lmt", rtb.Signals{GDPR: rtb.Yes, Consent: []byte(tc1), LMT: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyLMT, "lmt"},
		{"G19 lmt", rtb.Signals{Country: ca, LMT: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyLMT, "lmt"},
		{"G19 dnt", rtb.Signals{Country: ca, DNT: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyLMT, "lmt"},
		{"G19 dnt unreadable", rtb.Signals{Country: ca, DNT: rtb.Unreadable}, rtb.LevelContextual, rtb.NoBidPrivacyLMT, "lmt"},
		{"G21 not personalised", rtb.Signals{Country: ca, NPA: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyNPA, "npa"},
		{"a screen is no person", rtb.Signals{Country: ca, AppliesDOOH: true}, rtb.LevelContextual, rtb.NoBidNoID, "none"},
		{"no country", rtb.Signals{}, rtb.LevelNone, rtb.NoBidPrivacyUnknownCountry, "country"},
		{"no such country", rtb.Signals{Country: []byte("TST")}, rtb.LevelNone, rtb.NoBidPrivacyUnknownCountry, "country"},
		{"no country, flag 0", rtb.Signals{GDPR: rtb.No}, rtb.LevelPersonalised, 0, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shop().Decide(&c.signals)
			if got.Level != c.level || got.Refusal != c.refusal || got.Signal != c.signal {
				t.Errorf("got %v %v %q; want %v %v %q", got.Level, got.Refusal, got.Signal, c.level, c.refusal, c.signal)
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	conformance.Covers(t, "G9", "G10")
	for _, c := range []struct {
		name    string
		policy  *Policy
		signals *rtb.Signals
		level   rtb.Level
		refusal rtb.NoBidReason
	}{
		{"no vendor id", &Policy{}, gdpr(tc1), rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"another vendor", &Policy{VendorID: 43}, gdpr(tc1), rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"unknown country allowed", &Policy{UnknownCountryAllow: true}, &rtb.Signals{}, rtb.LevelPersonalised, 0},
		{"unknown country allowed, junk consent", &Policy{VendorID: 42, UnknownCountryAllow: true}, &rtb.Signals{Consent: []byte("test_consent")}, rtb.LevelPersonalised, 0},
		{"unknown country allowed, a refusing string", &Policy{VendorID: 42, UnknownCountryAllow: true}, &rtb.Signals{Consent: []byte(tc2)}, rtb.LevelContextual, rtb.NoBidPrivacyGDPR},
		{"unknown country allowed, ext lost", &Policy{VendorID: 42, UnknownCountryAllow: true}, &rtb.Signals{ExtUnread: true}, rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"unknown country refused, contextual kept", &Policy{ContextualWithoutBasis: true}, &rtb.Signals{}, rtb.LevelContextual, rtb.NoBidPrivacyUnknownCountry},
		{"no basis, contextual kept", &Policy{VendorID: 42, ContextualWithoutBasis: true}, gdpr(tc10), rtb.LevelContextual, rtb.NoBidPrivacyGDPR},
		{"gdpr rtb.CountryCodes of one's own", &Policy{VendorID: 42, GDPRCountries: []string{"BRA"}}, &rtb.Signals{Country: []byte("br")}, rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"gdpr rtb.CountryCodes of one's own leave others out", &Policy{VendorID: 42, GDPRCountries: []string{"BRA"}}, &rtb.Signals{Country: []byte("FRA")}, rtb.LevelPersonalised, 0},
		{"G10 purpose one treatment, listed", &Policy{VendorID: 42, PurposeOneTreatment: []string{"fr"}}, gdpr(tc11), rtb.LevelPersonalised, 0},
		{"G10 purpose one treatment, another listed", &Policy{VendorID: 42, PurposeOneTreatment: []string{"DE"}}, gdpr(tc11), rtb.LevelContextual, rtb.NoBidPrivacyGDPR},
		{"G9 newer policy wanted", &Policy{VendorID: 42, MinPolicyVersion: 6}, gdpr(tc1), rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"disclosed vendors wanted, missing", &Policy{VendorID: 42, RequireDisclosedVendors: true}, gdpr(tc1), rtb.LevelNone, rtb.NoBidPrivacyGDPR},
		{"disclosed vendors wanted, there", &Policy{VendorID: 42, RequireDisclosedVendors: true}, gdpr(tc8), rtb.LevelPersonalised, 0},
		{"gpc everywhere", &Policy{GPCEverywhere: true}, &rtb.Signals{Country: []byte("JPN"), GPC: rtb.Yes}, rtb.LevelContextual, rtb.NoBidPrivacyGPC},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.policy.Decide(c.signals)
			if got.Level != c.level || got.Refusal != c.refusal {
				t.Errorf("got %+v; want %v %v", got, c.level, c.refusal)
			}
		})
	}
}

func TestCountries(t *testing.T) {
	conformance.Covers(t, "G3")
	p := shop()
	p.ready()
	for code, want := range map[string]region{
		"DE": regionGDPR, "deu": regionGDPR, "GB": regionGDPR, "GBR": regionGDPR, "UK": regionGDPR, "CHE": regionGDPR, "EL": regionGDPR,
		"GRC": regionGDPR, "NO": regionGDPR, "LI": regionGDPR, "ISL": regionGDPR, "REU": regionGDPR, "IC": regionGDPR, "EU": regionGDPR,
		"US": regionUS, "usa": regionUS, "PRI": regionUS, "CA": regionOther, "CAN": regionOther, "TUR": regionOther, "XK": regionOther,
		"": regionUnknown, "D": regionUnknown, "DEUT": regionUnknown, "XX": regionUnknown, "TST": regionUnknown, "12": regionUnknown,
		"D\xff": regionUnknown, "Germany": regionUnknown,
	} {
		if got := p.regions.of([]byte(code)); got != want {
			t.Errorf("%q: got region %d; want %d", code, got, want)
		}
	}
	if n := len(strings.Fields(rtb.CountryCodes)); n != 255 { // 249 of ISO 3166-1, and UK, EL, IC, EA, XK, EU
		t.Errorf("the table holds %d codes; want 255", n)
	}
}

// Sections 24 to 27 as IAB Tech Lab's own encoder has written them over time:
// without a version, and with a header; and Virginia with every field set.
func TestUSSectionsOfTheReferenceEncoder(t *testing.T) {
	conformance.Covers(t, "G14")
	for _, c := range []struct {
		id      int
		section string
		allowed bool
	}{
		{25, "BQAA.AAA", true}, {25, "BVVV.kkk", false}, {25, "ZBAA.AQAA", true}, {25, "ZBABYA.BVVV.kkk", false},
		{24, "BQAA.QA", true}, {24, "BVVU.YA", false}, {24, "BQAA.YA", false}, {24, "BQAA", true},
		{9, "BbYbG9sA", false}, {25, "ZBAA", false}, {25, "ZCAA.AQAA", false}, {25, "aBAA.AQAA", false}, {26, "aBAA.AQAA", true}, {27, "bBAA.AQAA", true},
		{24, "BQAA.gA", false}, {25, "BQAA.YA", false}, {25, "BQAA.", false}, {9, "", false}, {9, "B!", false},
	} {
		if got := !usRefuses(c.id, []byte(c.section)); got != c.allowed {
			t.Errorf("section %d %q: got allowed %v; want %v", c.id, c.section, got, c.allowed)
		}
	}
}

func TestPreciseGeoAndHash(t *testing.T) {
	conformance.Covers(t, "G27")
	spec := &tcfSpec{version: 2, gvl: 1, policy: 5, cc: "FR", unit: 8, consent: []int{1, 2, 3, 4, 7},
		vendorConsent: vendors{spans: []span{{42, 42}}}}
	p := shop()
	without := p.Decide(gdpr(spec.String()))
	spec.geo = true
	with := p.Decide(gdpr(spec.String()))
	if without.Level != rtb.LevelPersonalised || without.PreciseGeo || !with.PreciseGeo {
		t.Errorf("special feature 1: got %+v without, %+v with", without, with)
	}
	if free := p.Decide(&rtb.Signals{Country: []byte("CAN")}); !free.PreciseGeo || free.ConsentHash != 0 {
		t.Errorf("outside the GDPR: got %+v; want precise coordinates allowed, no hash", free)
	}
	if without.ConsentHash == with.ConsentHash {
		t.Error("two strings have one hash")
	}
	// The hash is part of records, so it must not change between runs and releases.
	if got := textHash([]byte(tc1)); got != 0x9f8f2bca2e6d72d9 {
		t.Errorf("hash of TC1 is %#x", got)
	}
}

func TestCheck(t *testing.T) {
	good := &Policy{VendorID: 42, GDPRCountries: []string{"FRA", "de"}, PurposeOneTreatment: []string{"DE"}, FlexiblePurposes: []int{2, 7}}
	if r := good.Check(); len(r.Problems)+len(r.Warnings) != 0 {
		t.Errorf("got %v; want nothing", r)
	}
	bad := &Policy{VendorID: 70000, GDPRCountries: []string{"XX"}, PurposeOneTreatment: []string{"DEU"}, MinPolicyVersion: 64,
		FlexiblePurposes: []int{0}, CacheEntries: 1 << 30}
	var paths []string
	for _, p := range bad.Check().Problems {
		paths = append(paths, p.Path)
	}
	want := "[vendor_id gdpr_countries purpose_one_treatment[0] min_policy_version flexible_purposes[0] cache_entries]"
	if got := fmtPaths(paths); got != want {
		t.Errorf("got %s; want %s", got, want)
	}
	if warnings := new(Policy).Check().Warnings; len(warnings) != 1 || warnings[0].Path != "vendor_id" {
		t.Errorf("no vendor id: got warnings %v; want one", warnings)
	}
}
