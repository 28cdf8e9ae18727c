package collect

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"rebound/events"
	"rebound/rtb"
)

// Limits of the age of an event.
const (
	maxAge    = 7 * 24 * time.Hour
	maxFuture = 10 * time.Minute
)

// input converts an event, which may use the field names of GA4, Segment or Meta. It
// returns the first problem.
func (w *wireEvent) input() (Input, *Problem) {
	in := Input{
		Advertiser: first(w.Advertiser, w.A),
		Event:      w.eventName(),
		EventID:    first(w.EventID, w.MetaID, w.MessageID),
		Page:       first(w.URL, w.SourceURL),
		Ref:        first(w.Ref, w.Referrer),
		Source:     sanitize(string(w.Source), maxName),
		Consent:    w.Consent.texts(),
	}
	var p *Problem
	if in.At, p = readTime(first(w.TS, w.Timestamp, w.EventTime)); p != nil {
		return in, p
	}
	if in.User, p = w.user(); p != nil {
		return in, p
	}
	if in.Props, p = readProps(w.Props); p != nil {
		return in, p
	}
	return in, w.trades(&in)
}

func (w *wireEvent) eventName() string {
	if name := first(w.Event, w.EventName); name != "" {
		return name
	}
	switch w.Type { // calls of Segment without an event name
	case "page", "screen":
		return "page_view"
	case "identify":
		return "identify"
	}
	return string(w.Name)
}

func (c *wireConsent) texts() *ConsentText {
	if c == nil {
		return nil
	}
	sids := make([]string, len(c.GPPSID))
	for i, s := range c.GPPSID {
		sids[i] = string(s)
	}
	return &ConsentText{
		GDPR: flagText(c.GDPR), TC: string(c.TC), USPrivacy: string(c.USPrivacy), GPP: string(c.GPP),
		GPPSID: strings.Join(sids, ","), NPA: flagText(c.NPA), GPC: flagText(c.GPC),
	}
}

// flagText converts true and false to the values of the query parameters.
func flagText(t text) string {
	switch t {
	case "true":
		return "1"
	case "false":
		return "0"
	}
	return string(t)
}

func (w *wireEvent) user() (User, *Problem) {
	u := User{
		UID: first(w.User.UID, w.Anonymous),
		XID: first(w.User.XID, w.UserID, w.GAUserID),
	}
	if u.XID == "" && len(w.UserData.ExternalID) > 0 {
		u.XID = string(w.UserData.ExternalID[0])
	}
	for _, id := range []struct{ name, value string }{{"user.uid", u.UID}, {"user.xid", u.XID}} {
		if len(id.value) > maxID {
			return u, &Problem{RejectUserID, fmt.Sprintf("%s: got %d bytes; want at most %d", id.name, len(id.value), maxID)}
		}
	}
	if s := first(w.User.IFA, w.UserData.MadID); s != "" {
		ifa, ok := ifaText(s)
		if !ok {
			return u, &Problem{RejectUserID, "user.ifa: want a device id such as 8-4-4-4-12 hex digits, not all zero"}
		}
		u.IFA = ifa
	}
	var p *Problem
	if u.Em, p = readHashes("user.em", w.User.Em, w.UserData.Em); p != nil {
		return u, p
	}
	if u.Ph, p = readHashes("user.ph", w.User.Ph, w.UserData.Ph); p != nil {
		return u, p
	}
	u.EIDs, p = w.User.eids()
	return u, p
}

// maxEIDs is the maximum number of eids that one event may link.
const maxEIDs = 16

func (w *wireUser) eids() (out []EID, p *Problem) {
	add := func(source, id text) {
		switch {
		case p != nil || id == "":
		case source == "" || len(source) > maxName || len(id) > maxID:
			p = &Problem{RejectUserID, fmt.Sprintf("user.eids: want a source of at most %d bytes and an id of at most %d", maxName, maxID)}
		case len(out) == maxEIDs:
			p = &Problem{RejectTooMany, fmt.Sprintf("user.eids: want at most %d", maxEIDs)}
		default:
			out = append(out, EID{strings.ToLower(string(source)), string(id)})
		}
	}
	for _, e := range w.EIDs {
		add(e.Source, e.ID)
		for _, u := range e.UIDs {
			add(e.Source, u.ID)
		}
	}
	return out, p
}

func readHashes(path string, lists ...texts) ([]string, *Problem) {
	var out []string
	for _, list := range lists {
		for _, t := range list {
			h, ok := hashText(string(t))
			switch {
			case ok && len(out) < 8:
				out = append(out, h)
			case ok:
			case hasEmail(string(t)):
				return nil, &Problem{RejectClearText, path + ": got plain text; want its SHA-256"}
			case len(t) == 32:
				return nil, &Problem{RejectHash, path + ": got 32 characters, perhaps md5; want SHA-256 as 64 hex digits or base64"}
			default:
				return nil, &Problem{RejectHash, path + ": want SHA-256 as 64 hex digits or base64"}
			}
		}
	}
	return out, nil
}

