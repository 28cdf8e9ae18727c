package exchange

import (
	"net/netip"
	"unsafe"

	"rebound/rtb"
)

// Redact is [Profile.Redact] for an exchange whose profile is unknown; its id space
// is then its id.
func Redact(dst, body []byte, k *rtb.Keyring, exchange string) ([]byte, error) {
	return (&Profile{IDSpace: exchange}).Redact(dst, body, k)
}

// Redact appends the bid request in body to dst, on one line and without personal
// data. Decoded with the keyring of [rtb.Keyring.ForReplay], it gives the same keys
// as the original.
//
//   - user.id, user.buyeruid, eids and device.ifa become pseudonyms of their keys.
//   - IP addresses are truncated to /24 and /48, coordinates to two decimals.
//   - Consent strings (TCF, GPP and similar) are removed; us_privacy stays, because
//     it holds only three yes/no choices.
//   - Of the request, user, device, regs and every ext only the members that the
//     decoder reads are kept: no hardware ids, e-mail addresses or custom data.
//
// Page URLs are kept as sent. For a body that [Decoder.Head] calls malformed it
// returns an error and leaves dst unchanged.
func (p *Profile) Redact(dst, body []byte, k *rtb.Keyring) ([]byte, error) {
	r := redactor{out: dst, p: p, keys: k}
	if len(body) > 2 && string(body[:3]) == "\xef\xbb\xbf" {
		body = body[3:]
	}
	r.s.start(body)
	r.s.i = r.s.space(0)
	if r.s.i < len(body) && body[r.s.i] != '{' {
		r.s.fail(ErrNotObject)
	}
	r.value(inRequest)
	if r.s.fault == 0 && r.s.err == 0 {
		r.s.err = r.s.check()
	}
	switch {
	case r.s.fault != 0:
		return dst, r.s.fault
	case r.s.err != 0:
		return dst, r.s.err
	case r.s.space(r.s.i) != len(body):
		return dst, ErrSyntax
	case !r.s.validUTF8():
		return dst, ErrUTF8
	}
	return r.out, nil
}

// act is the treatment of a value: drop, copy, replace, or descend into an
// object whose members have acts of their own.
type act uint8

const (
	drop act = iota
	plainCopy
	userID
	buyerUID
	deviceIFA
	eidValue
	address
	coordinate
	inRequest
	inUser
	inUserExt
	inDevice
	inDeviceExt
	inGeo
	inRegs
	inRequestExt
	inExt
	inPrebid
	inEIDs
	inUIDs
	acts
)

// actsOf lists the acts of an object's members, by key in lower case. Other members
// are dropped, except in plainCopy, which copies them.
var actsOf = [acts]map[string]act{
	plainCopy: {
		"ext": inExt, "geo": inGeo, "ip": address, "ipv6": address, "ifa": drop, "buyeruid": drop, "eids": drop,
		"consent": drop, "gpp": drop, "addtl_consent": drop, "consented_providers": drop,
		"email": drop, "hem": drop, "phone": drop, "customdata": drop,
		"didsha1": drop, "didmd5": drop, "dpidsha1": drop, "dpidmd5": drop, "macsha1": drop, "macmd5": drop,
	},
	inRequest: with(inPlain("id", "imp", "site", "app", "dooh", "source", "test", "at", "tmax", "cur", "wseat", "bseat",
		"bcat", "acat", "cattax", "badv", "bapp", "wlang", "wlangb", "allimps"),
		map[string]act{"user": inUser, "device": inDevice, "regs": inRegs, "ext": inRequestExt}),
	inUser: with(inPlain("keywords", "kwarray", "data"),
		map[string]act{"id": userID, "buyeruid": buyerUID, "eids": inEIDs, "geo": inGeo, "ext": inUserExt}),
	inUserExt: with(inPlain("gdpr", "us_privacy", "npa"), map[string]act{"eids": inEIDs}),
	inDevice: with(inPlain("ua", "sua", "devicetype", "os", "osv", "make", "model", "hwv", "language", "langb", "w", "h",
		"pxratio", "js", "connectiontype", "carrier", "lmt", "dnt", "ifa_type"),
		map[string]act{"ifa": deviceIFA, "ip": address, "ipv6": address, "geo": inGeo, "ext": inDeviceExt}),
	inDeviceExt: inPlain("ifa_type", "atts", "lmt", "dnt"),
	inGeo: with(inPlain("country", "region", "metro", "city", "zip", "type", "utcoffset"),
		map[string]act{"lat": coordinate, "lon": coordinate}),
	inRegs: with(inPlain("gdpr", "coppa", "gpc", "us_privacy", "gpp_sid", "lgpd", "npa", "dsa"),
		map[string]act{"ext": inRegs}),
	inRequestExt: inPlain("schain", "coppa", "npa", "privacy_treatments", "clktrkrq"),
	inExt: with(inPlain("schain", "inventorypartnerdomain", "reward", "rewarded", "billing_id", "skadn",
		"excluded_creatives", "segtax"), map[string]act{"prebid": inPrebid}),
	inPrebid: inPlain("is_rewarded_inventory"),
	inEIDs:   with(inPlain("source", "inserter", "matcher", "mm"), map[string]act{"uids": inUIDs}),
	inUIDs:   with(inPlain("atype"), map[string]act{"id": eidValue}),
}

