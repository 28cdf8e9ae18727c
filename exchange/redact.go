package exchange

import (
	"math/bits"
	"net/netip"
	"unsafe"

	"rebound/rtb"
)

// This file writes requests without personal data. Most of a request is kept as it
// is, so it is copied in long runs: bytes from redactor.from on are kept and not yet
// written. A member that is dropped or changed ends a run.

// AppendRedacted appends the request that the last call of Head read to dst, on one line
// and without personal data. It may be called after Rest too, and leaves the opportunity
// as it is. Decoded with the keyring of [rtb.Keyring.ForReplay], the result gives the same
// keys as the original.
//
//   - user.id, user.buyeruid, eids and device.ifa become pseudonyms of their keys.
//   - IP addresses are truncated to /24 and /48, coordinates to two decimals.
//   - Consent strings (TCF, GPP and similar) are removed; us_privacy stays, because
//     it holds only three yes/no choices.
//   - Of the request, user, device, regs and every ext only the members that the
//     decoder reads are kept: no hardware ids, e-mail addresses or custom data.
//
// Page URLs are kept as sent. For a malformed request it returns an error and leaves dst
// unchanged.
func (d *Decoder) AppendRedacted(dst []byte, p *Profile, k *rtb.Keyring) ([]byte, error) {
	if err := d.s.wellFormed(); err != 0 {
		return dst, err
	}
	return p.appendRedacted(dst, &d.s, k, inRequest), nil
}

// AppendAnonymous is AppendRedacted for a request that privacy does not permit to be
// personalised: it has no user, no identifiers, not even as pseudonyms, no IP address, and
// no place smaller than a city.
func (d *Decoder) AppendAnonymous(dst []byte, p *Profile) ([]byte, error) {
	if err := d.s.wellFormed(); err != 0 {
		return dst, err
	}
	return p.appendRedacted(dst, &d.s, nil, inAnonymous), nil
}

// wellFormed returns, after Head, the error of a malformed request. It clears any other error
// of Head or Rest, so that the text can be read again.
func (s *scanner) wellFormed() DecodeError {
	if s.err == 0 || !s.err.Malformed() {
		s.err = s.check()
	}
	return s.err
}

// appendRedacted appends the checked text of s. The act is that of the whole request.
func (p *Profile) appendRedacted(dst []byte, s *scanner, k *rtb.Keyring, a act) []byte {
	r := redactor{s: s, out: dst, p: p, keys: k}
	s.i = s.space(0)
	r.from = s.i
	r.spaced = s.spaceFrom(s.i) < s.end(s.i)
	r.value(a)
	r.flush(s.i)
	return r.out
}

type redactor struct {
	s      *scanner
	out    []byte
	from   int  // the kept bytes from here on are not written yet
	spaced bool // there is white space between the tokens
	keys   *rtb.Keyring
	p      *Profile
	source []byte // of the current eid
}

// flush writes the kept bytes up to the index, without white space between tokens.
func (r *redactor) flush(to int) {
	s, from := r.s, r.from
	if r.spaced {
		for end := s.spaceFrom(from); end < to; end = s.spaceFrom(from) {
			r.out = append(r.out, s.b[from:end]...)
			from = min(s.space(end), to)
		}
	}
	r.out = append(r.out, s.b[from:to]...)
	r.from = to
}

// spaceFrom returns the index of the first white space from i on that is outside
// strings.
func (s *scanner) spaceFrom(i int) int {
	w := i >> blockShift
	if w >= len(s.blocks) {
		return len(s.b)
	}
	m := s.blocks[w].space >> (i & (blockBytes - 1)) << (i & (blockBytes - 1))
	for m == 0 {
		if w++; w == len(s.blocks) {
			return len(s.b)
		}
		m = s.blocks[w].space
	}
	return w<<blockShift + bits.TrailingZeros64(m)
}

// value treats the value at hand with an act that keeps it.
func (r *redactor) value(a act) {
	s := r.s
	switch c := s.b[s.i]; {
	case c != '{' && c != '[':
		s.skip()
	case a == inEIDs && c == '{':
		r.source = r.findSource()
		r.members(a)
	case a == inEIDs:
		s.enter('[')
		for s.element() {
			r.value(a)
		}
	default:
		r.members(a)
	}
}

// members treats the members of the object at hand, or those of the objects in the array
// at hand. It looks only at their names, each before a colon: what is kept needs no reading.
func (r *redactor) members(a act) {
	s := r.s
	end := s.end(s.i)
	w := s.i >> blockShift
	colons := s.blocks[w].colon &^ (1<<(s.i&(blockBytes-1)) - 1)
	for {
		for ; colons == 0; colons = s.blocks[w].colon {
			if w++; w<<blockShift >= end {
				s.i = end
				return
			}
		}
		colon := w<<blockShift + bits.TrailingZeros64(colons)
		if colon >= end {
			s.i = end
			return
		}
		colons &= colons - 1
		if a == plainCopy && s.keepsMember(colon) {
			continue
		}
		does, at := s.actsBefore(colon)
		do := does[a]
		if s.i = colon + 1; do == plainCopy && (a == plainCopy || s.b[s.i] == '"' || s.b[s.i]-'0' <= 9) {
			continue
		}
		s.i = s.space(s.i)
		r.member(do, at)
		w = s.i >> blockShift
		colons = s.blocks[w].colon &^ (1<<(s.i&(blockBytes-1)) - 1)
	}
}

