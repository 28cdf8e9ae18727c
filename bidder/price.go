package bidder

import (
	"rebound/campaigns"
	"rebound/rtb"
)

// pricing holds the derivation of an option's price.
type pricing struct {
	currency   rtb.Currency
	rate       rtb.Rate // from currency to the advertiser's
	price      rtb.CPM  // in currency
	floor      rtb.CPM  // in currency
	value      rtb.CPM  // in the advertiser's currency
	quote      rtb.Quote
	estimate   rtb.Estimate // of a line with a goal
	features   rtb.Features // that it rests on
	recency    float64
	intensity  float64
	adjust     float64
	firstPrice bool // the winner pays its bid
	slot       rtb.Slot
	guaranteed bool // under a guaranteed deal, which pacing does not hold back
}

// responseCurrency returns the one currency that the response will be in
// (OpenRTB 2.6 §4.2.1): the lines' own if the request takes it, else the first
// that the request takes and that has a rate. When none has, it returns one that
// every line will fail to convert to.
func (d *Decision) responseCurrency(own rtb.Currency) rtb.Currency {
	o := &d.opportunity
	if len(o.Currencies) == 0 {
		return d.profile.DefaultCur
	}
	for _, c := range o.Currencies {
		if c == own {
			return c
		}
	}
	for _, c := range o.Currencies {
		if _, r := d.catalog.Rates.Rate(c, own, d.now); r == rtb.NoBidNone {
			return c
		}
	}
	return o.Currencies[0]
}

// adjustment returns the factor by which the request changes a line's price.
func (d *Decision) adjustment(l *campaigns.Line) float64 {
	if l.Bid.Adjust == nil {
		return 1
	}
	return l.Bid.Adjust.Factor(&d.facts, d.now)
}

// price prices an option, or returns why it cannot bid. The floor is converted
// to the advertiser's currency rounded up and the price is converted back
// rounded down, at the same rate, so that a price that reaches the floor in one
// currency reaches it in the other.
func (d *Decision) price(opt *option, c *candidate) rtb.NoBidReason {
	l, t, p := c.line, d.termsOf(opt), &opt.pricing
	*p = pricing{}
	if t.floorBad || opt.floor < 0 {
		return rtb.NoBidFloor
	}
	rate, r := d.catalog.Rates.Rate(d.currency, l.Advertiser.Currency, d.now)
	if r != rtb.NoBidNone {
		return r
	}
	floorRate, r := d.catalog.Rates.Rate(t.currency, d.currency, d.now)
	if r != rtb.NoBidNone && opt.floor > 0 {
		return r
	}
	fixed := t.auction == rtb.AuctionFixedPrice
	*p = pricing{currency: d.currency, rate: rate, floor: opt.floor.Convert(floorRate, rtb.RoundUp), adjust: c.adjust,
		firstPrice: fixed || d.profile.FirstPrice(t.auction), guaranteed: t.guaranteed, slot: slotOf(opt)}
	p.recency = l.Bid.RecencyFactor(max(d.now.Sub(c.match.Last.Time()), 0))
	p.intensity = l.Bid.IntensityFactor(c.match.Count)
	p.value = l.Bid.CPM
	if l.Bid.Goal.Kind != rtb.GoalFixed {
		d.values.Estimate(&d.estimate, &l.Bid.Goal, d.showing(opt, c))
		p.value, p.estimate, p.features = d.estimate.Value, d.estimate, d.shown.Features
	}
	p.value = p.value.Scale(p.recency * p.intensity * p.adjust)
	r = d.quote(p, c, fixed)
	c.seen.Quotes += d.weight
	c.seen.Full += p.quote.Full * rtb.Micros(d.weight)
	if r != rtb.NoBidNone {
		return r
	}
	if p.firstPrice && !fixed && !p.guaranteed && !p.quote.Learned {
		p.shade(d.profile.Shading)
	}
	if p.price = d.profile.OnTick(min(p.quote.Price, l.Bid.MaxCPM).Convert(rate.Inverse(), rtb.RoundDown)); fixed {
		p.price = p.floor // exactly the agreed price (OpenRTB 2.6 §3.2.12)
		p.quote.Expected = min(p.quote.Expected, p.price.Convert(rate, rtb.RoundUp).Cost())
	}
	if p.price <= 0 || p.price < p.floor {
		return rtb.NoBidFloor
	}
	return rtb.NoBidNone
}

// quote gets the price from pacing. The line's max_cpm limits the price, never the value: a visitor
// who is worth more is bid for longer under pacing. A guaranteed deal is bid on as long as its
// floor is within the line's limit, even if pacing would hold it back (conformance B6); budgets
// still apply.
func (d *Decision) quote(p *pricing, c *candidate, fixed bool) (r rtb.NoBidReason) {
	l := c.line
	auction, floor := rtb.AuctionSecondPrice, p.floor.Convert(p.rate, rtb.RoundUp)
	switch {
	case p.firstPrice && (fixed || p.guaranteed):
		auction = rtb.AuctionFixedPrice
	case p.firstPrice:
		auction = rtb.AuctionFirstPrice
	}
	if p.guaranteed && p.value < floor && floor <= l.Bid.MaxCPM {
		p.value = floor
	}
	d.ask = rtb.Ask{Value: p.value, Floor: floor, Auction: auction, Exchange: d.profile.ID, Slot: p.slot, Multiplier: p.estimate.Multiplier, Draw: d.out.Draw}
	p.quote, r = d.budgets.Quote(d.handles[c.ordinal], &d.ask)
	if r == rtb.NoBidPaced && p.guaranteed && p.value > 0 {
		p.quote.Price = min(p.value, l.Bid.MaxCPM)
		p.quote.Expected, r = p.quote.Price.Cost(), rtb.NoBidNone
	}
	return r
}

// slotOf returns the kind of slot that an option is for, by which pacing learns prices.
func slotOf(opt *option) rtb.Slot {
	switch opt.creative.Format {
	case rtb.FormatVideo:
		return rtb.SlotVideo
	case rtb.FormatNative:
		return rtb.SlotNative
	case rtb.FormatAudio:
		return rtb.SlotAudio
	}
	switch w, h := opt.Size.W, opt.Size.H; {
	case w <= 0 || h <= 0:
		return rtb.SlotOther
	case w*h >= 400*400:
		return rtb.SlotBannerLarge
	case w >= 2*h && w <= 350:
		return rtb.SlotBannerMobile
	case w >= 2*h:
		return rtb.SlotBannerLeaderboard
	case h >= 2*w:
		return rtb.SlotBannerTall
	}
	return rtb.SlotBannerRectangle
}

// shade lowers the price of a first-price bid, where nothing has been learned of such
// slots, and the expected cost with it, where the winner pays
// its bid. A price that reached the floor is not lowered below it.
func (p *pricing) shade(factor float64) {
	full := p.quote.Price
	least := min(p.floor.Convert(p.rate, rtb.RoundUp), full)
	p.quote.Price = max(full.Scale(factor*p.quote.Shading), least)
	if full > 0 {
		p.quote.Shading = float64(p.quote.Price) / float64(full)
		p.quote.Expected = rtb.Micros(float64(p.quote.Expected) * p.quote.Shading)
	}
}
