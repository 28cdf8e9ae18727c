package exchange

import "rebound/rtb"

// commonProtocols are assumed if a request lists none: VAST 2.0 and 3.0, inline
// and wrapper (AdCOM 1.0, List: Creative Subtypes - Audio/Video).
var commonProtocols = []int{2, 3, 5, 6}

// Protocols returns the protocols that an impression accepts: those that it
// lists, or else the profile's, or else [commonProtocols].
func (p *Profile) Protocols(v *rtb.Video) []int {
	switch {
	case len(v.Protocols) > 0:
		return v.Protocols
	case len(p.DefaultProtocols) > 0:
		return p.DefaultProtocols
	}
	return commonProtocols
}
