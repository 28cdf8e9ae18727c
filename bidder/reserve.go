package bidder

import (
	"encoding/binary"
	"math"
	"time"

	"rebound/campaigns"
	"rebound/events"
	"rebound/rtb"
)

// tryOption makes a bid of an option, the next in their order. An impression takes as
// many bids as the exchange or the pod allows, a line bids on at most its
// max_per_request impressions, and each bid needs a reservation, which counts against
// the line's frequency cap. When the decision runs out of time the caller releases what
// was reserved.
func (d *Decision) tryOption(i int32) {
	opt := &d.options[i]
	c := &d.candidates[opt.candidate]
	if d.spend(1) {
		return
	}
	if d.tookSlots(c.line, opt.imp) || !d.hasRoom(opt) || d.otherLines(c.line, opt) >= d.catalog.linesPerAdvertiser() {
		d.drop(c.line, opt.imp, rtb.NoBidNone)
		return
	}
	if len(d.out.Bids) == 0 {
		if d.timedOut = d.timedOut || d.pastDeadline(); d.timedOut {
			return
		}
	}
	if r := d.enterPath(opt); r != rtb.NoBidNone {
		d.drop(c.line, opt.imp, r)
		return
	}
	d.spend(bidSteps)
	if r := d.reserveBid(opt, c); r != rtb.NoBidNone {
		d.drop(c.line, opt.imp, r)
		return
	}
	c.seen.Expected += d.addedCost()
}

// tookSlots reports whether a line has bids on as many other impressions as its
// max_per_request allows.
func (d *Decision) tookSlots(l *campaigns.Line, imp int) bool {
	if l.MaxPerRequest <= 0 {
		return false
	}
	n := 0
	for i := range d.out.Bids {
		if b := &d.out.Bids[i]; b.Line == l && b.Offer.Imp != imp && d.firstOn(i) {
			n++
		}
	}
	return n >= l.MaxPerRequest
}

// firstOn reports whether bid i is the first of its line on its impression.
func (d *Decision) firstOn(i int) bool {
	b := &d.out.Bids[i]
	for j := range i {
		if x := &d.out.Bids[j]; x.Line == b.Line && x.Offer.Imp == b.Offer.Imp {
			return false
		}
	}
	return true
}

// otherLines counts the other lines of a line's advertiser that an option would
// compete with: those with an open bid on the impression where it is open, and with
// a bid under a deal where it is under one.
func (d *Decision) otherLines(l *campaigns.Line, opt *option) int {
	n := 0
	for i := range d.out.Bids {
		b := &d.out.Bids[i]
		if b.Line != l && b.Line.Advertiser == l.Advertiser && b.Offer.Imp == opt.imp && len(b.Offer.Deal) > 0 == (opt.deal > 0) && d.firstOn(i) {
			n++
		}
	}
	return n
}

// addedCost returns by how much the last bid raises the expected cost of its line:
// of several bids on one impression only one can win.
func (d *Decision) addedCost() rtb.Micros {
	last := len(d.out.Bids) - 1
	b, most := &d.out.Bids[last], rtb.Micros(0)
	for i := range last {
		if x := &d.out.Bids[i]; x.Line == b.Line && x.Offer.Imp == b.Offer.Imp {
			most = max(most, x.Quote.Expected)
		}
	}
	return max(b.Quote.Expected-most, 0)
}

// reserveBid reserves an option's worst cost and builds its bid. The reservation
// is released when the bid cannot be built.
func (d *Decision) reserveBid(opt *option, c *candidate) rtb.NoBidReason {
	d.out.Bids = append(d.out.Bids, Bid{})
	b := &d.out.Bids[len(d.out.Bids)-1]
	p := &opt.pricing
	b.Line, b.Creative, b.Value, b.Quote = c.line, opt.creative, p.value, p.quote
	b.Products = d.products[opt.products[0]:opt.products[1]:opt.products[1]]
	b.Factors = events.Factors{
		CPM: c.line.Bid.CPM, Recency: p.recency, Intensity: p.intensity, Multiplier: p.quote.Multiplier,
		Shading: p.quote.Shading, Adjust: p.adjust, Rate: p.rate.Float(), Floor: p.floor, Quote: p.quote.Price,
		Chance: p.quote.Chance, Explored: p.quote.Explored,
	}
	if c.line.Bid.Goal.Kind != rtb.GoalFixed {
		e := &p.estimate
		b.Factors.CPM = e.Value
		b.Factors.Estimate = events.Estimate{Click: e.Click, Conversion: e.Conversion, Deviation: e.Deviation, Draw: e.Draw, Data: e.Data, Target: c.line.Bid.Goal.Target, Worth: e.Worth, Multiplier: e.Multiplier}
	}
	b.RecencyS, b.Seen = d.history(c)
	d.fillClaims(b, opt)
	b.Claims.Handle, b.Claims.Slot, b.Claims.Path = d.handles[c.ordinal], p.slot, d.paths[opt.imp].handle
	r := d.budgets.Reserve(&b.Claims, &d.visitor, c.line.Frequency)
	if r == rtb.NoBidNone {
		start := len(d.text)
		if r = d.build(b, opt); r == rtb.NoBidNone {
			return r
		}
		d.budgets.Release(b.Claims.Bid)
		d.text = d.text[:start]
	}
	d.out.Bids = d.out.Bids[:len(d.out.Bids)-1]
	return r
}

