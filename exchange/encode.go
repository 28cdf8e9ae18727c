package exchange

import "rebound/rtb"

// AppendResponse appends the answer to o: a bid response (OpenRTB 2.6 §4.2).
func AppendResponse(dst []byte, p *Profile, o *rtb.Opportunity, response rtb.BidID, offers []rtb.Offer) []byte {
	return dst
}

// AppendNoBid appends {"id":...,"nbr":...}: a no-bid with the standard's code.
func AppendNoBid(dst []byte, o *rtb.Opportunity, r rtb.NoBidReason) []byte { return dst }

// AppendNoBid appends a no-bid with the exchange's own code for the reason.
func (p *Profile) AppendNoBid(dst []byte, o *rtb.Opportunity, r rtb.NoBidReason) []byte { return dst }

// Fits tells whether the exchange accepts the offer: lengths, counts and
// required fields. Otherwise field names what is missing or too long.
func (p *Profile) Fits(of *rtb.Offer) (field string, ok bool) { return "", true }

type fieldSet uint16

var fieldNames = map[string]fieldSet{}
