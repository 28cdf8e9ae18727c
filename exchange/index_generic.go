package exchange

import (
	"encoding/binary"
	"math/bits"
)

// Lanes of a word of byteClasses: byte n of the word belongs to class n.
const (
	laneQuote = iota * 8
	laneSlash
	laneOpen
	laneClose
	laneComma
	laneColon
	laneSpace
	laneControl
)

// byteClasses has for the n-th byte of a word bit n of a lane set for every class that
// the byte is in. Or'ed, the entries of eight bytes give eight bits of each class.
var byteClasses = func() (t [8][256]uint64) {
	for n := range t {
		for c := range 0x20 {
			t[n][c] |= 1 << n << laneControl
		}
		for lane, members := range map[int]string{laneQuote: `"`, laneSlash: `\`, laneOpen: "{[", laneClose: "}]",
			laneComma: ",", laneColon: ":", laneSpace: " \t\r\n"} {
			for _, c := range []byte(members) {
				t[n][c] |= 1 << n << lane
			}
		}
	}
	return t
}()

// indexGeneric indexes the blocks of a text in portable Go.
func indexGeneric(blocks []block, text []byte, c *carry) {
	for w := range blocks {
		indexBlock(&blocks[w], (*[blockBytes]byte)(text[w*blockBytes:]), c)
	}
}

func indexBlock(k *block, text *[blockBytes]byte, c *carry) {
	var a [8]uint64 // lanes of eight bytes each
	var high uint64
	t := &byteClasses
	for w := range a {
		x := binary.LittleEndian.Uint64(text[w*8 : w*8+8])
		a[w] = t[0][uint8(x)] | t[1][uint8(x>>8)] | t[2][uint8(x>>16)] | t[3][uint8(x>>24)] |
			t[4][uint8(x>>32)] | t[5][uint8(x>>40)] | t[6][uint8(x>>48)] | t[7][uint8(x>>56)]
		if x &= highBits; x != 0 {
			high |= x >> 7 * 0x0102040810204080 >> 56 << (w * 8)
		}
	}
	transpose(&a) // now a word for each class
	quote, slash := a[0], a[1]
	k.escape = 0
	if slash|c.escaped != 0 {
		c.slashes = 1
		escaped := c.escapes(slash)
		k.escape = escaped &^ (quote | slash)
		quote &^= escaped
	}
	inside := prefixXOR(quote) ^ c.inside
	c.inside = -(inside >> 63)
	k.quote, k.inside = quote, inside
	k.open, k.close, k.comma, k.colon, k.space = a[2]&^inside, a[3]&^inside, a[4]&^inside, a[5]&^inside, a[6]&^inside
	c.control |= a[7] &^ k.space
	k.high = high
	c.high |= high
	k.rank = c.opens
	c.opens += uint64(bits.OnesCount64(k.open))
}

// escapes returns the bytes of a block that a backslash escapes: those after a run of
// an odd number of backslashes, and every second backslash of a run. The runs that
// begin at an odd bit are added to the backslashes, so that the sum tells where
// each run ends.
func (c *carry) escapes(slash uint64) (escaped uint64) {
	const even = 0x5555555555555555
	slash &^= c.escaped
	follows := slash<<1 | c.escaped
	sum, over := bits.Add64(slash&^(even|follows), slash, 0)
	c.escaped = over
	return (even ^ sum<<1) & follows
}

// prefixXOR sets bit i to the parity of bits 0 to i.
func prefixXOR(x uint64) uint64 {
	x ^= x << 1
	x ^= x << 2
	x ^= x << 4
	x ^= x << 8
	x ^= x << 16
	return x ^ x<<32
}

// transpose exchanges rows and columns of a matrix of 8 by 8 bytes: first blocks of 4
// by 4 bytes, then of 2 by 2, then single bytes. It is written out because a loop takes
// twice as long.
func transpose(a *[8]uint64) {
	const m4, m2, m1 = 0x00000000ffffffff, 0x0000ffff0000ffff, 0x00ff00ff00ff00ff
	a[0], a[4] = exchangeBits(a[0], a[4], 32, m4)
	a[1], a[5] = exchangeBits(a[1], a[5], 32, m4)
	a[2], a[6] = exchangeBits(a[2], a[6], 32, m4)
	a[3], a[7] = exchangeBits(a[3], a[7], 32, m4)

	a[0], a[2] = exchangeBits(a[0], a[2], 16, m2)
	a[1], a[3] = exchangeBits(a[1], a[3], 16, m2)
	a[4], a[6] = exchangeBits(a[4], a[6], 16, m2)
	a[5], a[7] = exchangeBits(a[5], a[7], 16, m2)

	a[0], a[1] = exchangeBits(a[0], a[1], 8, m1)
	a[2], a[3] = exchangeBits(a[2], a[3], 8, m1)
	a[4], a[5] = exchangeBits(a[4], a[5], 8, m1)
	a[6], a[7] = exchangeBits(a[6], a[7], 8, m1)
}

// exchangeBits exchanges the bits of low that are not in mask with those of high
// that are, shift bits below.
func exchangeBits(low, high uint64, shift uint, mask uint64) (uint64, uint64) {
	t := (low>>shift ^ high) & mask
	return low ^ t<<shift, high ^ t
}
