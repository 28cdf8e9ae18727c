package privacy

import "rebound/rtb"

// Consent is what one call from a browser says of its visitor's wishes: the
// query parameters gdpr, gdpr_consent, us_privacy, gpp, gpp_sid and npa as
// sent, the Sec-GPC header and our opt-out cookie. Missing ones are empty. A
// macro that nobody replaced is unreadable and so refuses. The bytes are only
// read during the call.
type Consent struct {
	GDPR        []byte // "0" or "1"; anything else that is not empty counts as 1
	GDPRConsent []byte // TCF string
	USPrivacy   []byte
	GPP         []byte
	GPPSID      []byte // section ids, separated by "," or "_"
	NPA         []byte // "1": not personalised
	SecGPC      []byte // value of the Sec-GPC header
	Country     []byte // where the caller knows it; as in rtb.Signals
	OptOut      bool   // our opt-out cookie is set
}

// Grant is what may be done with a browser's call. The zero value allows
// nothing.
type Grant struct {
	SetCookie    bool // our cookie may be read and set
	Sync         bool // our id may be matched with an exchange's
	StoreProfile bool // the event may be kept in the visitor's profile
	// Refusal names the signal that forbade something; NoBidNone when all is
	// allowed.
	Refusal rtb.NoBidReason
	// Signal is the kind of signal that decided, as in rtb.Permissions, or
	// [SignalOptOut].
	Signal string
	// ConsentHash is as in rtb.Permissions.
	ConsentHash uint64
}

// What the TCF asks for at the edge.
const (
	needCookie  = purposeStore
	needProfile = purposeStore | purposeMakeProf
)

// maxBrowserSIDs is how many section ids a gpp_sid parameter may hold.
const maxBrowserSIDs = 32

// Browser says what may be done with one call from a browser (conformance C4).
// Global Privacy Control is obeyed in every country here: it is the browser's
// own word, and nothing is lost that was bought.
func (p *Policy) Browser(c *Consent) Grant {
	p.ready()
	if c.OptOut {
		return Grant{Refusal: rtb.NoBidPrivacyOptedOut, Signal: SignalOptOut}
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
		Refusal:      profile.refusal, Signal: profile.signal, ConsentHash: r.hash,
	}
	g.Sync = g.SetCookie
	if g.StoreProfile {
		g.Signal = r.source()
	}
	return g
}

// parameter reads a flag of a query or a header.
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

// parseSIDs reads a gpp_sid parameter. Any other text than numbers and their
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
