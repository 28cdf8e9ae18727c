package bidder

import (
	"rebound/exchange"
	"rebound/rtb"
)

// Statuses of a [Response]. A no-bid is 204 with an empty body (OpenRTB 2.6
// §4.2.1).
const (
	statusOK       = 200
	statusNoBid    = 204
	statusNotFound = 404
)

// Response is the response to a request: status, body and no-bid reason.
type Response struct {
	Status int
	Body   []byte // empty unless Status is 200; valid until the decision is used again
	Reason rtb.NoBidReason
	Offers int
	// Repeated is set if the response was copied from an earlier identical
	// request. Such a response has no decision of its own.
	Repeated bool
}

// respond encodes the bids. Bids that make the response larger than the exchange
// takes, or that come too late, are released.
func (d *Decision) respond() Response {
	r := exchange.Response{ID: newBidID(d.source)}
	for {
		d.offers = d.offers[:0]
		for i := range d.out.Bids {
			d.offers = append(d.offers, d.out.Bids[i].Offer)
		}
		r.Offers, r.Took = d.offers, d.clock().Sub(d.now)
		d.body = exchange.AppendResponse(d.body[:0], d.profile, &d.opportunity, &r)
		if !d.isTooLarge() {
			break
		}
		if d.dropLast(); len(d.out.Bids) == 0 {
			return d.noBid(rtb.NoBidTooLarge)
		}
	}
	if d.pastDeadline() {
		d.releaseBids(rtb.NoBidLate)
		return d.noBid(rtb.NoBidLate)
	}
	return Response{Status: statusOK, Body: d.body, Offers: len(d.offers)}
}

// noBid returns 204, or 200 with the OpenRTB no-bid code where the exchange wants
// that.
func (d *Decision) noBid(r rtb.NoBidReason) Response {
	if !d.profile.NBREnabled {
		return Response{Status: statusNoBid, Reason: r}
	}
	d.body = d.profile.AppendNoBid(d.body[:0], &d.opportunity, r, d.out.Code)
	return Response{Status: statusOK, Body: d.body, Reason: r}
}
