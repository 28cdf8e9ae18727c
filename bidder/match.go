package bidder

import (
	"bytes"
	"slices"

	"rebound/rtb"
)

// holds tells whether a list has a text exactly: seats and ids are
// case-sensitive.
func holds(list [][]byte, s string) bool {
	return slices.ContainsFunc(list, func(e []byte) bool { return string(e) == s })
}

func holdsFold(list [][]byte, s string) bool {
	return slices.ContainsFunc(list, func(e []byte) bool { return equalFold(e, s) })
}

// equalFold compares ASCII without regard to case.
func equalFold[T ~[]byte | ~string](b T, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// blocksDomain tells whether an entry of badv blocks a registrable domain, given
// in lower case: the domain itself, anything below it, or anything above it.
// Case, scheme, path, port and a trailing dot do not matter (conformance B10).
func blocksDomain(entry []byte, domain string) bool {
	if i := bytes.Index(entry, []byte("://")); i >= 0 {
		entry = entry[i+3:]
	}
	if i := bytes.IndexAny(entry, "/:?#"); i >= 0 {
		entry = entry[:i]
	}
	entry = bytes.TrimRight(bytes.TrimSpace(entry), ".")
	switch n := len(entry) - len(domain); {
	case len(entry) == 0:
		return false
	case n == 0:
		return equalFold(entry, domain)
	case n > 0:
		return entry[n-1] == '.' && equalFold(entry[n:], domain)
	default:
		return domain[-n-1] == '.' && equalFold(entry, domain[-n:])
	}
}

// coversCategory tells whether a listed category is c or its parent: IAB22
// covers IAB22-1.
func coversCategory(listed []byte, c string) bool {
	if len(listed) == 0 || len(c) < len(listed) || !equalFold(listed, c[:len(listed)]) {
		return false
	}
	return len(c) == len(listed) || c[len(listed)] == '-'
}

// noLanguage is the code of a creative without words; it is allowed anywhere.
const noLanguage = "xx"

// languageFits asks wlang and wlangb; both bind when both come (conformance V13).
// A creative whose language is not known does not pass a list.
func languageFits(o *rtb.Opportunity, language string) bool {
	if len(o.WLang) == 0 && len(o.WLangB) == 0 || language == noLanguage {
		return true
	}
	return listsLanguage(o.WLang, language) && listsLanguage(o.WLangB, language)
}

// listsLanguage tells whether a list has a language; without a list all do.
func listsLanguage(list [][]byte, language string) bool {
	return len(list) == 0 || language != "" && slices.ContainsFunc(list, func(e []byte) bool { return sameLanguage(e, language) })
}

// sameLanguage compares language tags; where one has no region, the primary part
// decides (conformance B14).
func sameLanguage(a []byte, b string) bool {
	pa, pb := primary(a), primary(b)
	if pa == len(a) || pb == len(b) {
		return equalFold(a[:pa], b[:pb])
	}
	return equalFold(a, b)
}

// primary is the length of a tag's first part.
func primary[T ~[]byte | ~string](tag T) int {
	for i := range len(tag) {
		if tag[i] == '-' || tag[i] == '_' {
			return i
		}
	}
	return len(tag)
}
