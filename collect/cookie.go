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

// Names and life of the edge's cookies.
const (
	CookieName    = "rt_uid"             // our visitor id
	OptOutCookie  = "rt_oo"              // "1": the visitor wants none of this
	CookieLife    = 390 * 24 * time.Hour // browsers hold cookies for 400 days at most
	cookieIDLen   = 16
	cookieSumLen  = 4
	CookieTextLen = 27 // characters of a cookie's value
)

// strict refuses a last character with stray bits: one id has one text.
var strict = base64.RawURLEncoding.Strict()

// Cookies mints and checks visitor ids: 128 random bits and a keyed checksum of
// 32 bits, as 27 characters of base64url. The checksum keeps garbage and ids
// that somebody made up from becoming visitors; it is no secret between
// browsers.
type Cookies struct {
	secret [32]byte
	random io.Reader
}

// NewCookies makes a minter; random is crypto/rand.Reader but in tests.
func NewCookies(secret [32]byte, random io.Reader) *Cookies {
	return &Cookies{secret: secret, random: random}
}

// Mint makes a new visitor id.
func (c *Cookies) Mint() (string, error) {
	var b [cookieIDLen + cookieSumLen]byte
	if _, err := io.ReadFull(c.random, b[:cookieIDLen]); err != nil {
		return "", fmt.Errorf("cannot mint visitor id: %w", err)
	}
	c.sum(b[:])
	return strict.EncodeToString(b[:]), nil
}

// Valid tells whether a cookie's value is one that Mint made.
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

// sum writes the checksum of the first 16 bytes behind them.
func (c *Cookies) sum(b []byte) {
	m := hmac.New(sha256.New, c.secret[:])
	m.Write([]byte("rt_uid"))
	m.Write(b[:cookieIDLen])
	copy(b[cookieIDLen:], m.Sum(nil))
}

// setCookie is the Set-Cookie line of a visitor id. On https our own host's
// cookie is a third-party one (SameSite=None), so that an exchange's page can
// match its user with ours; a host under an advertiser's domain gets a
// first-party one (SameSite=Lax). Browsers keep neither without Secure. On plain
// http, which is for trying things out on one machine, Secure is left out so
// that the cookie comes back. Scripts never see it (HttpOnly). Every call
// renews its life.
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

// cookieDomain is the registrable domain of the host that was asked, so that
// t.shop.example and www.shop.example share a visitor; nothing for addresses
// and single names, whose cookies stay with the host.
func cookieDomain(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") || net.ParseIP(strings.Trim(host, "[]")) != nil {
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
