package exchange

import "rebound/rtb"

// commonProtocols are what every player reads where a request lists nothing:
// VAST 2.0 and 3.0, inline and wrapped (AdCOM 1.0, List: Creative Subtypes -
// Audio/Video).
var commonProtocols = []int{2, 3, 5, 6}

// Protocols are those in which an impression may be answered: what it lists,
// else the profile's, else [commonProtocols].
func (p *Profile) Protocols(v *rtb.Video) []int {
	switch {
	case len(v.Protocols) > 0:
		return v.Protocols
	case len(p.DefaultProtocols) > 0:
		return p.DefaultProtocols
	}
	return commonProtocols
}
