package privacy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"rebound/internal/conformance"
	"rebound/rtb"
)

// granted is a string that allows us every purpose by consent.
func granted() *tcfSpec {
	us := vendors{spans: []span{{us42, us42}}}
	return &tcfSpec{version: 2, gvl: 100, policy: 5, cc: "FR", unit: 8, consent: []int{1, 2, 3, 4, 7}, vendorConsent: us, vendorInterest: us}
}

// Publisher restrictions on us, type by type (conformance G6).
func TestRestrictions(t *testing.T) {
	conformance.Covers(t, "G6")
	const refused, allowed = false, true
	for _, c := range []struct {
		name               string
		purpose, kind      int
		byInterest         bool // the purpose rests on legitimate interest, not consent
		plain, registeredF bool // allowed, and allowed when registered as flexible
	}{
		{"forbidden", 2, 0, false, refused, refused},
		{"forbidden, on interest", 2, 0, true, refused, refused},
		{"consent demanded and given", 2, 1, false, refused, allowed},
		{"consent demanded, interest there", 2, 1, true, refused, refused},
		{"interest demanded, consent there", 7, 2, false, refused, refused},
		{"interest demanded and there", 7, 2, true, refused, allowed},
		{"consent demanded where nothing else would do", 3, 1, false, allowed, allowed},
		{"interest demanded where it never will do", 4, 2, false, refused, refused},
		{"no such type", 3, 3, false, refused, refused},
		{"a purpose that we do not need", 10, 0, false, allowed, allowed},
		{"no such purpose", 40, 0, false, allowed, allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := granted()
			if c.byInterest {
				spec.consent = []int{1, 3, 4, 9 - c.purpose}
				spec.interest = []int{c.purpose}
			}
			spec.restrictions = []restriction{{c.purpose, c.kind, []span{{us42, us42}}}}
			flexible := &Policy{VendorID: us42, FlexiblePurposes: []int{2, 7}}
			for p, want := range map[*Policy]bool{shop(): c.plain, flexible: c.registeredF} {
				got := p.Decide(gdpr(spec.String()))
				if (got.Level == rtb.LevelPersonalised) != want {
					t.Errorf("flexible %v: got %+v; want allowed %v", p.FlexiblePurposes, got, want)
				}
			}
			spec.restrictions[0].spans = []span{{1, us42 - 1}, {us42 + 1, 900}}
			if got := shop().Decide(gdpr(spec.String())); got.Level != rtb.LevelPersonalised {
				t.Errorf("on others: got %+v; want us untouched", got)
			}
		})
	}
}

func TestOddTCFStrings(t *testing.T) {
	conformance.Covers(t, "G16")
	for _, c := range []struct {
		name string
		edit func(*tcfSpec)
		want rtb.Level
	}{
		{"as it is", func(*tcfSpec) {}, rtb.LevelPersonalised},
		{"in ranges", func(s *tcfSpec) { s.vendorConsent.ranges = true }, rtb.LevelPersonalised},
		{"a range of one, written as a range", func(s *tcfSpec) { s.vendorConsent = vendors{ranges: true, spans: []span{{41, 42}}} }, rtb.LevelPersonalised},
		{"a range backwards", func(s *tcfSpec) { s.vendorConsent = vendors{ranges: true, spans: []span{{43, 41}, {42, 42}}} }, rtb.LevelNone},
		{"a vendor 0", func(s *tcfSpec) { s.vendorConsent = vendors{ranges: true, spans: []span{{0, 42}}} }, rtb.LevelNone},
		{"disclosed, twice, once without us", func(s *tcfSpec) { s.disclosed, s.tail = &vendors{max: 100}, ".IAZAAAAAAAQA" }, rtb.LevelNone},
		{"disclosed, twice, with us", func(s *tcfSpec) { s.disclosed, s.tail = &s.vendorConsent, ".IAZAAAAAAAQA" }, rtb.LevelPersonalised},
		{"disclosed vendors cut short", func(s *tcfSpec) { s.tail = ".IAZ" }, rtb.LevelNone},
		{"unknown segment", func(s *tcfSpec) { s.tail = ".gAAA" }, rtb.LevelPersonalised},
		{"more segments than there are kinds", func(s *tcfSpec) { s.tail = strings.Repeat(".YAAA", 9) }, rtb.LevelNone},
	} {
		spec := granted()
		c.edit(spec)
		if got := shop().Decide(gdpr(spec.String())); got.Level != c.want {
			t.Errorf("%s: got %+v; want %v", c.name, got, c.want)
		}
	}
	// A range past the highest vendor that the string itself names: 42 of 41.
	var b bitText
	spec := granted()
	spec.head(&b)
	b.int(2, 0)
	spec.purposes(&b)
	b.bool(false)
	b.letters("FR")
	b.int(16, 41)
	b.bool(true)
	b.spans([]span{{42, 42}})
	b.vendors(vendors{})
	spec.restrict(&b)
	if got := shop().Decide(gdpr(b.base64(8))); got.Level != rtb.LevelNone {
		t.Errorf("a range past the end: got %+v; want none", got)
	}
}

