package bidder

import (
	"bytes"
	"math"
	"strconv"

	"rebound/exchange"
	"rebound/rtb"
)

// maxURL is the most characters of a URL in an answer, macros included; exchanges
// cut longer ones.
const maxURL = 2000

// notices gives an offer the notice URLs that the exchange takes; false when one
// would be too long.
func (out *Outcome) notices(in *Input, of *rtb.Offer, c *rtb.Claims) bool {
	for _, n := range [...]struct {
		kind rtb.NoticeKind
		url  *[]byte
	}{{rtb.NoticeWin, &of.NURL}, {rtb.NoticeBill, &of.BURL}, {rtb.NoticeLoss, &of.LURL}} {
		if !in.Exchange.Sends(n.kind) {
			continue
		}
		if *n.url = out.link(in, n.kind, c); *n.url == nil {
			return false
		}
	}
	return true
}

// extend fills bid.ext with what the exchange wants there; false when it asks
// for one of its billing ids and none is ours.
func (out *Outcome) extend(in *Input, of *rtb.Offer, c *rtb.Claims) bool {
	w, start := &out.work, len(out.work.text)
	comma := func() {
		if len(w.text) > start {
			w.text = append(w.text, ',')
		}
	}
	id, ok := in.Exchange.BillingID(in.Opportunity.Imps[of.Imp].BillingIDs)
	if !ok {
		return false
	}
	if len(of.Ext) > 0 {
		w.text = append(w.text, of.Ext...)
	}
	if id != nil {
		comma()
		w.text = exchange.AppendBillingID(w.text, id)
	}
	if in.Exchange.BidFeedback {
		if token := out.token(in, c); token != nil {
			comma()
			w.text = exchange.AppendToken(w.text, token)
		}
	}
	of.Ext = w.text[start:len(w.text):len(w.text)]
	return true
}

// token is what names the bid in the exchange's feedback: the token of its loss
// notice, which can book nothing.
func (out *Outcome) token(in *Input, c *rtb.Claims) []byte {
	w := &out.work
	w.macros = in.Links.AppendURL(w.macros[:0], rtb.NoticeLoss, c)
	_, token, _ := bytes.Cut(w.macros, []byte("k="))
	return token
}

// withConsent appends the request's privacy signals to a URL that a browser will
// call, under the names that vendors read (conformance G24). A URL that would
// become too long stays without. pixel must be the last text of the work.
func (out *Outcome) withConsent(in *Input, pixel []byte) []byte {
	sig, w := &in.Opportunity.Signals, &out.work
	if pixel == nil || sig.GDPR == rtb.Absent && len(sig.Consent)+len(sig.USPrivacy)+len(sig.GPP) == 0 {
		return pixel
	}
	start := len(w.text) - len(pixel)
	switch sig.GDPR {
	case rtb.Yes:
		w.text = append(w.text, "&gdpr=1"...)
	case rtb.No:
		w.text = append(w.text, "&gdpr=0"...)
	}
	w.text = appendParam(w.text, "&gdpr_consent=", sig.Consent)
	w.text = appendParam(w.text, "&us_privacy=", sig.USPrivacy)
	w.text = appendParam(w.text, "&gpp=", sig.GPP)
	for i, id := range sig.GPPSID {
		sep := "%2C"
		if i == 0 {
			sep = "&gpp_sid="
		}
		w.text = strconv.AppendInt(append(w.text, sep...), int64(id), 10)
	}
	if len(w.text)-start > maxURL {
		w.text = w.text[:start+len(pixel)]
	}
	return w.text[start:len(w.text):len(w.text)]
}

const upperHex = "0123456789ABCDEF"

// appendParam appends a query parameter, its value percent-encoded; nothing
// without a value.
func appendParam(dst []byte, key string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(dst, key...)
	for _, c := range value {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// quantity is how many impressions a bid pays for, in millionths: what the
// request says where that is not one, a part of a millionth rounded up.
func quantity(qty float64) int64 {
	if !(qty > 0) || qty == 1 {
		return 0
	}
	return int64(min(math.Ceil(qty*rtb.RateOne), math.MaxInt32*rtb.RateOne))
}
