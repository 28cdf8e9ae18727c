package tracking

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"rebound/rtb"
)

// MaxURL is the longest signed URL in bytes. Exchanges truncate URLs at about 2,000
// characters; the difference leaves room for the price macros.
const MaxURL = 1800

const (
	macLen     = 16 // 128 bits of HMAC-SHA256
	blockLen   = sha256.BlockSize
	maxPayload = MaxURL * 3 / 4
	kinds      = int(rtb.NoticeVideo) + 1
)

// Reasons for which a token is rejected.
var (
	// ErrMalformed means that the text is not a token.
	ErrMalformed = errors.New("malformed token")
	// ErrForged means that the signature does not match the kind of notice, or that
	// the key is unknown.
	ErrForged = errors.New("forged token")
)

var tokenText = base64.RawURLEncoding.Strict()

// Key is one signing key. Its ID is the first byte of a token, so that two
// generations of keys can be in use at once.
type Key struct {
	ID     byte
	Secret [32]byte
}

// pads are the two padded keys of HMAC (RFC 2104), computed once for each key and
// kind of notice.
type pads struct{ inner, outer [blockLen]byte }

type keySet struct {
	id    byte
	kinds [kinds]pads
}

// Signer signs the URLs of notices and verifies their tokens. It is immutable and
// safe for concurrent use.
type Signer struct {
	prefix [kinds][]byte // "<public_url>/v1/bill?k="
	events []byte        // "<public_url>/v1/vast/"
	keys   []keySet      // the current key first
}

// eventPath is the path of video events; the event's name follows.
const eventPath = "/v1/vast/"

var paths = [kinds]string{
	rtb.NoticeWin:   "/v1/win",
	rtb.NoticeBill:  "/v1/bill",
	rtb.NoticeLoss:  "/v1/loss",
	rtb.NoticeImp:   "/v1/imp",
	rtb.NoticeView:  "/v1/view",
	rtb.NoticeClick: "/v1/c",
	rtb.NoticeVideo: eventPath + "impression",
}

// NewSigner makes a signer. The first key signs, all keys verify. publicURL is the
// base URL at which exchanges and browsers reach the edge listener; it must be
// https unless it is a loopback address.
func NewSigner(keys []Key, publicURL string) (*Signer, error) {
	if len(keys) == 0 {
		return nil, errors.New("cannot make signer: got no key; want at least one")
	}
	base := strings.TrimRight(publicURL, "/")
	if err := checkBase(base); err != nil {
		return nil, err
	}
	s := &Signer{events: []byte(base + eventPath)}
	for kind, path := range paths {
		if path != "" {
			s.prefix[kind] = []byte(base + path + "?k=")
		}
	}
	for _, k := range keys {
		if slices.ContainsFunc(s.keys, func(o keySet) bool { return o.id == k.ID }) {
			return nil, fmt.Errorf("cannot make signer: got key id %d twice; want every id once", k.ID)
		}
		set := keySet{id: k.ID}
		for kind := 1; kind < kinds; kind++ {
			set.kinds[kind] = kindPads(k.Secret, rtb.NoticeKind(kind))
		}
		s.keys = append(s.keys, set)
	}
	return s, nil
}

func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || len(base) > 200 {
		return fmt.Errorf("cannot make signer: got public URL %q; want one such as https://edge.example", base)
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	loopback := host == "localhost" || (ip != nil && ip.IsLoopback())
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return fmt.Errorf("cannot make signer: got public URL %q; want https, or http on loopback", base)
	}
	return nil
}

// kindPads derives and pads the key of one kind of notice, so that a token of one
// kind is worthless for another.
func kindPads(secret [32]byte, kind rtb.NoticeKind) pads {
	master := padKey(secret)
	key := master.mac([]byte("rebound notice " + kind.String()))
	return padKey(key)
}

func padKey(key [32]byte) pads {
	var p pads
	copy(p.inner[:], key[:])
	copy(p.outer[:], key[:])
	for i := range blockLen {
		p.inner[i] ^= 0x36
		p.outer[i] ^= 0x5c
	}
	return p
}

func (p *pads) mac(message []byte) [32]byte {
	var stack [blockLen + maxPayload + 8]byte
	return p.sum(append(append(stack[:0], p.inner[:]...), message...))
}

// sum is HMAC-SHA256 of a message that follows the inner pad in padded.
func (p *pads) sum(padded []byte) [32]byte {
	inner := sha256.Sum256(padded)
	var outer [blockLen + sha256.Size]byte
	copy(outer[:], p.outer[:])
	copy(outer[blockLen:], inner[:])
	return sha256.Sum256(outer[:])
}

