package privacy

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// gdprReading is the result of another decoder, go-gdpr, for a TCF core string
// and the vendor us42. internal/bench writes the golden file.
type gdprReading struct {
	String         string
	Unreadable     bool
	Policy         int
	Consent        uint32
	Interest       uint32
	PurposeOneAway bool `json:"purpose_one_away"`
	VendorConsent  bool `json:"vendor_consent"`
	VendorInterest bool `json:"vendor_interest"`
	Restricted     [3]uint32
	PreciseGeo     bool `json:"precise_geo"`
}

// Our decoder and go-gdpr read the same core strings alike. The golden file leaves
// out what they are known to disagree on:
//   - go-gdpr ignores everything after the first dot, so disclosed vendors are not
//     compared (conformance G7);
//   - it accepts any version from 2 on; we accept only 2;
//   - it keeps the last of two restrictions of one purpose and type; we keep both;
//   - it rejects a range that ends where it begins; we accept it;
//   - it panics on some truncated strings (G16).
func TestAgainstGoGDPR(t *testing.T) {
	text, err := os.ReadFile("testdata/gogdpr.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for line := range bytes.Lines(text) {
		var want gdprReading
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		ours := parseTCF([]byte(want.String), us42)
		got := gdprReading{String: want.String, Unreadable: !ours.ok}
		if ours.ok {
			got = gdprReading{want.String, false, int(ours.policyVersion), uint32(ours.consent), uint32(ours.interest), ours.purposeOneAway, ours.vendorConsent,
				ours.vendorInterest, [3]uint32(ours.restricted), ours.preciseGeo}
		}
		if got != want {
			t.Errorf("%s:\nwe read       %+v\ngo-gdpr reads %+v", want.String, got, want)
		}
		compared++
	}
	if compared < 300 {
		t.Errorf("compared %d strings; want at least 300", compared)
	}
}