// history returns how long ago a candidate's visitor did what its line asks for, in seconds
// and at least 1, and how many impressions of the line the profile holds.
func (d *Decision) history(c *candidate) (recency int64, seen int) {
	if c.match.Last > 0 {
		recency = max(int64(d.now.Sub(c.match.Last.Time())/time.Second), 1)
	}
	if f := d.visitor.Scope(c.line.Scope); f != nil {
		for i := range f.Buckets {
			seen += int(f.Buckets[i].Count)
		}
	}
	return recency, seen
}

// fillClaims sets what a notice of the bid will need. Reserve sets the node, the
// grant, the caps and the day.
func (d *Decision) fillClaims(b *Bid, opt *option) {
	p, l, c, imp := &opt.pricing, b.Line, &b.Claims, &d.opportunity.Imps[opt.imp]
	format := opt.creative.Format
	*c = rtb.Claims{
		Bid: newBidID(d.source), Exchange: d.profile.ID, Advertiser: l.ID.Advertiser, Campaign: l.ID.Campaign, Line: l.ID.Line,
		Creative: opt.creative.ID, Visitor: d.visitor.Key, Landing: opt.creative.Landing(b.Products),
		Price: p.price, Currency: p.currency, AdvertiserCurrency: l.Advertiser.Currency, Rate: p.rate,
		Format: format, BillOn: d.profile.BillingSource(format), FirstPrice: p.firstPrice, Test: d.opportunity.Test,
		Issued: d.now, Value: p.value.Cost(), Expected: p.quote.Expected, Quantity: quantity(imp.Qty),
	}
	if len(b.Products) > 0 {
		c.Item = b.Products[0].ID
	}
	if deal := d.dealOf(opt); deal != nil {
		if c.Deal = opt.dealID; c.Deal == "" {
			c.Deal = string(deal.ID)
		}
	}
	c.ClickPPM, c.ConversionPPM = millionths(p.estimate.Click), millionths(p.estimate.Conversion)
	c.Features = p.features
	c.WinExpiry, c.BillExpiry = d.expiry(imp, format)
	c.Reserved = c.Charge(p.price)
}

// millionths returns a probability in millionths, rounded up.
func millionths(p float64) uint32 { return uint32(math.Ceil(p * 1e6)) }

// expiry returns when a reservation ends without a win, and when it ends without
// a bill. A bid is held for as long as it can be billed: without a certain win
// notice until the exp that the response promises has passed. A bid that won and
// may be shown later (imp.exp) is held longer, up to the limit of the exchange's
// profile.
func (d *Decision) expiry(imp *rtb.Impression, f rtb.Formats) (win, bill time.Time) {
	win = d.now.Add(d.profile.Hold(f))
	bill = d.now.Add(d.profile.AuctionTTL + max(d.profile.BillWindow(f), min(imp.Exp, d.profile.MaxExp)))
	if bill.Before(win) {
		bill = win
	}
	return win, bill
}

// quantity returns how many impressions a bid pays for, in millionths rounded
// up; 0 means one (OpenRTB 2.6 §3.2.31).
func quantity(qty float64) rtb.Quantity {
	if !(qty > 0) || qty == 1 {
		return 0
	}
	return rtb.Quantity(min(math.Ceil(qty*float64(rtb.OneImpression)), math.MaxInt32*float64(rtb.OneImpression)))
}

func newBidID(s Source) (id rtb.BidID) {
	binary.LittleEndian.PutUint64(id[:8], s.Uint64())
	binary.LittleEndian.PutUint64(id[8:], s.Uint64())
	return id
}

// observe reports every evaluated line that could have bid to pacing. A test request is
// not traffic.
func (d *Decision) observe() {
	if d.opportunity.Test {
		return
	}
	for i := range d.candidates {
		c := &d.candidates[i]
		d.budgets.Observe(d.handles[c.ordinal], &c.seen)
	}
}

// releaseBids drops every bid and releases its reservation.
func (d *Decision) releaseBids(r rtb.NoBidReason) {
	for i := range d.out.Bids {
		d.budgets.Release(d.out.Bids[i].Claims.Bid)
	}
	d.out.Bids, d.out.Reason = d.out.Bids[:0], r
	d.leavePaths()
}

// dropLast drops the last bid of a response that is too large.
func (d *Decision) dropLast() {
	last := &d.out.Bids[len(d.out.Bids)-1]
	d.budgets.Release(last.Claims.Bid)
	d.drop(last.Line, last.Offer.Imp, rtb.NoBidTooLarge)
	if d.out.Bids = d.out.Bids[:len(d.out.Bids)-1]; len(d.out.Bids) > 0 {
		d.out.Reason = rtb.NoBidNone
	}
	d.leavePaths()
}
