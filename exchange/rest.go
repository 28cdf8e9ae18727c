package exchange

import "rebound/rtb"

// Rest reads the impressions and everything else of the request that the last
// call of Head read.
func (d *Decoder) Rest(p *Profile, o *rtb.Opportunity) error { return nil }
