package privacy

import "rebound/rtb"

// Consent holds the privacy signals of one browser call: the query parameters
// gdpr, gdpr_consent, us_privacy, gpp, gpp_sid and npa as sent, the Sec-GPC
// header and our opt-out cookie. Absent ones are empty. An unexpanded macro is
// unreadable and therefore refuses. The bytes are only read during the call.
type Consent struct {
	GDPR        []byte // "0" or "1"; anything else that is not empty counts as 1
	GDPRConsent []byte // TCF string
	USPrivacy   []byte
	GPP         []byte
	GPPSID      []byte // section ids, separated by "," or "_"
	NPA         []byte // "1": not personalised
	SecGPC      []byte // value of the Sec-GPC header
	Country     []byte // as in rtb.Signals; empty if the caller does not know it
	OptOut      bool   // our opt-out cookie is set
}

// Grant is what a browser call allows. The zero value allows nothing.
type Grant struct {
	SetCookie    bool // our cookie may be read and set
	Sync         bool // our id may be matched with an exchange's id
	StoreProfile bool // the event may be stored in the visitor's profile
	// Refusal is the reason for what is not allowed, and NoBidNone when everything
	// is allowed.
	Refusal rtb.NoBidReason
}

// The TCF purposes that a browser call needs.
const (
	needCookie  = purposeStore
	needProfile = purposeStore | purposeMakeProf
)

// maxBrowserSIDs is the maximum number of section ids in a gpp_sid parameter.
const maxBrowserSIDs = 32

// Browser decides what one browser call allows (conformance C4). It honors Global
// Privacy Control in every country, because the signal comes from the visitor's
// own browser and no bid is lost.
func (p *Policy) Browser(c *Consent) Grant {
	p.ready()
	if c.OptOut {
		return Grant{Refusal: rtb.NoBidPrivacyOptedOut}
	}
	var sids [maxBrowserSIDs]int
	ids, readable := parseSIDs(c.GPPSID, sids[:0])
	s := rtb.Signals{
		GDPR: parameter(c.GDPR), Consent: c.GDPRConsent, USPrivacy: c.USPrivacy,
		GPP: c.GPP, GPPSID: ids, GPPSIDBad: !readable,
		GPC: parameter(c.SecGPC), NPA: parameter(c.NPA), Country: c.Country,
	}
	var r reading
	p.read(&s, &r)
	r.usState = r.usState || says(s.GPC)
	cookie := verdict{level: rtb.LevelPersonalised, signal: SignalNone}
	p.judge(&s, &r, needCookie, &cookie)
	profile := cookie
	p.judge(&s, &r, needProfile, &profile)
	g := Grant{
		SetCookie:    cookie.level == rtb.LevelPersonalised,
		StoreProfile: profile.level == rtb.LevelPersonalised,
		Refusal:      profile.refusal,
	}
	g.Sync = g.SetCookie
	return g
}

// parameter parses a flag from a query parameter or a header.
func parameter(b []byte) rtb.Flag {
	switch {
	case len(b) == 0:
		return rtb.Absent
	case len(b) == 1 && b[0] == '0':
		return rtb.No
	case len(b) == 1 && b[0] == '1':
		return rtb.Yes
	}
	return rtb.Unreadable
}

// parseSIDs parses a gpp_sid parameter. Text other than numbers and their
// separators is unreadable.
func parseSIDs(b []byte, dst []int) (ids []int, ok bool) {
	for more := len(b) > 0; more; {
		n, digits, negative := 0, 0, false
		for len(b) > 0 && b[0] != ',' && b[0] != '_' {
			switch c := b[0]; {
			case c == '-' && digits == 0 && !negative:
				negative = true
			case c >= '0' && c <= '9' && digits < 5:
				n = n*10 + int(c-'0')
				digits++
			default:
				return nil, false
			}
			b = b[1:]
		}
		if digits == 0 || len(dst) == cap(dst) {
			return nil, false
		}
		if negative {
			n = -n
		}
		dst = append(dst, n)
		if more = len(b) > 0; more {
			b = b[1:]
			if len(b) == 0 { // a separator at the end
				return nil, false
			}
		}
	}
	return dst, true
}
