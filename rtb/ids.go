package rtb

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/dchest/siphash"
)

// Key is an identifier of a visitor as Rebound stores it: 128 bits of a keyed
// hash ([Keyring]), never the identifier itself. Its text form is 22 characters
// of unpadded base64url.
type Key [16]byte

// BidID identifies a bid: 128 random bits. Its text form is that of [Key].
type BidID [16]byte

var b64 = base64.RawURLEncoding

// IDTextLen is the length of the text form of a [Key] or a [BidID].
const IDTextLen = 22

// IsZero reports whether k is the zero key, which identifies no one.
func (k Key) IsZero() bool { return k == Key{} }

// String returns the key's text form.
func (k Key) String() string { return b64.EncodeToString(k[:]) }

// AppendText appends the key's text form.
func (k Key) AppendText(dst []byte) ([]byte, error) { return b64.AppendEncode(dst, k[:]), nil }

// MarshalText returns the key's text form; it is empty for the zero key.
func (k Key) MarshalText() ([]byte, error) {
	if k.IsZero() {
		return nil, nil
	}
	return b64.AppendEncode(nil, k[:]), nil
}

// UnmarshalText parses a key's text form; empty text is the zero key.
func (k *Key) UnmarshalText(b []byte) error { return unmarshalID(k[:], b) }

// IsZero reports whether b is the zero id, which identifies no bid.
func (b BidID) IsZero() bool { return b == BidID{} }

// String returns the id's text form.
func (b BidID) String() string { return b64.EncodeToString(b[:]) }

// AppendText appends the id's text form.
func (b BidID) AppendText(dst []byte) ([]byte, error) { return b64.AppendEncode(dst, b[:]), nil }

// MarshalText returns the id's text form; it is empty for the zero id.
func (b BidID) MarshalText() ([]byte, error) {
	if b.IsZero() {
		return nil, nil
	}
	return b64.AppendEncode(nil, b[:]), nil
}

// UnmarshalText parses an id's text form; empty text is the zero id.
func (b *BidID) UnmarshalText(t []byte) error { return unmarshalID(b[:], t) }

func unmarshalID(dst, text []byte) error {
	if len(text) == 0 {
		clear(dst)
		return nil
	}
	if len(text) != IDTextLen {
		return fmt.Errorf("cannot read id: got %d characters; want %d of base64url", len(text), IDTextLen)
	}
	if _, err := b64.Decode(dst, text); err != nil {
		return fmt.Errorf("cannot read id: got %q; want base64url: %w", text, err)
	}
	return nil
}

// IDKind is the namespace of an identifier. The same text in two namespaces
// identifies two visitors.
type IDKind uint8

// The namespaces of identifiers, in the order in which a bid looks them up.
const (
	IDVisitor  IDKind = iota // our own visitor id: cookie value, buyeruid, uid of a server event
	IDEID                    // user.eids of a listed source; scope is the source
	IDIFA                    // device.ifa
	IDExchange               // user.id of an exchange, through the match table; scope is the exchange
	IDXID                    // an advertiser's customer id; scope is the advertiser
	IDEmail                  // sha256 of an e-mail address; scope is the advertiser
	IDPhone                  // sha256 of a phone number; scope is the advertiser
)

// Keyring turns identifiers into keys. The zero Keyring is usable and has an
// empty secret; a running bidder loads its secret from the data folder.
type Keyring struct {
	secret [32]byte
	// pseudonyms makes Key accept the output of [AppendPseudonym].
	pseudonyms bool
	sip        bool      // the hash is HashSip
	sipKey     [2]uint64 // derived from secret
}

// The hashes by which a keyring turns identifiers into keys. Keys of one hash mean nothing
// under the other, so a data folder keeps the hash with which it was created.
const (
	HashSHA256 = "sha256"     // data folders that name no hash
	HashSip    = "siphash128" // SipHash-2-4 with 128 bits of output: a third of the time
)

// NewKeyring returns a keyring with the given secret, whose hash is HashSHA256.
func NewKeyring(secret [32]byte) *Keyring { return &Keyring{secret: secret} }

// OpenKeyring returns a keyring with the given secret and hash; an empty hash is
// HashSHA256. It fails for any other name.
func OpenKeyring(secret [32]byte, hash string) (*Keyring, error) {
	r := NewKeyring(secret)
	switch hash {
	case "", HashSHA256:
		return r, nil
	case HashSip:
		sum := sha256.Sum256(append([]byte("rebound siphash128 key"), secret[:]...))
		r.sip, r.sipKey = true, [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
		return r, nil
	}
	return nil, fmt.Errorf("cannot open keyring: got hash %q; want %s or %s", hash, HashSHA256, HashSip)
}

// ForReplay returns a keyring with the same secret that also maps the
// pseudonyms of a bid record back to their keys. Never use it on live traffic.
func (r *Keyring) ForReplay() *Keyring {
	c := *r
	c.pseudonyms = true
	return &c
}

const pseudonymPrefix = "~rb~"

// IsPseudonym reports whether an identifier is the output of [AppendPseudonym].
func IsPseudonym(value []byte) bool {
	return len(value) == len(pseudonymPrefix)+IDTextLen && string(value[:len(pseudonymPrefix)]) == pseudonymPrefix
}

// AppendPseudonym appends the text that replaces an identifier in a bid record;
// k is the identifier's key.
func AppendPseudonym(dst []byte, k Key) []byte {
	return b64.AppendEncode(append(dst, pseudonymPrefix...), k[:])
}

// Key returns the key of value in the namespace (kind, scope): 128 bits of the
// keyring's hash over secret, kind, scope and value. Advertising ids (IDIFA)
// and the source of an extended id (the scope of IDEID) are case-insensitive. It
// does not allocate for values of up to 400 bytes.
func (r *Keyring) Key(kind IDKind, scope string, value []byte) Key {
	if r.pseudonyms && IsPseudonym(value) {
		var k Key
		if k.UnmarshalText(value[len(pseudonymPrefix):]) == nil {
			return k
		}
	}
	var stack [512]byte
	buf := append(stack[:0], r.secret[:]...)
	buf = append(buf, byte(kind), byte(len(scope)))
	buf = append(buf, scope...)
	if kind == IDEID {
		lowerASCII(buf[len(buf)-len(scope):])
	}
	buf = append(buf, value...)
	if kind == IDIFA {
		lowerASCII(buf[len(buf)-len(value):])
	}
	if r.sip {
		var k Key
		a, b := siphash.Hash128(r.sipKey[0], r.sipKey[1], buf[len(r.secret):])
		binary.LittleEndian.PutUint64(k[:], a)
		binary.LittleEndian.PutUint64(k[8:], b)
		return k
	}
	sum := sha256.Sum256(buf)
	return Key(sum[:16])
}

// lowerASCII changes the upper-case letters of b to lower case.
func lowerASCII(b []byte) {
	for i, c := range b {
		b[i] = Lower(c)
	}
}