// readTime parses seconds or milliseconds since 1970, or RFC 3339. Empty gives the zero
// time.
func readTime(s string) (time.Time, *Problem) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC(), nil
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || x < 0 || x > 1e14 {
		return time.Time{}, &Problem{RejectTime, fmt.Sprintf("ts: got %q; want seconds since 1970 or RFC 3339", sanitize(s, 40))}
	}
	if x >= 1e11 { // in seconds the year 5138, in milliseconds the year 1973
		return time.UnixMilli(int64(x)).UTC(), nil
	}
	return time.UnixMilli(int64(x * 1000)).UTC(), nil
}

// checkTime returns a problem if the time of an event is too far from now.
func checkTime(at, now time.Time) *Problem {
	switch {
	case at.IsZero():
		return nil
	case now.Sub(at) > maxAge:
		return &Problem{RejectTooOld, fmt.Sprintf("ts: got %s; want at most 7 days ago", at.Format(time.RFC3339))}
	case at.Sub(now) > maxFuture:
		return &Problem{RejectFuture, fmt.Sprintf("ts: got %s; want at most 10 minutes ahead", at.Format(time.RFC3339))}
	}
	return nil
}

func readProps(m map[string]text) (map[string]string, *Problem) {
	if len(m) > maxProps {
		return nil, &Problem{RejectTooMany, fmt.Sprintf("props: got %d; want at most %d", len(m), maxProps)}
	}
	if len(m) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if hasEmail(k) || hasEmail(string(v)) {
			return nil, &Problem{RejectClearText, "props: got an e-mail address, which must not be sent"}
		}
		if k = sanitize(k, maxName); k != "" {
			out[k] = sanitize(string(v), maxText)
		}
	}
	return out, nil
}

// trades reads items and amounts from the event and its nested objects; the fields of
// the event itself take precedence.
func (w *wireEvent) trades(in *Input) *Problem {
	for _, t := range []*wireTrade{&w.wireTrade, &w.Properties, &w.Params, &w.CustomData} {
		if p := t.read(in); p != nil {
			return p
		}
	}
	return nil
}

func (t *wireTrade) read(in *Input) *Problem {
	if in.OrderID == "" {
		in.OrderID = first(t.OrderID, t.Transaction)
	}
	if in.Query == "" {
		in.Query = first(t.Q, t.Query, t.SearchTerm, t.SearchText)
	}
	if s := string(t.Currency); s != "" && in.Currency.IsZero() {
		c, ok := rtb.ParseCurrency(s)
		if !ok {
			return &Problem{RejectCurrency, fmt.Sprintf("currency: got %q; want an ISO 4217 code such as USD", sanitize(s, 20))}
		}
		in.Currency = c
	}
	if s := first(t.Value, t.Revenue, t.Total); s != "" && in.Value == 0 {
		m, err := rtb.ParseMicros(s, rtb.RoundDown)
		if err != nil {
			return &Problem{RejectValue, fmt.Sprintf("value: got %q; want a decimal number", sanitize(s, 40))}
		}
		in.Value = m
	}
	if len(in.Items) > 0 {
		return nil
	}
	return t.readItems(in)
}

func (t *wireTrade) readItems(in *Input) *Problem {
	list := t.Items
	for _, other := range []wireItems{t.Products, t.Contents, t.ContentIDs} {
		if len(list) == 0 {
			list = other
		}
	}
	if len(list) == 0 && (t.ProductID != "" || t.SKU != "") { // Segment's Product Viewed, Product Added
		list = wireItems{{ID: text(first(t.ProductID, t.SKU)), Price: t.Price, Quantity: t.Quantity, Category: t.Category, Brand: t.Brand}}
	}
	if len(list) > maxItems {
		return &Problem{RejectTooMany, fmt.Sprintf("items: got %d; want at most %d", len(list), maxItems)}
	}
	for i := range list {
		it, p := list[i].item(i)
		if p != nil {
			return p
		}
		if it.ID != "" {
			in.Items = append(in.Items, it)
		}
	}
	return nil
}

func (w *wireItem) item(i int) (events.Item, *Problem) {
	it := events.Item{
		ID:       itemID(first(w.ID, w.ItemID, w.ProductID, w.SKU)),
		Category: sanitize(first(w.Category, w.ItemCat), maxText),
		Brand:    sanitize(first(w.Brand, w.ItemBrand), maxText),
	}
	if hasEmail(it.ID) || hasEmail(it.Category) || hasEmail(it.Brand) {
		return it, &Problem{RejectClearText, fmt.Sprintf("items[%d]: got an e-mail address, which must not be sent", i)}
	}
	if s := first(w.Price, w.ItemPrice); s != "" {
		m, err := rtb.ParseMicros(s, rtb.RoundDown)
		if err != nil || m < 0 {
			return it, &Problem{RejectPrice, fmt.Sprintf("items[%d].price: got %q; want a decimal number", i, sanitize(s, 40))}
		}
		it.Price = m
	}
	if w.Quantity != "" {
		x, err := strconv.ParseFloat(string(w.Quantity), 64)
		if err != nil || !(x >= 0 && x <= maxQuantity) {
			return it, &Problem{RejectPrice, fmt.Sprintf("items[%d].quantity: got %q; want a number up to %d", i, sanitize(string(w.Quantity), 40), maxQuantity)}
		}
		it.Quantity = int(x)
	}
	return it, nil
}
