package rtb

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxProductID is the longest product id in bytes: 50 characters, the limit of
// the Merchant product data specification. Feeds, events and profiles share it,
// so that an id that one of them accepts matches in all of them.
const MaxProductID = 50 * utf8.UTFMax

// FoldProductID returns the form of a product id that feeds, events, profiles and
// rules compare: without control characters and surrounding space, in lower case.
// It is empty if the id is longer than [MaxProductID]: a part of an id would be
// the id of another product.
func FoldProductID(id string) string {
	if strings.ContainsFunc(id, noID) {
		id = strings.Map(func(r rune) rune {
			if noID(r) {
				return -1
			}
			return r
		}, id)
	}
	id = strings.ToLower(strings.TrimSpace(id))
	if len(id) > MaxProductID {
		return ""
	}
	return id
}

// noID reports whether a character cannot be part of an id.
func noID(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
