package exchange

import "math/bits"

// This file checks the grammar of JSON for 64 bytes at once. Every two successive
// tokens must fit together: after the name of a member comes a colon, after a colon
// a value, after a value a comma or a closing bracket, and so on. A set of tokens
// is a word with a bit for each; moving these bits to the next bytes that are
// not white space and comparing them with the bytes that may follow checks all
// pairs of a block. Only numbers, literals and unusual escapes are looked at one
// by one.

// check checks what start does not: the order of the tokens, numbers, literals and
// escapes. The text must be free of faults, and begin with { or [. Nothing is
// checked twice.
func (s *scanner) check() DecodeError {
	if s.checked {
		return 0
	}
	var name, element, separator, member, value follower
	var inName, inAtom uint64 // 1 within the name of a member, or within a number or literal
	for w := range s.blocks {
		k := &s.blocks[w]
		strings, stringEnds := k.quote&k.inside, k.quote&^k.inside
		atom := ^(k.inside | k.quote | k.open | k.close | k.comma | k.colon | k.space)
		shifted := atom<<1 | inAtom
		inAtom = atom >> 63
		atoms := atom &^ shifted

		values := strings | atoms | k.open
		first := k.open | k.comma
		names := name.after(first&k.object, 0, k.space)
		elements := element.after(first&^k.object|k.colon, 0, k.space)
		separated := separator.after(k.comma|k.colon, 0, k.space)
		bad := names&^(strings|k.close) | elements&^(values|k.close) | separated&k.close

		// Added to the bytes inside strings, the first bit of a name's string moves to its
		// closing quote.
		sum, over := bits.Add64(names&strings, k.inside, inName)
		inName = over
		nameEnds := sum & stringEnds
		bad |= member.after(nameEnds, 0, k.space) ^ k.colon
		after := value.after(stringEnds&^nameEnds|k.close, shifted&^atom, k.space)
		if bad|after&^(k.comma|k.close) != 0 || atoms != 0 && !s.atoms(atoms, w<<blockShift) || k.escape != 0 && !s.escapes(k.escape, w<<blockShift) {
			return ErrSyntax
		}
	}
	s.checked = true
	return 0
}

// follower finds the bytes that follow tokens. It is 1 if the last block ended before
// such a byte.
type follower uint64

// after moves the bits of the last bytes of tokens to the next bytes that are not
// white space. next are bits that have been moved by one byte already.
func (f *follower) after(last, next, space uint64) uint64 {
	next |= last<<1 | uint64(*f)
	if space == 0 { // as in most requests
		*f = follower(last >> 63)
		return next
	}
	// Added to white space, the bit before each run of it moves behind the run.
	sum, over := bits.Add64(next&space, space, 0)
	*f = follower(last>>63 | over)
	return (next | sum) &^ space
}

// atoms checks the numbers and literals that begin at the bits of starts.
func (s *scanner) atoms(starts uint64, from int) bool {
	for ; starts != 0; starts &= starts - 1 {
		i := from + bits.TrailingZeros64(starts)
		if end := digits(s.b, i); end < len(s.b) && endsAtom[s.b[end]] && (s.b[i] != '0' || end == i+1) && end > i {
			continue // an integer, as most numbers
		}
		end := atomEnd(s.b, i)
		if end < 0 || end < len(s.b) && !endsAtom[s.b[end]] {
			return false
		}
	}
	return true
}

// endsAtom has the bytes that may follow a number or literal.
var endsAtom = [256]bool{',': true, '}': true, ']': true, ' ': true, '\n': true, '\r': true, '\t': true}

// escapes checks escape sequences, given the bits of the bytes after their
// backslashes.
func (s *scanner) escapes(escaped uint64, from int) bool {
	for ; escaped != 0; escaped &= escaped - 1 {
		i := from + bits.TrailingZeros64(escaped)
		switch s.b[i] { // within the text, because its strings are closed
		case '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if _, ok := hex4(s.b, i+1); !ok {
				return false
			}
		default:
			return false
		}
	}
	return true
}
