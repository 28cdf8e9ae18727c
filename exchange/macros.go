package exchange

import (
	"strconv"
	"strings"

	"rebound/rtb"
)

// Query parameters that [Profile.AppendMacros] adds to a notice URL, and the
// parsers that the notice endpoints use for them.
const (
	ParamPrice    = "p" // ${AUCTION_PRICE}: Profile.ParsePrice
	ParamCurrency = "c" // ${AUCTION_CURRENCY}
	ParamLoss     = "l" // ${AUCTION_LOSS}: ParseLoss
	ParamMinToWin = "m" // ${AUCTION_MIN_TO_WIN}: Profile.ParseMinToWin

	ParamMultiplier  = "x"  // ${AUCTION_MULTIPLIER}: ParseMultiplier
	ParamDiscountPct = "dp" // ${AUCTION_DISCOUNT_PCT}: ParseMultiplier
	ParamDiscountCPM = "dc" // ${AUCTION_DISCOUNT_CPM}: Profile.ParseMinToWin
)

// moreMacros maps the optional macros of a profile to their query parameters
// (OpenRTB 2.6 §4.4; supply_fee is Index Exchange's).
var moreMacros = map[string]string{
	"auction_id": "ai", "bid_id": "bi", "imp_id": "ii", "seat_id": "si", "ad_id": "ad", "mbr": "mb", "imp_ts": "ts", "supply_fee": "sf",
	"multiplier": ParamMultiplier, "discount_pct": ParamDiscountPct, "discount_cpm": ParamDiscountCPM,
}

// AppendMacros appends the query parameters with the exchange's macros, raw, to
// a notice URL, which must have a query: "&p=${AUCTION_PRICE}&c=...". Macros are
// never percent-encoded: an encoded macro is not replaced (OpenRTB 2.6 §4.4). They
// need no escaping in JSON. Views and clicks carry none.
func (p *Profile) AppendMacros(dst []byte, kind rtb.NoticeKind) []byte {
	if int(kind) >= len(p.macros) {
		return dst
	}
	return append(dst, p.macros[kind]...)
}

// PriceMacro returns the text that the exchange replaces by the price.
func (p *Profile) PriceMacro() string { return p.priceMacro }

var priceNotices = map[string]rtb.NoticeKind{
	"win": rtb.NoticeWin, "bill": rtb.NoticeBill, "imp": rtb.NoticeImp, "video": rtb.NoticeVideo,
}

func (c *compiler) compileMacros(s *ProfileSpec, p *Profile) {
	in := s.PriceIn
	if len(in) == 0 {
		in = sortedKeys(priceNotices)
	}
	currency := param(ParamCurrency, s.CurrencyMacro, "${AUCTION_CURRENCY}")
	for _, name := range in {
		kind, ok := priceNotices[name]
		if !ok {
			c.Add("price_in", name, "one of "+strings.Join(sortedKeys(priceNotices), ", "))
			continue
		}
		p.macros[kind] = "&" + ParamPrice + "=" + p.priceMacro + currency
	}
	p.macros[rtb.NoticeLoss] = param(ParamLoss, s.LossMacro, "${AUCTION_LOSS}")
	if p.minToWin != "" {
		for _, kind := range []rtb.NoticeKind{rtb.NoticeWin, rtb.NoticeLoss, rtb.NoticeBill} {
			p.macros[kind] += "&" + ParamMinToWin + "=" + p.minToWin
		}
	}
	for _, name := range sortedKeys(s.Macros) {
		key, ok := moreMacros[name]
		c.check(ok, "macros."+name, "an unknown name", "one of "+strings.Join(sortedKeys(moreMacros), ", "))
		c.macroText("macros."+name, s.Macros[name])
		for _, kind := range []rtb.NoticeKind{rtb.NoticeWin, rtb.NoticeBill} {
			p.macros[kind] += "&" + key + "=" + s.Macros[name]
		}
	}
	c.macroText("price_macro", p.priceMacro)
	c.macroText("mintowin_macro", p.minToWin)
	c.macroText("currency_macro", s.CurrencyMacro)
	c.macroText("loss_macro", s.LossMacro)
	for kind, m := range p.macros {
		c.check(len(m) <= maxMacros, "macros", strconv.Itoa(len(m))+" bytes for "+rtb.NoticeKind(kind).String(), "at most "+strconv.Itoa(maxMacros)+" bytes")
	}
	c.priceRequired(s, p)
}

// maxMacros is the maximum length of the macros appended to a signed URL;
// exchanges truncate URLs at about 2,000 characters.
const maxMacros = 400

func param(key, macro, fallback string) string {
	switch macro {
	case "":
		macro = fallback
	case "-":
		return ""
	}
	return "&" + key + "=" + macro
}

func (c *compiler) macroText(path, m string) {
	c.check(rtb.MarkupSafe(m) && !strings.Contains(m, "#"), path, strconv.Quote(m), "text that may stand in a URL as it is")
}

// ParseMultiplier parses a plain number of a notice, such as the value of
// ${AUCTION_MULTIPLIER}. It returns millionths, and 0 for anything else.
func ParseMultiplier(raw []byte) int64 {
	if len(raw) == 0 || len(raw) > 24 {
		return 0
	}
	v, err := rtb.ParseMicros(raw, rtb.RoundUp)
	if err != nil || v <= 0 {
		return 0
	}
	return int64(v)
}

// Loss is the exchange's reason for a lost auction (OpenRTB 3.0, List: Loss Reason
// Codes).
type Loss struct {
	Code  int  // as sent; -1 if there is none
	Known bool // the list defines the code, or it is in the range of exchanges' own codes
}

// ParseLoss parses the value of ${AUCTION_LOSS}. It never fails: a text that is not
// a code, an unexpanded macro and an empty text give Code -1.
func ParseLoss(raw []byte) Loss {
	code := 0
	if len(raw) == 0 || len(raw) > 6 {
		return Loss{Code: -1}
	}
	for _, c := range raw {
		if c < '0' || c > '9' {
			return Loss{Code: -1}
		}
		code = code*10 + int(c-'0')
	}
	known := code <= 10 || code >= 100 && code <= 104 || code >= 200 && code <= 215 || code >= 500 && code < 9000
	return Loss{Code: code, Known: known}
}

var lossNames = map[int]string{
	0: "won", 1: "internal", 2: "expired", 3: "invalid_response", 4: "invalid_deal", 5: "invalid_auction_id",
	6: "bad_adomain", 7: "no_markup", 8: "no_crid", 9: "no_price", 10: "no_approval_data",
	100: "below_floor", 101: "below_deal_floor", 102: "higher_bid", 103: "lost_to_deal", 104: "seat_blocked",
	200: "creative", 201: "creative_pending", 202: "creative_disapproved", 203: "size", 204: "format",
	205: "advertiser", 206: "app_store_id", 207: "not_secure", 208: "language", 209: "category",
	210: "attribute", 211: "ad_type", 212: "animation", 213: "not_in_deal", 214: "skadnetwork", 215: "bundle",
}

// String returns the reason's name for metrics: "exchange" for an exchange's own
// codes, "other" for anything unknown.
func (l Loss) String() string {
	if name, ok := lossNames[l.Code]; ok {
		return name
	}
	if l.Known {
		return "exchange"
	}
	return "other"
}
