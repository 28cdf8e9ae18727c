package collect

import (
	"context"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"rebound/events"
	"rebound/rtb"
)

// Match is the query of GET /v1/match: an exchange's page tells its user's id.
type Match struct {
	Exchange string
	UID      string // the exchange's, as sent
	Consent  *ConsentText
}

// maxExchangeUser is the longest exchange user id that is linked, in bytes.
const maxExchangeUser = 256

// ParseMatch reads the query; what cannot be decoded is reported to bad.
func ParseMatch(query []byte, bad func(Reject)) Match {
	var m Match
	p := pixel{bad: bad}
	n := 0
	for part := range strings.SplitSeq(string(query), "&") {
		if n++; n > maxParams {
			bad(RejectTooMany)
			break
		}
		k, v, _ := strings.Cut(part, "=")
		value, err := url.QueryUnescape(v)
		if err != nil {
			bad(RejectBadQuery)
			continue
		}
		switch k {
		case "ex":
			m.Exchange = value
		case "uid":
			m.UID = strings.TrimSpace(value)
		default:
			p.takeConsent(k, value)
		}
	}
	m.Consent = p.in.Consent
	return m
}

// exchangeUser tells whether an exchange's user id names anybody: not empty, not
// one of the words for nobody, not a macro that the exchange left as it was.
func exchangeUser(uid string) bool {
	if uid == "" || len(uid) > maxExchangeUser || strings.ContainsAny(uid, "${}[]%<>\x00\r\n") {
		return false
	}
	switch strings.ToLower(uid) {
	case "0", "-1", "null", "nil", "none", "undefined", "nan", "optout", "opt-out", "deleted",
		"00000000-0000-0000-0000-000000000000":
		return false
	}
	return true
}

// TakeMatch links an exchange's user id to the browser's visitor, who gets a
// cookie when there is none yet. allowed is false when the visitor's signals
// refuse it: then nothing was read, kept or set.
func (e *Edge) TakeMatch(ctx context.Context, c *Call, m *Match) (setCookieLine string, allowed bool) {
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
		e.log.Error("visitor was not named", zap.Error(err))
		return "", true
	}
	key := events.LinkKey{
		KeyKind: "b:" + space,
		Key:     e.keyring.Key(rtb.IDExchange, space, []byte(m.UID)),
	}
	if e.mayLink(fresh, key.Key) {
		visitor := e.keyring.Key(rtb.IDVisitor, "", []byte(uid))
		e.storeOrSpool(ctx, linkFact("", visitor, key, "sync", e.now()))
	}
	return setCookie(uid, c.Host, s.HTTPS, c.thirdParty(s)), true
}
