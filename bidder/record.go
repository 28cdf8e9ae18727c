package bidder

import (
	"encoding/binary"
	"encoding/hex"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/exchange"
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

// recording is the memory in which the record of a decision is assembled. The record
// refers to the decision's own memory; it is written before the decision ends.
type recording struct {
	record   events.BidRecord
	decision events.Decision
	consent  [16]byte // the hash of the consent strings as text
	request  redacted
}

// redacted is the request of a decision, read by its decoder.
type redacted struct {
	decoder *exchange.Decoder
	profile *exchange.Profile
	keys    *rtb.Keyring
	// anonymous is set if privacy does not permit to personalise the request.
	anonymous bool
}

// AppendRedacted implements [events.Redacted].
func (r *redacted) AppendRedacted(dst []byte) ([]byte, error) {
	if r.anonymous {
		return r.decoder.AppendAnonymous(dst, r.profile)
	}
	return r.decoder.AppendRedacted(dst, r.profile, r.keys)
}

// record writes a record of the request to the bid log. A request that privacy does not
// permit to be personalised is recorded without personal fields.
func (b *Bidder) record(d *Decision, rs *Response, took time.Duration) {
	weight := b.sampleWeight(d, rs)
	if weight == 0 {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			b.o.Logger.Error("recording a bid request failed with a panic", zap.String("exchange", d.request.Exchange), zap.Any("cause", cause), zap.Stack("stack"))
		}
	}()
	m := &d.recording
	r := &m.record
	*r = events.BidRecord{
		V: 1, TS: d.now, Exchange: d.request.Exchange, Node: b.o.Node, Build: b.o.Build, Config: d.catalog.Hash, Activation: d.catalog.Activation, SampleWeight: weight,
		Anonymous: d.anonymous, TookUS: took.Microseconds(),
		Visitor: d.Visitor(), Decision: &m.decision,
		Privacy: events.RecordPrivacy{Level: d.permissions.Level, Signal: d.permissions.Signal, ConsentHash: m.consentHash(d.permissions.ConsentHash),
			Refusal: d.permissions.Refusal, PreciseGeo: d.permissions.PreciseGeo},
	}
	if !d.deadline.IsZero() { // else the request was refused before its deadline was known
		r.DeadlineUS = d.deadline.Sub(d.now).Microseconds()
	}
	if d.noting {
		r.Inputs = d.inputs.finish()
	}
	if b.o.Positions != nil {
		r.Pos = b.o.Positions()
	}
	var request events.Redacted
	if b.o.Keys != nil {
		m.request = redacted{&d.decoder, d.profile, b.o.Keys, d.permissions.Level != rtb.LevelPersonalised || rs.Reason == rtb.NoBidPrivacyOptedOut}
		request = &m.request
	}
	d.describe(r.Decision, rs, borrowed)
	if rs.Offers > 0 {
		r.BidID = d.out.Bids[0].Offer.Bid
	}
	b.o.Records.Write(r, request)
	*r = events.BidRecord{} // keeps nothing of the request
}

// consentHash returns a hash as text, which is valid until the next call.
func (m *recording) consentHash(h uint64) string {
	if h == 0 {
		return ""
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], h)
	hex.Encode(m.consent[:], b[:])
	return borrowed(m.consent[:])
}

// borrowed returns a string that shares b's memory.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func copied(b []byte) string { return string(b) }

// Describe fills r with the decision and its response, as explain shows them. r shares
// no memory with the decision.
func (d *Decision) Describe(r *events.Decision, rs *Response) { d.describe(r, rs, copied) }

// describe is Describe with the function that makes strings of the request's ids.
func (d *Decision) describe(r *events.Decision, rs *Response, text func([]byte) string) {
	*r = events.Decision{NoBid: rs.Reason, Code: d.out.Code, Bids: r.Bids[:0], Dropped: r.Dropped[:0]}
	if !d.decided {
		return
	}
	r.Skipped = d.out.Skipped
	r.LostOptions, r.LostDrops = d.out.Lost.Options, d.out.Lost.Drops
	if len(d.out.Bids) == 0 {
		r.Draw = d.out.Draw
	}
	imps := d.opportunity.Imps
	for i := range d.out.Bids {
		b := &d.out.Bids[i]
		r.Bids = append(r.Bids, events.DecisionBid{
			BidID: b.Offer.Bid, ImpID: text(imps[b.Offer.Imp].ID), Advertiser: b.Line.ID.Advertiser,
			Campaign: b.Line.ID.Campaign, Line: b.Line.ID.Line, Creative: b.Creative.ID, Item: b.Claims.Item,
			Deal: text(b.Offer.Deal), Price: b.Offer.Price, Value: b.Value.Convert(b.Claims.Rate.Inverse(), rtb.RoundDown),
			Reserved: b.Claims.Reserved, Expected: b.Quote.Expected, RecencyS: b.RecencyS, Frequency: b.Seen, Factors: b.Factors, Draw: d.out.Draw,
		})
	}
	for i := range d.out.Drops {
		x := &d.out.Drops[i]
		drop := events.DecisionDrop{Advertiser: x.Line.ID.Advertiser, Campaign: x.Line.ID.Campaign, Line: x.Line.ID.Line, Reason: x.Reason}
		if x.Imp >= 0 && x.Imp < len(imps) {
			drop.ImpID = text(imps[x.Imp].ID)
		}
		if x.Reason == rtb.NoBidNone {
			r.Outbid++
		}
		r.Dropped = append(r.Dropped, drop)
	}
}
