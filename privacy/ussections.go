package privacy

// usLayout says where a US section of GPP keeps the fields that matter to us:
// bit offsets from the start of its core segment, -1 where it has no such
// field. The opt-outs are two bits each: 0 not applicable, 1 opted out, 2 did
// not opt out.
type usLayout struct {
	bits                int // length of the whole core segment
	sale, share, target int
	child, children     int // offset and number of two-bit known-child fields
}

// The layouts, read from the section specifications of IAB Tech Lab's Global
// Privacy Platform. Iowa's is Utah's, not its neighbours': a fourth notice
// comes before the opt-outs.
var (
	usNational1 = usLayout{60, 18, 20, 22, 48, 2}
	usNational2 = usLayout{70, 18, 20, 22, 56, 3}

	usStates = [...]usLayout{
		8:  {46, 12, 14, -1, 34, 2}, // California
		9:  {40, 12, -1, 14, 32, 1}, // Virginia
		10: {38, 12, -1, 14, 30, 1}, // Colorado
		11: {42, 14, -1, 16, 34, 1}, // Utah
		12: {44, 12, -1, 14, 32, 3}, // Connecticut
		13: {46, 12, -1, 14, 32, 3}, // Florida
		14: {46, 12, -1, 14, 32, 3}, // Montana
		15: {52, 12, -1, 14, 38, 3}, // Oregon
		16: {42, 12, -1, 14, 32, 1}, // Texas
		17: {52, 12, -1, 14, 34, 5}, // Delaware
		18: {42, 14, -1, 16, 34, 1}, // Iowa
		19: {42, 12, -1, 14, 32, 1}, // Nebraska
		20: {46, 12, -1, 14, 32, 3}, // New Hampshire
		21: {54, 12, -1, 14, 36, 5}, // New Jersey
		22: {42, 12, -1, 14, 32, 1}, // Tennessee
		23: {42, 12, -1, 14, 32, 1}, // Minnesota
		24: {28, 22, -1, 24, -1, 0}, // Maryland
		25: {30, 22, -1, 24, 26, 1}, // Indiana
		26: {30, 22, -1, 24, 26, 1}, // Kentucky
		27: {30, 22, -1, 24, 26, 1}, // Rhode Island
	}
)

// Sections 24 to 27 begin with the version of the MSPA, and encoders differ in
// what stands before it: a version of the section (the layouts above), nothing
// at all, or a header segment of its own.
const (
	firstMSPASection = 24 // Maryland, the only one of them with a GPC subsection
	lastUSSection    = 27
	mspaShift        = 6  // how much earlier the fields stand without a version
	shortMSPAChars   = 4  // a core without version is 22 or 24 bits
	usNationalLong   = 70 // bits of the layout that some encoders wrote as version 1
)

// usRefuses tells whether a US section holds an opt-out of sale, sharing or
// targeted advertising, Global Privacy Control, or a known child, or cannot be
// read: everything that forbids the use of a profile (conformance G12, G13,
// G20).
func usRefuses(id int, s []byte) bool {
	core, rest, more := nextPart(s, '.')
	if !isBase64(core) {
		return true
	}
	r := bitReader{s: core}
	layout, version := usStates[0], r.at(0, 6)
	switch {
	case id >= firstMSPASection && int(version) == id:
		if !more || r.at(6, 6) != 1 {
			return true
		}
		core, rest, more = nextPart(rest, '.')
		if !isBase64(core) {
			return true
		}
		r = bitReader{s: core}
		layout = usStates[id].withoutVersion()
	case version == 1 && id == 7 && 6*len(core) < usNationalLong:
		layout = usNational1
	case version <= 2 && version >= 1 && id == 7:
		layout = usNational2
	case version == 1 && id >= firstMSPASection && len(core) <= shortMSPAChars:
		layout = usStates[id].withoutVersion()
	case version == 1 && id >= 8 && id <= lastUSSection:
		layout = usStates[id]
	default:
		return true
	}
	return layout.refuses(&r) || subsectionsRefuse(id, rest, more)
}

// withoutVersion is the layout of a core that begins with the MSPA's version.
func (l usLayout) withoutVersion() usLayout {
	l.bits -= mspaShift
	l.sale -= mspaShift
	l.target -= mspaShift
	if l.child >= 0 {
		l.child -= mspaShift
	}
	return l
}

// refuses tells whether the core segment says no, or is cut short.
func (l *usLayout) refuses(r *bitReader) bool {
	for _, offset := range [...]int{l.sale, l.share, l.target} {
		if offset < 0 {
			continue
		}
		if v := r.at(offset, 2); v == 1 || v == 3 {
			return true
		}
	}
	for i := range l.children {
		if r.at(l.child+2*i, 2) != 0 {
			return true
		}
	}
	return r.bad || 6*len(r.s) < l.bits
}

// subsectionsRefuse reads what follows the core: GPC (type 1). Indiana,
// Kentucky and Rhode Island put consents to sensitive data there, which are
// nothing to us, but some encoders wrote GPC.
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

// uspRefuses tells whether a US Privacy string opts out of sale, or is no such
// string (IAB US Privacy String v1: version, notice, opt-out, LSPA).
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
