package exchange

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// maxRetryWindow is the longest time that responses are kept for repeated requests.
const maxRetryWindow = 10 * time.Second

var versionText = regexp.MustCompile(`^2\.[0-9]{1,2}$`)

// extras checks and compiles the fields that only some exchanges need.
func (c *compiler) extras(s *ProfileSpec, p *Profile) {
	c.check(versionText.MatchString(p.OpenRTBVersion), "openrtb_version", strconv.Quote(s.OpenRTBVersion), "a version such as 2.6")
	c.check(s.PriceTick >= 0 && s.PriceTick <= 1_000_000, "price_tick", s.PriceTick, "0 to 1")
	c.check(p.RetryWindow >= 0 && p.RetryWindow <= maxRetryWindow, "retry_window", p.RetryWindow, "0 to "+maxRetryWindow.String())
	c.check(s.Shading >= 0 && s.Shading <= 1, "shading", s.Shading, "a factor above 0 and at most 1")
	if p.Shading = s.Shading; p.Shading == 0 {
		p.Shading = 1
	}
	c.check(s.GVLID >= 0 && s.GVLID < 1<<16, "gvl_id", s.GVLID, "an id of the Global Vendor List, or 0")
	for path, n := range map[string]spec.Bytes{"adm_max_bytes": s.AdmMaxBytes, "resp_max_bytes": s.RespMaxBytes,
		"max_body": s.MaxBody, "max_inflated": s.MaxInflated} {
		c.check(n >= 0, path, n, "0 or more")
	}
	for _, a := range s.Attr {
		c.check(a > 0, "attr", a, "codes of creative attributes")
	}
	for kind := range p.notices {
		p.notices[kind] = true
	}
	for _, name := range s.NoticesLeftOut {
		kind, ok := map[string]rtb.NoticeKind{"win": rtb.NoticeWin, "bill": rtb.NoticeBill, "loss": rtb.NoticeLoss}[name]
		c.check(ok, "notices_left_out", strconv.Quote(name), "win, bill or loss")
		p.notices[kind] = !ok
	}
	c.bidFields(s, p)
	c.clickMacros(s, p)
	c.responseExt(s, p)
	for i, source := range p.billing {
		ok := p.notices[source.Notice()]
		c.check(ok, "billing_source."+formatNames[i], source.Notice().String()+", which bids do not carry", "a notice that openrtb_version, bid_fields and notices_left_out leave in")
	}
}

// clickMacros checks and compiles the click macros and the formats that carry them.
func (c *compiler) clickMacros(s *ProfileSpec, p *Profile) {
	c.check(!s.ClickMacroRequired || s.ClickMacro != "", "click_macro", "nothing", "the exchange's click macro, which click_macro_required asks for")
	for path, m := range map[string]string{"click_macro": s.ClickMacro, "click_macro_esc": s.ClickMacroEsc} {
		c.check(!strings.ContainsAny(m, " \t\r\n\"'<>"), path, strconv.Quote(m), "text that is valid in a URL without encoding")
	}
	p.clickFormats = rtb.FormatBanner | rtb.FormatVideo | rtb.FormatAudio | rtb.FormatNative
	if len(s.ClickMacroFormats) == 0 {
		return
	}
	p.clickFormats = 0
	for _, name := range s.ClickMacroFormats {
		i := slices.Index(formatNames[:], name)
		c.check(i >= 0, "click_macro_formats", strconv.Quote(name), "one of "+strings.Join(formatNames[:], ", "))
		if i >= 0 {
			p.clickFormats |= 1 << i
		}
	}
}

// ClickMacros returns the text that markup of a format puts in front of our click
// URL, and its form for use within another URL; both are empty if the exchange
// replaces no click macro there.
func (p *Profile) ClickMacros(f rtb.Formats) (macro, escaped string) {
	if !p.clickFormats.Has(f) {
		return "", ""
	}
	return p.clickMacro, p.clickMacroEsc
}

