package collect

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Match is the query of GET /v1/match, with which a page of an exchange passes the id of
// its user.
type Match struct {
	Exchange string
	UID      string // of the exchange, as sent
	Consent  *ConsentText
}

// maxExchangeUser is the maximum length of an exchange user id, in bytes.
const maxExchangeUser = 256

// ParseMatch parses the query. It calls bad for each parameter that it cannot decode.
func ParseMatch(query []byte, bad func(Reject)) Match {
	var m Match
	p := pixel{bad: bad}
	eachParam(query, bad, func(key, value string) {
		switch key {
		case "ex":
			m.Exchange = value
		case "uid":
			m.UID = value
		default:
			p.setConsent(key, value)
		}
	})
	m.Consent = p.in.Consent
	return m
}

// exchangeUser reports whether an exchange user id identifies a user: it is not empty, not
// a placeholder for an unknown user, and not an unexpanded macro.
func exchangeUser(uid string) bool {
	return len(uid) <= maxExchangeUser && !rtb.Nobody([]byte(uid)) && !strings.ContainsAny(uid, "\x00\r\n")
}

// RecordMatch links the user id of an exchange to the visitor of the browser, who gets a
// cookie if there is none yet. allowed is false if the privacy signals refuse the match;
// then nothing was read, stored or set.
func (e *Edge) RecordMatch(ctx context.Context, c *Call, m *Match) (setCookieLine string, allowed bool) {
	s := e.setup.Load()
	grant := s.Policy.Browser(c.consent(m.Consent))
	if !grant.SetCookie || !grant.Sync {
		e.refused(c)
		return "", false
	}
	space, ok := s.Exchanges[m.Exchange]
	if !ok {
		e.reject(RejectExchange)
		return "", true
	}
	if !exchangeUser(m.UID) {
		e.reject(RejectExchangeUser)
		return "", true
	}
	uid, fresh, err := e.visitor(c)
	if err != nil {
		e.log.Error("cannot generate visitor id", zap.Error(err))
		return "", true
	}
	key := events.LinkKey{
		KeyKind: "b:" + space,
		Key:     e.keyring.Key(rtb.IDExchange, space, []byte(m.UID)),
	}
	if e.mayLink(fresh, key.Key) {
		visitor := e.keyring.Key(rtb.IDVisitor, "", []byte(uid))
		e.store(ctx, e.linkFact("", visitor, key, "sync", e.now()))
	}
	return c.cookieFor(s, uid), true
}
