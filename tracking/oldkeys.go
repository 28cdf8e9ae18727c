package tracking

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"

	"rebound/rtb"
)

// oldKeys verify the tokens of earlier versions.
type oldKeys struct {
	claims [oldClaimsLen]byte
	kinds  [kinds][oldKindLen]byte // of version 3
	pads   [kinds]pads             // of versions 1 and 2
}

const (
	oldClaimsLen = 32
	oldKindLen   = 23 // with a digest it fills one block of SHA-256
)

func newOldKeys(master *pads) (k oldKeys) {
	k.claims = master.mac([]byte("rebound claims 3"))
	for kind := 1; kind < kinds; kind++ {
		name := rtb.NoticeKind(kind).String()
		sum := master.mac([]byte("rebound notice 3 " + name))
		copy(k.kinds[kind][:], sum[:])
		k.pads[kind] = padKey(master.mac([]byte("rebound notice " + name)))
	}
	return k
}

// verify is [Signer.Verify] for a token without its tag, which is mac.
func (k *oldKeys) verify(kind rtb.NoticeKind, signed, mac []byte) (rtb.Claims, error) {
	if signed[1] != payloadWithHashes {
		sum := k.pads[kind].mac(append([]byte{byte(kind)}, signed...))
		if subtle.ConstantTimeCompare(sum[:macLen], mac) != 1 {
			return rtb.Claims{}, ErrForged
		}
		return readOldClaims(signed[1:], kind)
	}
	n := int(binary.BigEndian.Uint16(signed[2:]))
	if n < payloadHead || n > len(signed) {
		return rtb.Claims{}, ErrForged
	}
	sum := k.tag(kind, signed[:n], signed[n:])
	if subtle.ConstantTimeCompare(sum[:macLen], mac) != 1 {
		return rtb.Claims{}, ErrForged
	}
	return readClaims(signed[payloadHead:n], signed[n:], kind)
}

// tag returns the hash whose first half is the tag of a token of version 3:
// SHA-256(key of the kind, SHA-256(claims key, payload), landing page).
func (k *oldKeys) tag(kind rtb.NoticeKind, payload, landing []byte) [32]byte {
	digest := sha256.Sum256(append(k.claims[:len(k.claims):len(k.claims)], payload...))
	b := append(k.kinds[kind][:oldKindLen:oldKindLen], digest[:]...)
	return sha256.Sum256(append(b, landing...))
}