// keepsMember reports whether the name before a colon has no act in plainCopy, by its last
// two bytes alone. That settles most members; of the others it is not known.
func (s *scanner) keepsMember(colon int) bool {
	return s.b[colon-1] == '"' && s.carry.slashes == 0 && plainEnds[s.b[colon-3]%32]>>(s.b[colon-2]%32)&1 == 0
}

// actsBefore returns the acts of the member whose name is before a colon, and where the name
// begins, at its quote.
func (s *scanner) actsBefore(colon int) (does *[acts]act, at int) {
	if start, size := s.shortName(colon); size > 0 {
		return findActs(start, size, nil), colon - size - 2
	}
	name, at := s.nameBefore(colon)
	return actsOf(name), at
}

// nameBefore returns the name of the member whose colon is at the index, and where the
// name begins, at its quote.
func (s *scanner) nameBefore(colon int) (name []byte, at int) {
	last := s.quoteBefore(colon)
	at = s.quoteBefore(last)
	name = s.b[at+1 : last]
	if s.escaped(name) {
		name, _ = s.unescape(name)
	}
	return name, at
}

// quoteBefore returns the index of the last quote before i.
func (s *scanner) quoteBefore(i int) int {
	w := i >> blockShift
	m := s.blocks[w].quote & (1<<(i&(blockBytes-1)) - 1)
	for m == 0 {
		w--
		m = s.blocks[w].quote
	}
	return w<<blockShift + bits.Len64(m) - 1
}

// member applies an act to the value at hand, whose member begins at the index. What
// cannot be replaced is dropped.
func (r *redactor) member(a act, at int) {
	s := r.s
	value := s.i
	if a > coordinate || a == plainCopy {
		r.value(a)
		return
	}
	r.flush(at)
	if a != drop {
		r.from = at
		before := len(r.out)
		r.flush(value)
		if r.replace(a) {
			r.from = s.i
			return
		}
		r.out = r.out[:before]
	} else {
		s.skip()
	}
	next := s.space(s.i)
	if s.b[next] == ',' {
		next++
	} else if last := len(r.out) - 1; r.out[last] == ',' {
		r.out = r.out[:last]
	}
	r.from = next
}

// replace reads the value at hand and reports whether it wrote something in its place.
func (r *redactor) replace(a act) bool {
	switch a {
	case address:
		return r.address()
	case coordinate:
		return r.coordinate()
	}
	return r.pseudonym(a)
}

func (r *redactor) pseudonym(a act) bool {
	s := r.s
	id := s.exact(s.value(), maxIdentifier)
	kind, scope := rtb.IDExchange, r.p.IDSpace
	switch a {
	case buyerUID:
		kind, scope = rtb.IDVisitor, ""
		id, s.buf = decodeBuyerUID(id, s.buf, r.p.buyerB64)
		if r.p.buyerIFA && isUUID(id) {
			kind = rtb.IDIFA
			if zeros(id) {
				id = nil
			}
		}
	case deviceIFA:
		kind, scope = rtb.IDIFA, ""
		if zeros(id) {
			id = nil
		}
	case eidValue:
		kind, scope = rtb.IDEID, viewString(r.source)
	}
	if len(id) == 0 {
		return false
	}
	r.out = append(r.out, '"')
	r.out = rtb.AppendPseudonym(r.out, r.keys.Key(kind, scope, id))
	r.out = append(r.out, '"')
	return true
}

// findSource returns the source of the eid object at hand, wherever in the object it
// is.
func (r *redactor) findSource() (source []byte) {
	s := r.s
	i, first := s.i, s.first
	if s.enter('{') {
		for s.member() {
			if string(s.key) == "source" {
				source = s.readText()
			} else {
				s.skip()
			}
		}
	}
	if s.err == 0 {
		s.i, s.first = i, first
	}
	return source
}

// address writes an IP address truncated to its network; other text is dropped.
func (r *redactor) address() bool {
	text := r.s.readText()
	a, err := netip.ParseAddr(viewString(text))
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	bits := 48
	if a.Is4() {
		bits = 24
	}
	network, err := a.Prefix(bits)
	if err != nil {
		return false
	}
	r.out = append(r.out, '"')
	r.out = network.Addr().AppendTo(r.out)
	r.out = append(r.out, '"')
	return true
}

// coordinate writes a number of degrees truncated to two decimals, which is about a
// kilometer.
func (r *redactor) coordinate() bool {
	f, ok := float(r.s.value())
	if !ok || f < -180 || f > 180 {
		return false
	}
	r.out = rtb.Micros(int64(f*100) * 10_000).AppendDecimal(r.out)
	return true
}

// viewString returns the text as a string without a copy. It is for calls that do not
// keep the string.
func viewString(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }
