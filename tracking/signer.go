package tracking

import (
	"crypto/aes"
	"crypto/cipher"
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
	macLen = aes.BlockSize // bytes of a tag
	keyLen = 16            // bytes of a key
	kinds  = int(rtb.NoticeVideo) + 1
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

// keySet is what is derived from one key. The claims of a bid are hashed once: D is the
// first half of SHA-256(claims key, payload). The tag of one kind of notice is
// AES-128(tags key, D XOR number of the kind). Without the tags key no tag can be computed,
// not even from other tags of the same bid. The tag of a click token with a landing page is the first half of
// SHA-256(landing key, D, landing page), which cannot be extended.
type keySet struct {
	id      byte
	claims  [keyLen]byte
	landing [keyLen]byte
	tags    cipher.Block
	old     oldKeys
}

func newKeySet(k Key) keySet {
	master := padKey(k.Secret)
	derive := func(name string) [keyLen]byte {
		sum := master.mac([]byte("rebound " + name))
		return [keyLen]byte(sum[:])
	}
	tags := derive("tags 4")
	set := keySet{id: k.ID, claims: derive("claims 4"), landing: derive("landing 4"), old: newOldKeys(&master)}
	set.tags, _ = aes.NewCipher(tags[:]) // only fails for a key of another length
	return set
}

// tag sets the tag of one kind of notice. The landing page is empty except in click tokens.
func (k *keySet) tag(t *rtb.SealedClaims, kind rtb.NoticeKind, landing []byte) {
	if len(landing) == 0 {
		t.Tag = t.Digest
		t.Tag[0] ^= byte(kind)
		k.tags.Encrypt(t.Tag[:], t.Tag[:])
		return
	}
	var stack [2*keyLen + 512]byte
	b := append(append(stack[:0], k.landing[:]...), t.Digest[:]...)
	sum := sha256.Sum256(append(b, landing...))
	t.Tag = [macLen]byte(sum[:])
}

// digest hashes a payload. b begins with keyLen bytes for the claims key, which digest
// fills in.
func (k *keySet) digest(b []byte) [macLen]byte {
	copy(b, k.claims[:])
	sum := sha256.Sum256(b)
	return [macLen]byte(sum[:])
}

// Signer signs the URLs of notices and verifies their tokens. It is immutable and safe for
// concurrent use; of the same [rtb.SealedClaims] only one goroutine at a time may append
// tokens.
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

// Seal encodes and hashes the claims of a bid for the methods that append its tokens. They
// use t.Tag as scratch memory, so only one goroutine at a time may call them with t. Seal
// does not allocate where t.Text has capacity.
func (s *Signer) Seal(t *rtb.SealedClaims, c *rtb.Claims) {
	key := &s.keys[0]
	var stack [keyLen + 512]byte
	b := append(stack[:keyLen], key.id, payloadVersion, 0, 0)
	b = appendClaims(b, c)
	for (len(b)-keyLen)%3 != 0 {
		b = append(b, 0)
	}
	payload := b[keyLen:]
	if t.Text, t.Landing = t.Text[:0], c.Landing; tokenText.EncodedLen(len(payload)+macLen) > MaxURL {
		return
	}
	binary.BigEndian.PutUint16(payload[2:], uint16(len(payload)))
	t.Digest = key.digest(b)
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
		s.keys[0].tag(t, kind, nil)
		return tokenText.AppendEncode(dst, t.Tag[:]), true
	}
	var stack [512 + macLen]byte
	rest := append(stack[:0], landing...)
	s.keys[0].tag(t, kind, rest)
	return tokenText.AppendEncode(dst, append(rest, t.Tag[:]...)), true
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
	if signed[1] < payloadVersion {
		return key.old.verify(kind, signed, mac)
	}
	n := int(binary.BigEndian.Uint16(signed[2:]))
	if signed[1] > payloadVersion || n < payloadHead || n > len(signed) || n < len(signed) && kind != rtb.NoticeClick {
		return rtb.Claims{}, ErrForged
	}
	t := rtb.SealedClaims{Digest: key.digest(buf[:keyLen+n])}
	if key.tag(&t, kind, signed[n:]); subtle.ConstantTimeCompare(t.Tag[:], mac) != 1 {
		return rtb.Claims{}, ErrForged
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
