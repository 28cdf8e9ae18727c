package collect

import (
	"cmp"
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
	Nonce    string // proof that we started the sync
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
		case "google_gid": // Google's cookie matching returns its user id so
			m.UID = cmp.Or(m.UID, value)
		case "n":
			m.Nonce = value
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
	return len(uid) <= maxExchangeUser && !rtb.Nobody([]byte(uid)) && !hasEmail(uid) && !strings.ContainsAny(uid, "\x00\r\n")
}

// RecordMatch links the user id of an exchange to the visitor of the browser, who gets a
// cookie if there is none yet. allowed is false if the privacy signals refuse the match, or
// if the visitor or the user has opted out; then nothing was stored or set.
func (e *Edge) RecordMatch(ctx context.Context, c *Call, m *Match) (setCookieLine string, allowed bool) {
	s := e.setup.Load()
	grant := s.Policy.Browser(c.consent(m.Consent))
	x := s.Exchanges[m.Exchange]
	outcome := SyncRefused
	var key events.LinkKey
	if x != nil {
		key = events.LinkKey{KeyKind: "b:" + x.IDSpace, Key: e.keyring.Key(rtb.IDExchange, x.IDSpace, []byte(m.UID))}
	}
	switch {
	case !grant.SetCookie || !grant.Sync:
		e.refused(c)
	case c.robot() != RejectNone:
		e.reject(c.robot())
		outcome = SyncRobot
	case x == nil:
		e.reject(RejectExchange)
		return "", true
	case !exchangeUser(m.UID):
		e.reject(RejectExchangeUser)
		outcome = SyncUser
	case e.isOut(key.Key):
		e.reject(RejectOptedOut)
	default:
		setCookieLine, outcome = e.match(ctx, s, c, m, key)
	}
	e.matches.count(m.Exchange, outcome, x != nil)
	return setCookieLine, outcome != SyncRefused && outcome != SyncRobot
}

func (e *Edge) match(ctx context.Context, s *Setup, c *Call, m *Match, key events.LinkKey) (string, SyncOutcome) {
	uid, fresh, err := e.visitor(c)
	if err != nil {
		e.log.Error("cannot generate visitor id", zap.Error(err))
		return "", SyncFailed
	}
	visitor := e.keyring.Key(rtb.IDVisitor, "", []byte(uid))
	now := e.now()
	proven := !fresh && e.cookies.Proves(m.Nonce, uid, m.Exchange, now)
	outcome := e.mayMatch(visitor, fresh, proven, key.Key)
	if outcome == SyncDone && !e.store(ctx, e.linkFact("", visitor, key, "sync", now)) {
		outcome = SyncFailed
	}
	return c.cookieFor(s, uid), outcome
}
