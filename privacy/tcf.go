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

	// consentOnly are the purposes that legitimate interest never unlocks: 1 by
	// law, 3 to 6 since TCF 2.2.
	consentOnly = purposeStore | purposeMakeProf | purposeUseProf | purposeMakeCProf | purposeUseCProf
	// retargeting is what a bid that uses a profile needs.
	retargeting = purposeStore | purposeSelectAds | purposeMakeProf | purposeUseProf | purposeMeasureAds

	allPurposes = 1<<24 - 1
)

// Restriction types (TCF, publisher restrictions).
const (
	restrictForbidden  = 0
	restrictConsent    = 1
	restrictInterest   = 2
	maxSegments        = 8  // of one TCF string or GPP section; the formats know four and three
	specialFeaturePGeo = 11 // bit of special feature 1, precise geolocation, in the 12 as read
)

// tcString is what one TCF string says about one vendor. Purpose masks have
// purpose 1 in bit 0.
type tcString struct {
	ok              bool // it could be read, all of it
	policyVersion   uint8
	purposeOneAway  bool // PurposeOneTreatment: purpose 1 was not shown to the user
	publisherCC     [2]byte
	consent         uint32 // purposes that the user agreed to
	interest        uint32 // purposes with legitimate interest, not objected to
	vendorConsent   bool
	vendorInterest  bool
	restricted      [3]uint32 // purposes by type of restriction on the vendor
	disclosed       bool      // a segment of disclosed vendors is there
	vendorDisclosed bool      // and names the vendor
	preciseGeo      bool      // special feature 1 was opted in to
}

// parseTCF reads a TCF 2 string (core and segments) for one vendor.
func parseTCF(s []byte, vendor int) tcString {
	core, rest, more := nextPart(s, '.')
	t := parseCore(core, vendor)
	t.segments(rest, more, vendor)
	return t
}

// parseCore reads the core segment (TCF "Consent string and vendor list formats
// v2", TC String Format). Version 1 strings are refused: they are deprecated.
func parseCore(core []byte, vendor int) (t tcString) {
	if !isBase64(core) {
		return t
	}
	r := bitReader{s: core}
	if r.take(6) != 2 {
		return t
	}
	r.skip(36 + 36 + 12 + 12 + 6 + 12) // created, updated, CMP id and version, screen, language
	if r.take(12) == 0 {               // vendor list version; the first list was 1
		return t
	}
	t.policyVersion = uint8(r.take(6))
	r.skip(1 + 1) // service specific, non-standard texts
	t.preciseGeo = r.take(12)>>specialFeaturePGeo == 1
	t.consent = purposeMask(r.take(24))
	t.interest = purposeMask(r.take(24))
	t.purposeOneAway = r.flag()
	t.publisherCC = [2]byte{'A' + byte(r.take(6)), 'A' + byte(r.take(6))}
	t.vendorConsent = vendorIn(&r, vendor)
	t.vendorInterest = vendorIn(&r, vendor)
	t.restrictions(&r, vendor)
	t.ok = !r.bad
	return t
}

// purposeMask turns 24 bits as read (purpose 1 first) into a mask with purpose
// 1 in bit 0.
func purposeMask(read uint32) uint32 { return bits.Reverse32(read) >> 8 }

// vendorIn reads a set of vendors, as bit field or ranges, and tells whether
// the vendor is in it.
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

// vendorInRanges reads a list of single ids and ranges. The list cannot be
// longer than the text that it stands in: a read past the end stops it.
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

// restrictions reads the publisher restrictions that name the vendor. A type
// that does not exist (3) counts as forbidden.
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

// segments reads what follows the core; a segment that cannot be read makes the
// whole string unreadable.
func (t *tcString) segments(rest []byte, more bool, vendor int) {
	for n := 0; t.ok && more; n++ {
		var s []byte
		s, rest, more = nextPart(rest, '.')
		if n == maxSegments || !t.segment(s, vendor) {
			*t = tcString{}
		}
	}
}

// segment reads one segment after the core. Of the kinds, only the disclosed
// vendors (1) say something about us; allowed vendors (2) are out of use and
// the publisher's own purposes (3) are not ours.
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

// parseTCFCanada reads a Canadian TCF string (GPP section 5, version 1).
// Express consent stands where the European string has consent, implied
// consent where it has legitimate interest.
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
	if r.left() >= 12 { // the first encoders wrote no restrictions
		t.restrictions(&r, vendor)
	}
	t.ok = !r.bad
	t.segments(rest, more, vendor)
	return t
}

// basis is the mask of the purposes for which the vendor has a legal basis:
// publisher restrictions first, then the purpose's bit and the vendor's bit of
// the same basis together (conformance G4 to G7).
//
// flexible are the purposes that the vendor registered as flexible. On any
// other purpose a restriction that demands another basis than the registered
// one forbids it; what purposes 2 and 7 and above are registered with is not
// known here, so there either demand forbids.
func (t *tcString) basis(flexible uint32) uint32 {
	if !t.ok || t.disclosed && !t.vendorDisclosed {
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

// vendorMayStore tells whether only the user's answer is missing for purpose 1.
func (t *tcString) vendorMayStore() bool {
	forbidden := t.restricted[restrictForbidden] | t.restricted[restrictInterest]
	return t.ok && t.vendorConsent && (t.vendorDisclosed || !t.disclosed) && forbidden&purposeStore == 0
}
