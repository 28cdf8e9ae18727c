package tracking

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"time"

	"rebound/events"
	"rebound/exchange"
	"rebound/rtb"
)

// price sets the notice's price as described in the package comment. If there is no
// usable price, a notice that bills gets the price of the bid, and others get none.
func (h *Handler) price(r *received, bills bool, n *events.Notice) Code {
	c, profile := &r.claims, r.profile
	price, status := rtb.CPM(0), exchange.PriceEmpty
	if profile != nil {
		price, status = profile.ParsePrice(r.price)
	}
	if status == exchange.PriceAudit || bytes.Equal(r.price, []byte("AUDIT")) {
		return CodeAudit
	}
	browser := r.kind == rtb.NoticeImp || r.kind == rtb.NoticeVideo
	if browser && (profile == nil || !profile.PriceSealed()) {
		if bills {
			n.Price = c.Price
		}
		return CodeOK
	}
	if status == exchange.PriceOK && h.replayed(r, n) {
		status = exchange.PriceBad
	}
	if !r.inCurrency(c.Currency) {
		n.Flags = append(n.Flags, FlagCurrency)
		status = exchange.PriceBad
	}
	if status == exchange.PriceForged {
		n.Flags = append(n.Flags, FlagPriceForged)
	}
	if status == exchange.PriceBad && len(n.Flags) == 0 && tooLarge(profile, r.price) {
		price, status = rtb.MaxCPM+1, exchange.PriceOK
	}
	switch {
	case status == exchange.PriceOK && price > c.Price:
		n.Price, n.PriceTold = c.Price, true
		n.Flags = append(n.Flags, FlagPriceAboveBid)
		return CodePriceAboveBid
	case status == exchange.PriceOK && price > 0 && bills && c.FirstPrice && price < c.Price/implausible && !r.discounted():
		n.Price = c.Price
		n.Flags = append(n.Flags, FlagPriceBelowBid)
		return CodePriceBelowBid
	case status == exchange.PriceOK && price > 0:
		n.Price, n.PriceTold = price, true
	case bills:
		n.Price = c.Price
		// In first price an absent price means the bid; an unreadable one is an error.
		if !c.FirstPrice || len(r.price) > 0 || len(n.Flags) > 0 {
			n.Flags = append(n.Flags, FlagPriceMissing)
			return CodePriceMissing
		}
	}
	return CodeOK
}

// implausible is the ratio of bid to price from which a first-price bill
// without a known discount is rejected as implausible: it is probably in
// another unit or currency.
const implausible = 4

// inCurrency reports whether the notice's price is in the currency of the bid. A missing
// parameter is accepted; a macro that was not expanded means that the exchange may have
// converted the price.
func (r *received) inCurrency(want rtb.Currency) bool {
	text := bytes.TrimSpace(r.currency)
	if len(text) == 0 {
		return true
	}
	cur, ok := rtb.ParseCurrency(text)
	return ok && cur == want
}

// discounted reports whether the notice says that a discount was subtracted from the
// price.
func (r *received) discounted() bool {
	if exchange.ParseMultiplier(r.discountPct) > 0 {
		return true
	}
	if r.profile == nil {
		return false
	}
	v, status := r.profile.ParseMinToWin(r.discountCPM)
	return status == exchange.PriceOK && v > 0
}

// tooLarge reports whether a plain price that was rejected is a number above the
// largest price.
func tooLarge(p *exchange.Profile, raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	if p == nil || p.PriceSealed() || len(raw) == 0 || raw[0] < '0' || raw[0] > '9' {
		return false
	}
	if v, err := rtb.ParseMicros(raw, rtb.RoundUp); err == nil {
		return rtb.CPM(v) > rtb.MaxCPM
	}
	return json.Valid(raw) // a number too large even for Micros
}

// quantity returns the number of impressions that the exchange's server reports for a
// notice about several; 0 if it reports none.
func (r *received) quantity() rtb.Quantity {
	if r.claims.Quantity == 0 || r.kind != rtb.NoticeWin && r.kind != rtb.NoticeBill {
		return 0
	}
	return rtb.Quantity(exchange.ParseMultiplier(r.multiplier))
}

// stampWindow is the largest difference between the time in an encrypted price and
// the notice's.
const stampWindow = 24 * time.Hour

// replayed reports whether an encrypted price was sent for another bid before,
// and so must be rejected (conformance E4). A price with a stale time is
// flagged.
func (h *Handler) replayed(r *received, n *events.Notice) bool {
	at, iv, ok := r.profile.PriceStamp(r.price)
	if !ok {
		return false
	}
	if age := r.at.Sub(at); age > stampWindow || age < -stampWindow {
		n.Flags = append(n.Flags, FlagPriceStale)
	}
	key, owner := r.claims.Exchange+string(iv[:]), binary.LittleEndian.Uint64(r.claims.Bid[:])
	if of, seen := h.sealed.seen(key); seen {
		if of != owner {
			n.Flags = append(n.Flags, FlagPriceReplayed)
		}
		return of != owner
	}
	h.sealed.add(key, owner)
	return false
}
