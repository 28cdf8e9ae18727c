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
// calls bad for each optional field that it leaves out because it cannot read it, or
// because its value is a placeholder.
func (w *wireEvent) input(bad func(*Problem)) Input {
	in := Input{
		Advertiser: first(w.Advertiser, w.A),
		Event:      w.eventName(),
		EventID:    first(w.EventID, w.MetaID, w.MessageID),
		Page:       first(w.URL, w.SourceURL, w.Context.Page.URL),
		Ref:        first(w.Ref, w.Referrer, w.Context.Page.Referrer),
		Source:     sanitize(string(w.Source), maxName),
		Consent:    w.Consent.texts(),
	}
	in.At = readTime(first(w.TS, w.Timestamp, w.EventTime), bad)
	in.User = w.user(bad)
	in.Props = readProps(w.Props, bad)
	in.UserAgent = first(w.User.UA, w.UserData.ClientUA, w.Context.UserAgent)
	w.trades(&in, bad)
	return in
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
	t := ConsentText{
		GDPR: flagText(c.GDPR), TC: string(c.TC), USPrivacy: string(c.USPrivacy), GPP: string(c.GPP),
		GPPSID: strings.Join(sids, ","), NPA: flagText(c.NPA), GPC: flagText(c.GPC),
	}
	if t == (ConsentText{}) {
		return nil
	}
	return &t
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

func (w *wireEvent) user(bad func(*Problem)) User {
	var customer text
	if len(w.UserData.ExternalID) > 0 {
		customer = w.UserData.ExternalID[0]
	}
	u := User{
		UID: somebody(bad, "user.uid", w.User.UID, w.Anonymous),
		XID: somebody(bad, "user.xid", w.User.XID, w.UserID, w.GAUserID, customer),
	}
	if s := somebody(bad, "user.ifa", w.User.IFA, w.UserData.MadID); s != "" {
		ifa, ok := ifaText(s)
		if !ok {
			bad(&Problem{RejectUserID, "user.ifa: want a device id such as 8-4-4-4-12 hex digits, not all zero"})
		}
		u.IFA = ifa
	}
	u.Em = readHashes("user.em", bad, w.User.Em, w.UserData.Em)
	u.Ph = readHashes("user.ph", bad, w.User.Ph, w.UserData.Ph)
	u.EIDs = w.User.eids(bad)
	return u
}

// somebody returns the first identifier that is not a placeholder.
func somebody(bad func(*Problem), name string, list ...text) string {
	for _, id := range list {
		switch {
		case id == "":
		case len(id) > maxID:
			bad(&Problem{RejectUserID, fmt.Sprintf("%s: got %d bytes; want at most %d", name, len(id), maxID)})
			return ""
		case rtb.Nobody([]byte(id)):
			bad(placeholder(name))
		default:
			return string(id)
		}
	}
	return ""
}

func placeholder(name string) *Problem {
	return &Problem{RejectPlaceholder, name + ": got a placeholder, which names nobody"}
}

// maxEIDs is the maximum number of eids that one event may link.
const maxEIDs = 16

func (w *wireUser) eids(bad func(*Problem)) (out []EID) {
	add := func(source, id text) {
		switch {
		case id == "":
		case source == "" || len(source) > maxName || len(id) > maxID:
			bad(&Problem{RejectUserID, fmt.Sprintf("user.eids: want a source of at most %d bytes and an id of at most %d", maxName, maxID)})
		case rtb.Nobody([]byte(id)):
			bad(placeholder("user.eids"))
		case len(out) == maxEIDs:
			bad(&Problem{RejectTooMany, fmt.Sprintf("user.eids: want at most %d", maxEIDs)})
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
	return out
}

// maxHashes is the maximum number of hashes of one kind that one event may link.
const maxHashes = 8

func readHashes(path string, bad func(*Problem), lists ...texts) []string {
	var out []string
	for _, list := range lists {
		for _, t := range list {
			h, ok := hashText(string(t))
			switch {
			case rtb.Nobody([]byte(t)) || ok && rtb.Nobody([]byte(h)):
				if t != "" {
					bad(placeholder(path))
				}
			case ok && len(out) < maxHashes:
				out = append(out, h)
			case ok:
			case hasEmail(string(t)):
				bad(&Problem{RejectClearText, path + ": got plain text; want its SHA-256"})
			case len(t) == 32:
				bad(&Problem{RejectHash, path + ": got 32 characters, perhaps md5; want SHA-256 as 64 hex digits or base64"})
			default:
				bad(&Problem{RejectHash, path + ": want SHA-256 as 64 hex digits or base64"})
			}
		}
	}
	return out
}

// readTime parses seconds or milliseconds since 1970, or RFC 3339. Empty or unreadable
// text gives the zero time.
func readTime(s string, bad func(*Problem)) time.Time {
	if s == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UTC()
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(x) || x < 0 || x > 1e14 {
		bad(&Problem{RejectTime, fmt.Sprintf("ts: got %q; want seconds since 1970 or RFC 3339", sanitize(s, 40))})
		return time.Time{}
	}
	if x >= 1e11 { // in seconds the year 5138, in milliseconds the year 1973
		return time.UnixMilli(int64(x)).UTC()
	}
	return time.UnixMilli(int64(x * 1000)).UTC()
}

// maxSkew is how far the clocks of two senders may differ. Within it, and for events
// ahead of our clock, the order of arrival decides which of two events was first:
// otherwise a purchase that a browser reports could precede the cart that a server
// reported before it.
const maxSkew = 3 * time.Second

// settle returns the time that is stored for an event.
func settle(at, now time.Time) time.Time {
	if now.Sub(at) <= maxSkew {
		return now
	}
	return at
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

func readProps(m map[string]text, bad func(*Problem)) map[string]string {
	if len(m) == 0 {
		return nil
	}
	if len(m) > maxProps {
		bad(&Problem{RejectTooMany, fmt.Sprintf("props: got %d; want at most %d", len(m), maxProps)})
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		if hasEmail(k) || hasEmail(string(v)) {
			bad(&Problem{RejectClearText, "props: got an e-mail address, which must not be sent"})
			continue
		}
		if k = sanitize(k, maxName); k != "" {
			out[k] = sanitize(string(v), maxText)
		}
	}
	return out
}

// trades reads items and amounts from the event and its nested objects; the fields of
// the event itself take precedence.
func (w *wireEvent) trades(in *Input, bad func(*Problem)) {
	for _, t := range []*wireTrade{&w.wireTrade, &w.Properties, &w.Params, &w.CustomData} {
		t.read(in, bad)
	}
}

func (t *wireTrade) read(in *Input, bad func(*Problem)) {
	if in.OrderID == "" {
		in.OrderID = first(t.OrderID, t.Transaction)
	}
	if in.Query == "" {
		in.Query = first(t.Q, t.Query, t.SearchTerm, t.SearchText)
	}
	if s := string(t.Currency); s != "" && in.Currency.IsZero() {
		c, ok := rtb.ParseCurrency(s)
		if !ok {
			bad(&Problem{RejectCurrency, fmt.Sprintf("currency: got %q; want an ISO 4217 code such as USD", sanitize(s, 20))})
		}
		in.Currency = c
	}
	if s := first(t.Value, t.Revenue, t.Total); s != "" && in.Value == 0 {
		m, err := rtb.ParseMicros(s, rtb.RoundDown)
		if err != nil {
			bad(&Problem{RejectValue, fmt.Sprintf("value: got %q; want a decimal number", sanitize(s, 40))})
			m = 0
		}
		in.Value = m
	}
	in.measure("pct", first(t.Percent, t.VideoPercent))
	in.measure("ms", first(t.Millis, t.EngagedMsec))
	if len(in.Items) == 0 {
		t.readItems(in, bad)
	}
}

// measure keeps how much of a video was shown (pct), or for how long a page was looked at
// (ms), as a property.
func (in *Input) measure(name, value string) {
	if value == "" || in.Props[name] != "" {
		return
	}
	if x, err := strconv.ParseFloat(value, 64); err != nil || !(x >= 0 && x < 1e12) {
		return
	}
	if in.Props == nil {
		in.Props = map[string]string{}
	}
	in.Props[name] = value
}

func (t *wireTrade) readItems(in *Input, bad func(*Problem)) {
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
		bad(&Problem{RejectTooMany, fmt.Sprintf("items: got %d; want at most %d", len(list), maxItems)})
		list = list[:maxItems]
	}
	for i := range list {
		if it := list[i].item(i, bad); it.ID != "" {
			in.Items = append(in.Items, it)
		}
	}
}

// item reads one item. Its id is empty if the item must be left out.
func (w *wireItem) item(i int, bad func(*Problem)) events.Item {
	it := events.Item{
		ID:       itemID(first(w.ID, w.ItemID, w.ProductID, w.SKU)),
		Category: sanitize(first(w.Category, w.ItemCat), maxText),
		Brand:    sanitize(first(w.Brand, w.ItemBrand), maxText),
	}
	for _, s := range []*string{&it.ID, &it.Category, &it.Brand} {
		if hasEmail(*s) {
			bad(&Problem{RejectClearText, fmt.Sprintf("items[%d]: got an e-mail address, which must not be sent", i)})
			*s = ""
		}
	}
	if s := first(w.Price, w.ItemPrice); s != "" {
		m, err := rtb.ParseMicros(s, rtb.RoundDown)
		if err != nil || m < 0 {
			bad(&Problem{RejectPrice, fmt.Sprintf("items[%d].price: got %q; want a decimal number", i, sanitize(s, 40))})
			m = 0
		}
		it.Price = m
	}
	if w.Quantity != "" {
		x, err := strconv.ParseFloat(string(w.Quantity), 64)
		if err != nil || !(x >= 0 && x <= maxQuantity) {
			bad(&Problem{RejectPrice, fmt.Sprintf("items[%d].quantity: got %q; want a number up to %d", i, sanitize(string(w.Quantity), 40), maxQuantity)})
			x = 0
		}
		it.Quantity = int(x)
	}
	return it
}
