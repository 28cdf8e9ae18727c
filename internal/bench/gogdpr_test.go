package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/prebid/go-gdpr/consentconstants"
	tcf2 "github.com/prebid/go-gdpr/vendorconsent/tcf2"
)

var update = flag.Bool("update", false, "write what go-gdpr reads to the golden file")

const (
	readingsFile = "../../privacy/testdata/gogdpr.ndjson"
	vendor       = 42
)

// reading is a line of the golden file: a TCF core string and what go-gdpr reads
// from it for the vendor. The tests of privacy compare our own decoder with it.
type reading struct {
	String         string    `json:"string"`
	Unreadable     bool      `json:"unreadable,omitempty"`
	Policy         uint8     `json:"policy"`
	Consent        uint32    `json:"consent"`  // bit p-1 is purpose p
	Interest       uint32    `json:"interest"` // likewise
	PurposeOneAway bool      `json:"purpose_one_away,omitempty"`
	VendorConsent  bool      `json:"vendor_consent,omitempty"`
	VendorInterest bool      `json:"vendor_interest,omitempty"`
	Restricted     [3]uint32 `json:"restricted"` // by type of publisher restriction
	PreciseGeo     bool      `json:"precise_geo,omitempty"`
}

// TestGoGDPRReadings checks that go-gdpr still reads what the golden file records.
func TestGoGDPRReadings(t *testing.T) {
	text, err := os.ReadFile(readingsFile)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	compared := 0
	for line := range bytes.Lines(text) {
		var want reading
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		got := read(want.String)
		if got != want && !*update {
			t.Errorf("%s:\ngo-gdpr reads %+v\nwant          %+v", want.String, got, want)
		}
		if !got.Unreadable {
			compared++
		}
		line, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, line...), '\n')
	}
	if compared < 280 {
		t.Errorf("compared %d readable strings; want at least 280", compared)
	}
	if *update {
		if err := os.WriteFile(readingsFile, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// go-gdpr panics on these truncated strings, which is one reason why the bidder has
// a decoder of its own (conformance G16).
func TestGoGDPRPanics(t *testing.T) {
	for _, s := range []string{"CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgAJPAAAAA", "CP1x2oAP1R2oAAKABBENBkFgAAAAAAAAAAqIABMAAY"} {
		if !read(s).Unreadable {
			t.Errorf("%s: go-gdpr reads it now; update the note in privacy", s)
		}
	}
}

func read(s string) reading {
	m, err := parse(s)
	if err != nil {
		return reading{String: s, Unreadable: true}
	}
	r := reading{String: s, Policy: m.TCFPolicyVersion(), PurposeOneAway: m.PurposeOneTreatment(), VendorConsent: m.VendorConsent(vendor),
		VendorInterest: m.VendorLegitInterest(vendor), PreciseGeo: m.SpecialFeatureOptIn(1)}
	for p := range 24 {
		purpose := consentconstants.Purpose(p + 1)
		if m.PurposeAllowed(purpose) {
			r.Consent |= 1 << p
		}
		if m.PurposeLITransparency(purpose) {
			r.Interest |= 1 << p
		}
		for kind := range r.Restricted {
			if m.CheckPubRestriction(uint8(p+1), uint8(kind), vendor) {
				r.Restricted[kind] |= 1 << p
			}
		}
	}
	return r
}

// parse recovers from the panics of the library.
func parse(s string) (m tcf2.ConsentMetadata, err error) {
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
		return m, fmt.Errorf("got %T; want tcf2.ConsentMetadata", v)
	}
	return m, nil
}
