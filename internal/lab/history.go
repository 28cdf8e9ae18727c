package lab

import (
	"fmt"
	"strings"
	"time"

	"rebound/events"
	"rebound/exchange"
	"rebound/internal/spec"
	"rebound/rtb"
)

// Past is one event in a visitor's history.
type Past struct {
	Name, Item string
	Ago        time.Duration
}

// ParsePast reads name, name:item or name:item@ago, such as view_item:SKU7@2h.
// Without ago the event happened a minute ago.
func ParsePast(text string) (p Past, err error) {
	p.Ago = time.Minute
	text, ago, timed := strings.Cut(text, "@")
	if timed {
		if p.Ago, err = spec.ParseDuration(ago); err != nil {
			return p, err
		}
	}
	p.Name, p.Item, _ = strings.Cut(text, ":")
	if p.Name == "" {
		return p, fmt.Errorf("cannot read event: got %q; want one such as view_item:SKU7@2h", text)
	}
	return p, nil
}

// Remember gives the visitor of a request a history with every advertiser, under
// every identifier in the request. A request that cannot be read has no visitor:
// the response will name the problem.
func (l *Lab) Remember(p *exchange.Profile, body []byte, history []Past) error {
	var d exchange.Decoder
	var o rtb.Opportunity
	if err := d.Head(body, p, &o); err != nil || len(o.IDs) == 0 || len(history) == 0 {
		return nil
	}
	visitor := l.Keyring.Key(rtb.IDVisitor, "", []byte("visitor of the lab"))
	for i := range o.IDs {
		if id := &o.IDs[i]; id.Kind == rtb.IDVisitor {
			visitor = l.Keyring.Key(rtb.IDVisitor, "", id.Value)
		}
	}
	for i := range o.IDs {
		kind, scope := linkKind(p, &o.IDs[i])
		if kind == "" {
			continue
		}
		if err := l.Link(visitor, kind, l.Keyring.Key(o.IDs[i].Kind, scope, o.IDs[i].Value)); err != nil {
			return err
		}
	}
	for _, h := range history {
		e := &events.Event{Name: h.Name, Trust: events.TrustServer}
		if h.Item != "" {
			e.Items = []events.Item{{ID: h.Item, Quantity: 1}}
		}
		for _, a := range l.config.Index.Advertisers() {
			if err := l.Put(events.Fact{Kind: events.KindEvent, Advertiser: a.ID, Visitor: visitor, At: l.now().Add(-h.Ago), Event: e}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Link links an outside identifier to a visitor. The kind is b:<id space>, ifa or
// eid:<source>.
func (l *Lab) Link(visitor rtb.Key, kind string, key rtb.Key) error {
	return l.Put(events.Fact{Kind: events.KindLink, Visitor: visitor,
		Link: &events.Link{LinkKey: events.LinkKey{KeyKind: kind, Key: key}, Provenance: "sync"}})
}

// linkKind returns the kind of link for an identifier and the scope of its key;
// an empty kind means that it is not linked.
func linkKind(p *exchange.Profile, id *rtb.ExternalID) (kind, scope string) {
	switch id.Kind {
	case rtb.IDEID:
		return "eid:" + string(id.Scope), string(id.Scope)
	case rtb.IDIFA:
		return "ifa", ""
	case rtb.IDExchange:
		return "b:" + p.IDSpace, p.IDSpace
	}
	return "", ""
}
