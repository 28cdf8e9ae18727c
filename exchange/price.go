package exchange

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"

	"rebound/rtb"
)

// PriceStatus classifies the price parameter of a notice.
type PriceStatus uint8

// The values of a price parameter (OpenRTB 2.6 §4.4).
const (
	PriceOK     PriceStatus = iota
	PriceEmpty              // empty: the exchange sends no price
	PriceAudit              // "AUDIT": a test rendering, never billed
	PriceMacro              // the macro itself: the exchange did not expand it
	PriceBad                // unreadable, negative or above the maximum
	PriceForged             // the signature does not match
)

var priceStatusNames = [...]string{"ok", "empty", "audit", "macro", "bad", "forged"}

// String returns the status's name for metrics.
func (s PriceStatus) String() string {
	if int(s) >= len(priceStatusNames) {
		return "bad"
	}
	return priceStatusNames[s]
}

type priceCodec uint8

const (
	codecPlain priceCodec = iota
	codecB64
	codecHMAC
	codecAES
)

type priceUnit uint8

const (
	unitCPM       priceUnit = iota // major units for a thousand impressions
	unitCPMMicros                  // millionths of that
	unitCPIMicros                  // millionths of a major unit for one impression
)

// maxPriceText is the maximum length of a price parameter.
const maxPriceText = 256

// ParsePrice parses the value of the price macro: CPM in the bid's currency,
// rounded up to a micro. Only PriceOK comes with a price. It can be 0, and it can
// exceed the bid, which only the caller knows.
func (p *Profile) ParsePrice(raw []byte) (rtb.CPM, PriceStatus) {
	raw, status := plainText(raw, p.priceMacro)
	if status != PriceOK {
		return 0, status
	}
	switch p.priceCodec {
	case codecHMAC:
		return p.openHMAC(raw)
	case codecAES:
		return p.openAES(raw)
	case codecB64:
		return decode64(raw, p.priceUnit)
	}
	return parseAmount(raw, p.priceUnit)
}

// ParseMinToWin parses the value of the min-to-win macro: CPM in the bid's
// currency, the lowest price that would have won or tied. Any status but PriceOK
// means that the price is unknown, not that it is 0.
func (p *Profile) ParseMinToWin(raw []byte) (rtb.CPM, PriceStatus) {
	raw, status := plainText(raw, p.minToWin)
	if status != PriceOK {
		return 0, status
	}
	unit := p.priceUnit
	if p.priceCodec == codecHMAC || p.priceCodec == codecAES {
		unit = unitCPM
	}
	if strings.HasSuffix(p.minToWin, ":B64}") {
		return decode64(raw, unit)
	}
	return parseAmount(raw, unit)
}

// plainText undoes a remaining percent-encoding and classifies texts that are not a
// price.
func plainText(raw []byte, macro string) ([]byte, PriceStatus) {
	raw = bytes.TrimSpace(raw)
	switch {
	case len(raw) == 0:
		return nil, PriceEmpty
	case len(raw) > maxPriceText:
		return nil, PriceBad
	}
	if bytes.IndexByte(raw, '%') >= 0 {
		if bytes.HasPrefix(raw, []byte("%%")) {
			return nil, PriceMacro
		}
		text, err := url.PathUnescape(string(raw))
		if err != nil {
			return nil, PriceBad
		}
		raw = []byte(text)
	}
	switch {
	case len(raw) == 0:
		return nil, PriceEmpty
	case string(raw) == "AUDIT":
		return nil, PriceAudit
	case string(raw) == macro, raw[0] == '{', bytes.HasPrefix(raw, []byte("${")), bytes.HasPrefix(raw, []byte("%%")):
		return nil, PriceMacro
	}
	return raw, PriceOK
}

// decode64 parses base64 of a decimal. All four forms are in use: two alphabets,
// with and without padding (OpenRTB 2.6 §4.4).
func decode64(raw []byte, unit priceUnit) (rtb.CPM, PriceStatus) {
	var stack [maxPriceText]byte
	text, ok := unbase64(stack[:0], raw)
	switch {
	case !ok:
		return 0, PriceBad
	case len(text) == 0:
		return 0, PriceEmpty
	case string(text) == "AUDIT":
		return 0, PriceAudit
	}
	return parseAmount(text, unit)
}

// strict64 rejects nonzero trailing bits, so that every price has only one text.
var strict64 = base64.RawStdEncoding.Strict()

// unbase64 decodes either alphabet, with or without padding; a space is a plus sign
// that query decoding replaced.
func unbase64(dst, raw []byte) ([]byte, bool) {
	raw = bytes.TrimRight(raw, "=")
	if len(raw) > maxPriceText {
		return nil, false
	}
	var stack [maxPriceText]byte
	text := append(stack[:0], raw...)
	for i, c := range text {
		switch c {
		case '-', ' ':
			text[i] = '+'
		case '_':
			text[i] = '/'
		case '\r', '\n':
			return nil, false // the decoder would skip them
		}
	}
	dst, err := strict64.AppendDecode(dst, text)
	return dst, err == nil
}

// decimal rewrites the forms of a decimal number that senders print besides JSON's:
// .5 for 0.5, 5. for 5, and a comma as the decimal point. A comma that may as well
// separate thousands (1,200) is left, and the text is not a price.
func decimal(dst, text []byte) []byte {
	comma := bytes.IndexByte(text, ',')
	if comma >= 0 {
		thousands := comma > 0 && text[0] != '0' && len(text)-comma-1 == 3
		if thousands || bytes.IndexByte(text, '.') >= 0 || bytes.IndexByte(text[comma+1:], ',') >= 0 {
			return text
		}
	}
	if len(text) > 0 && (text[0] == '.' || comma == 0) {
		dst = append(dst, '0')
	}
	dst = append(dst, text...)
	if i := bytes.IndexByte(dst, ','); i >= 0 {
		dst[i] = '.'
	}
	if n := len(dst); n > 1 && dst[n-1] == '.' && dst[n-2] >= '0' && dst[n-2] <= '9' && len(text) > 1 {
		dst = dst[:n-1]
	}
	return dst
}

func parseAmount(text []byte, unit priceUnit) (rtb.CPM, PriceStatus) {
	var stack [maxPriceText + 1]byte
	v, err := rtb.ParseMicros(decimal(stack[:0], text), rtb.RoundUp)
	if err != nil || v < 0 || bytes.HasPrefix(text, []byte("-")) {
		return 0, PriceBad
	}
	switch unit {
	case unitCPMMicros:
		return inUnit((int64(v)+999_999)/1_000_000, unit)
	case unitCPIMicros:
		if v > 1e18 {
			return 0, PriceBad
		}
		return bounded(rtb.CPM((int64(v) + 999) / 1000))
	}
	return bounded(rtb.CPM(v))
}

// inUnit returns the price of a whole number of units.
func inUnit(n int64, unit priceUnit) (rtb.CPM, PriceStatus) {
	switch {
	case n < 0 || n > int64(rtb.MaxCPM):
		return 0, PriceBad
	case unit == unitCPIMicros:
		return bounded(rtb.CPM(n * 1000))
	}
	return bounded(rtb.CPM(n))
}

func bounded(c rtb.CPM) (rtb.CPM, PriceStatus) {
	if c < 0 || c > rtb.MaxCPM {
		return 0, PriceBad
	}
	return c, PriceOK
}
