package creatives

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"rebound/internal/inventory"
)

// ValidHost reports whether s is a host name in lower case, without scheme,
// port or path.
func ValidHost(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

// HostOf returns the host of a URL, or of a URL without its scheme, in the form in
// which hosts are compared; empty if there is none.
func HostOf(s string) string {
	if !strings.Contains(s, "//") {
		s = "//" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return inventory.ASCIIHost(u.Hostname())
}

// HostWithin reports whether host is one of domains or below one of them. The
// domains must be in the form of [inventory.ASCIIHost].
func HostWithin(host string, domains []string) bool {
	host = inventory.ASCIIHost(host)
	for _, d := range domains {
		if host == d || len(host) > len(d) && strings.HasSuffix(host, d) && host[len(host)-len(d)-1] == '.' {
			return true
		}
	}
	return false
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// checkURL returns what a URL should be, or nothing if it is valid: absolute,
// without spaces and control characters, and https, or http if that is allowed
// or the host is this machine.
func checkURL(s string, allowHTTP bool) string {
	const want = "an absolute https URL"
	if len(s) > 2000 {
		return want + " of at most 2000 bytes"
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '\\' || s[i] == '"' || s[i] == '<' || s[i] == '>' {
			return want + " without spaces, quotes or control characters"
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil {
		return want
	}
	switch strings.ToLower(u.Scheme) {
	case "https":
		return ""
	case "http":
		if allowHTTP || loopback(u.Hostname()) {
			return ""
		}
	}
	return want
}

// insecure returns the first http URL in markup that would be loaded from
// another machine, and its line, from 1. W3C namespaces are only names and are
// not loaded.
func insecure(markup string) (found string, line int) {
	const scheme = "http://"
	lower := strings.ToLower(markup)
	for at := 0; ; {
		i := strings.Index(lower[at:], scheme)
		if i < 0 {
			return "", 0
		}
		start := at + i
		end := start + len(scheme)
		for end < len(lower) && !strings.ContainsRune(" \t\r\n\"'<>()`\\", rune(lower[end])) {
			end++
		}
		host := HostOf(lower[start:end])
		if !loopback(host) && host != "www.w3.org" {
			return markup[start:min(end, len(markup))], 1 + strings.Count(lower[:start], "\n")
		}
		at = start + len(scheme)
	}
}

// asciiURLs returns a spec with all of its URLs in ASCII. The spec itself is not
// changed.
func asciiURLs(s *Spec) *Spec {
	out := *s
	for _, u := range []*string{&out.ClickURL, &out.ImageURL, &out.IURL, &out.TagURL, &out.Interactive} {
		*u = asciiURL(*u)
	}
	out.Media = slices.Clone(s.Media)
	for i := range out.Media {
		out.Media[i].URL = asciiURL(out.Media[i].URL)
	}
	if s.Verification != nil {
		v := *s.Verification
		v.URL = asciiURL(v.URL)
		out.Verification = &v
	}
	if s.Companion != nil {
		v := *s.Companion
		v.ImageURL = asciiURL(v.ImageURL)
		out.Companion = &v
	}
	if s.Native != nil {
		n := *s.Native
		n.PrivacyURL, n.Images = asciiURL(n.PrivacyURL), slices.Clone(n.Images)
		for i := range n.Images {
			n.Images[i].URL = asciiURL(n.Images[i].URL)
		}
		out.Native = &n
	}
	out.Trackers = TrackersSpec{asciiList(s.Trackers.Imp), asciiList(s.Trackers.Click)}
	return &out
}

func asciiList(urls []string) []string {
	out := slices.Clone(urls)
	for i, u := range out {
		out[i] = asciiURL(u)
	}
	return out
}

// asciiURL returns a URL in ASCII, as browsers send it and as a Location header
// requires (RFC 3986 §2.1, RFC 9110 §10.2.2): a host name with other letters in
// punycode, and other characters percent-encoded in UTF-8.
func asciiURL(s string) string {
	if !hasNonASCII(s) {
		return s
	}
	from, to := inventory.HostPart(s)
	if host := s[from:to]; hasNonASCII(host) {
		s = s[:from] + inventory.ASCIIHost(host) + s[to:]
	}
	b := make([]byte, 0, len(s)+16)
	for i := range len(s) {
		if c := s[i]; c >= 0x80 {
			b = append(b, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func hasNonASCII(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
