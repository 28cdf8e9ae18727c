package exchange

import (
	"encoding/binary"
	"math/bits"

	"rebound/rtb"
)

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
	inAnonymous
	inAnonymousDevice
	inAnonymousGeo
	acts
)

// memberActs lists the acts of an object's members, by name in lower case. Other
// members are dropped, except in plainCopy, which copies them.
var memberActs = [acts]map[string]act{
	plainCopy: {
		"ext": inExt, "geo": inGeo, "ip": address, "ipv6": address, "ifa": drop, "buyeruid": drop, "eids": drop,
		"consent": drop, "gpp": drop, "addtl_consent": drop, "consented_providers": drop,
		"email": drop, "hem": drop, "phone": drop, "customdata": drop,
		"didsha1": drop, "didmd5": drop, "dpidsha1": drop, "dpidmd5": drop, "macsha1": drop, "macmd5": drop,
	},
	inRequest: with(inPlain(requestMembers...),
		map[string]act{"user": inUser, "device": inDevice, "regs": inRegs, "ext": inRequestExt}),
	inAnonymous: with(inPlain(requestMembers...), map[string]act{"device": inAnonymousDevice, "regs": inRegs, "ext": inRequestExt}),
	inUser: with(inPlain("keywords", "kwarray", "data"),
		map[string]act{"id": userID, "buyeruid": buyerUID, "eids": inEIDs, "geo": inGeo, "ext": inUserExt}),
	inUserExt:         with(inPlain("gdpr", "us_privacy", "npa"), map[string]act{"eids": inEIDs}),
	inAnonymousDevice: with(inPlain(deviceMembers...), map[string]act{"geo": inAnonymousGeo, "ext": inDeviceExt}),
	inDevice: with(inPlain(deviceMembers...),
		map[string]act{"ifa": deviceIFA, "ip": address, "ipv6": address, "geo": inGeo, "ext": inDeviceExt}),
	inDeviceExt:    inPlain("ifa_type", "atts", "lmt", "dnt"),
	inAnonymousGeo: inPlain("country", "region", "metro", "city", "type", "utcoffset"),
	inGeo: with(inPlain("country", "region", "metro", "city", "zip", "type", "utcoffset"),
		map[string]act{"lat": coordinate, "lon": coordinate}),
	inRegs: with(inPlain("gdpr", "coppa", "gpc", "us_privacy", "gpp_sid", "lgpd", "npa", "dsa"),
		map[string]act{"ext": inRegs}),
	inRequestExt: inPlain("schain", "coppa", "npa", "privacy_treatments", "clktrkrq"),
	inExt: with(inPlain("schain", "inventorypartnerdomain", "reward", "rewarded", "gpid", "billing_id", "skadn",
		"excluded_creatives", "segtax"), map[string]act{"prebid": inPrebid}),
	inPrebid: inPlain("is_rewarded_inventory"),
	inEIDs:   with(inPlain("source", "inserter", "matcher", "mm"), map[string]act{"uids": inUIDs}),
	inUIDs:   with(inPlain("atype"), map[string]act{"id": eidValue}),
}

// requestMembers and deviceMembers are those that are kept as they are.
var (
	requestMembers = []string{"id", "imp", "site", "app", "dooh", "source", "test", "at", "tmax", "cur", "wseat", "bseat",
		"bcat", "acat", "cattax", "badv", "bapp", "wlang", "wlangb", "allimps"}
	deviceMembers = []string{"ua", "sua", "devicetype", "os", "osv", "make", "model", "hwv", "language", "langb", "w", "h",
		"pxratio", "js", "connectiontype", "carrier", "lmt", "dnt", "ifa_type"}
)

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

// knownName is the name of members that have an act in some object.
type knownName struct {
	start uint64 // as nameStart returns it
	name  string
	acts  [acts]act // in each object
}

// knownNames begins with the acts of names that are not known. nameIndex is a hash table
// of its other elements with open addressing: 0 is an empty slot.
var (
	knownNames = []knownName{{acts: [acts]act{plainCopy: plainCopy}}}
	nameIndex  [1024]uint16
)

func init() {
	places := map[string]uint16{}
	for a, members := range memberActs {
		for name, does := range members {
			if places[name] == 0 {
				places[name] = uint16(len(knownNames))
				knownNames = append(knownNames, knownName{nameStart([]byte(name)), name, knownNames[0].acts})
			}
			knownNames[places[name]].acts[a] = does
		}
	}
	for place, k := range knownNames[1:] {
		i := nameSlot(k.start, len(k.name))
		for nameIndex[i] != 0 {
			i = (i + 1) % len(nameIndex)
		}
		nameIndex[i] = uint16(place + 1)
	}
}

// plainEnds has for the last byte but one of each name with an act in plainCopy, modulo 32, a
// bit for its last byte.
var plainEnds = func() (ends [32]uint32) {
	for name := range memberActs[plainCopy] {
		last := len(name) - 1
		ends[name[last-1]%32] |= 1 << (name[last] % 32)
	}
	return ends
}()

// actsOf returns the acts of a member in each object, by its name. The name may be in any
// letter case, because the decoder reads privacy signals in any.
func actsOf(name []byte) *[acts]act { return findActs(nameStart(name), len(name), name) }

// findActs is actsOf for a name of which the start and the size are known. A name of up to
// eight bytes may be nil.
func findActs(start uint64, size int, name []byte) *[acts]act {
	for i := nameSlot(start, size); nameIndex[i] != 0; i = (i + 1) % len(nameIndex) {
		k := &knownNames[nameIndex[i]]
		if k.start == start && len(k.name) == size && (size <= 8 || rtb.EqualFold(name[8:], k.name[8:])) {
			return &k.acts
		}
	}
	return &knownNames[0].acts
}

// shortName returns the start and the size of the name before a colon if it has one to seven
// bytes, as most have, and no escapes. Otherwise the size is 0.
func (s *scanner) shortName(colon int) (start uint64, size int) {
	if colon < 9 || s.b[colon-1] != '"' || s.carry.slashes != 0 {
		return 0, 0
	}
	const low7 = lowBits * 0x7f
	last8 := binary.LittleEndian.Uint64(s.b[colon-9 : colon-1])
	other := last8 ^ lowBits*'"'
	quotes := ^((other&low7 + low7) | other | low7) // the highest bit of each quote
	if quotes == 0 {
		return 0, 0
	}
	end := bits.Len64(quotes) // of the quote that opens the name
	return toLower(last8 >> end), 8 - end/8
}

// nameStart returns the first eight bytes of a name in lower case, as a word.
func nameStart(name []byte) uint64 {
	switch {
	case len(name) >= 8:
		return toLower(binary.LittleEndian.Uint64(name))
	case cap(name) >= 8: // what follows the name is the rest of the text
		return toLower(binary.LittleEndian.Uint64(name[:8]) &^ (^uint64(0) << (len(name) * 8)))
	}
	var start [8]byte
	copy(start[:], name)
	return toLower(binary.LittleEndian.Uint64(start[:]))
}

// toLower changes the upper-case letters (ASCII) of eight bytes to lower case.
func toLower(x uint64) uint64 {
	low := x &^ highBits
	upper := (low + (0x80-'A')*lowBits) &^ (low + (0x7f-'Z')*lowBits) &^ x & highBits
	return x | upper>>2
}

// nameSlot returns where the search for a name begins.
func nameSlot(start uint64, size int) int {
	return int((start + uint64(size)) * 0x9e3779b97f4a7c15 >> 54)
}
