package privacy

import (
	"math/rand/v2"
	"testing"

	"rebound/rtb"
)

// respec derives a string's content from its parsed form, for one vendor.
func (t *tcString) respec(vendor int) *tcfSpec {
	s := &tcfSpec{version: 2, gvl: 1, policy: int(t.policyVersion), geo: t.preciseGeo, oneAway: t.purposeOneAway, cc: string(t.publisherCC[:]), unit: 6}
	us := []span{{vendor, vendor}}
	for p := 1; p <= 24; p++ {
		if t.consent>>(p-1)&1 == 1 {
			s.consent = append(s.consent, p)
		}
		if t.interest>>(p-1)&1 == 1 {
			s.interest = append(s.interest, p)
		}
		for kind, mask := range t.restricted {
			if mask>>(p-1)&1 == 1 {
				s.restrictions = append(s.restrictions, restriction{p, kind, us})
			}
		}
	}
	if t.vendorConsent {
		s.vendorConsent = vendors{spans: us}
	}
	if t.vendorInterest {
		s.vendorInterest = vendors{spans: us, ranges: true}
	}
	if t.disclosed {
		s.disclosed = &vendors{max: 1}
		if t.vendorDisclosed {
			s.disclosed.spans = us
		}
	}
	return s
}

// FuzzTCF checks that no input panics, that a valid string keeps its meaning when the
// test's encoder writes it again, and that a generated string is read correctly.
func FuzzTCF(f *testing.F) {
	for i, s := range []string{tc1, tc2, tc3, tc4, tc5, tc6, tc7, tc8, tc9, tc10, tc11, hostile[2], hostile[3], "BONciguONcjGKADACHENAOLS1rAHDAFAAEAASABQAMwAeACEAFw", ""} {
		f.Add([]byte(s), uint16(42), uint64(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, vendor uint16, seed uint64) {
		if len(raw) > MaxStringLen {
			raw = raw[:MaxStringLen]
		}
		first := parseTCF(raw, int(vendor))
		if first.ok && vendor > 0 {
			text := first.respec(int(vendor)).String()
			if again := parseTCF([]byte(text), int(vendor)); again != first {
				t.Fatalf("%q for vendor %d:\n read %+v\nagain %+v\n from %s", raw, vendor, first, again, text)
			}
		}
		parseTCFCanada(raw, int(vendor))
		p := shop()
		spec := generateTCF(rand.New(rand.NewPCG(seed, 0)))
		if got, want := p.Decide(gdpr(spec.String())), expectTCF(spec, p); got.Level != want {
			t.Fatalf("%s of %+v: got %v; want %v", spec, spec, got.Level, want)
		}
	})
}

// FuzzGPP checks that no input panics or is read differently twice, that a section
// never allows more within a longer string than alone, and that a generated section
// is read correctly.
func FuzzGPP(f *testing.F) {
	for i, s := range []string{gppNone, gppSale, "DBABLA~CVVpAAAAAACA.QA", "DBABTA~1YYN", "DBACNYA~" + tc1 + "~1YNN", "DBABUYA~BBhWgAAA", hostile[0], hostile[1], "DBAA", ""} {
		f.Add([]byte(s), uint64(i))
	}
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		if len(raw) > MaxStringLen {
			raw = raw[:MaxStringLen]
		}
		g := parseGPP(raw, us42)
		if g != parseGPP(raw, us42) {
			t.Fatalf("%q: read differently twice", raw)
		}
		if g.refused&^g.present != 0 {
			t.Fatalf("%q: sections refused that are not there: %+v", raw, g)
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		u := generateUS(rng, 7+rng.IntN(21))
		sections := map[int]string{u.id: u.String()}
		if rng.IntN(2) == 0 {
			sections[6], sections[28+rng.IntN(30)] = "1YNN", "A"
		}
		text := gppOf(sections, rng.IntN(2) == 0)
		got := shop().Decide(&rtb.Signals{GDPR: rtb.No, GPP: []byte(text), GPPSID: []int{u.id}})
		if (got.Level == rtb.LevelPersonalised) == u.refuses() {
			t.Fatalf("%s of %+v: got %+v; want refused %v", text, u, got, u.refuses())
		}
	})
}

// FuzzDecide checks that no request panics, that the cache changes no result, that a
// further refusing signal never raises the level, and that nothing personal is allowed
// under the GDPR without a valid string.
func FuzzDecide(f *testing.F) {
	f.Add([]byte(tc1), []byte(gppNone), []byte("1YNN"), []byte("USA"), uint64(0x21), 7)
	f.Add([]byte(tc9), []byte("DBACNYA~"+tc1+"~1YNN"), []byte(""), []byte("de"), uint64(1), 2)
	f.Add([]byte(""), []byte(hostile[0]), []byte("1YY"), []byte(""), uint64(0xFFFFF), -1)
	cached := &Policy{VendorID: us42, UnknownCountryAllow: true, CacheEntries: 8}
	plain := &Policy{VendorID: us42, UnknownCountryAllow: true, CacheEntries: -1}
	f.Fuzz(func(t *testing.T, consent, gpp, usp, country []byte, flags uint64, sid int) {
		flag := func(i int) rtb.Flag { return rtb.Flag(flags >> (2 * i) & 3) }
		s := rtb.Signals{GDPR: flag(0), Consent: consent, USPrivacy: usp, GPP: gpp, GPC: flag(1), COPPA: flag(2), LMT: flag(3), DNT: flag(4),
			NPA: flag(5), Country: country, ConsentBad: flag(6) == 3, USPBad: flag(7) == 3, GPPBad: flag(8) == 3, GPPSIDBad: flag(9) == 3,
			ExtUnread: flag(10) == 3, AppliesDOOH: flag(11) == 3}
		if sid != 0 {
			s.GPPSID = []int{sid, int(flags >> 32 & 31)}
		}
		got := plain.Decide(&s)
		for range 3 {
			if again := cached.Decide(&s); again != got {
				t.Fatalf("%+v: got %+v; with a cache %+v", s, got, again)
			}
		}
		if (got.Level == rtb.LevelPersonalised) != (got.Refusal == rtb.NoBidNone) || got.Signal == "" {
			t.Fatalf("%+v: got %+v; want a reason exactly where something is refused", s, got)
		}
		if s.GDPR == rtb.Yes && got.Level == rtb.LevelPersonalised && !parseTCF(consent, us42).ok && !parseGPP(gpp, us42).europe.ok {
			t.Fatalf("%+v: got %+v without a readable consent string", s, got)
		}
		for name, worse := range map[string]func(*rtb.Signals){
			"coppa": func(s *rtb.Signals) { s.COPPA = rtb.Yes },
			"gdpr":  func(s *rtb.Signals) { s.GDPR = s.GDPR.Or(rtb.Yes) },
			"lmt":   func(s *rtb.Signals) { s.LMT = rtb.Unreadable },
			"usp":   func(s *rtb.Signals) { s.USPBad = true },
			"gpp":   func(s *rtb.Signals) { s.GPPBad = true },
			"sid":   func(s *rtb.Signals) { s.GPPSIDBad = true },
		} {
			w := s
			worse(&w)
			if after := plain.Decide(&w); after.Level > got.Level && !(name == "gpp" || name == "sid") {
				t.Fatalf("%+v: %v; with %s %v", s, got.Level, name, after.Level)
			}
		}
		plain.Browser(&Consent{GDPR: usp, GDPRConsent: consent, GPP: gpp, GPPSID: country, NPA: country, SecGPC: usp})
	})
}