func TestOddGPPStrings(t *testing.T) {
	conformance.Covers(t, "G13", "G15")
	none := "BVVqAAAAAgA.QA"
	for _, c := range []struct {
		name, gpp string
		sids      []int
		allowed   bool
	}{
		{"a header without sections", "DBAA", nil, true},
		{"fewer sections than the header lists", gppHeaderOf([]int{7, 8}, false) + "~" + none, []int{7}, false},
		{"version 2 of the header", "DCABLA~" + none, []int{7}, false},
		{"header too long", "DBABLA" + strings.Repeat("A", 60) + "~" + none, []int{7}, false},
		{"header padded", "DBABLA" + strings.Repeat("A", 50) + "~" + none, []int{7}, true},
		{"not a header", "CBABLA~" + none, []int{7}, false},
		{"more ids than fit", gppHeaderOf(seq(1, 70), true) + strings.Repeat("~A", 70), []int{7}, false},
		{"unknown section, not named", gppOf(map[int]string{7: none, 30: "A"}, false), []int{7}, true},
		{"unknown section, named", gppOf(map[int]string{7: none, 30: "A"}, false), []int{7, 30}, false},
		{"unknown section, no gpp_sid", gppOf(map[int]string{7: none, 30: "A"}, false), nil, false},
		{"section past 63, named", gppOf(map[int]string{7: none, 100: "A"}, false), []int{100}, false},
		{"section past 63, no gpp_sid", gppOf(map[int]string{7: none, 100: "A"}, false), nil, false},
		{"one section too often", gppOf(map[int]string{7: none}, false), make65(7), false},
		{"one section 64 times", gppOf(map[int]string{7: none}, false), make65(7)[:64], true},
		{"header and integrity named beside it", gppOf(map[int]string{7: none}, false), []int{3, 4, 7}, true},
		{"only the integrity section named, the others refuse", "DBABLA~BVVaAAAAAgA.QA", []int{4}, false},
		{"only header and integrity named, the others refuse", "DBABLA~BVVaAAAAAgA.QA", []int{3, 4}, false},
		{"only header and integrity named, the others allow", gppOf(map[int]string{7: none}, false), []int{4, 3}, true},
		{"only the header named, a section unknown", gppOf(map[int]string{7: none, 30: "A"}, false), []int{3}, false},
		{"only the header named, and no string", "", []int{3}, true},
		{"undefined opt-out value", "DBABLA~BVVuAAAAAgA", []int{7}, false},
		{"a long string", "DBABLA~" + "BVVqAAAAAgA" + strings.Repeat("A", MaxStringLen-18), []int{7}, true},
		{"a string past the limit", "DBABLA~" + "BVVqAAAAAgA" + strings.Repeat("A", MaxStringLen-17), []int{7}, false},
		{"Canada granted", gppOf(map[int]string{5: canada(granted())}, false), []int{5}, true},
		{"Canada refused", gppOf(map[int]string{5: canada(&tcfSpec{unit: 8, vendorConsent: granted().vendorConsent})}, false), []int{5}, false},
		{"Europe in Canada's place", gppOf(map[int]string{5: tc1}, false), []int{5}, false},
	} {
		got := shop().Decide(&rtb.Signals{GDPR: rtb.No, Country: []byte("USA"), GPP: []byte(c.gpp), GPPSID: c.sids})
		if (got.Level == rtb.LevelPersonalised) != c.allowed {
			t.Errorf("%s: got %+v; want allowed %v", c.name, got, c.allowed)
		}
	}
}

