package privacy

import "math/bits"

// Purposes of the TCF, as bits of a mask (IAB Europe TCF Policies, appendix A).
const (
	purposeStore      = 1            // 1: store or read information on a device
	purposeSelectAds  = 1 << (2 - 1) // 2: select advertising with limited data
	purposeMakeProf   = 1 << (3 - 1) // 3: create advertising profiles
	purposeUseProf    = 1 << (4 - 1) // 4: use profiles to select advertising
	purposeMakeCProf  = 1 << (5 - 1) // 5: create content profiles
	purposeUseCProf   = 1 << (6 - 1) // 6: use profiles to select content
	purposeMeasureAds = 1 << (7 - 1) // 7: measure advertising

	// consentOnly are the purposes for which legitimate interest is not a basis: 1
	// by law, 3 to 6 since TCF 2.2.
	consentOnly = purposeStore | purposeMakeProf | purposeUseProf | purposeMakeCProf | purposeUseCProf
	// retargeting are the purposes that a bid based on a profile needs.
	retargeting = purposeStore | purposeSelectAds | purposeMakeProf | purposeUseProf | purposeMeasureAds

	allPurposes = 1<<24 - 1
)

// Restriction types (TCF, publisher restrictions).
const (
	restrictForbidden  = 0
	restrictConsent    = 1
	restrictInterest   = 2
	maxSegments        = 8  // of one TCF string or GPP section; the formats define four and three
	specialFeaturePGeo = 11 // bit of special feature 1, precise geolocation, in the 12 as read
)

// disclosureRequired is when the segment of disclosed vendors became mandatory:
// a string created after 28 February 2026 is invalid without it (TCF 2.3). It is
// in tenths of a second since 1970 UTC, like the timestamps of a TCF string.
const disclosureRequired = 17723232000 // 2026-03-01T00:00:00Z

// tcString holds the content of one TCF string that concerns one vendor. Purpose masks have
// purpose 1 in bit 0.
type tcString struct {
	ok              bool // the whole string was read and is valid
	mustDisclose    bool // it is invalid without a segment of disclosed vendors
	policyVersion   uint8
	purposeOneAway  bool // PurposeOneTreatment: purpose 1 was not shown to the user
	publisherCC     [2]byte
	consent         uint32 // purposes that the user agreed to
	interest        uint32 // purposes with legitimate interest, not objected to
	vendorConsent   bool
	vendorInterest  bool
	restricted      [3]uint32 // purposes by type of restriction on the vendor
	disclosed       bool      // it has a segment of disclosed vendors
	vendorDisclosed bool      // which includes the vendor
	preciseGeo      bool      // the user opted in to special feature 1
}

// parseTCF parses a TCF 2 string (core and segments) for one vendor.
func parseTCF(s []byte, vendor int) tcString {
	core, rest, more := nextPart(s, '.')
	t := parseCore(core, vendor)
	t.segments(rest, more, vendor)
	return t
}

// parseCore parses the core segment (TCF "Consent string and vendor list formats
// v2", TC String Format). Strings of version 1 are deprecated and invalid, and so
// are strings of global scope, whose IsServiceSpecific is 0.
func parseCore(core []byte, vendor int) (t tcString) {
	if !isBase64(core) {
		return t
	}
	r := bitReader{s: core}
	if r.take(6) != 2 {
		return t
	}
	created, updated := r.timestamp(), r.timestamp()
	t.mustDisclose = max(created, updated) >= disclosureRequired
	r.skip(12 + 12 + 6 + 12) // CMP id and version, screen, language
	if r.take(12) == 0 {     // vendor list version; the first list was 1
		return t
	}
	t.policyVersion = uint8(r.take(6))
	serviceSpecific := r.flag()
	r.skip(1) // non-standard texts
	t.preciseGeo = r.take(12)>>specialFeaturePGeo == 1
	t.consent = purposeMask(r.take(24))
	t.interest = purposeMask(r.take(24))
	t.purposeOneAway = r.flag()
	t.publisherCC = [2]byte{'A' + byte(r.take(6)), 'A' + byte(r.take(6))}
	t.vendorConsent = vendorIn(&r, vendor)
	t.vendorInterest = vendorIn(&r, vendor)
	t.restrictions(&r, vendor)
	t.ok = !r.bad && serviceSpecific
	return t
}

// timestamp reads a point in time: tenths of a second since 1970 UTC.
func (r *bitReader) timestamp() uint64 {
	high := uint64(r.take(18))
	return high<<18 | uint64(r.take(18))
}

// purposeMask converts 24 bits as read (purpose 1 first) to a mask with purpose 1
// in bit 0.
func purposeMask(read uint32) uint32 { return bits.Reverse32(read) >> 8 }

// vendorIn reads a set of vendors, a bit field or ranges, and reports whether it
// includes the vendor.
func vendorIn(r *bitReader, vendor int) (in bool) {
	highest := int(r.take(16))
	if r.flag() {
		return vendorInRanges(r, vendor, highest)
	}
	if vendor >= 1 && vendor <= highest {
		in = r.at(r.pos+vendor-1, 1) == 1
	}
	r.skip(highest)
	return in
}

