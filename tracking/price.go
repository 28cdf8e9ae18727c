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

// price sets the notice's price as the package comment describes. Without a
// credible price it is the bid where the notice bills, and absent otherwise.
func (h *Handler) price(kind rtb.NoticeKind, c *rtb.Claims, q *noticeParams, profile *exchange.Profile, bills bool, n *events.Notice) Code {
	price, status := rtb.CPM(0), exchange.PriceEmpty
	if profile != nil {
		price, status = profile.ParsePrice(q.price)
	}
	if status == exchange.PriceAudit || bytes.Equal(q.price, []byte("AUDIT")) {
		return CodeAudit
	}
	browser := kind == rtb.NoticeImp || kind == rtb.NoticeVideo
	if browser && (profile == nil || !profile.PriceSealed()) {
		if bills {
			n.Price = c.Price
		}
		return CodeOK
	}
	if status == exchange.PriceOK && h.replayed(profile, c, q, n) {
		status = exchange.PriceBad
	}
	if cur, ok := rtb.ParseCurrency(q.currency); ok && cur != c.Currency {
		n.Flags = append(n.Flags, FlagCurrency)
		status = exchange.PriceBad
	}
	if status == exchange.PriceForged {
		n.Flags = append(n.Flags, FlagPriceForged)
	}
	if status == exchange.PriceBad && len(n.Flags) == 0 && tooLarge(profile, q.price) {
		price, status = rtb.MaxCPM+1, exchange.PriceOK
	}
	switch {
	case status == exchange.PriceOK && price > c.Price:
		n.Price, n.PriceTold = c.Price, true
		n.Flags = append(n.Flags, FlagPriceAboveBid)
		return CodePriceAboveBid
	case status == exchange.PriceOK && price > 0:
		n.Price, n.PriceTold = price, true
	case bills:
		n.Price = c.Price
		// In first price an absent price means the bid; an unreadable one is an error.
		if !c.FirstPrice || len(q.price) > 0 || len(n.Flags) > 0 {
			n.Flags = append(n.Flags, FlagPriceMissing)
			return CodePriceMissing
		}
	}
	return CodeOK
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

// multiplier returns the number of impressions, in millionths, that the exchange's
// server reports for a bid on several; 0 when it reports none.
func multiplier(kind rtb.NoticeKind, c *rtb.Claims, q *noticeParams) rtb.Quantity {
	if c.Quantity == 0 || kind != rtb.NoticeWin && kind != rtb.NoticeBill {
		return 0
	}
	return rtb.Quantity(exchange.ParseMultiplier(q.multiplier))
}

// stampWindow is the largest difference between the time in an encrypted price and
// the notice's.
const stampWindow = 24 * time.Hour

// replayed reports whether an encrypted price was sent for another bid before, and
// so must not be believed (conformance E4). A price with a stale time is flagged.
func (h *Handler) replayed(p *exchange.Profile, c *rtb.Claims, q *noticeParams, n *events.Notice) bool {
	at, iv, ok := p.PriceStamp(q.price)
	if !ok {
		return false
	}
	if age := h.o.Now().Sub(at); age > stampWindow || age < -stampWindow {
		n.Flags = append(n.Flags, FlagPriceStale)
	}
	key, owner := c.Exchange+string(iv[:]), binary.LittleEndian.Uint64(c.Bid[:])
	if of, seen := h.sealed.seen(key); seen {
		if of != owner {
			n.Flags = append(n.Flags, FlagPriceReplayed)
		}
		return of != owner
	}
	h.sealed.add(key, owner)
	return false
}
