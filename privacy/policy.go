package privacy

import (
	"rebound/rtb"
)

// MaxStringLen is the longest consent or GPP string, in characters, that is
// read at all; a longer one counts as unreadable. A TCF string over a full
// vendor list of 1,500 vendors, with disclosed vendors and a hundred publisher
// restrictions, stays under 4,000.
const MaxStringLen = 8192

// Policy is the privacy part of the configuration. It must not be changed or
// copied after its first use; it is safe for concurrent use.
type Policy struct {
	// VendorID is our number in IAB Europe's Global Vendor List, 1 to 65535.
	// With 0 all traffic under the GDPR is refused.
	VendorID int
	// UnknownCountryAllow lets a request pass that says neither where its user
	// is nor whether the GDPR applies. The zero value refuses it.
	UnknownCountryAllow bool
}

// Decide says what a bid may do with the visitor of one request.
func (p *Policy) Decide(s *rtb.Signals) rtb.Permissions {
	return rtb.Permissions{Level: rtb.LevelNone, Refusal: rtb.NoBidPrivacyUnknownCountry, Signal: "none"}
}
