package collect

import (
	"fmt"
	"strings"

	"rebound/events"
	"rebound/rtb"
)

// Identifier is an identifier as a person or a customer names it.
type Identifier struct {
	// Kind is uid (our visitor id: the value of the cookie, or the uid of server events),
	// ifa, xid, em, ph, eid:<source> or b:<exchange>.
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// ParseIdentifier reads KIND:VALUE. The source of an eid and the exchange of a user are
// part of the kind.
func ParseIdentifier(text string) (Identifier, error) {
	kind, value, ok := strings.Cut(text, ":")
	if kind == "eid" || kind == "b" {
		scope := ""
		scope, value, ok = strings.Cut(value, ":")
		kind += ":" + scope
	}
	if !ok || value == "" {
		return Identifier{}, fmt.Errorf("cannot read identifier: got %q; want KIND:VALUE with the kind uid, ifa, xid, em, ph, eid:<source> or b:<exchange>", text)
	}
	return Identifier{kind, value}, nil
}

// Key returns the key under which the identifier is stored. The ids of customers, e-mail
// addresses and phone numbers belong to an advertiser, those of exchange users to an
// exchange; spaces are the id spaces of the exchanges. Errors do not contain the
// identifier.
func (id Identifier) Key(k *rtb.Keyring, advertiser string, spaces map[string]string) (events.LinkKey, error) {
	kind, scope, _ := strings.Cut(id.Kind, ":")
	of := func(space rtb.IDKind, scope, value string) (events.LinkKey, error) {
		return events.LinkKey{KeyKind: id.Kind, Key: k.Key(space, scope, []byte(value))}, nil
	}
	if len(id.Value) == 0 || len(id.Value) > maxID {
		return events.LinkKey{}, fmt.Errorf("got a value of %d bytes; want 1 to %d", len(id.Value), maxID)
	}
	if advertiser == "" && (kind == "xid" || kind == "em" || kind == "ph") {
		return events.LinkKey{}, fmt.Errorf("got kind %s without an advertiser; want the advertiser to which the identifier belongs", kind)
	}
	switch kind {
	case events.VisitorKind, "uid":
		id.Kind = events.VisitorKind
		return of(rtb.IDVisitor, "", id.Value)
	case "ifa":
		return of(rtb.IDIFA, "", strings.ToLower(id.Value))
	case "xid":
		return of(rtb.IDXID, advertiser, strings.TrimSpace(id.Value))
	case "eid":
		return of(rtb.IDEID, strings.ToLower(scope), id.Value)
	case "em", "ph":
		hash, ok := hashText(id.Value)
		if !ok {
			return events.LinkKey{}, fmt.Errorf("got %s that is not a SHA-256; want the hash of the normalised address or number, 64 hex digits", kind)
		}
		if kind == "em" {
			return of(rtb.IDEmail, advertiser, hash)
		}
		return of(rtb.IDPhone, advertiser, hash)
	case "b":
		space, ok := spaces[scope]
		if !ok {
			return events.LinkKey{}, fmt.Errorf("got exchange %q; want a configured one", scope)
		}
		id.Kind = "b:" + space
		return of(rtb.IDExchange, space, id.Value)
	}
	return events.LinkKey{}, fmt.Errorf("got kind %q; want uid, ifa, xid, em, ph, eid:<source> or b:<exchange>", id.Kind)
}
