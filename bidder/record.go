package bidder

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// sampleWeight returns the weight with which a request goes into the bid log; 0
// leaves it out. Every bid is recorded, and a share of the no-bids, which the
// request's id selects: the same request is in or out in every run. A request
// that cannot be read is never recorded.
func (b *Bidder) sampleWeight(d *Decision, rs *Response) float64 {
	switch {
	case b.o.Records == nil, rs.Reason == rtb.NoBidMalformed, rs.Repeated:
		return 0
	case rs.Offers > 0:
		return 1
	}
	shares := b.shares.Load()
	share := shares.unknown
	if d.known {
		share = shares.known
	}
	switch {
	case share <= 0 || len(d.opportunity.ID) == 0:
		return 0
	case share >= 1:
		return 1
	case float64(hash(d.opportunity.ID)>>11)/(1<<53) < share:
		return 1 / share
	}
	return 0
}

// hash is FNV-1a, mixed so that its upper bits are evenly distributed.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return mix(h)
}

// record offers a record of the request to the bid log, which copies the data that it keeps. A
// request that privacy does not permit to be personalised is recorded without
// its body.
func (b *Bidder) record(d *Decision, rs *Response, took time.Duration) {
	weight := b.sampleWeight(d, rs)
	if weight == 0 {
		return
	}
	r := b.o.Records.Borrow()
	if r == nil {
		return
	}
	r.V, r.TS, r.Exchange, r.Node, r.Build = 1, d.now, d.request.Exchange, b.o.Node, b.o.Build
	r.Config, r.SampleWeight = d.catalog.Hash, weight
	r.DeadlineUS, r.TookUS = d.deadline.Sub(d.now).Microseconds(), took.Microseconds()
	r.Privacy = events.RecordPrivacy{Level: d.permissions.Level, Signal: d.permissions.Signal, ConsentHash: consentHash(d.permissions.ConsentHash)}
	if b.o.Positions != nil {
		r.Pos = b.o.Positions()
	}
	if d.permissions.Level == rtb.LevelPersonalised {
		r.SetRequest(d.request.Body)
	}
	r.SetVisitor(d.Visitor())
	d.Describe(r.Decide(), rs)
	if rs.Offers > 0 {
		r.BidID = d.out.Bids[0].Offer.Bid
	}
	b.o.Records.Offer(r)
}

func consentHash(h uint64) string {
	if h == 0 {
		return ""
	}
	return hex.EncodeToString(binary.BigEndian.AppendUint64(make([]byte, 0, 8), h))
}

// Describe fills r with the decision and its response, as records and explain
// show them. r shares no memory with the decision.
func (d *Decision) Describe(r *events.Decision, rs *Response) {
	*r = events.Decision{NoBid: rs.Reason, Bids: r.Bids[:0], Dropped: r.Dropped[:0]}
	if !d.decided {
		return
	}
	imps := d.opportunity.Imps
	for i := range d.out.Bids {
		b := &d.out.Bids[i]
		r.Bids = append(r.Bids, events.DecisionBid{
			BidID: b.Offer.Bid, ImpID: string(imps[b.Offer.Imp].ID), Advertiser: b.Line.ID.Advertiser,
			Campaign: b.Line.ID.Campaign, Line: b.Line.ID.Line, Creative: b.Creative.ID, Item: b.Claims.Item,
			Deal: string(b.Offer.Deal), Price: b.Offer.Price, Value: b.Value.Convert(b.Claims.Rate.Inverse(), rtb.RoundDown),
			Reserved: b.Claims.Reserved, Factors: b.Factors, Draw: d.out.Draw,
		})
	}
	for i := range d.out.Drops {
		x := &d.out.Drops[i]
		drop := events.DecisionDrop{Advertiser: x.Line.ID.Advertiser, Campaign: x.Line.ID.Campaign, Line: x.Line.ID.Line, Reason: x.Reason}
		if x.Imp >= 0 && x.Imp < len(imps) {
			drop.ImpID = string(imps[x.Imp].ID)
		}
		r.Dropped = append(r.Dropped, drop)
	}
}
