package events

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Hash is the first 128 bits of a line's chain hash. It covers the line and, through its
// predecessor's hash, every line before it. Its text form is 32 hex digits.
type Hash [16]byte

// IsZero reports whether no hash is set.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns the hash's text.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the hash's text; that of the zero hash is empty.
func (h Hash) MarshalText() ([]byte, error) {
	if h.IsZero() {
		return nil, nil
	}
	return hex.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads a hash's text; empty text is the zero hash.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*h = Hash{}
		return nil
	}
	if len(b) != 2*len(h) {
		return fmt.Errorf("cannot read hash: got %d characters; want %d hex digits", len(b), 2*len(h))
	}
	if _, err := hex.Decode(h[:], b); err != nil {
		return fmt.Errorf("cannot read hash: got %q; want hex digits: %w", b, err)
	}
	return nil
}

// Digest covers the content of a fact: its body and, by the part's own hash, its personal part.
type Digest [sha256.Size]byte

// WhoHash returns the hash of a fact's personal part, its braces included. A line
// whose personal part was erased holds this hash in its place.
func WhoHash(who []byte) Digest { return sha256.Sum256(who) }

// DigestOf returns the digest of a fact: SHA-256 over the SHA-256 of its body and the
// hash of its personal part. The hash of a missing personal part is that of empty input.
func DigestOf(body []byte, who Digest) Digest {
	var buf [2 * sha256.Size]byte
	sum := sha256.Sum256(body)
	copy(buf[:], sum[:])
	copy(buf[sha256.Size:], who[:])
	return sha256.Sum256(buf[:])
}

// Chain returns the hash of a line: SHA-256 over its predecessor's hash, its
// sequence, its TS in nanoseconds since 1970 and its digest, cut to 128 bits.
func Chain(previous Hash, seq uint64, ts time.Time, digest Digest) Hash {
	var buf [len(previous) + 16 + len(digest)]byte
	copy(buf[:], previous[:])
	binary.BigEndian.PutUint64(buf[16:], seq)
	binary.BigEndian.PutUint64(buf[24:], uint64(ts.UnixNano()))
	copy(buf[32:], digest[:])
	sum := sha256.Sum256(buf[:])
	return Hash(sum[:16])
}

// Checksum returns the first 64 bits of the SHA-256 of a value's JSON, in hex. Small files store
// the checksum of their other fields, so that a changed digit is detected.
func Checksum(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // a struct of plain values cannot fail to encode
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
