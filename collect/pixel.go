package collect

import (
	"strconv"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// maxParams is the maximum number of parameters read from a query; the rest are ignored.
const maxParams = 128

// ParsePixel parses the query of GET /v1/px. It ignores invalid parameters and calls bad
// with the reason for each; the event remains valid. Lists are truncated to 200 items.
func ParsePixel(query []byte, bad func(Reject)) Input {
	p := pixel{bad: bad}
	eachParam(query, bad, p.set)
	p.in.Items = p.items()
	return p.in
}

// eachParam calls f for each parameter of a query, decoded as browsers do and trimmed. It
// calls bad for a parameter with broken percent-encoding, which is passed to f all the
// same, and for a query with more than maxParams.
func eachParam(query []byte, bad func(Reject), f func(key, value string)) {
	n := 0
	for part := range strings.SplitSeq(string(query), "&") {
		if n++; n > maxParams {
			bad(RejectTooMany)
			return
		}
		k, v, _ := strings.Cut(part, "=")
		if !wellEncoded(part) {
			bad(RejectBadQuery)
		}
		f(unescape(k), strings.TrimSpace(unescape(v)))
	}
}

type pixel struct {
	in              Input
	bad             func(Reject)
	ids, pr, qt, ct []string
	consent         ConsentText
}

func (p *pixel) set(key, v string) {
	if v == "" {
		return
	}
	if name, ok := strings.CutPrefix(key, "p."); ok {
		p.prop(name, v)
		return
	}
	if p.setConsent(key, v) || p.setList(key, v) {
		return
	}
	if key != "u" && key != "r" && hasEmail(v) {
		p.bad(RejectClearText)
		return
	}
	switch key {
	case "a":
		p.in.Advertiser = v
	case "e":
		p.in.Event = v
	case "eid":
		p.in.EventID = v
	case "u":
		p.in.Page = v
	case "r":
		p.in.Ref = v
	case "xid":
		if rtb.Nobody([]byte(v)) {
			p.bad(RejectPlaceholder)
			return
		}
		p.in.User.XID = v
	case "em":
		p.in.User.Em = p.hashes(v)
	case "ph":
		p.in.User.Ph = p.hashes(v)
	case "v":
		p.value(v)
	case "cu":
		p.currency(v)
	case "o":
		p.in.OrderID = v
	case "q":
		p.in.Query = v
	case "pct", "ms":
		p.in.measure(key, v)
	}
}

// setList reads one of the comma-separated lists that describe items.
func (p *pixel) setList(key, v string) bool {
	var list *[]string
	switch key {
	case "id":
		list = &p.ids
	case "pr":
		list = &p.pr
	case "qt":
		list = &p.qt
	case "ct":
		list = &p.ct
	default:
		return false
	}
	if hasEmail(v) {
		p.bad(RejectClearText)
		return true
	}
	*list = strings.Split(v, ",")
	if len(*list) > maxItems {
		p.bad(RejectTooMany)
		*list = (*list)[:maxItems]
	}
	return true
}

func (p *pixel) setConsent(key, v string) bool {
	c := &p.consent
	switch key {
	case "gdpr":
		c.GDPR = both(c.GDPR, v)
	case "gdpr_consent":
		c.TC = both(c.TC, v)
	case "us_privacy":
		c.USPrivacy = both(c.USPrivacy, v)
	case "gpp":
		c.GPP = both(c.GPP, v)
	case "gpp_sid":
		c.GPPSID = both(c.GPPSID, v)
	case "npa":
		c.NPA = both(c.NPA, v)
	default:
		return false
	}
	p.in.Consent = c
	return true
}

// both returns a privacy signal that a query names twice. Two different values
// are joined into one that cannot be read, and an unreadable signal restricts.
func both(was, now string) string {
	if was == "" || was == now {
		return now
	}
	return was + "|" + now
}

func (p *pixel) prop(name, v string) {
	if hasEmail(v) || hasEmail(name) {
		p.bad(RejectClearText)
		return
	}
	if name == "" || len(p.in.Props) >= maxProps {
		p.bad(RejectTooMany)
		return
	}
	if p.in.Props == nil {
		p.in.Props = make(map[string]string)
	}
	p.in.Props[sanitize(name, maxName)] = sanitize(v, maxText)
}

func (p *pixel) hashes(v string) []string {
	var out []string
	for s := range strings.SplitSeq(v, ",") {
		h, ok := hashText(s)
		if rtb.Nobody([]byte(s)) || ok && rtb.Nobody([]byte(h)) {
			p.bad(RejectPlaceholder)
			continue
		}
		if !ok {
			p.bad(RejectHash)
			continue
		}
		out = append(out, h)
	}
	return out
}

func (p *pixel) value(v string) {
	m, err := rtb.ParseMicros(v, rtb.RoundDown)
	if err != nil {
		p.bad(RejectValue)
		return
	}
	p.in.Value = m
}

func (p *pixel) currency(v string) {
	c, ok := rtb.ParseCurrency(v)
	if !ok {
		p.bad(RejectCurrency)
		return
	}
	p.in.Currency = c
}

// items combines the lists: a price, quantity or category belongs to the item with the
// same index.
func (p *pixel) items() []events.Item {
	out := make([]events.Item, 0, len(p.ids))
	at := func(list []string, i int) string {
		if i < len(list) {
			return strings.TrimSpace(list[i])
		}
		return ""
	}
	for i, id := range p.ids {
		it := events.Item{ID: itemID(id), Category: sanitize(at(p.ct, i), maxText)}
		if it.ID == "" {
			continue
		}
		if s := at(p.pr, i); s != "" {
			m, err := rtb.ParseMicros(s, rtb.RoundDown)
			if err != nil || m < 0 {
				p.bad(RejectPrice)
			} else {
				it.Price = m
			}
		}
		if s := at(p.qt, i); s != "" {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 || n > maxQuantity {
				p.bad(RejectPrice)
			} else {
				it.Quantity = n
			}
		}
		out = append(out, it)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// itemID normalizes a product id for comparison with feeds. An id that is too long is
// dropped, because no feed can have it.
func itemID(s string) string { return rtb.FoldProductID(s) }
