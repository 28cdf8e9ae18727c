package collect

import (
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// source is the origin of an event, which determines how far it is trusted.
type source struct {
	adv        *Advertiser
	trust      events.Trust
	provenance string // of the links that it creates: tag or s2s
	now        time.Time
}

// check returns a problem if an input cannot become an event fact.
func (in *Input) check() *Problem {
	switch {
	case in.Event == "":
		return &Problem{RejectNoEvent, "event: got none; want a name such as view_item"}
	case len(in.Event) > maxName:
		return &Problem{RejectTooLong, fmt.Sprintf("event: got %d bytes; want at most %d", len(in.Event), maxName)}
	case hasEmail(in.Event):
		return &Problem{RejectClearText, "event: got an e-mail address; want an event name"}
	case len(in.EventID) > maxID:
		return &Problem{RejectTooLong, fmt.Sprintf("event_id: got %d bytes; want at most %d", len(in.EventID), maxID)}
	case len(in.OrderID) > maxID:
		return &Problem{RejectTooLong, fmt.Sprintf("order_id: got %d bytes; want at most %d", len(in.OrderID), maxID)}
	}
	return nil
}

// dropLong leaves out, and reports to bad, optional identifiers that are too
// long: the event of a browser is kept without them.
func (in *Input) dropLong(bad func(Reject)) {
	for _, s := range []*string{&in.EventID, &in.OrderID} {
		if len(*s) > maxID {
			bad(RejectTooLong)
			*s = ""
		}
	}
	if len(in.User.XID) > maxID {
		bad(RejectUserID)
		in.User.XID = ""
	}
}

// eventFact returns the fact of one checked input. It calls bad for each value that it
// drops.
func (e *Edge) eventFact(in *Input, s *source, visitor rtb.Key, bad func(Reject)) (events.Fact, error) {
	name, _ := audiences.CanonicalEvent(sanitize(in.Event, maxName))
	at := in.At
	if at.IsZero() {
		at = s.now
	}
	keep := func(v string, max int) string {
		if hasEmail(v) {
			bad(RejectClearText)
			return ""
		}
		return sanitize(v, max)
	}
	p := readPage(in.Page)
	for range p.dropped {
		bad(RejectClearText)
	}
	ev := &events.Event{
		Name: name, EventID: keep(in.EventID, maxID), Items: in.Items, Value: in.Value, OrderID: keep(in.OrderID, maxID),
		URL: p.url, RefHost: refHost(in.Ref), UTM: p.utm, Query: keep(in.Query, maxText), Props: in.Props,
		Source: keep(in.Source, maxName), Trust: s.trust,
	}
	if in.UTM != nil {
		ev.UTM = in.UTM
	}
	f := events.Fact{
		V: 1, At: at.UTC(), Kind: events.KindEvent, Advertiser: s.adv.ID, Visitor: visitor, Event: ev,
	}
	if ev.Value != 0 || priced(in.Items) {
		f.Currency = in.Currency
		if f.Currency.IsZero() {
			f.Currency = s.adv.Currency
		}
	}
	var err error
	f.ID, err = e.eventID(&f, in)
	return f, err
}

func priced(items []events.Item) bool {
	for i := range items {
		if items[i].Price != 0 {
			return true
		}
	}
	return false
}

// eventID returns the message id of an event. It is the same for every report of one
// event of one visitor, so that retries and reports over several channels become one
// fact: it is derived from the visitor and the id of the event, or the order id of a
// purchase. Without either it is random. The same order under two visitors gives two
// facts: the server of the shop may know the buyer by e-mail address before the browser
// reports the same order, and neither visitor should see further ads. A purchase that the
// server confirms is a fact of its own next to the browser's, because only the server's
// counts as revenue.
func (e *Edge) eventID(f *events.Fact, in *Input) (string, error) {
	prefix := "e:"
	if f.Trust == events.TrustServer && f.Name == "purchase" {
		prefix = "es:"
	}
	switch {
	case in.EventID != "":
		return messageID(e.keyring, prefix+f.Advertiser, f.Visitor.String(), f.Name, in.EventID), nil
	case f.Name == "purchase" && in.OrderID != "":
		return messageID(e.keyring, prefix+f.Advertiser, f.Visitor.String(), "purchase", "order", in.OrderID), nil
	}
	var b [16]byte
	if _, err := io.ReadFull(e.random, b[:]); err != nil {
		return "", fmt.Errorf("cannot generate event id: %w", err)
	}
	return "e:" + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// messageID returns an id that is the same for the same parts and does not
// identify anyone: a keyed hash. The id of a fact outlives the erasure of its
// personal part.
func messageID(k *rtb.Keyring, prefix string, parts ...string) string {
	text := make([]byte, 0, 128)
	for _, p := range parts {
		text = strconv.AppendQuote(text, p)
	}
	return prefix + ":" + k.Key(rtb.IDXID, "message", text).String()
}

// identity is the visitor of a server event and the keys of its other identifiers.
type identity struct {
	visitor rtb.Key
	links   []events.LinkKey
}

// outside returns the keys of all identifiers except uid, in the order in which they are
// used to find a visitor, and for each the visitor id that would be derived from it. It
// calls bad for each eid of an unlisted source.
func (e *Edge) outside(u *User, advertiser string, bad func(Reject)) (keys []events.LinkKey, texts []string) {
	add := func(kind string, space rtb.IDKind, scope, value string) {
		keys = append(keys, events.LinkKey{KeyKind: kind, Key: e.keyring.Key(space, scope, []byte(value))})
		texts = append(texts, kind+":"+scope+":"+value)
	}
	if u.IFA != "" {
		add("ifa", rtb.IDIFA, "", u.IFA)
	}
	if u.XID != "" {
		add("xid", rtb.IDXID, advertiser, u.XID)
	}
	for _, x := range u.EIDs {
		if e.setup.Load().eids[x.Source] {
			add("eid:"+x.Source, rtb.IDEID, x.Source, x.ID)
		} else {
			bad(RejectSource)
		}
	}
	for _, h := range u.Em {
		add("em", rtb.IDEmail, advertiser, h)
	}
	for _, h := range u.Ph {
		add("ph", rtb.IDPhone, advertiser, h)
	}
	return keys, texts
}

// identify returns the visitor of an event: that of uid, else the visitor to which
// another identifier is linked, else one derived from the first identifier. Nothing is
// stored about a person of whom one of the identifiers has opted out.
func (e *Edge) identify(u *User, advertiser string, bad func(Reject)) (identity, *Problem) {
	keys, texts := e.outside(u, advertiser, bad)
	keys, texts, linked := e.unshared(keys, texts)
	id := identity{links: keys}
	if u.UID != "" {
		id.visitor = e.keyring.Key(rtb.IDVisitor, "", []byte(u.UID))
	} else if id.visitor = linked; linked.IsZero() {
		if len(keys) == 0 {
			return id, &Problem{RejectNoUser, "user: got no id; want uid, xid, em, ph, ifa or an eid of a listed source"}
		}
		id.visitor = e.keyring.Key(rtb.IDVisitor, "", []byte(texts[0]))
	}
	if e.isOut(id.visitor) || e.anyOut(keys) {
		return id, &Problem{RejectOptedOut, "user: the visitor has opted out"}
	}
	return id, nil
}

// anyOut reports whether one of the identifiers has opted out. Then its person has,
// whatever cookie the browser has now.
func (e *Edge) anyOut(keys []events.LinkKey) bool {
	return slices.ContainsFunc(keys, func(k events.LinkKey) bool { return e.isOut(k.Key) })
}

// unshared leaves out the identifiers that too many visitors share, and returns the
// visitor to which the first of the others that is linked is linked.
func (e *Edge) unshared(keys []events.LinkKey, texts []string) (k []events.LinkKey, t []string, linked rtb.Key) {
	for i := range keys {
		v, _, ok := e.linked(keys[i].Key)
		if ok && v.IsZero() {
			e.unlinked.Add(1)
			continue
		}
		if ok && linked.IsZero() {
			linked = v
		}
		k, t = append(k, keys[i]), append(t, texts[i])
	}
	return k, t, linked
}

// linkFact returns the fact that an identifier belongs to a visitor. Its id contains the
// hour, so that an active visitor causes one such fact per hour and not one per event.
func (e *Edge) linkFact(advertiser string, visitor rtb.Key, k events.LinkKey, provenance string, now time.Time) events.Fact {
	hour := strconv.FormatInt(now.Unix()/3600, 36)
	return events.Fact{
		V: 1, At: now.UTC(), Kind: events.KindLink, Advertiser: advertiser, Visitor: visitor,
		ID:   messageID(e.keyring, "l:"+k.KeyKind, k.Key.String(), visitor.String(), hour),
		Link: &events.Link{LinkKey: k, Provenance: provenance},
	}
}
