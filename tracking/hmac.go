package tracking

import "crypto/sha256"

// pads are the two padded keys of HMAC-SHA256 (RFC 2104).
type pads struct{ inner, outer [sha256.BlockSize]byte }

func padKey(key [32]byte) pads {
	var p pads
	copy(p.inner[:], key[:])
	copy(p.outer[:], key[:])
	for i := range p.inner {
		p.inner[i] ^= 0x36
		p.outer[i] ^= 0x5c
	}
	return p
}

// mac returns HMAC-SHA256 of a message.
func (p *pads) mac(message []byte) [32]byte {
	inner := sha256.Sum256(append(p.inner[:len(p.inner):len(p.inner)], message...))
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(outer[:], p.outer[:])
	copy(outer[sha256.BlockSize:], inner[:])
	return sha256.Sum256(outer[:])
}
