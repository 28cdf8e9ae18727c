package privacy

// usLayout describes the core segment of a US section of GPP: offsets in bits
// from its start, the version of six bits included. Notices, opt-outs and known
// children are fields of two bits.
type usLayout struct {
	bits int // length of the whole segment
	// notices are the notices of processing, and of the opportunity to opt out of
	// sale, sharing and targeted advertising: 0 not applicable, 1 provided, 2 not
	// provided.
	notices []int
	// optOuts are the opt-outs of sale, sharing and targeted advertising: 0 not
	// applicable, 1 opted out, 2 did not opt out.
	optOuts []int
	// child is the first of the fields on known children.
	child, children int
	// mode is the field that states whether the first party acts as a service
	// provider under the Multi-State Privacy Agreement; serviceProvider is the
	// value that says so.
	mode            int
	serviceProvider uint32
}

var (
	noticesNational   = []int{6, 8, 10, 12}
	noticesCalifornia = []int{6, 8}
	noticesState      = []int{6, 8, 10}
	noticesMSPA       = []int{16, 18, 20}

	optOutsNational  = []int{18, 20, 22}
	optOutsState     = []int{12, 14}
	optOutsAfterFour = []int{14, 16} // four notices come before them
	optOutsMSPA      = []int{22, 24}
)

// The layouts follow the section specifications of IAB Tech Lab's Global Privacy
// Platform. Iowa shares Utah's layout, not that of its neighbors: a fourth notice
// precedes the opt-outs.
var (
	usNational1 = usLayout{60, noticesNational, optOutsNational, 48, 2, 58, 1}
	usNational2 = usLayout{70, noticesNational, optOutsNational, 56, 3, 68, 1}

	usStates = [...]usLayout{
		8:  {46, noticesCalifornia, optOutsState, 34, 2, 44, 1}, // California
		9:  {40, noticesState, optOutsState, 32, 1, 38, 1},      // Virginia
		10: {38, noticesState, optOutsState, 30, 1, 36, 1},      // Colorado
		11: {42, noticesState, optOutsAfterFour, 34, 1, 40, 1},  // Utah
		12: {44, noticesState, optOutsState, 32, 3, 42, 1},      // Connecticut
		13: {46, noticesState, optOutsState, 32, 3, 44, 1},      // Florida
		14: {46, noticesState, optOutsState, 32, 3, 44, 1},      // Montana
		15: {52, noticesState, optOutsState, 38, 3, 50, 1},      // Oregon
		16: {42, noticesState, optOutsState, 32, 1, 40, 1},      // Texas
		17: {52, noticesState, optOutsState, 34, 5, 50, 1},      // Delaware
		18: {42, noticesState, optOutsAfterFour, 34, 1, 40, 1},  // Iowa
		19: {42, noticesState, optOutsState, 32, 1, 40, 1},      // Nebraska
		20: {46, noticesState, optOutsState, 32, 3, 44, 1},      // New Hampshire
		21: {54, noticesState, optOutsState, 36, 5, 52, 1},      // New Jersey
		22: {42, noticesState, optOutsState, 32, 1, 40, 1},      // Tennessee
		23: {42, noticesState, optOutsState, 32, 1, 40, 1},      // Minnesota
		24: {28, noticesMSPA, optOutsMSPA, 0, 0, 14, 2},         // Maryland
		25: {30, noticesMSPA, optOutsMSPA, 26, 1, 14, 2},        // Indiana
		26: {30, noticesMSPA, optOutsMSPA, 26, 1, 14, 2},        // Kentucky
		27: {30, noticesMSPA, optOutsMSPA, 26, 1, 14, 2},        // Rhode Island
	}
)

// Sections 24 to 27 begin with the version of the MSPA. Encoders differ in what
// they write before it: a version of the section (the layouts above), nothing, or
// a separate header segment.
const (
	firstMSPASection = 24 // Maryland, the only one of them with a GPC subsection
	lastUSSection    = 27
	versionBits      = 6
	shortMSPAChars   = 4  // a core without a version has 22 or 24 bits
	usNationalLong   = 70 // bits of a layout that some encoders wrote as version 1
)

// usRefuses reports whether a US section forbids the use of a profile: an opt-out
// of sale, sharing or targeted advertising, a notice of these that was not
// provided, service provider mode, Global Privacy Control, a known child, or a
// section that cannot be read (conformance G12, G13, G20, G28, G29).
func usRefuses(id int, s []byte) bool {
	core, rest, more := nextPart(s, '.')
	if !isBase64(core) {
		return true
	}
	r := bitReader{s: core}
	layout, start := &usNational1, 0
	switch version := r.at(0, versionBits); {
	case id >= firstMSPASection && int(version) == id:
		if !more || r.at(versionBits, versionBits) != 1 {
			return true
		}
		core, rest, more = nextPart(rest, '.')
		if !isBase64(core) {
			return true
		}
		r = bitReader{s: core}
		layout, start = &usStates[id], versionBits
	case version == 1 && id == gppUSFirst && 6*len(core) < usNationalLong:
	case version <= 2 && version >= 1 && id == gppUSFirst:
		layout = &usNational2
	case version == 1 && id >= firstMSPASection && len(core) <= shortMSPAChars:
		layout, start = &usStates[id], versionBits
	case version == 1 && id > gppUSFirst && id <= lastUSSection:
		layout = &usStates[id]
	default:
		return true
	}
	return layout.refuses(&r, start) || subsectionsRefuse(id, rest, more)
}

// refuses reports whether the core segment forbids the use of a profile or is cut
// short. start is how many bits of the layout the segment leaves out at its
// beginning. The value 3, which no field defines, refuses.
func (l *usLayout) refuses(r *bitReader, start int) bool {
	for _, offset := range l.notices {
		if r.at(offset-start, 2) >= 2 {
			return true
		}
	}
	for _, offset := range l.optOuts {
		if v := r.at(offset-start, 2); v == 1 || v == 3 {
			return true
		}
	}
	if v := r.at(l.mode-start, 2); v == l.serviceProvider || v == 3 {
		return true
	}
	for i := range l.children {
		if r.at(l.child-start+2*i, 2) != 0 {
			return true
		}
	}
	return r.bad || 6*len(r.s) < l.bits-start
}

// subsectionsRefuse reads the subsections after the core: GPC (type 1). Indiana,
// Kentucky and Rhode Island define consents to the use of sensitive data there,
// which do not concern us, but some encoders write GPC.
func subsectionsRefuse(id int, rest []byte, more bool) bool {
	for n := 0; more; n++ {
		var s []byte
		s, rest, more = nextPart(rest, '.')
		if n == maxSegments || !isBase64(s) {
			return true
		}
		r := bitReader{s: s}
		kind, gpc := r.take(2), r.flag()
		if kind == 1 && gpc || kind != 1 && id <= firstMSPASection {
			return true
		}
	}
	return false
}

// uspRefuses reports whether a US Privacy string opts out of sale or is malformed
// (IAB US Privacy String v1: version, notice, opt-out, LSPA).
func uspRefuses(s []byte) bool {
	if len(s) != 4 || s[0] != '1' {
		return true
	}
	for _, c := range s[1:] {
		if c != 'Y' && c != 'N' && c != '-' {
			return true
		}
	}
	return s[2] == 'Y'
}
