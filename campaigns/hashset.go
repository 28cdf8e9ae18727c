package campaigns

import (
	"hash/maphash"
	"slices"

	"rebound/rtb"
)

// hashSeed makes hashes unpredictable, so that no sender can construct a host
// whose hash collides with a listed one. It is new in every process.
var hashSeed = maphash.MakeSeed()

// hashSet is a set of texts as sorted 64-bit hashes: 8 bytes per row. The
// chance that a lookup confuses two texts is rows/2^64.
type hashSet struct {
	rows []uint64
	// index maps the top bits of a hash to the first row that has them; nil for
	// a small set.
	index []uint32
	shift uint
}

// smallSet is how many rows are searched without an index.
const smallSet = 64

func newHashSet(rows []uint64) hashSet {
	slices.Sort(rows)
	rows = slices.Clip(slices.Compact(rows))
	s := hashSet{rows: rows}
	if len(rows) <= smallSet {
		return s
	}
	bits := uint(1)
	for len(rows)>>bits > 8 {
		bits++
	}
	s.shift = 64 - bits
	s.index = make([]uint32, 1<<bits+1)
	at := 0
	for top := range s.index {
		for at < len(rows) && rows[at]>>s.shift < uint64(top) {
			at++
		}
		s.index[top] = uint32(at)
	}
	return s
}

func (s *hashSet) has(h uint64) bool {
	rows := s.rows
	if s.index != nil {
		top := h >> s.shift
		rows = rows[s.index[top]:s.index[top+1]]
	}
	_, ok := slices.BinarySearch(rows, h)
	return ok
}

// foldBytes is the longest text that is hashed without regard to case. Longer
// texts are in no list.
const foldBytes = 256

// fold writes a text in lower case (ASCII) to the buffer and returns it; ok is false if it
// is empty or too long.
func fold[T ~string | ~[]byte](buf *[foldBytes]byte, text T) (folded []byte, ok bool) {
	if len(text) == 0 || len(text) > foldBytes {
		return nil, false
	}
	for i := range len(text) {
		buf[i] = rtb.Lower(text[i])
	}
	return buf[:len(text)], true
}

// hashFold returns the hash of a text in lower case (ASCII); ok is false if it
// is empty or too long. It does not allocate.
func hashFold[T ~string | ~[]byte](text T) (hash uint64, ok bool) {
	var buf [foldBytes]byte
	folded, ok := fold(&buf, text)
	if !ok {
		return 0, false
	}
	return hashExact(folded), true
}

// hashExact returns the hash of a text as it is.
func hashExact(text []byte) uint64 { return maphash.Bytes(hashSeed, text) }

// pair returns the hash of two hashes; their order matters.
func pair(a, b uint64) uint64 {
	a = (a ^ b>>32 ^ b<<32) * 0x9e3779b97f4a7c15
	a = (a ^ a>>30 ^ b) * 0xbf58476d1ce4e5b9
	return a ^ a>>31
}
