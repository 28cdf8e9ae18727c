package privacy

import "rebound/rtb"

// The kinds of signals, as rtb.Permissions.Signal and Grant.Signal name them.
const (
	SignalNone    = "none"
	SignalTCF     = "tcf"
	SignalGPP     = "gpp"
	SignalUSP     = "usp"
	SignalGPC     = "gpc"
	SignalCOPPA   = "coppa"
	SignalLMT     = "lmt"
	SignalNPA     = "npa"
	SignalCountry = "country"
)

// maxSIDs is the maximum number of section ids in gpp_sid; a longer list refuses.
const maxSIDs = 64

// Decide decides what one request allows. It checks every signal, and the most
// restrictive one wins. Among equally restrictive signals the result names the
// first of COPPA, GDPR, GPP, US Privacy, GPC, LMT and DNT, "not personalised",
// country, DOOH.
//
// The level contextual with the refusal NoBidPrivacyCOPPA allows child-safe
// advertising only.
func (p *Policy) Decide(s *rtb.Signals) rtb.Permissions {
	p.ready()
	var r reading
	p.read(s, &r)
	v := verdict{level: rtb.LevelPersonalised, signal: SignalNone}
	p.judge(s, &r, retargeting, &v)
	if s.AppliesDOOH {
		v.limit(rtb.LevelContextual, rtb.NoBidNoID, SignalNone)
	}
	if v.level == rtb.LevelPersonalised {
		v.signal = r.source()
	}
	return rtb.Permissions{
		Level: v.level, Refusal: v.refusal, Signal: v.signal, ConsentHash: r.hash,
		PreciseGeo: v.level == rtb.LevelPersonalised && (!r.gdpr || r.tcf.preciseGeo),
	}
}

// verdict is the result of the most restrictive signal so far.
type verdict struct {
	level   rtb.Level
	refusal rtb.NoBidReason
	signal  string
}

// limit lowers the verdict to a level; it never raises it.
func (v *verdict) limit(to rtb.Level, why rtb.NoBidReason, signal string) {
	if to < v.level {
		*v = verdict{to, why, signal}
	}
}

// reading holds the parsed signals of a request.
type reading struct {
	region  region
	gdpr    bool // the GDPR applies
	said    bool // it has a TCF string, readable or not
	tcf     tcString
	gpp     gppString
	hash    uint64
	usState bool // a signal says that a US privacy law applies
}

// source returns the kind of signal that a permission is based on.
func (r *reading) source() string {
	switch {
	case r.gdpr && r.said:
		return SignalTCF
	case r.gpp.ok:
		return SignalGPP
	case r.usState:
		return SignalUSP
	}
	return SignalNone
}

// read parses the signals of a request.
func (p *Policy) read(s *rtb.Signals, r *reading) {
	r.region = p.regions.of(s.Country)
	if n := len(s.GPP); n > 0 && n <= MaxStringLen && !s.GPPBad {
		r.hash = mix(r.hash, p.parseGPP(s.GPP, &r.gpp))
	}
	r.gdpr = applies(s, r.region)
	if r.gdpr || s.GDPR == rtb.Absent && r.region == regionUnknown {
		p.readConsent(s, r)
	}
	r.usState = len(s.USPrivacy) > 0 || s.USPBad
	if r.usState && len(s.USPrivacy) <= MaxStringLen {
		r.hash = mix(r.hash, textHash(s.USPrivacy))
	}
	for _, id := range s.GPPSID[:min(len(s.GPPSID), maxSIDs)] {
		r.usState = r.usState || id >= gppUSPrivacy && id <= lastUSSection
	}
}

// applies reports whether the GDPR applies: by the flag if it is present, else
// by the country (conformance G2, G3). If an unreadable ext may have held the
// flag and the country is unknown, the GDPR applies (V15).
func applies(s *rtb.Signals, where region) bool {
	switch s.GDPR {
	case rtb.No:
		return false
	case rtb.Absent:
		return where == regionGDPR || where == regionUnknown && s.ExtUnread
	}
	return true
}

// readConsent parses the TCF string of the request or, if it has none, the one in
// section 2 of GPP, which has the same format.
func (p *Policy) readConsent(s *rtb.Signals, r *reading) {
	switch n := len(s.Consent); {
	case s.ConsentBad || n > MaxStringLen:
		r.said = true
	case n > 0:
		r.hash = mix(r.hash, p.parseTCF(s.Consent, &r.tcf))
		r.said = true
	case r.gpp.ok && r.gpp.present>>gppTCFEurope&1 == 1 && named(s.GPPSID, gppTCFEurope):
		r.tcf = r.gpp.europe
		r.said = true
	}
}

// named reports whether gpp_sid names a section; an empty list names all.
func named(sids []int, id int) bool {
	for _, sid := range sids[:min(len(sids), maxSIDs)] {
		if sid == id {
			return true
		}
	}
	return namesNone(sids)
}

// namesNone reports whether gpp_sid names no section that can refuse: it is empty
// or holds only the header and the integrity section.
func namesNone(sids []int) bool {
	for _, sid := range sids {
		if sid != gppHeader && sid != gppIntegrity {
			return false
		}
	}
	return true
}