func canada(s *tcfSpec) string {
	s.version = 1
	return s.Canada()
}

func seq(from, to int) (s []int) {
	for ; from <= to; from++ {
		s = append(s, from)
	}
	return s
}

func make65(id int) []int {
	s := make([]int, 65)
	for i := range s {
		s[i] = id
	}
	return s
}

// Every US section, cut to one character less than its fields need, is a
// refusal, and whole it is none.
func TestUSSectionsCutShort(t *testing.T) {
	conformance.Covers(t, "G13", "G14")
	for id := 7; id <= 27; id++ {
		u := &usSpec{id: id, gpc: -1, values: map[string][]int{}}
		bits := 6
		for _, f := range usFields[id] {
			bits += f.width * f.n
			u.values[f.name] = make([]int, f.n)
		}
		whole := u.String()
		cut := whole[:(bits-1)/6]
		if id >= 24 && len(cut) <= shortMSPAChars {
			cut = cut[:3] // four characters are a form of their own
		}
		if usRefuses(id, []byte(whole)) || !usRefuses(id, []byte(cut)) {
			t.Errorf("section %d of %d bits: %q refused %v, %q refused %v; want false and true", id, bits,
				whole, usRefuses(id, []byte(whole)), cut, usRefuses(id, []byte(cut)))
		}
	}
}

// Encoders wrote the national section's second layout as version 1 for a time.
func TestUSNationalSecondLayoutAsVersion1(t *testing.T) {
	u := generateUS(rand.New(rand.NewPCG(1, 1)), 7)
	for seed := uint64(2); u.layout() != -7 || u.refuses(); seed++ {
		u = generateUS(rand.New(rand.NewPCG(seed, 1)), 7)
	}
	u.gpc = -1
	asVersion1 := func() []byte { return []byte(fmt.Sprintf("B%s", u.String()[1:])) }
	if usRefuses(7, asVersion1()) {
		t.Errorf("%s: refused; want allowed", asVersion1())
	}
	u.values["KnownChild"][2] = 2
	if !usRefuses(7, asVersion1()) {
		t.Errorf("%s with a known child: allowed; want refused", asVersion1())
	}
}

// Purpose 1 that a listed country's law makes up for still needs the vendor.
func TestPurposeOneTreatmentNeedsTheVendor(t *testing.T) {
	p := &Policy{VendorID: us42, PurposeOneTreatment: []string{"FR"}}
	spec := granted()
	spec.oneAway, spec.consent = true, nil
	if g := p.Browser(&Consent{GDPR: []byte("1"), GDPRConsent: []byte(spec.String())}); !g.SetCookie {
		t.Errorf("got %+v; want a cookie", g)
	}
	spec.vendorConsent = vendors{max: 100}
	if g := p.Browser(&Consent{GDPR: []byte("1"), GDPRConsent: []byte(spec.String())}); g.SetCookie {
		t.Errorf("without the vendor's bit: got %+v; want no cookie", g)
	}
	spec = granted()
	spec.oneAway, spec.cc = true, "DE"
	if g := p.Browser(&Consent{GDPR: []byte("1"), GDPRConsent: []byte(spec.String())}); g.SetCookie {
		t.Errorf("another country, though the bit is set: got %+v; want no cookie", g)
	}
}
