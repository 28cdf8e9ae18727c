package privacy

import "rebound/rtb"

// Consent is what one call from a browser says of its visitor's wishes: the
// query parameters gdpr, gdpr_consent, us_privacy, gpp, gpp_sid and npa as
// sent, the Sec-GPC header and our opt-out cookie. Missing ones are empty.
// Byte slices are only read during the call.
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
	// SetCookie allows our cookie to be read and set, and ids to be synced.
	SetCookie bool
	// Sync allows our id to be matched with an exchange's.
	Sync bool
	// StoreProfile allows the event to be kept in the visitor's profile.
	StoreProfile bool
	// Refusal names the signal that forbade something; NoBidNone when all is
	// allowed.
	Refusal rtb.NoBidReason
	// Signal is the kind of signal that decided, as in rtb.Permissions.
	Signal string
}

// Browser says what may be done with one call from a browser.
func (p *Policy) Browser(c *Consent) Grant {
	return Grant{Refusal: rtb.NoBidPrivacyUnknownCountry, Signal: "none"}
}
