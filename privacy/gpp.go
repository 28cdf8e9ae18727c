package privacy

// Sections of GPP with a meaning of their own (IAB GPP, Section Information).
const (
	gppTCFEurope = 2
	gppHeader    = 3 // carries no choice; gpp_sid may omit it
	gppIntegrity = 4 // the same
	gppTCFCanada = 5
	gppUSPrivacy = 6
	gppUSFirst   = 7

	gppNoSection   = -1 // alone in gpp_sid: no section applies (GPP CMP API)
	gppMaxSections = 64
	gppMaxHeader   = 64 // characters
	gppMaxFibBits  = 16
)

// gppString is the parsed form of a GPP string. Sets of sections have bit n set
// for section id n.
type gppString struct {
	ok      bool   // the header is valid and matches the sections
	present uint64 // sections in the string
	refused uint64 // present sections that refuse or cannot be read
	unknown bool   // it has a section with an id above 63
	europe  tcString
	canada  tcString
}

// parseGPP parses a GPP string: a header that lists section ids, and then the
// sections in that order, separated by "~" (IAB GPP, Consent String
// Specification). It makes one pass; the length of the header, the number of ids
// and the bits of a Fibonacci number are limited.
func parseGPP(s []byte, vendor int) (g gppString) {
	header, rest, more := nextPart(s, '~')
	var ids [gppMaxSections]uint16
	n, ok := parseGPPHeader(header, &ids)
	if !ok {
		return gppString{}
	}
	for _, id := range ids[:n] {
		if !more {
			return gppString{} // fewer sections than the header lists
		}
		var section []byte
		section, rest, more = nextPart(rest, '~')
		g.section(int(id), section, vendor)
	}
	g.ok = !more
	return g
}

// section parses one section.
func (g *gppString) section(id int, s []byte, vendor int) {
	if id >= 64 {
		g.unknown = true
		return
	}
	g.present |= 1 << id
	refused := false
	switch {
	case id == gppTCFEurope:
		g.europe = parseTCF(s, vendor)
		refused = !g.europe.ok
	case id == gppTCFCanada:
		g.canada = parseTCFCanada(s, vendor)
		refused = !g.canada.ok
	case id == gppUSPrivacy:
		refused = uspRefuses(s)
	case id >= gppUSFirst && id <= lastUSSection:
		refused = usRefuses(id, s)
	case id == gppHeader || id == gppIntegrity:
	default:
		refused = true
	}
	if refused {
		g.refused |= 1 << id
	}
}

// parseGPPHeader parses type (3), version (1) and the ids: a list of ranges whose
// numbers are distances in Fibonacci code, so ids always ascend. A header of 64
// characters can hold distances that sum up to 52,000.
func parseGPPHeader(s []byte, ids *[gppMaxSections]uint16) (n int, ok bool) {
	if len(s) > gppMaxHeader || !isBase64(s) {
		return 0, false
	}
	r := bitReader{s: s}
	if r.take(6) != 3 || r.take(6) != 1 {
		return 0, false
	}
	last := 0
	for items := r.take(12); items > 0; items-- {
		group := r.flag()
		first := last + fibonacci(&r)
		last = first
		if group {
			last += fibonacci(&r)
		}
		if r.bad || n+last-first+1 > gppMaxSections {
			return 0, false
		}
		for id := first; id <= last; id++ {
			ids[n] = uint16(id)
			n++
		}
	}
	return n, !r.bad
}

// fibonacci reads one number in Fibonacci code: a sum of 1, 2, 3, 5, 8..., ended
// by two consecutive set bits.
func fibonacci(r *bitReader) int {
	sum, f, next := 0, 1, 2
	for before, n := false, 0; n < gppMaxFibBits && !r.bad; n++ {
		bit := r.flag()
		if bit && before {
			return sum
		}
		if bit {
			sum += f
		}
		before = bit
		f, next = next, f+next
	}
	r.bad = true
	return 0
}
