package privacy

// bitReader reads big-endian bit fields straight out of base64url text, six
// bits a character, without decoding it first: TCF and GPP count in bits, and
// neither pads to whole bytes in every encoder.
//
// A read past the end sets bad and gives zeros; the caller looks at bad once,
// at the end. No read does more work than its own width.
type bitReader struct {
	s   []byte
	pos int
	bad bool
}

// sextets maps a base64url character to its six bits; 0xFF is no such
// character. There is no padding character: '=' is refused.
var sextets = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xFF
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range len(alphabet) {
		t[alphabet[i]] = uint8(i)
	}
	return t
}()

// isBase64 tells whether s is one or more base64url characters.
func isBase64(s []byte) bool {
	var or uint8
	for _, c := range s {
		or |= sextets[c]
	}
	return len(s) > 0 && or < 64
}

// left is how many bits are still to be read.
func (r *bitReader) left() int { return 6*len(r.s) - r.pos }

// take reads the next n bits, at most 32.
func (r *bitReader) take(n int) uint32 {
	if n > r.left() {
		r.skip(n)
		return 0
	}
	var v uint32
	for n > 0 {
		have := 6 - r.pos%6
		use := min(have, n)
		chunk := uint32(sextets[r.s[r.pos/6]]) >> (have - use) & (1<<use - 1)
		v = v<<use | chunk
		r.pos += use
		n -= use
	}
	return v
}

// flag reads one bit.
func (r *bitReader) flag() bool { return r.take(1) == 1 }

// skip passes over n bits.
func (r *bitReader) skip(n int) {
	if n > r.left() {
		r.bad = true
		n = r.left()
	}
	r.pos += n
}

// at reads n bits at an offset from the start and leaves the reader where it
// stands.
func (r *bitReader) at(offset, n int) uint32 {
	c := bitReader{s: r.s, pos: offset}
	if offset+n > 6*len(r.s) {
		r.bad = true
		return 0
	}
	return c.take(n)
}

// nextPart cuts s at the first sep. more tells whether there was one.
func nextPart(s []byte, sep byte) (part, rest []byte, more bool) {
	for i, c := range s {
		if c == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, nil, false
}