// Takes reports whether a bid of a format can be given to the exchange as it wants
// it. clickTracking says that the request demands the exchange's click macro.
func (p *Profile) Takes(f rtb.Formats, clickTracking bool) bool {
	switch f {
	case rtb.FormatVideo, rtb.FormatAudio:
		return !p.vastByURL
	case rtb.FormatBanner:
		return !clickTracking || !p.refuseClickTracking
	}
	return true
}

// responseExt compiles the members of ext that every response carries.
func (c *compiler) responseExt(s *ProfileSpec, p *Profile) {
	for _, name := range sortedKeys(s.ResponseExt) {
		c.check(name != "processing_time_ms" || !s.ProcessingTime, "response_ext", name, "a member that processing_time does not set")
		if len(p.responseExt) > 0 {
			p.responseExt = append(p.responseExt, ',')
		}
		p.responseExt = append(rtb.AppendQuoted(p.responseExt, name), ':')
		p.responseExt = rtb.AppendQuoted(p.responseExt, s.ResponseExt[name])
	}
}

// priceRequired checks the exchange's requirements on the price macro, so that
// bids that it would drop are found in the configuration (conformance M20).
func (c *compiler) priceRequired(s *ProfileSpec, p *Profile) {
	if len(s.PriceMacroForms) > 0 && !slices.Contains(s.PriceMacroForms, p.priceMacro) {
		c.Add("price_macro", strconv.Quote(p.priceMacro), "one of "+strings.Join(s.PriceMacroForms, ", ")+", which the exchange replaces")
	}
	if len(s.PriceMacroRequired) == 0 {
		return
	}
	for _, name := range s.PriceMacroRequired {
		kind, ok := priceNotices[name]
		if !ok {
			c.Add("price_macro_required", strconv.Quote(name), "one of "+strings.Join(sortedKeys(priceNotices), ", "))
		}
		if strings.Contains(p.macros[kind], p.priceMacro) && p.notices[kind] {
			return
		}
	}
	c.Add("price_in", strings.Join(s.PriceIn, ", "), "at least one of "+strings.Join(s.PriceMacroRequired, ", ")+", or the exchange drops the bid")
}

// Sends reports whether bids carry the URL of a kind of notice.
func (p *Profile) Sends(kind rtb.NoticeKind) bool {
	return int(kind) < len(p.notices) && p.notices[kind]
}

// BelievesDevice reports whether headers such as X-Device-IP are trusted in a
// notice from the address.
func (p *Profile) BelievesDevice(from netip.Addr) bool {
	from = from.Unmap()
	return slices.ContainsFunc(p.devices, func(n netip.Prefix) bool { return n.Contains(from) })
}

// OnTick returns the highest multiple of the exchange's price tick that is at most
// price.
func (p *Profile) OnTick(price rtb.CPM) rtb.CPM {
	if p.tick > 0 {
		return price - price%p.tick
	}
	return price
}

// BillingID returns the billing id that a bid uses, out of those that the
// impression offers, and nil if the profile uses none. ok is false if none of those
// offered is ours.
func (p *Profile) BillingID(offered [][]byte) (id []byte, ok bool) {
	if len(p.billingIDs) == 0 || len(offered) == 0 {
		return nil, true
	}
	for _, o := range offered {
		if p.billingIDs[0] == "any" || slices.Contains(p.billingIDs, string(o)) {
			return o, true
		}
	}
	return nil, false
}

// AppendBillingID appends the member of bid.ext with the billing id.
func AppendBillingID(dst, id []byte) []byte {
	return rtb.AppendQuoted(append(dst, `"billing_id":`...), id)
}

// AppendToken appends the member of bid.ext with the token that identifies the bid
// in the exchange's feedback.
func AppendToken(dst, token []byte) []byte {
	return append(rtb.AppendQuoted(append(dst, `"event_notification_token":{"payload":`...), token), '}')
}
