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

// price fills in the price that the notice stands for, as the package comment
// says. Without a believable one it is the bid where the notice bills, and
// nothing where it does not.
func (h *Handler) price(kind rtb.NoticeKind, c *rtb.Claims, t *told, profile *exchange.Profile, bills bool, n *events.Notice) Code {
	price, status := rtb.CPM(0), exchange.PriceEmpty
	if profile != nil {
		price, status = profile.ParsePrice(t.price)
	}
	if status == exchange.PriceAudit || bytes.Equal(t.price, []byte("AUDIT")) {
		return CodeAudit
	}
	browser := kind == rtb.NoticeImp || kind == rtb.NoticeVideo
	if browser && (profile == nil || !profile.PriceSealed()) {
		if bills {
			n.Price = c.Price
		}
		return CodeOK
	}
	if status == exchange.PriceOK && h.replayed(profile, c, t, n) {
		status = exchange.PriceBad
	}
	if cur, ok := rtb.ParseCurrency(t.currency); ok && cur != c.Currency {
		n.Flags = append(n.Flags, FlagCurrency)
		status = exchange.PriceBad
	}
	if status == exchange.PriceForged {
		n.Flags = append(n.Flags, FlagPriceForged)
	}
	if status == exchange.PriceBad && len(n.Flags) == 0 && beyond(profile, t.price) {
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
		// In first price what says nothing is the bid; what says something else is not.
		if !c.FirstPrice || len(t.price) > 0 || len(n.Flags) > 0 {
			n.Flags = append(n.Flags, FlagPriceMissing)
			return CodePriceMissing
		}
	}
	return CodeOK
}

// beyond tells whether a plain price that was refused is a number above all that
// prices can be.
func beyond(p *exchange.Profile, raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	if p == nil || p.PriceSealed() || len(raw) == 0 || raw[0] < '0' || raw[0] > '9' {
		return false
	}
	if v, err := rtb.ParseMicros(raw, rtb.RoundUp); err == nil {
		return rtb.CPM(v) > rtb.MaxCPM
	}
	return json.Valid(raw) // a number too large even for Micros
}

// multiplier is how many impressions a bid for several was, in millionths, as the
// exchange's server tells it; 0 when it does not.
func multiplier(kind rtb.NoticeKind, c *rtb.Claims, t *told) rtb.Quantity {
	if c.Quantity == 0 || kind != rtb.NoticeWin && kind != rtb.NoticeBill {
		return 0
	}
	return rtb.Quantity(exchange.ParseMultiplier(t.multiplier))
}

// stampWindow is how far the time in an encrypted price may be from the notice's.
const stampWindow = 24 * time.Hour

// replayed looks at the stamp of an encrypted price. A stale one is flagged; one
// that another bid came with is not believed (conformance E4).
func (h *Handler) replayed(p *exchange.Profile, c *rtb.Claims, t *told, n *events.Notice) bool {
	at, iv, ok := p.PriceStamp(t.price)
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
