package bidder

import (
	"encoding/hex"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// shouldRecord is the weight with which the request goes into the bid log; 0
// leaves it out. Every bid is recorded, and of the no-bids a share that the request
// id decides, so that the same request is in or out on every run. What cannot
// be read is never recorded.
func (b *Bidder) shouldRecord(s *Scratch, a *Answer) float64 {
	switch {
	case b.o.Records == nil, a.Reason == rtb.NoBidMalformed, a.Again:
		return 0
	case a.Offers > 0:
		return 1
	}
	shares := b.shares.Load()
	share := shares.unknown
	if s.known {
		share = shares.known
	}
	switch {
	case share <= 0 || len(s.opportunity.ID) == 0:
		return 0
	case share >= 1:
		return 1
	case float64(hash(s.opportunity.ID)>>11)/(1<<53) < share:
		return 1 / share
	}
	return 0
}

// hash is FNV-1a with the finisher of splitmix64, whose upper bits are even.
func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// record offers a record of the request. It copies what it keeps: the request
// and the visitor are borrowed. A request that privacy keeps from being
// personalised is recorded without its body.
func (b *Bidder) record(rq *Request, s *Scratch, c *Catalog, a *Answer, took time.Duration, weight float64) {
	r := b.o.Records.Borrow()
	if r == nil {
		return
	}
	visitor, decision := r.Visitor, r.Decision
	*r = events.BidRecord{
		V: 1, TS: rq.Arrival, Exchange: rq.Exchange, Node: b.o.Node, Build: b.o.Build, Config: c.Hash, SampleWeight: weight,
		DeadlineUS: s.input.Deadline.Sub(rq.Arrival).Microseconds(), TookUS: took.Microseconds(), Request: r.Request[:0],
		Privacy: events.RecordPrivacy{Level: s.permissions.Level, Signal: s.permissions.Signal, ConsentHash: consentHash(s.permissions.ConsentHash)},
	}
	if b.o.Positions != nil {
		r.Pos = b.o.Positions()
	}
	if s.permissions.Level == rtb.LevelPersonalised {
		r.Request = append(r.Request, rq.Body...)
	} else {
		r.Request = nil // written as null
	}
	if s.known {
		if r.Visitor = visitor; visitor == nil {
			r.Visitor = new(rtb.Visitor)
		}
		r.Visitor.CopyFrom(&s.visitor)
	}
	if r.Decision = decision; decision == nil {
		r.Decision = new(events.Decision)
	}
	fillDecision(r.Decision, s, a)
	if len(s.outcome.Bids) > 0 && a.Offers > 0 {
		r.BidID = s.outcome.Bids[0].Offer.Bid
	}
	b.o.Records.Offer(r)
}

func consentHash(h uint64) string {
	if h == 0 {
		return ""
	}
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(h >> (56 - 8*i))
	}
	return hex.EncodeToString(raw[:])
}

// Describe fills d with the last decision of the scratch, as records and explain
// show it. d shares no memory with the scratch.
func (s *Scratch) Describe(d *events.Decision, a *Answer) { fillDecision(d, s, a) }

func fillDecision(d *events.Decision, s *Scratch, a *Answer) {
	*d = events.Decision{NoBid: a.Reason, Bids: d.Bids[:0], Dropped: d.Dropped[:0]}
	if s.headerOnly {
		return
	}
	out, o := &s.outcome, &s.opportunity
	for i := range out.Bids {
		x := &out.Bids[i]
		d.Bids = append(d.Bids, events.DecisionBid{
			BidID: x.Offer.Bid, ImpID: string(o.Imps[x.Offer.Imp].ID), Advertiser: x.Line.ID.Advertiser,
			Campaign: x.Line.ID.Campaign, Line: x.Line.ID.Line, Creative: x.Creative.ID, Item: x.Claims.Item,
			Deal: string(x.Offer.Deal), Price: x.Offer.Price, Value: x.Value.ConvertBack(max(x.Claims.Rate, 1)),
			Reserved: x.Claims.Reserved, Factors: x.Factors, Draw: out.Draw,
		})
	}
	for i := range out.Drops {
		x := &out.Drops[i]
		drop := events.DecisionDrop{Advertiser: x.Line.ID.Advertiser, Campaign: x.Line.ID.Campaign, Line: x.Line.ID.Line, Reason: x.Reason}
		if x.Imp >= 0 && x.Imp < len(o.Imps) {
			drop.ImpID = string(o.Imps[x.Imp].ID)
		}
		d.Dropped = append(d.Dropped, drop)
	}
}