// vendorInRanges reads a list of single ids and ranges. A read past the end of
// the text stops it, so its work is bounded by the length of the text.
func vendorInRanges(r *bitReader, vendor, highest int) (in bool) {
	for n := r.take(12); n > 0 && !r.bad; n-- {
		group := r.flag()
		first := int(r.take(16))
		last := first
		if group {
			last = int(r.take(16))
		}
		if first == 0 || last < first || last > highest {
			r.bad = true
		}
		in = in || first <= vendor && vendor <= last
	}
	return in && !r.bad
}

// restrictions reads the publisher restrictions and keeps those on the vendor.
// The undefined type 3 counts as forbidden.
func (t *tcString) restrictions(r *bitReader, vendor int) {
	for n := r.take(12); n > 0 && !r.bad; n-- {
		purpose := r.take(6)
		kind := r.take(2)
		if kind > restrictInterest {
			kind = restrictForbidden
		}
		if vendorInRanges(r, vendor, 0xFFFF) && purpose >= 1 && purpose <= 24 {
			t.restricted[kind] |= 1 << (purpose - 1)
		}
	}
}

// segments reads the segments after the core; one that cannot be read makes the
// whole string invalid.
func (t *tcString) segments(rest []byte, more bool, vendor int) {
	for n := 0; t.ok && more; n++ {
		var s []byte
		s, rest, more = nextPart(rest, '.')
		if n == maxSegments || !t.segment(s, vendor) {
			*t = tcString{}
		}
	}
}

// segment reads one segment after the core. Only disclosed vendors (type 1)
// concern us: allowed vendors (2) are no longer in use, and publisher purposes
// (3) concern the publisher alone.
func (t *tcString) segment(s []byte, vendor int) bool {
	if !isBase64(s) {
		return false
	}
	r := bitReader{s: s}
	switch r.take(3) {
	case 0: // a second core
		return false
	case 1:
		in := vendorIn(&r, vendor)
		t.vendorDisclosed = in && (t.vendorDisclosed || !t.disclosed)
		t.disclosed = true
	}
	return !r.bad
}

// parseTCFCanada parses a Canadian TCF string (GPP section 5, version 1). It has
// express consent in place of consent, and implied consent in place of legitimate
// interest. It has neither a global scope nor mandatory disclosed vendors.
func parseTCFCanada(s []byte, vendor int) (t tcString) {
	core, rest, more := nextPart(s, '.')
	if !isBase64(core) {
		return t
	}
	r := bitReader{s: core}
	if r.take(6) != 1 {
		return t
	}
	r.skip(36 + 36 + 12 + 12 + 6 + 12 + 12) // up to the vendor list version
	t.policyVersion = uint8(r.take(6))
	r.skip(1) // non-standard texts
	t.preciseGeo = r.take(12)>>specialFeaturePGeo == 1
	t.consent = purposeMask(r.take(24))
	t.interest = purposeMask(r.take(24))
	t.vendorConsent = vendorIn(&r, vendor)
	t.vendorInterest = vendorIn(&r, vendor)
	if r.left() >= 12 { // early encoders wrote no restrictions
		t.restrictions(&r, vendor)
	}
	t.ok = !r.bad
	t.segments(rest, more, vendor)
	return t
}

// basis returns the mask of the purposes for which the vendor has a legal basis:
// publisher restrictions are applied first, and then the bits of the purpose and
// of the vendor must both be set for the same basis (conformance G4 to G7).
//
// flexible are the purposes that the vendor registered as flexible. For any
// other purpose, a restriction that requires a basis other than the registered
// one forbids the purpose. The basis registered for purposes 2, 7 and above is
// not known here, so a restriction of either type forbids them.
func (t *tcString) basis(flexible uint32) uint32 {
	if !t.disclosedUs() {
		return 0
	}
	var consent, interest uint32
	if t.vendorConsent {
		consent = t.consent
	}
	if t.vendorInterest {
		interest = t.interest &^ consentOnly
	}
	consent &^= t.restricted[restrictInterest]
	interest &^= t.restricted[restrictConsent]
	demanded := (t.restricted[restrictConsent] | t.restricted[restrictInterest]) &^ flexible
	forbidden := t.restricted[restrictForbidden] | demanded&^consentOnly
	return (consent | interest) &^ forbidden & allPurposes
}

// disclosedUs reports whether the string is valid and does not say that the
// vendor was kept from the user (conformance G7).
func (t *tcString) disclosedUs() bool {
	return t.ok && (t.vendorDisclosed || !t.disclosed && !t.mustDisclose)
}

// vendorMayStore reports whether the user's consent is all that is missing for
// purpose 1.
func (t *tcString) vendorMayStore() bool {
	forbidden := t.restricted[restrictForbidden] | t.restricted[restrictInterest]
	return t.disclosedUs() && t.vendorConsent && forbidden&purposeStore == 0
}
