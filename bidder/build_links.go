package bidder

import (
	"strconv"

	"rebound/rtb"
)

// maxURL is the longest URL of a response in bytes, macros included. Exchanges
// truncate longer ones.
const maxURL = 2000

// adLinks are the URLs of the markup.
type adLinks struct {
	pixel, click, view    []byte
	safePixel, safeClick  int    // bytes before the exchange's macros, which need no escaping
	eventBase, eventQuery []byte // before and after the name of a video event
}

// buildLinks sets the notice URLs that the exchange takes, and returns the URLs
// of the markup. ok is false when one of them would be too long.
func (d *Decision) buildLinks(of *rtb.Offer, c *rtb.Claims) (l adLinks, ok bool) {
	d.links.Seal(&d.sealed, c)
	for _, n := range [...]struct {
		kind rtb.NoticeKind
		url  *[]byte
	}{{rtb.NoticeWin, &of.NURL}, {rtb.NoticeBill, &of.BURL}, {rtb.NoticeLoss, &of.LURL}} {
		if !d.profile.Sends(n.kind) {
			continue
		}
		if *n.url, _ = d.link(n.kind); *n.url == nil {
			return l, false
		}
	}
	l.pixel, l.safePixel = d.pixel(c)
	l.click, l.safeClick = d.link(rtb.NoticeClick)
	if l.pixel == nil || l.click == nil {
		return l, false
	}
	if c.Format == rtb.FormatBanner {
		return l, true
	}
	if l.view, _ = d.link(rtb.NoticeView); l.view == nil || c.Format == rtb.FormatNative {
		return l, l.view != nil
	}
	start := len(d.text)
	text, name := d.links.AppendEventURL(d.text, &d.sealed)
	if len(text) == start {
		return l, false
	}
	d.text = text
	l.eventBase, l.eventQuery = text[start:name:name], text[name:len(text):len(text)]
	return l, true
}

// link appends a signed URL followed by the exchange's macros for its kind of
// notice, and returns it with the length of the signed URL; nil when it would be too
// long.
func (d *Decision) link(kind rtb.NoticeKind) (url []byte, signed int) {
	start := len(d.text)
	signed, ok := d.appendLink(kind, kind)
	return d.appended(start, ok), signed
}

// pixel appends the URL of the impression pixel. In VAST it is the notice that
// bills where VAST bills, and carries the macros that the exchange replaces in
// VAST. A browser calls it, so it also carries the request's privacy signals
// where they fit.
func (d *Decision) pixel(c *rtb.Claims) (url []byte, signed int) {
	kind, macros, start := rtb.NoticeImp, rtb.NoticeImp, len(d.text)
	if c.BillOn == rtb.BillOnVAST {
		kind = rtb.NoticeVideo
	}
	if c.Format == rtb.FormatVideo || c.Format == rtb.FormatAudio {
		macros = rtb.NoticeVideo
	}
	signed, ok := d.appendLink(kind, macros)
	if bare := len(d.text); ok {
		if d.text = appendConsent(d.text, &d.opportunity.Signals); len(d.text)-start > maxURL {
			d.text = d.text[:bare]
		}
	}
	return d.appended(start, ok), signed
}

// appendLink appends a signed URL with macros to the text. It returns the length of
// the signed URL, and reports whether all of it is short enough.
func (d *Decision) appendLink(kind, macros rtb.NoticeKind) (signed int, ok bool) {
	start := len(d.text)
	d.text = d.links.AppendURL(d.text, kind, &d.sealed)
	if signed = len(d.text) - start; signed == 0 {
		return 0, false
	}
	d.text = d.profile.AppendMacros(d.text, macros)
	return signed, len(d.text)-start <= maxURL
}

// appended returns the text from start; without ok it is cut off again.
func (d *Decision) appended(start int, ok bool) []byte {
	if !ok {
		d.text = d.text[:start]
		return nil
	}
	return d.text[start:len(d.text):len(d.text)]
}

// appendConsent appends the request's privacy signals as query parameters, under
// the names that vendors read (conformance G24).
func appendConsent(dst []byte, s *rtb.Signals) []byte {
	if s.GDPR == rtb.Absent && len(s.Consent)+len(s.USPrivacy)+len(s.GPP) == 0 {
		return dst // gpp_sid without a GPP string means nothing
	}
	switch s.GDPR {
	case rtb.Yes:
		dst = append(dst, "&gdpr=1"...)
	case rtb.No:
		dst = append(dst, "&gdpr=0"...)
	}
	dst = appendParam(dst, "&gdpr_consent=", s.Consent)
	dst = appendParam(dst, "&us_privacy=", s.USPrivacy)
	dst = appendParam(dst, "&gpp=", s.GPP)
	for i, id := range s.GPPSID {
		sep := "%2C"
		if i == 0 {
			sep = "&gpp_sid="
		}
		dst = strconv.AppendInt(append(dst, sep...), int64(id), 10)
	}
	return dst
}

// appendParam appends a query parameter with its value percent-encoded; nothing
// when the value is empty.
func appendParam(dst []byte, name string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	const digits = "0123456789ABCDEF"
	dst = append(dst, name...)
	for _, c := range value {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.', c == '~':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
