package bidder

import (
	"time"

	"rebound/campaigns"
	"rebound/rtb"
)

// money is the price of one option. Rate is how many millionths of the
// advertiser's currency one unit of the answer's is worth.
type money struct {
	currency  rtb.Currency
	rate      int64
	price     rtb.CPM // in currency
	floor     rtb.CPM // in currency
	value     rtb.CPM // in the advertiser's
	quote     rtb.Quote
	recency   float64
	intensity float64
	adjust    float64
	first     bool // the winner pays its bid
	// guaranteed is a bid under a guaranteed deal: pacing does not hold it.
	guaranteed bool
}

// currencyOf is the one that the answer will be in: an answer has one
// (OpenRTB 2.6 §4.2.1). The first line's own, if the request takes it; else the
// first that the request takes and there is a rate for. The zero value means
// that none will do.
func (w *work) currencyOf(in *Input) rtb.Currency {
	o := in.Opportunity
	if len(o.Currencies) == 0 {
		return in.Exchange.DefaultCur
	}
	own := w.matched[0].line.Advertiser.Currency
	for _, c := range o.Currencies {
		if c == own {
			return c
		}
	}
	for _, c := range o.Currencies {
		if _, r := in.Catalog.Rates.Rate(c, own, in.Now); r == rtb.NoBidNone {
			return c
		}
	}
	return o.Currencies[0]
}

// quote prices one option, or says why it cannot be bid. The floor goes to the
// advertiser's currency rounded up and the price comes back rounded down, at the
// same rate, so that a price that reaches the floor there reaches it here.
func quote(in *Input, opt *option, m *matched, cur rtb.Currency) rtb.NoBidReason {
	o, l := in.Opportunity, m.line
	imp := &o.Imps[opt.imp]
	t := opt.terms(o, imp)
	if t.bad || opt.floor < 0 {
		return rtb.NoBidFloor
	}
	t.at = opt.auction(in, imp, t.at)
	own := l.Advertiser.Currency
	rate, r := in.Catalog.Rates.Rate(cur, own, in.Now)
	if r != rtb.NoBidNone {
		return r
	}
	floorRate, r := in.Catalog.Rates.Rate(t.cur, cur, in.Now)
	if r != rtb.NoBidNone && opt.floor > 0 {
		return r
	}
	p := money{currency: cur, rate: rate, floor: opt.floor.Convert(floorRate, rtb.RoundUp), first: t.at == rtb.AuctionFixedPrice || in.Exchange.FirstPrice(t.at),
		adjust: m.adjust, guaranteed: t.guaranteed}
	age := max(in.Now.Sub(m.match.Last.Time()), 0)
	p.recency, p.intensity = l.Bid.RecencyFactor(age), l.Bid.IntensityFactor(m.match.Count)
	p.value = min(l.Bid.CPM.Scale(p.recency*p.intensity*p.adjust), l.Bid.MaxCPM)
	auction := rtb.AuctionSecondPrice
	if p.first {
		auction = rtb.AuctionFirstPrice
	}
	if r = p.ask(in, l, auction); r != rtb.NoBidNone {
		return r
	}
	if p.first && t.at != rtb.AuctionFixedPrice && !p.guaranteed {
		p.shade(in.Exchange.Shading)
	}
	if p.price = in.Exchange.OnTick(min(p.quote.Price, l.Bid.MaxCPM).ConvertBack(rate)); t.at == rtb.AuctionFixedPrice {
		p.price = p.floor // the agreed price, no more (OpenRTB 2.6 §3.2.12)
		p.quote.Expected = min(p.quote.Expected, p.price.Convert(rate, rtb.RoundUp).Cost())
	}
	if p.price <= 0 || p.price < p.floor {
		return rtb.NoBidFloor
	}
	opt.money = p
	return rtb.NoBidNone
}

// auction is the auction type that counts. Only a deal has a fixed price (OpenRTB
// 2.6 §3.2.12): where it does not say so itself, a request that says it for all is
// in the exchange's own type.
func (opt *option) auction(in *Input, imp *rtb.Impression, at int) int {
	if d := opt.dealOf(imp); at == rtb.AuctionFixedPrice && (d == nil || d.At != at) {
		return in.Exchange.At
	}
	return at
}

// shade bids less than the price where the winner pays its bid, but never less
// than a floor that the price reaches. What the bid is expected to cost shrinks with it.
func (p *money) shade(factor float64) {
	whole := p.quote.Price
	least := min(p.floor.Convert(p.rate, rtb.RoundUp), whole)
	p.quote.Price = max(whole.Scale(factor*p.quote.Shading), least)
	if whole > 0 {
		p.quote.Shading = float64(p.quote.Price) / float64(whole)
		p.quote.Expected = rtb.Micros(float64(p.quote.Expected) * p.quote.Shading)
	}
}

// ask has pacing price the bid. A guaranteed deal is bid on as long as its floor
// is within the line's limit, whatever pacing would rather do (conformance B6);
// budgets still bind it.
func (p *money) ask(in *Input, l *campaigns.Line, auction int) (r rtb.NoBidReason) {
	floor := p.floor.Convert(p.rate, rtb.RoundUp)
	if p.guaranteed && p.value < floor && floor <= l.Bid.MaxCPM {
		p.value = floor
	}
	p.quote, r = in.Budgets.Quote(l.ID, p.value, floor, auction)
	if r == rtb.NoBidPaced && p.guaranteed && p.value > 0 {
		p.quote.Price, p.quote.Expected, r = p.value, p.value.Cost(), rtb.NoBidNone
	}
	return r
}

// floorCurrency is USD where the impression names none (OpenRTB 2.6 §3.2.4).
func floorCurrency(imp *rtb.Impression) rtb.Currency {
	if imp.FloorCur.IsZero() {
		return rtb.USD
	}
	return imp.FloorCur
}

// lives are the ends of a reservation: without a win by the first, without a
// bill by the second. An impression that may wait longer (imp.exp) is held longer,
// as far as the exchange's profile allows.
func lives(in *Input, imp *rtb.Impression, f rtb.Formats) (win, bill time.Time) {
	win = in.Now.Add(in.Exchange.AuctionTTL)
	bill = win.Add(max(in.Exchange.BillWindow(f), min(imp.Exp, in.Exchange.MaxExp)))
	return win, bill
}
