package tracking

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
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
	macLen  = 16 // 128 bits of SHA-256
	keyLen  = 32 // of the key that hashes the claims
	kindLen = 23 // of the key of one kind of notice: with a digest it fills one block of SHA-256
	kinds   = int(rtb.NoticeVideo) + 1
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

// keySet is what is derived from one key. The claims of a bid are hashed once, as
// SHA-256(claims key, payload). The tag of one kind of notice is the first half of
// SHA-256(key of the kind, that hash, landing page). The hash is never sent, and of the
// tag's hash only one half, so neither can be extended.
type keySet struct {
	id     byte
	claims [keyLen]byte
	kinds  [kinds][kindLen]byte
	old    [kinds]pads // verify tokens of the versions before
}

func newKeySet(k Key) keySet {
	set := keySet{id: k.ID}
	master := padKey(k.Secret)
	set.claims = master.mac([]byte("rebound claims 3"))
	for kind := 1; kind < kinds; kind++ {
		name := rtb.NoticeKind(kind).String()
		sum := master.mac([]byte("rebound notice 3 " + name))
		copy(set.kinds[kind][:], sum[:])
		set.old[kind] = padKey(master.mac([]byte("rebound notice " + name)))
	}
	return set
}

// tag returns the hash whose first macLen bytes sign one kind of notice.
func (k *keySet) tag(kind rtb.NoticeKind, digest *[32]byte, landing []byte) [32]byte {
	if len(landing) == 0 { // one block
		var b [kindLen + sha256.Size]byte
		copy(b[copy(b[:], k.kinds[kind][:]):], digest[:])
		return sha256.Sum256(b[:])
	}
	var stack [kindLen + sha256.Size + 512]byte
	b := append(append(stack[:0], k.kinds[kind][:]...), digest[:]...)
	return sha256.Sum256(append(b, landing...))
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
		s.keys = append(s.keys, newKeySet(k))
	}
	return s, nil
}

func checkBase(base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || len(base) > 200 || !rtb.MarkupSafe(base) {
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

// Seal encodes and hashes the claims of a bid for the methods that append its tokens.
// It does not allocate where t.Text has capacity.
func (s *Signer) Seal(t *rtb.SealedClaims, c *rtb.Claims) {
	key := &s.keys[0]
	var stack [keyLen + 512]byte
	b := append(append(stack[:0], key.claims[:]...), key.id, payloadVersion, 0, 0)
	b = appendClaims(b, c)
	for (len(b)-keyLen)%3 != 0 {
		b = append(b, 0)
	}
	payload := b[keyLen:]
	if t.Text, t.Landing = t.Text[:0], c.Landing; tokenText.EncodedLen(len(payload)+macLen) > MaxURL {
		return
	}
	binary.BigEndian.PutUint16(payload[2:], uint16(len(payload)))
	t.Digest = sha256.Sum256(b)
	t.Text = tokenText.AppendEncode(t.Text, payload)
}

// AppendURL appends the signed URL of one kind of notice:
// <public_url>/v1/bill?k=<token>. The exchange's macros may follow as further
// parameters. The URL needs no escaping ([rtb.MarkupSafe]). Where it would be longer
// than [MaxURL] AppendURL returns dst unchanged, and the bid must not be made. It does
// not allocate where dst has capacity.
func (s *Signer) AppendURL(dst []byte, kind rtb.NoticeKind, t *rtb.SealedClaims) []byte {
	if int(kind) >= kinds || s.prefix[kind] == nil {
		return dst
	}
	start := len(dst)
	url, ok := s.appendToken(append(dst, s.prefix[kind]...), kind, t)
	if !ok {
		return dst[:start]
	}
	return url
}

// AppendEventURL appends the signed URL of video events without the event's name,
// which belongs at index name: <public_url>/v1/vast/?k=<token>. Like AppendURL, it
// returns dst unchanged where the URL would be too long.
func (s *Signer) AppendEventURL(dst []byte, t *rtb.SealedClaims) (url []byte, name int) {
	start := len(dst)
	dst = append(dst, s.events...)
	name = len(dst)
	url, ok := s.appendToken(append(dst, "?k="...), rtb.NoticeVideo, t)
	if !ok {
		return dst[:start], start
	}
	return url, name
}

// AppendToken appends the token of one kind of notice. Where no URL could carry
// it, it returns dst unchanged.
func (s *Signer) AppendToken(dst []byte, kind rtb.NoticeKind, t *rtb.SealedClaims) []byte {
	if int(kind) >= kinds || s.prefix[kind] == nil {
		return dst
	}
	dst, _ = s.appendToken(dst, kind, t)
	return dst
}

// appendToken appends a token; ok is false, and dst unchanged, where its URL would be
// longer than MaxURL.
func (s *Signer) appendToken(dst []byte, kind rtb.NoticeKind, t *rtb.SealedClaims) (token []byte, ok bool) {
	landing := ""
	if kind == rtb.NoticeClick {
		landing = t.Landing
	}
	if len(t.Text) == 0 || len(s.prefix[kind])+len(t.Text)+tokenText.EncodedLen(len(landing)+macLen) > MaxURL {
		return dst, false
	}
	dst = append(dst, t.Text...)
	if landing == "" {
		sum := s.keys[0].tag(kind, &t.Digest, nil)
		return tokenText.AppendEncode(dst, sum[:macLen]), true
	}
	var stack [512 + macLen]byte
	rest := append(stack[:0], landing...)
	sum := s.keys[0].tag(kind, &t.Digest, rest)
	return tokenText.AppendEncode(dst, append(rest, sum[:macLen]...)), true
}

// Verify returns the claims of a token of one kind of notice. The error wraps
// [ErrMalformed] or [ErrForged]; the claims must not be used then.
func (s *Signer) Verify(kind rtb.NoticeKind, token []byte) (rtb.Claims, error) {
	if len(token) < tokenText.EncodedLen(payloadHead+macLen) || len(token) > MaxURL || !isTokenText(token) {
		return rtb.Claims{}, ErrMalformed
	}
	if kind == 0 || int(kind) >= kinds {
		return rtb.Claims{}, ErrForged
	}
	var stack [keyLen + MaxURL]byte
	buf, err := tokenText.AppendDecode(stack[:keyLen], token)
	if err != nil {
		return rtb.Claims{}, ErrMalformed
	}
	signed, mac := buf[keyLen:len(buf)-macLen], buf[len(buf)-macLen:]
	key := s.key(signed[0])
	if key == nil {
		return rtb.Claims{}, ErrForged
	}
	old, n := signed[1] != payloadVersion, int(binary.BigEndian.Uint16(signed[2:]))
	var sum [32]byte
	switch {
	case old:
		sum = key.old[kind].mac(append([]byte{byte(kind)}, signed...))
	case n < payloadHead || n > len(signed):
		return rtb.Claims{}, ErrForged
	default:
		copy(buf, key.claims[:])
		digest := sha256.Sum256(buf[:keyLen+n])
		sum = key.tag(kind, &digest, signed[n:])
	}
	if subtle.ConstantTimeCompare(sum[:macLen], mac) != 1 {
		return rtb.Claims{}, ErrForged
	}
	if old {
		return readOldClaims(signed[1:], kind)
	}
	return readClaims(signed[payloadHead:n], signed[n:], kind)
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
