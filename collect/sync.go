package collect

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"rebound/rtb"
)

// Sync is the query of GET /v1/sync, with which an exchange, or our tag, asks for our
// visitor id.
type Sync struct {
	Exchange string
	Redirect string // the URL of the exchange to return to; empty: its match URL
	Consent  *ConsentText

	passed []param // parameters that some exchanges want back
}

// SyncOutcome is the outcome of a sync or of a match, and the label of its counter.
type SyncOutcome uint8

// The outcomes.
const (
	SyncDone     SyncOutcome = iota // redirected with our id, or the match is stored
	SyncRefused                     // the privacy signals of the visitor refuse it
	SyncRobot                       // from a robot, or fetched before the visitor asked for it
	SyncLoop                        // the browser was here for this exchange less than a minute ago
	SyncTarget                      // the redirect leads to a host that is not listed
	SyncUser                        // the user id is empty, a placeholder or an unexpanded macro
	SyncFresh                       // the user id belongs to another visitor, who was seen with it in the last 7 days
	SyncUnlinked                    // the user id is shared by too many, or linked and the browser has no cookie
	SyncFailed                      // the log could not store it
	SyncLimited                     // too many calls from this address
	SyncOutcomes                    // the number of outcomes
)

var syncNames = [SyncOutcomes]string{"ok", "consent", "robot", "loop", "bad_redirect", "bad_user", "fresher_link", "unlinked", "not_stored", "flood"}

// String returns the outcome as the label of a counter.
func (o SyncOutcome) String() string {
	if o >= SyncOutcomes {
		return ""
	}
	return syncNames[o]
}

// How long a browser is not sent to the same exchange again (conformance C9), and how
// often one without our cookie is, of which only the address and the user agent are
// known.
const (
	bouncePause = time.Minute
	maxBounces  = 3
)

// ParseSync parses the query. It calls bad for each parameter that it cannot decode.
func ParseSync(query []byte, bad func(Reject)) Sync {
	var q Sync
	p := pixel{bad: bad}
	eachParam(query, bad, func(key, value string) {
		switch {
		case key == "ex":
			q.Exchange = value
		case key == "r":
			q.Redirect = both(q.Redirect, value)
		case !p.setConsent(key, value) && len(q.passed) < 8 && len(value) <= maxText:
			q.passed = append(q.passed, param{key, value})
		}
	})
	q.Consent = p.in.Consent
	return q
}

// SyncReply is the response to a sync: a redirect if Location is set, else Status.
type SyncReply struct {
	Outcome  SyncOutcome
	Location string
	Cookies  []string // Set-Cookie values
	Problem  *Problem // for a response with status 400
}

// RecordSync decides where a sync leads. Without consent nothing is read, set or
// redirected to (conformance C4).
func (e *Edge) RecordSync(c *Call, q *Sync) SyncReply {
	s := e.setup.Load()
	x := s.Exchanges[q.Exchange]
	grant := s.Policy.Browser(c.consent(q.Consent))
	r := SyncReply{Outcome: SyncRefused}
	switch {
	case !grant.SetCookie || !grant.Sync:
		e.refused(c)
	case c.robot() != RejectNone:
		e.reject(c.robot())
		r.Outcome = SyncRobot
	case x == nil:
		e.reject(RejectExchange)
		return SyncReply{Problem: &Problem{RejectExchange, "ex: want the id of a configured exchange"}}
	default:
		r = e.sync(s, c, x, q)
	}
	e.syncs.count(q.Exchange, r.Outcome, x != nil)
	return r
}

func (e *Edge) sync(s *Setup, c *Call, x *Exchange, q *Sync) SyncReply {
	target := q.Redirect
	switch {
	case target == "" && x.MatchURL == "":
		return SyncReply{Outcome: SyncTarget, Problem: &Problem{RejectRedirect, "r: got none, and the exchange has no match_url; want one of them"}}
	case target != "" && !x.allowed(target):
		e.reject(RejectRedirect)
		return SyncReply{Outcome: SyncTarget, Problem: &Problem{RejectRedirect, "r: want an https URL on one of the exchange's redirect_hosts"}}
	}
	uid, fresh, err := e.visitor(c)
	if err != nil {
		e.log.Error("cannot generate visitor id", zap.Error(err))
		return SyncReply{Outcome: SyncFailed}
	}
	now := e.now()
	if e.loops(c, q.Exchange, fresh, now) {
		return SyncReply{Outcome: SyncLoop}
	}
	if target != "" {
		target = userMacros(uid).Replace(withConsent(target, q.Consent))
	} else {
		q.passed = slices.DeleteFunc(q.passed, func(p param) bool { return !slices.Contains(x.PassParams, p.name) })
		nonce := e.cookies.Nonce(uid, q.Exchange, now)
		target = x.matchURL(uid, nonce, c.matchURL(s, x, q, nonce), q)
	}
	return SyncReply{Outcome: SyncDone, Location: target, Cookies: []string{c.cookieFor(s, uid), c.syncedCookie(s, x, q.Exchange, now)}}
}

