package exchange

import (
	"slices"
	"strconv"
	"time"

	"rebound/rtb"
)

// Response is the input from which a bid response is encoded.
type Response struct {
	ID     rtb.BidID // the response's own id
	Offers []rtb.Offer
	Took   time.Duration // since the request arrived, for exchanges that ask for it
}

// AppendResponse appends the response to o: a bid response (OpenRTB 2.6 §4.2,
// readable as 2.5) in the currency of the first offer. Offers without a price, in
// another currency, or for an impression that is not in o are left out. When none
// is left nothing is appended, because a response without a bid has no body.
func AppendResponse(dst []byte, p *Profile, o *rtb.Opportunity, r *Response) []byte {
	start := len(dst)
	var cur rtb.Currency
	for i := range r.Offers {
		of := &r.Offers[i]
		if of.Price <= 0 || of.Currency.IsZero() || of.Imp < 0 || of.Imp >= len(o.Imps) {
			continue
		}
		if cur.IsZero() {
			cur = of.Currency
			dst = appendHead(dst, p, o.ID, r.ID, cur)
		} else if of.Currency != cur {
			continue
		} else {
			dst = append(dst, ',')
		}
		dst = p.appendBid(dst, o.Imps[of.Imp].ID, of)
	}
	if len(dst) == start {
		return dst
	}
	dst = append(dst, "]}]"...)
	if p.procTime || len(p.responseExt) > 0 {
		dst = append(append(dst, `,"ext":{`...), p.responseExt...)
		if p.procTime {
			if len(p.responseExt) > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `"processing_time_ms":`...)
			dst = strconv.AppendInt(dst, max(r.Took.Milliseconds(), 0), 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendHead(dst []byte, p *Profile, id []byte, response rtb.BidID, cur rtb.Currency) []byte {
	dst = append(dst, `{"id":`...)
	dst = rtb.AppendQuoted(dst, id)
	dst = append(dst, `,"bidid":"`...)
	dst, _ = response.AppendText(dst)
	dst = append(dst, `","cur":"`...)
	dst = append(dst, cur[:]...)
	dst = append(dst, `","seatbid":[{"seat":`...)
	dst = rtb.AppendQuoted(dst, p.Seat)
	return append(dst, `,"bid":[`...)
}

// appendBid appends one bid (OpenRTB 2.6 §4.2.3).
func (p *Profile) appendBid(dst, imp []byte, of *rtb.Offer) []byte {
	dst = append(dst, `{"id":"`...)
	dst, _ = of.Bid.AppendText(dst)
	dst = append(dst, `","impid":`...)
	dst = rtb.AppendQuoted(dst, imp)
	dst = append(dst, `,"price":`...)
	dst = of.Price.AppendDecimal(dst)
	if !p.RegisteredMarkup && of.MarkupSize > 0 {
		dst = append(append(dst, `,"adm":`...), of.Markup...)
	}
	dst = p.appendDomains(dst, of.AdDomains)
	dst = appendText(dst, `,"cid":`, of.Campaign)
	dst = appendText(dst, `,"crid":`, of.CreativeID)
	if len(of.Cats) > 0 {
		dst = append(dst, `,"cat":`...)
		dst = appendStrings(dst, of.Cats)
		if p.sends(fieldCatTax) {
			dst = appendNumber(dst, `,"cattax":`, of.CatTax)
		}
	}
	if len(of.Attrs)+len(p.attr) > 0 || p.required&fieldAttr != 0 {
		dst = append(dst, `,"attr":`...)
		dst = appendInts(dst, of.Attrs, p.attr...)
	}
	if p.sends(fieldMType) {
		dst = appendNumber(dst, `,"mtype":`, of.Format.MType())
	}
	dst = p.appendSize(dst, of)
	dst = p.appendPlayback(dst, of)
	if p.sends(fieldExp) {
		dst = appendNumber(dst, `,"exp":`, int(of.Exp/time.Second))
	}
	if p.sends(fieldLanguage) {
		dst = appendText(dst, `,"language":`, of.Language)
	}
	dst = appendText(dst, `,"dealid":`, of.Deal)
	dst = appendText(dst, `,"bundle":`, of.Bundle)
	dst = appendText(dst, `,"iurl":`, of.IURL)
	dst = appendURL(dst, `,"nurl":"`, of.NURL)
	if p.sends(fieldBURL) {
		dst = appendURL(dst, `,"burl":"`, of.BURL)
	}
	if p.sends(fieldLURL) {
		dst = appendURL(dst, `,"lurl":"`, of.LURL)
	}
	if len(of.Ext) > 0 {
		dst = append(dst, `,"ext":{`...)
		dst = append(dst, of.Ext...)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// appendPlayback appends the playback requirements: API frameworks, the VAST
// protocol and the duration.
func (p *Profile) appendPlayback(dst []byte, of *rtb.Offer) []byte {
	if len(of.APIs) > 0 {
		if p.sends(fieldAPI) {
			dst = appendNumber(dst, `,"api":`, of.APIs[0]) // deprecated in 2.6, the only one before
		}
		if p.sends(fieldAPIs) {
			dst = appendInts(append(dst, `,"apis":`...), of.APIs)
		}
	}
	if p.sends(fieldProtocol) {
		dst = appendNumber(dst, `,"protocol":`, of.Protocol)
	}
	if p.sends(fieldDur) {
		dst = appendNumber(dst, `,"dur":`, int(of.Duration/time.Second))
	}
	return dst
}

// appendSize appends the size; audio and native ads have none.
func (p *Profile) appendSize(dst []byte, of *rtb.Offer) []byte {
	if of.Format != rtb.FormatBanner && of.Format != rtb.FormatVideo {
		return dst
	}
	dst = appendNumber(dst, `,"w":`, of.Size.W)
	dst = appendNumber(dst, `,"h":`, of.Size.H)
	if of.Flex.WRatio > 0 && p.sends(fieldRatio) {
		dst = appendNumber(dst, `,"wratio":`, of.Flex.WRatio)
		dst = appendNumber(dst, `,"hratio":`, of.Flex.HRatio)
	}
	return dst
}

func (p *Profile) appendDomains(dst []byte, domains []string) []byte {
	if p.ADomainMax > 0 && len(domains) > p.ADomainMax {
		domains = domains[:p.ADomainMax]
	}
	if len(domains) == 0 {
		return dst
	}
	dst = append(dst, `,"adomain":`...)
	return appendStrings(dst, domains)
}

// AppendNoBid appends a response without bids, {"id":...,"nbr":...} (OpenRTB 2.6
// §4.2.1), with the exchange's code for the reason. A code other than 0 is more
// specific than the reason's and replaces it, unless the exchange has a code of its
// own for the reason. Without a request id nothing is appended.
func (p *Profile) AppendNoBid(dst []byte, o *rtb.Opportunity, r rtb.NoBidReason, code int) []byte {
	if code == 0 || p.NBR(r) != r.NBR() {
		code = p.NBR(r)
	}
	if len(o.ID) == 0 {
		return dst
	}
	dst = append(dst, `{"id":`...)
	dst = rtb.AppendQuoted(dst, o.ID)
	dst = append(dst, `,"nbr":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	if len(p.responseExt) > 0 {
		dst = append(append(append(dst, `,"ext":{`...), p.responseExt...), '}')
	}
	return append(dst, '}')
}

// appendText appends a key with its text, unless the text is empty.
func appendText[T ~string | ~[]byte](dst []byte, key string, text T) []byte {
	if len(text) == 0 {
		return dst
	}
	return rtb.AppendQuoted(append(dst, key...), text)
}

// appendURL appends a key, which ends with a quote, with the URL of a notice, unless that
// is empty.
func appendURL(dst []byte, key string, url []byte) []byte {
	if len(url) == 0 {
		return dst
	}
	return append(append(append(dst, key...), url...), '"')
}

// appendNumber appends a key with its number, unless that is 0.
func appendNumber(dst []byte, key string, n int) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), int64(n), 10)
}

// appendInts appends a list of numbers, followed by the numbers of more that are
// not in it.
func appendInts(dst []byte, list []int, more ...int) []byte {
	dst = append(dst, '[')
	for i, n := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	for _, n := range more {
		if slices.Contains(list, n) {
			continue
		}
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return append(dst, ']')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = rtb.AppendQuoted(dst, s)
	}
	return append(dst, ']')
}