// AppendURL appends the signed URL of one kind of notice:
// <public_url>/v1/bill?k=<token>. The exchange's macros may follow as further
// parameters. Where the URL would be longer than [MaxURL] it returns dst
// unchanged, and the bid must not be made. It does not allocate where dst has
// capacity.
func (s *Signer) AppendURL(dst []byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	if int(kind) >= kinds || s.prefix[kind] == nil {
		return dst
	}
	start := len(dst)
	url, ok := s.appendToken(append(dst, s.prefix[kind]...), kind, c, MaxURL-len(s.prefix[kind]))
	if !ok {
		return dst[:start]
	}
	return url
}

// AppendEventURL appends the signed URL of video events without the event's name,
// which belongs at index name: <public_url>/v1/vast/?k=<token>. Like AppendURL, it
// returns dst unchanged where the URL would be too long.
func (s *Signer) AppendEventURL(dst []byte, c *rtb.Claims) (url []byte, name int) {
	start := len(dst)
	dst = append(dst, s.events...)
	name = len(dst)
	url, ok := s.appendToken(append(dst, "?k="...), rtb.NoticeVideo, c, MaxURL-len(s.prefix[rtb.NoticeVideo]))
	if !ok {
		return dst[:start], start
	}
	return url, name
}

// AppendToken appends the token of one kind of notice. Where no URL could carry
// it, it returns dst unchanged.
func (s *Signer) AppendToken(dst []byte, kind rtb.NoticeKind, c *rtb.Claims) []byte {
	if int(kind) >= kinds || s.prefix[kind] == nil {
		return dst
	}
	dst, _ = s.appendToken(dst, kind, c, MaxURL-len(s.prefix[kind]))
	return dst
}

// appendToken appends a token of at most limit bytes; ok is false, and dst
// unchanged, where it would be longer.
func (s *Signer) appendToken(dst []byte, kind rtb.NoticeKind, c *rtb.Claims, limit int) (token []byte, ok bool) {
	key := &s.keys[0]
	var stack [blockLen + 2 + maxPayload + macLen]byte
	buf := append(stack[:0], key.kinds[kind].inner[:]...)
	buf = append(buf, byte(kind), key.id)
	buf = appendClaims(buf, kind, c)
	sent := len(buf) - blockLen - 1 // the key's id and the payload; the kind is signed but not sent
	if tokenText.EncodedLen(sent+macLen) > limit {
		return dst, false
	}
	sum := key.kinds[kind].sum(buf)
	buf = append(buf, sum[:macLen]...)
	return tokenText.AppendEncode(dst, buf[blockLen+1:]), true
}

// Verify returns the claims of a token of one kind of notice. The error wraps
// [ErrMalformed] or [ErrForged]; the claims must not be used then.
func (s *Signer) Verify(kind rtb.NoticeKind, token []byte) (rtb.Claims, error) {
	if len(token) < tokenText.EncodedLen(1+macLen) || len(token) > MaxURL || !isTokenText(token) {
		return rtb.Claims{}, ErrMalformed
	}
	if kind == 0 || int(kind) >= kinds {
		return rtb.Claims{}, ErrForged
	}
	var stack [blockLen + 1 + MaxURL]byte
	buf := stack[: blockLen+1 : len(stack)]
	buf, err := tokenText.AppendDecode(buf, token)
	if err != nil {
		return rtb.Claims{}, ErrMalformed
	}
	signed, mac := buf[:len(buf)-macLen], buf[len(buf)-macLen:]
	signed[blockLen] = byte(kind)
	key := s.key(signed[blockLen+1])
	if key == nil {
		return rtb.Claims{}, ErrForged
	}
	copy(signed, key.kinds[kind].inner[:])
	sum := key.kinds[kind].sum(signed)
	if subtle.ConstantTimeCompare(sum[:macLen], mac) != 1 {
		return rtb.Claims{}, ErrForged
	}
	return readClaims(signed[blockLen+2:], kind)
}

func (s *Signer) key(id byte) *keySet {
	for i := range s.keys {
		if s.keys[i].id == id {
			return &s.keys[i]
		}
	}
	return nil
}

// isTokenText reports whether text holds only base64url characters. The decoder
// would skip line ends; without them a token has exactly one text.
func isTokenText(b []byte) bool {
	for _, c := range b {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
		if !ok {
			return false
		}
	}
	return true
}