// judge applies every signal of the request to the verdict. need are the TCF
// purposes that the use of personal data requires.
func (p *Policy) judge(s *rtb.Signals, r *reading, need uint32, v *verdict) {
	if says(s.COPPA) {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyCOPPA, SignalCOPPA)
	}
	if r.gdpr {
		v.limit(p.level(&r.tcf, need), rtb.NoBidPrivacyGDPR, SignalTCF)
		if s.GDPR == rtb.Absent && s.ExtUnread {
			v.limit(rtb.LevelContextual, rtb.NoBidPrivacyGDPR, SignalTCF)
		}
	}
	p.judgeGPP(s, r, need, v)
	lost := s.ExtUnread && r.region == regionUS && len(s.GPP) == 0 && !r.usState && s.GPC == rtb.Absent
	if s.USPBad || len(s.USPrivacy) > 0 && uspRefuses(s.USPrivacy) || lost {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyUSP, SignalUSP)
	}
	if says(s.GPC) && (p.GPCEverywhere || r.region == regionUS || r.region == regionUnknown || r.usState) {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyGPC, SignalGPC)
	}
	if says(s.LMT) || says(s.DNT) {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyLMT, SignalLMT)
	}
	if says(s.NPA) {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyNPA, SignalNPA)
	}
	if !r.gdpr && s.GDPR == rtb.Absent && r.region == regionUnknown {
		p.judgeUnknown(r, need, v)
	}
}

// says reports whether a restricting flag is set or unreadable.
func says(f rtb.Flag) bool { return f != rtb.Absent && f != rtb.No }

// judgeUnknown handles a request that names neither the user's country nor
// whether the GDPR applies. The policy decides, but a valid TCF string is honored
// in any case.
func (p *Policy) judgeUnknown(r *reading, need uint32, v *verdict) {
	if r.tcf.ok {
		v.limit(p.level(&r.tcf, need), rtb.NoBidPrivacyGDPR, SignalTCF)
	}
	if !p.UnknownCountryAllow {
		v.limit(p.withoutBasis(), rtb.NoBidPrivacyUnknownCountry, SignalCountry)
	}
}

// judgeGPP applies the sections that gpp_sid names. A named section that is
// missing, unknown or unreadable refuses (conformance G12, G13). If gpp_sid names
// no section, every section of the string applies, which is the strictest reading.
func (p *Policy) judgeGPP(s *rtb.Signals, r *reading, need uint32, v *verdict) {
	given := len(s.GPP) > 0 || s.GPPBad
	if !given && len(s.GPPSID) == 0 && !s.GPPSIDBad {
		return
	}
	if s.GPPSIDBad || s.GPPBad || len(s.GPPSID) > maxSIDs {
		v.limit(rtb.LevelContextual, rtb.NoBidPrivacyGPP, SignalGPP)
		return
	}
	if given && namesNone(s.GPPSID) {
		if !r.gpp.ok || r.gpp.unknown {
			v.limit(rtb.LevelContextual, rtb.NoBidPrivacyGPP, SignalGPP)
		}
		for id := range 64 {
			if r.gpp.present>>id&1 == 1 {
				p.judgeSection(id, &r.gpp, need, v)
			}
		}
		return
	}
	if len(s.GPPSID) == 1 && s.GPPSID[0] == gppNoSection {
		return
	}
	for _, id := range s.GPPSID {
		p.judgeSection(id, &r.gpp, need, v)
	}
}

// judgeSection applies one section of a GPP string.
func (p *Policy) judgeSection(id int, g *gppString, need uint32, v *verdict) {
	if id == gppHeader || id == gppIntegrity {
		return
	}
	level := rtb.LevelPersonalised
	switch {
	case id < 0 || id >= 64 || !g.ok || (g.present&^g.refused)>>id&1 == 0:
		level = rtb.LevelContextual
	case id == gppTCFEurope:
		level = p.level(&g.europe, need)
	case id == gppTCFCanada && p.purposes(&g.canada)&need != need:
		level = rtb.LevelContextual
	}
	v.limit(level, rtb.NoBidPrivacyGPP, SignalGPP)
}

// level returns what a TCF string allows under the GDPR.
func (p *Policy) level(t *tcString, need uint32) rtb.Level {
	mask := p.allowed(t)
	switch {
	case mask&need == need:
		return rtb.LevelPersonalised
	case mask&purposeSelectAds != 0:
		return rtb.LevelContextual
	}
	return p.withoutBasis()
}

// withoutBasis returns the level without a legal basis for any advertising.
func (p *Policy) withoutBasis() rtb.Level {
	if p.ContextualWithoutBasis {
		return rtb.LevelContextual
	}
	return rtb.LevelNone
}

// allowed returns the mask of the purposes that a European string allows under
// the policy.
func (p *Policy) allowed(t *tcString) uint32 {
	if t.policyVersion < p.minimum || p.RequireDisclosedVendors && !t.disclosed {
		return 0
	}
	return p.purposes(t)
}

// purposes returns the mask of the purposes for which a string gives us a basis.
func (p *Policy) purposes(t *tcString) uint32 {
	if p.VendorID <= 0 {
		return 0
	}
	mask := t.basis(p.flexible)
	if t.purposeOneAway {
		// Purpose 1 was not shown to the user, so its bit is not consent; only the
		// law of a listed country replaces it (conformance G10).
		mask &^= purposeStore
		if p.oneAway[t.publisherCC] && t.vendorMayStore() {
			mask |= purposeStore
		}
	}
	return mask
}
