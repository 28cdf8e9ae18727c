package campaigns

import (
	"hash/maphash"
	"slices"
)

// hashSeed makes hashes that no sender can aim at: a host that only looks like a
// listed one to the table cannot be constructed. It is new in every process.
var hashSeed = maphash.MakeSeed()

// hashSet is a set of texts as sorted 64-bit hashes: 8 bytes a row. Two texts are
// taken for one with a chance of rows/2^64 per lookup.
type hashSet struct {
	rows []uint64
	// index leads by the top bits to where rows begins with them; nil for a
	// small set.
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

// foldBytes is how long a text may be that is hashed without regard to case;
// longer ones are in no list.
const foldBytes = 256

// hashFold is the hash of a text in lower case (ASCII); false for one that is
// empty or too long. It does not allocate.
func hashFold[T ~string | ~[]byte](text T) (uint64, bool) {
	if len(text) == 0 || len(text) > foldBytes {
		return 0, false
	}
	var buf [foldBytes]byte
	for i := range len(text) {
		buf[i] = lower(text[i])
	}
	return maphash.Bytes(hashSeed, buf[:len(text)]), true
}

// hashExact is the hash of a text as it stands.
func hashExact(text []byte) uint64 { return maphash.Bytes(hashSeed, text) }

// pair is the hash of two hashes in their order.
func pair(a, b uint64) uint64 {
	a = (a ^ b>>32 ^ b<<32) * 0x9e3779b97f4a7c15
	a = (a ^ a>>30 ^ b) * 0xbf58476d1ce4e5b9
	return a ^ a>>31
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// foldEqual compares ASCII without regard to case.
func foldEqual[T ~string | ~[]byte](a T, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(b) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}
