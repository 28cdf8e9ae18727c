package exchange

import "rebound/rtb"

// MaxDepth is how deep a request's JSON may be nested.
const MaxDepth = 64

// Decoder reads bid requests. It is not safe for concurrent use; keep one per
// handler and reuse it.
type Decoder struct{}

// Head reads what must be known before a visitor is looked up: id, tmax, test,
// at, cur, identifiers, privacy signals and device; it checks the whole body's
// JSON on the way. It resets o. The error, when there is one, is a
// [DecodeError]; o.ID is set when it could be read.
func (d *Decoder) Head(body []byte, p *Profile, o *rtb.Opportunity) error { return nil }

// Rest reads the impressions and everything else of the request that the last
// call of Head read.
func (d *Decoder) Rest(p *Profile, o *rtb.Opportunity) error { return nil }