func inPlain(keys ...string) map[string]act {
	m := make(map[string]act, len(keys))
	for _, k := range keys {
		m[k] = plainCopy
	}
	return m
}

func with(m, more map[string]act) map[string]act {
	for k, a := range more {
		m[k] = a
	}
	return m
}

type redactor struct {
	s      scanner
	out    []byte
	keys   *rtb.Keyring
	p      *Profile
	source []byte // of the current eid
	lower  [64]byte
}

// value writes the value at hand with an act that keeps it.
func (r *redactor) value(a act) {
	s := &r.s
	if s.i >= len(s.b) {
		s.fail(ErrSyntax)
		return
	}
	switch s.b[s.i] {
	case '{':
		r.object(a)
	case '[':
		if !s.enter('[') {
			return
		}
		r.out = append(r.out, '[')
		for n := 0; s.element(); n++ {
			if n > 0 {
				r.out = append(r.out, ',')
			}
			r.value(a)
		}
		r.out = append(r.out, ']')
	default:
		from := s.i
		s.skip()
		r.out = append(r.out, s.b[from:s.i]...)
	}
}

func (r *redactor) object(a act) {
	s := &r.s
	if a == inEIDs {
		r.source = r.findSource()
	}
	if !s.enter('{') {
		return
	}
	r.out = append(r.out, '{')
	start := len(r.out)
	for s.member() {
		before := len(r.out)
		if before > start {
			r.out = append(r.out, ',')
		}
		act := r.actOf(a, s.key)
		r.out = rtb.AppendQuoted(r.out, s.key)
		r.out = append(r.out, ':')
		if !r.apply(act) {
			r.out = r.out[:before]
		}
	}
	r.out = append(r.out, '}')
}

// actOf looks up a key in lower case, because the decoder reads privacy signals in
// any letter case.
func (r *redactor) actOf(in act, key []byte) act {
	if len(key) > len(r.lower) {
		key = nil
	}
	low := append(r.lower[:0], key...)
	for i, c := range low {
		if c >= 'A' && c <= 'Z' {
			low[i] = c | 0x20
		}
	}
	a, ok := actsOf[in][string(low)]
	if !ok && in == plainCopy {
		return plainCopy
	}
	return a
}

// apply applies the act to the value at hand and reports whether it wrote anything.
func (r *redactor) apply(a act) bool {
	s := &r.s
	switch a {
	case drop:
		s.skip()
		return false
	case userID, buyerUID, deviceIFA, eidValue:
		return r.pseudonym(a)
	case address:
		return r.address()
	case coordinate:
		return r.coordinate()
	}
	r.value(a)
	return true
}

func (r *redactor) pseudonym(a act) bool {
	s := &r.s
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
		kind, scope = rtb.IDEID, string(r.source)
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
	s := &r.s
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
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(text), len(text))) // the address does not keep the text
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
