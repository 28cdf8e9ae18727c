package collect

import (
	"encoding/base64"
	"net"
	"net/url"
	"strings"
	"time"
)

// Exchange is the part of an exchange's profile that cookie sync uses.
type Exchange struct {
	// IDSpace is the namespace of the exchange's user ids, which several exchanges may
	// share.
	IDSpace string
	// MatchURL is the URL to which a sync sends the browser, with the macros of
	// [Exchange.matchURL]; empty if the exchange always passes a URL of its own.
	MatchURL string
	// RedirectHosts are the hosts to which a sync may redirect on the exchange's
	// behalf, each with a port if it is not that of https.
	RedirectHosts []string
	// UserMacro is the macro that the exchange replaces with its user id in our match
	// URL.
	UserMacro string
	// PassParams are the parameters of a sync that are passed on to MatchURL.
	PassParams []string
	// Resync is how long a match is good for; then the tag syncs again.
	Resync time.Duration
}

// The limit of a URL to which a sync redirects, in bytes, before macros are replaced.
const maxRedirect = 2000

// allowed reports whether a sync may redirect to a URL: it is an https URL, or an http
// URL of this machine, of one of the exchange's hosts. What URL parsers of browsers and
// of Go may read differently, and two URLs that were given in one call, are not allowed.
func (x *Exchange) allowed(raw string) bool {
	if raw == "" || len(raw) > maxRedirect || strings.ContainsFunc(raw, unsafe) {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Opaque != "" {
		return false
	}
	host := strings.ToLower(u.Host)
	switch strings.ToLower(u.Scheme) {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			return false
		}
	default:
		return false
	}
	for _, h := range x.RedirectHosts {
		if strings.EqualFold(h, host) {
			return true
		}
	}
	return false
}

// unsafe reports whether a character has no place in an encoded URL.
func unsafe(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\\#|\"<>^`", r) }

// userMacros returns the replacer of the spellings of our visitor id in the URL of an
// exchange: $UID, ${UID} and {UID}, also percent-encoded (Prebid Server's userMacro,
// Xandr's setuid and others).
func userMacros(uid string) *strings.Replacer {
	uid = url.QueryEscape(uid)
	return strings.NewReplacer(
		"${UID}", uid, "$UID", uid, "{UID}", uid,
		"%24UID", uid, "%24{UID}", uid, "%24%7BUID%7D", uid, "%24%7bUID%7d", uid,
		"$%7BUID%7D", uid, "$%7bUID%7d", uid, "%7BUID%7D", uid, "%7bUID%7d", uid,
	)
}

// matchURL returns MatchURL with its macros replaced:
//
//	$UID ${UID} {UID}      our visitor id
//	${UID_B64URL}          the same, base64url-encoded, as Google's google_hm needs it
//	${MATCH}               our match URL, with the exchange's macro for its user id, escaped
//	${NONCE}               proof for our match URL that we started this sync
//	${GDPR} ${GDPR_CONSENT} ${GDPR_CONSENT_<vendor id>} ${US_PRIVACY}
//	${GPP_STRING} ${GPP_STRING_<vendor id>} ${GPP_SID}   the privacy signals
//
// Privacy signals without a macro are appended as parameters.
func (x *Exchange) matchURL(uid, nonce, match string, q *Sync) string {
	t := withConsent(x.MatchURL, q.Consent)
	if strings.Contains(x.MatchURL, "${MATCH}") { // what follows belongs to the match URL
		t = x.MatchURL
	}
	for _, p := range q.passed {
		t = appendParam(t, p.name, p.value)
	}
	t = consentMacros(t, q.Consent)
	t = strings.NewReplacer(
		"${UID_B64URL}", base64.RawURLEncoding.EncodeToString([]byte(uid)), "${NONCE}", nonce, "${MATCH}", "\x00",
	).Replace(t)
	t = userMacros(uid).Replace(t)
	return strings.Replace(t, "\x00", url.QueryEscape(match), 1)
}

// signals lists the privacy signals that a call gave, by their names as parameters.
func (t *ConsentText) signals() []param {
	if t == nil {
		return nil
	}
	var out []param
	for _, p := range []param{{"gdpr", t.GDPR}, {"gdpr_consent", t.TC}, {"us_privacy", t.USPrivacy}, {"gpp", t.GPP}, {"gpp_sid", t.GPPSID}} {
		if p.value != "" {
			out = append(out, p)
		}
	}
	return out
}

type param struct{ name, value string }

// withConsent appends the privacy signals that a URL does not have already.
func withConsent(u string, t *ConsentText) string {
	for _, p := range t.signals() {
		if !strings.Contains(u, "?"+p.name+"=") && !strings.Contains(u, "&"+p.name+"=") {
			u = appendParam(u, p.name, p.value)
		}
	}
	return u
}

func appendParam(u, name, value string) string {
	sep := "?"
	if strings.Contains(u, "?") {
		sep = "&"
		if strings.HasSuffix(u, "?") || strings.HasSuffix(u, "&") {
			sep = ""
		}
	}
	return u + sep + name + "=" + url.QueryEscape(value)
}

// consentMacros replaces the macros of the privacy signals (TCF, "How do URL-based
// services process the TC string"; GPP, "How do URL-based services process the GPP
// string"). Those of GDPR_CONSENT and GPP_STRING may end in a vendor id.
func consentMacros(u string, t *ConsentText) string {
	if t == nil {
		t = &ConsentText{}
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(u, "${")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := t.macro(name)
		if !closed || !known {
			b.WriteString("${")
			u = rest
			continue
		}
		b.WriteString(url.QueryEscape(value))
		u = after
	}
}

func (t *ConsentText) macro(name string) (string, bool) {
	if i := strings.LastIndexByte(name, '_'); i > 0 && i+1 < len(name) && strings.Trim(name[i+1:], "0123456789") == "" {
		name = name[:i]
	}
	switch name {
	case "GDPR":
		return t.GDPR, true
	case "GDPR_CONSENT":
		return t.TC, true
	case "US_PRIVACY":
		return t.USPrivacy, true
	case "GPP_STRING":
		return t.GPP, true
	case "GPP_SID":
		return t.GPPSID, true
	}
	return "", false
}
