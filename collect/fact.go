package collect

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"time"

	"rebound/audiences"
	"rebound/events"
	"rebound/rtb"
)

// source says where an event came from, and so how far it is believed.
type source struct {
	adv        *Advertiser
	trust      events.Trust
	provenance string // of the links that it makes: tag or s2s
	now        time.Time
}

// check tells whether an input can become an event fact at all.
func (in *Input) check() *Problem {
	switch {
	case in.Event == "":
		return &Problem{RejectNoEvent, "event: got none; want a name such as view_item"}
	case len(in.Event) > maxName:
		return &Problem{RejectTooLong, fmt.Sprintf("event: got %d bytes; want at most %d", len(in.Event), maxName)}
	case hasEmail(in.Event):
		return &Problem{RejectClearText, "event: got an e-mail address; want a name"}
	case len(in.EventID) > maxID:
		return &Problem{RejectTooLong, fmt.Sprintf("event_id: got %d bytes; want at most %d", len(in.EventID), maxID)}
	case len(in.OrderID) > maxID:
		return &Problem{RejectTooLong, fmt.Sprintf("order_id: got %d bytes; want at most %d", len(in.OrderID), maxID)}
	}
	return nil
}

// eventFact makes the fact of one checked input. bad is told what was left out.
func (e *Edge) eventFact(in *Input, s *source, visitor rtb.Key, bad func(Reject)) (events.Fact, error) {
	name, _ := audiences.CanonicalEvent(tidy(in.Event, maxName))
	at := in.At
	if at.IsZero() {
		at = s.now
	}
	keep := func(v string, max int) string {
		if hasEmail(v) {
			bad(RejectClearText)
			return ""
		}
		return tidy(v, max)
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

// eventID is the message id of an event: the same for every report of one event
// of one visitor, whichever way it comes, so that retries are one fact. That is
// the event's own id, or the order of a purchase, beside its visitor; without
// either it is random. Under another visitor it is another fact: the shop's server
// may know the buyer by his address before the browser tells of the same order,
// and neither of the two is to be chased.
func (e *Edge) eventID(f *events.Fact, in *Input) (string, error) {
	switch {
	case in.EventID != "":
		return "e:" + f.Advertiser + ":" + f.Visitor.String() + ":" + idPart(f.Name) + ":" + idPart(in.EventID), nil
	case f.Name == "purchase" && in.OrderID != "":
		return "e:" + f.Advertiser + ":" + f.Visitor.String() + ":purchase:o:" + idPart(in.OrderID), nil
	}
	var b [16]byte
	if _, err := io.ReadFull(e.random, b[:]); err != nil {
		return "", fmt.Errorf("cannot name event: %w", err)
	}
	return "e:" + base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// idPart is a text as it can stand in a message id; one that cannot, or that is
// an e-mail address, is hashed.
func idPart(s string) string {
	if isToken(s) && !hasEmail(s) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "#" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// identity is a server event's visitor, and the keys of its other identifiers.
type identity struct {
	visitor rtb.Key
	links   []events.LinkKey
}

// outside are the keys of the identifiers beside uid, in the order in which they
// can name a visitor, with the text that a visitor id derived from each has.
func (e *Edge) outside(u *User, advertiser string) (keys []events.LinkKey, texts []string) {
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
			e.reject(RejectSource)
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

// identify says whose event it is: the visitor of uid; else the one that
// another identifier is linked to; else one derived from the first of them.
func (e *Edge) identify(u *User, advertiser string) (identity, *Problem) {
	keys, texts := e.outside(u, advertiser)
	id := identity{links: keys}
	if u.UID != "" {
		id.visitor = e.keyring.Key(rtb.IDVisitor, "", []byte(u.UID))
		return id, nil
	}
	if len(keys) == 0 {
		return id, &Problem{RejectNoUser, "user: got no id; want uid, xid, em, ph, ifa or a listed eid"}
	}
	if e.resolve != nil {
		for _, k := range keys {
			if v, ok := e.resolve(k.Key); ok {
				id.visitor = v
				return id, nil
			}
		}
	}
	id.visitor = e.keyring.Key(rtb.IDVisitor, "", []byte(texts[0]))
	return id, nil
}

// linkFact says that an identifier belongs to a visitor. Its id holds the hour,
// so that a busy visitor makes one such fact an hour and not one per event.
func linkFact(advertiser string, visitor rtb.Key, k events.LinkKey, provenance string, now time.Time) events.Fact {
	hour := strconv.FormatInt(now.Unix()/3600, 36)
	return events.Fact{
		V: 1, At: now.UTC(), Kind: events.KindLink, Advertiser: advertiser, Visitor: visitor,
		ID:   "l:" + k.KeyKind + ":" + k.Key.String() + ":" + visitor.String() + ":" + hour,
		Link: &events.Link{LinkKey: k, Provenance: provenance},
	}
}
