package exchange

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

// actTable finds the act of a member by its name. It is a hash table with open
// addressing that is at most half full. Most names that are not in it are found missing by
// their length and first letter alone.
type actTable struct {
	firsts [32]uint32 // of each length, modulo 32: a bit for each letter that a name begins with
	other  act        // of names that are not in it
	slots  [64]struct {
		name string
		act  act
	}
}

var actsOf = func() (tables [acts]actTable) {
	tables[plainCopy].other = plainCopy
	for a := range tables {
		t := &tables[a]
		for _, name := range sortedKeys(memberActs[a]) {
			i := actSlot([]byte(name))
			for t.slots[i].name != "" {
				i = (i + 1) % len(t.slots)
			}
			t.slots[i].name, t.slots[i].act = name, memberActs[act(a)][name]
			t.firsts[len(name)%len(t.firsts)] |= 1 << (name[0] % 32)
		}
	}
	return tables
}()

// actSlot returns the slot where the search for a name begins. It does not depend on
// letter case.
func actSlot(name []byte) int {
	n := len(name)
	first, middle, last := int(name[0]|0x20), int(name[n/2]|0x20), int(name[n-1]|0x20)
	return (first*5 + middle*3 + last*7 + n) % 64
}

// of returns the act of a member. The name may be in any letter case, because the
// decoder reads privacy signals in any.
func (t *actTable) of(name []byte) act {
	if len(name) == 0 || t.firsts[len(name)%len(t.firsts)]>>(name[0]%32)&1 == 0 {
		return t.other
	}
	for i := actSlot(name); t.slots[i].name != ""; i = (i + 1) % len(t.slots) {
		if foldsTo(name, t.slots[i].name) {
			return t.slots[i].act
		}
	}
	return t.other
}
