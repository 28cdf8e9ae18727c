package collect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Names and lifetime of the cookies.
const (
	CookieName    = "rt_uid" // our visitor id
	OptOutCookie  = "rt_oo"  // "1" if the visitor has opted out, "0" after opting in again
	optedIn       = "0"
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

// nonceLife is how long a nonce is valid: a browser follows its redirects at once.
const nonceLife = 10 * time.Minute

// Nonce returns a proof that a visitor is on a sync with an exchange that we started. It
// is valid for ten minutes.
func (c *Cookies) Nonce(uid, exchange string, now time.Time) string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(now.Add(nonceLife).Unix()))
	return strict.EncodeToString(c.nonceSum(b[:], uid, exchange))
}

// Proves reports whether a nonce was made for a visitor and an exchange and is still
// valid.
func (c *Cookies) Proves(nonce, uid, exchange string, now time.Time) bool {
	b, err := strict.DecodeString(nonce)
	if err != nil || len(b) != 4+nonceSumLen || int64(binary.BigEndian.Uint32(b)) < now.Unix() {
		return false
	}
	return hmac.Equal(b, c.nonceSum(b[:4:4], uid, exchange))
}

const nonceSumLen = 12

func (c *Cookies) nonceSum(until []byte, uid, exchange string) []byte {
	m := hmac.New(sha256.New, c.secret[:])
	fmt.Fprintf(m, "rt_nonce %q %q %x", uid, exchange, until)
	return append(until, m.Sum(nil)[:nonceSumLen]...)
}

// setCookie returns a Set-Cookie value. On https, the cookie of our
// own host is a third-party cookie (SameSite=None), so that a page of an exchange can
// match its user with ours; a host below the domain of an advertiser gets a first-party
// cookie (SameSite=Lax). Browsers require Secure for both. On plain http, which is for
// local tests, Secure is omitted so that the browser returns the cookie. Scripts cannot
// read it (HttpOnly). Every call renews its lifetime.
func setCookie(name, value, host string, life time.Duration, https, thirdParty bool) string {
	var b strings.Builder
	b.WriteString(name + "=" + value + "; Path=/; HttpOnly")
	fmt.Fprintf(&b, "; Max-Age=%d", int(life/time.Second))
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
	return c.cookieLine(s, CookieName, uid, CookieLife)
}

// cookieLine is cookieFor for any of our cookies; a life of 0 deletes it.
func (c *Call) cookieLine(s *Setup, name, value string, life time.Duration) string {
	https := s.HTTPS || c.HTTPS
	host := hostName(c.Host)
	switch {
	case host == s.publicHost:
		return setCookie(name, value, host, life, https, true)
	case s.firstParty(host):
		return setCookie(name, value, host, life, https, false)
	}
	return setCookie(name, value, "", life, https, true)
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
