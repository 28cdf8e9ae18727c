package bidder

import (
	"bytes"
	"slices"

	"rebound/rtb"
)

// contains reports whether a list contains a text exactly: seats and ids are
// case-sensitive.
func contains(list [][]byte, s string) bool {
	return slices.ContainsFunc(list, func(e []byte) bool { return string(e) == s })
}

// containsFold is contains without regard to the case of ASCII letters.
func containsFold(list [][]byte, s string) bool {
	return slices.ContainsFunc(list, func(e []byte) bool { return rtb.EqualFold(e, s) })
}

// blocksDomain reports whether an entry of badv blocks a registrable domain,
// which must be in lower case: the entry is the domain itself, a subdomain of it,
// or a domain above it. Case, scheme, path, port and a trailing dot do not matter
// (conformance B10).
func blocksDomain(entry []byte, domain string) bool {
	if !isPlainHost(entry) {
		entry = hostOfEntry(entry)
	}
	switch n := len(entry) - len(domain); {
	case len(entry) == 0:
		return false
	case n == 0:
		return rtb.EqualFold(entry, domain)
	case n > 0:
		return entry[n-1] == '.' && rtb.EqualFold(entry[n:], domain)
	default:
		return domain[-n-1] == '.' && rtb.EqualFold(entry, domain[-n:])
	}
}

// isPlainHost reports whether a text has nothing around a host, as most entries of badv.
func isPlainHost(text []byte) bool {
	for _, c := range text {
		if c <= ' ' || c >= 0x80 || c == '/' || c == ':' || c == '?' || c == '#' {
			return false
		}
	}
	return len(text) > 0 && text[len(text)-1] != '.'
}

// hostOfEntry returns the host of an entry of badv.
func hostOfEntry(entry []byte) []byte {
	if i := bytes.Index(entry, []byte("://")); i >= 0 {
		entry = entry[i+3:]
	}
	if i := bytes.IndexAny(entry, "/:?#"); i >= 0 {
		entry = entry[:i]
	}
	return bytes.TrimRight(bytes.TrimSpace(entry), ".")
}

// coversCategory reports whether a listed category is c or its parent: IAB22
// covers IAB22-1.
func coversCategory(listed []byte, c string) bool {
	if len(listed) == 0 || len(c) < len(listed) || !rtb.EqualFold(listed, c[:len(listed)]) {
		return false
	}
	return len(c) == len(listed) || c[len(listed)] == '-'
}

// noLanguage is the code of a creative without words, which no list excludes.
const noLanguage = "xx"

// languageFits reports whether wlang and wlangb allow a language; when both are
// present, both must (conformance V13). A creative of unknown language is allowed
// only where there is no list.
func languageFits(o *rtb.Opportunity, language string) bool {
	if len(o.WLang) == 0 && len(o.WLangB) == 0 || language == noLanguage {
		return true
	}
	return listsLanguage(o.WLang, language) && listsLanguage(o.WLangB, language)
}

// listsLanguage reports whether a list contains a language; an absent list
// contains all.
func listsLanguage(list [][]byte, language string) bool {
	return len(list) == 0 || language != "" && slices.ContainsFunc(list, func(e []byte) bool { return sameLanguage(e, language) })
}

// sameLanguage compares language tags. Where one of them has no region, only the
// primary subtags are compared (conformance B14).
func sameLanguage(a []byte, b string) bool {
	pa, pb := primaryLen(a), primaryLen(b)
	if pa == len(a) || pb == len(b) {
		return rtb.EqualFold(a[:pa], b[:pb])
	}
	return rtb.EqualFold(a, b)
}

// primaryLen returns the length of a language tag's primary subtag.
func primaryLen[T ~[]byte | ~string](tag T) int {
	for i := range len(tag) {
		if tag[i] == '-' || tag[i] == '_' {
			return i
		}
	}
	return len(tag)
}
