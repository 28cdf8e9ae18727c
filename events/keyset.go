package events

import (
	"bytes"

	"rebound/rtb"
)

// KeySet holds keys of visitors and identifiers that are searched for in lines of
// the log and in bid records.
type KeySet map[rtb.Key]struct{}

// NewKeySet returns the set of the keys that are not zero.
func NewKeySet(keys ...rtb.Key) KeySet {
	s := make(KeySet, len(keys))
	for _, k := range keys {
		if !k.IsZero() {
			s[k] = struct{}{}
		}
	}
	return s
}

// In reports whether a JSON text contains one of the keys as a string, or as the end of
// one, as in a pseudonym.
func (s KeySet) In(text []byte) bool {
	found := false
	s.each(text, func([]byte) { found = true })
	return found
}

// Blank replaces each of the keys in a JSON text by as many zeros, so that the text
// keeps its length, and returns how many there were.
func (s KeySet) Blank(text []byte) (n int) {
	s.each(text, func(key []byte) {
		for i := range key {
			key[i] = '0'
		}
		n++
	})
	return n
}

// each calls fn for each occurrence of a key. A key ends at a quote and has no quote or
// escape in it.
func (s KeySet) each(text []byte, fn func([]byte)) {
	if len(s) == 0 {
		return
	}
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], '"')
		if i < 0 {
			return
		}
		end := at + i
		at = end + 1
		if end < rtb.IDTextLen {
			continue
		}
		var k rtb.Key
		part := text[end-rtb.IDTextLen : end]
		if k.UnmarshalText(part) == nil {
			if _, ok := s[k]; ok {
				fn(part)
			}
		}
	}
}
