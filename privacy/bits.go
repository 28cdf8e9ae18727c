package privacy

// bitReader reads big-endian bit fields directly from base64url text, six bits
// per character. It does not decode the text first, because not every encoder of
// TCF and GPP strings pads them to whole bytes.
//
// A read past the end sets bad and returns zeros, so the caller checks bad once,
// at the end. The work of a read is bounded by its width.
type bitReader struct {
	s   []byte
	pos int
	bad bool
}

// sextets maps a base64url character to its six bits, and any other character to
// 0xFF. The padding character '=' is not accepted.
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

// isBase64 reports whether s consists of one or more base64url characters.
func isBase64(s []byte) bool {
	var or uint8
	for _, c := range s {
		or |= sextets[c]
	}
	return len(s) > 0 && or < 64
}

// left returns the number of unread bits.
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

// skip skips n bits.
func (r *bitReader) skip(n int) {
	if n > r.left() {
		r.bad = true
		n = r.left()
	}
	r.pos += n
}

// at reads n bits at an offset from the start without moving the reader.
func (r *bitReader) at(offset, n int) uint32 {
	c := bitReader{s: r.s, pos: offset}
	if offset+n > 6*len(r.s) {
		r.bad = true
		return 0
	}
	return c.take(n)
}

// nextPart cuts s at the first sep; more reports whether sep was found.
func nextPart(s []byte, sep byte) (part, rest []byte, more bool) {
	for i, c := range s {
		if c == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, nil, false
}
