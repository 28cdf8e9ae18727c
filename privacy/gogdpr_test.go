package privacy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/prebid/go-gdpr/consentconstants"
	tcf2 "github.com/prebid/go-gdpr/vendorconsent/tcf2"
)

// Another decoder reads the same core strings. Where the two are known to
// disagree, on purpose:
//   - go-gdpr ignores everything after the first dot, so disclosed vendors are
//     not compared (conformance G7);
//   - it accepts any version from 2 on; we accept 2 alone;
//   - it keeps the last of two restrictions of one purpose and type; we keep
//     both, so such strings are left out here;
//   - a range that ends where it begins is an error to it and not to us; our
//     encoder writes none;
//   - it panics on some strings that are cut short (G16); it is called here
//     under a recover, and nowhere else in the program.
func TestAgainstGoGDPR(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 15))
	compared := 0
	for range 1000 {
		spec := generateTCF(rng)
		if spec.version > 2 || spec.doubled() {
			continue
		}
		spec.unit = 8
		core, _, _ := strings.Cut(spec.String(), ".")
		theirs, err := parseGuarded(core)
		ours := parseTCF([]byte(core), us42)
		if ours.ok != (err == nil) {
			t.Fatalf("%s of %+v: we say readable %v; go-gdpr says %v", core, spec, ours.ok, err)
		}
		if err != nil {
			continue
		}
		compared++
		if got, want := fmt.Sprint(facts(&ours)), fmt.Sprint(theirFacts(theirs)); got != want {
			t.Fatalf("%s of %+v:\nwe read   %s\nthey read %s", core, spec, got, want)
		}
	}
	if compared < 800 {
		t.Errorf("compared %d strings; want at least 800", compared)
	}
	for _, s := range hostile[2:] {
		if _, err := parseGuarded(s); err == nil {
			t.Errorf("%s: go-gdpr reads it now; the note above can go", s)
		}
	}
}

func (t *tcfSpec) doubled() bool {
	seen := map[[2]int]bool{}
	for _, r := range t.restrictions {
		key := [2]int{r.purpose, r.kind}
		if seen[key] || r.kind == 3 {
			return true
		}
		seen[key] = true
	}
	return false
}

func parseGuarded(s string) (m tcf2.ConsentMetadata, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	v, err := tcf2.ParseString(s)
	if err != nil {
		return m, err
	}
	m, ok := v.(tcf2.ConsentMetadata)
	if !ok {
		return m, fmt.Errorf("an unknown kind %T", v)
	}
	return m, nil
}

func facts(t *tcString) []any {
	return []any{t.policyVersion, t.consent, t.interest, t.purposeOneAway, t.vendorConsent, t.vendorInterest, t.restricted, t.preciseGeo}
}

func theirFacts(m tcf2.ConsentMetadata) []any {
	var consent, interest uint32
	var restricted [3]uint32
	for p := range 24 {
		purpose := consentconstants.Purpose(p + 1)
		if m.PurposeAllowed(purpose) {
			consent |= 1 << p
		}
		if m.PurposeLITransparency(purpose) {
			interest |= 1 << p
		}
		for kind := range 3 {
			if m.CheckPubRestriction(uint8(p+1), uint8(kind), us42) {
				restricted[kind] |= 1 << p
			}
		}
	}
	return []any{m.TCFPolicyVersion(), consent, interest, m.PurposeOneTreatment(), m.VendorConsent(us42), m.VendorLegitInterest(us42), restricted, m.SpecialFeatureOptIn(1)}
}