// loops reports whether a browser comes back too soon. A cookie tells when it was sent
// to the exchange last; without our cookies the address and user agent have to do.
func (e *Edge) loops(c *Call, exchange string, fresh bool, now time.Time) bool {
	if at, ok := c.syncedAt(exchange); ok && now.Sub(at) < bouncePause && at.Sub(now) < bouncePause {
		return true
	}
	return fresh && e.bounces.add(c.origin()+" "+exchange, now) > maxBounces
}

// matchURL returns the URL to which the exchange brings the browser back with its user
// id.
func (c *Call) matchURL(s *Setup, x *Exchange, q *Sync, nonce string) string {
	u := c.base(s) + "/v1/match?ex=" + url.QueryEscape(q.Exchange) + "&n=" + nonce
	return withConsent(u, q.Consent) + "&uid=" + cmp.Or(x.UserMacro, "$UID")
}

// base returns the origin under which the browser reached us.
func (c *Call) base(s *Setup) string {
	scheme := "http"
	if s.HTTPS || c.HTTPS {
		scheme = "https"
	}
	if s.firstParty(hostName(c.Host)) {
		return scheme + "://" + c.Host
	}
	return scheme + "://" + s.PublicHost
}

// syncPrefix begins the names of the cookies that say when a browser was sent to an
// exchange.
const syncPrefix = "rt_s_"

// syncedCookie returns the Set-Cookie value that remembers a sync until the next is due.
func (c *Call) syncedCookie(s *Setup, x *Exchange, exchange string, now time.Time) string {
	return c.cookieLine(s, syncPrefix+exchange, strconv.FormatInt(now.Unix(), 36), x.Resync)
}

// syncedAt returns when the browser was last sent to an exchange.
func (c *Call) syncedAt(exchange string) (time.Time, bool) {
	n, err := strconv.ParseInt(c.Synced[exchange], 36, 64)
	return time.Unix(n, 0), err == nil
}

// maxSyncs is the maximum number of syncs that one page is asked to make.
const maxSyncs = 3

// Syncs returns the URLs of the syncs that are due for a browser, for the tag to load as
// images: those that were never made first, then the oldest. ok is false if the privacy
// signals of the visitor refuse it.
func (e *Edge) Syncs(c *Call, t *ConsentText) (urls []string, ok bool) {
	s := e.setup.Load()
	if grant := s.Policy.Browser(c.consent(t)); !grant.SetCookie || !grant.Sync {
		e.refused(c)
		return nil, false
	}
	if r := c.robot(); r != RejectNone {
		e.reject(r)
		return nil, false
	}
	type due struct {
		exchange string
		at       time.Time
	}
	var list []due
	now := e.now()
	for id, x := range s.Exchanges {
		at, made := c.syncedAt(id)
		if x.MatchURL != "" && (!made || now.Sub(at) >= x.Resync) {
			list = append(list, due{id, at})
		}
	}
	slices.SortFunc(list, func(a, b due) int { return cmp.Or(a.at.Compare(b.at), strings.Compare(a.exchange, b.exchange)) })
	urls = []string{}
	for _, d := range list[:min(len(list), maxSyncs)] {
		urls = append(urls, withConsent(c.base(s)+"/v1/sync?ex="+url.QueryEscape(d.exchange), t))
	}
	return urls, true
}

// freshLink is how long a match keeps its user id from being matched with another
// visitor by a call that we did not start.
const freshLink = 7 * 24 * time.Hour

// mayMatch decides whether a browser's call may link a user id of an exchange to its
// visitor. Anybody can call with a user id that is not theirs, so a link that was seen
// recently stays, unless a nonce proves that this browser was on a sync of ours.
func (e *Edge) mayMatch(visitor rtb.Key, fresh, proven bool, k rtb.Key) SyncOutcome {
	owner, seen, linked := e.linked(k)
	switch {
	case !linked || owner == visitor:
		return SyncDone
	case owner.IsZero() || fresh:
		e.unlinked.Add(1)
		return SyncUnlinked
	case !proven && e.now().Sub(seen) < freshLink:
		e.reject(RejectFreshLink)
		return SyncFresh
	}
	return SyncDone
}
