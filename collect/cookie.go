package collect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Names and lifetime of the cookies.
const (
	CookieName    = "rt_uid"             // our visitor id
	OptOutCookie  = "rt_oo"              // "1" if the visitor has opted out
	CookieLife    = 390 * 24 * time.Hour // browsers keep cookies for at most 400 days
	cookieIDLen   = 16
	cookieSumLen  = 4
	CookieTextLen = 27 // characters of a cookie's value
)

// strict rejects trailing bits in the last character, so that an id has only one text.
var strict = base64.RawURLEncoding.Strict()

// Cookies mints and checks visitor ids: 128 random bits and a keyed checksum of
// 32 bits, as 27 characters of base64url. The checksum prevents garbage and
// invented ids from becoming visitors; it does not authenticate a browser.
type Cookies struct {
	secret [32]byte
	random io.Reader
}

// NewCookies returns a minter. random is crypto/rand.Reader, except in tests.
func NewCookies(secret [32]byte, random io.Reader) *Cookies {
	return &Cookies{secret: secret, random: random}
}

// Mint returns a new visitor id.
func (c *Cookies) Mint() (string, error) {
	var b [cookieIDLen + cookieSumLen]byte
	if _, err := io.ReadFull(c.random, b[:cookieIDLen]); err != nil {
		return "", fmt.Errorf("cannot mint visitor id: %w", err)
	}
	c.sum(b[:])
	return strict.EncodeToString(b[:]), nil
}

// Valid reports whether a cookie value was minted with the secret.
func (c *Cookies) Valid(value []byte) bool {
	if len(value) != CookieTextLen {
		return false
	}
	var b, want [cookieIDLen + cookieSumLen]byte
	if n, err := strict.Decode(b[:], value); err != nil || n != len(b) {
		return false
	}
	want = b
	c.sum(want[:])
	return hmac.Equal(b[:], want[:])
}

// sum writes the checksum of the first 16 bytes after them.
func (c *Cookies) sum(b []byte) {
	m := hmac.New(sha256.New, c.secret[:])
	m.Write([]byte("rt_uid"))
	m.Write(b[:cookieIDLen])
	copy(b[cookieIDLen:], m.Sum(nil))
}

// setCookie returns the Set-Cookie value for a visitor id. On https, the cookie of our
// own host is a third-party cookie (SameSite=None), so that a page of an exchange can
// match its user with ours; a host below the domain of an advertiser gets a first-party
// cookie (SameSite=Lax). Browsers require Secure for both. On plain http, which is for
// local tests, Secure is omitted so that the browser returns the cookie. Scripts cannot
// read it (HttpOnly). Every call renews its lifetime.
func setCookie(value, host string, https, thirdParty bool) string {
	var b strings.Builder
	b.WriteString(CookieName + "=" + value + "; Path=/; HttpOnly")
	fmt.Fprintf(&b, "; Max-Age=%d", int(CookieLife/time.Second))
	if d := cookieDomain(host); d != "" {
		b.WriteString("; Domain=" + d)
	}
	switch {
	case !https:
		b.WriteString("; SameSite=Lax")
	case thirdParty:
		b.WriteString("; SameSite=None; Secure")
	default:
		b.WriteString("; SameSite=Lax; Secure")
	}
	return b.String()
}

// cookieFor returns the Set-Cookie value for the visitor id of a call. The host of an
// advertiser gets a first-party cookie. Any other host is ours, by whatever name a proxy
// passes it on, and a name that is not our own must not become the cookie's domain: the
// browser knows us by another one.
func (c *Call) cookieFor(s *Setup, uid string) string {
	https := s.HTTPS || c.HTTPS
	host := hostName(c.Host)
	switch {
	case host == s.publicHost:
		return setCookie(uid, host, https, true)
	case s.firstParty(host):
		return setCookie(uid, host, https, false)
	}
	return setCookie(uid, "", https, true)
}

// firstParty reports whether a host belongs to the domain of an advertiser.
func (s *Setup) firstParty(host string) bool {
	for i := 0; ; {
		if s.domains[host[i:]] {
			return true
		}
		dot := strings.IndexByte(host[i:], '.')
		if dot < 0 {
			return false
		}
		i += dot + 1
	}
}

// OptedOut reports whether a value of our opt-out cookie is an opt-out. A value that is
// neither yes nor no restricts, like every signal that cannot be read.
func OptedOut(value []byte) bool {
	switch strings.ToLower(strings.Trim(string(value), ` "`)) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

// cookieDomain returns the registrable domain of the requested host, so that
// t.shop.example and www.shop.example share a visitor. It is empty for IP addresses and
// single-label names, whose cookies are bound to the host.
func cookieDomain(host string) string {
	host = hostName(host)
	if !strings.Contains(host, ".") || net.ParseIP(host) != nil {
		return ""
	}
	for i := range len(host) {
		c := host[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return ""
		}
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	return d
}
