package collect

import (
	"strings"

	"rebound/events"
	"rebound/internal/inventory"
)

// Maximum lengths in bytes. Longer free text is truncated; longer identifiers are
// rejected.
const (
	maxURL      = 2000
	maxURLPart  = 512
	maxName     = 64
	maxID       = 128 // event_id, order_id, user ids
	maxText     = 256 // search query, property values, categories
	maxItems    = 200
	maxProps    = 32
	maxQuantity = 1_000_000
)

// page is the sanitized URL of the page of an event.
type page struct {
	url     *events.URL
	utm     map[string]string
	dropped int // number of parts that contained an e-mail address
}

// secretParams are substrings of the names of parameters that identify a person or a
// session. No rule needs their values.
var secretParams = []string{"mail", "phone", "passw", "token", "session", "secret", "auth", "sid", "gclid", "fbclid", "msclkid", "firstname", "lastname"}

// readPage splits the URL of a page into host, path and query, as browsers read it: what
// they accept is no error here. It moves utm parameters out of the query, drops and counts
// parts that contain an e-mail address, and drops parameters that identify a person or a
// session. A URL without a host gives an empty page.
func readPage(raw string) page {
	var p page
	host, path, query := splitURL(raw)
	if host == "" {
		return p
	}
	p.url = &events.URL{Host: sanitize(host, maxURLPart)}
	p.url.Path = sanitize(p.cleanPath(percentDecode(cutURL(path), false)), maxURLPart)
	p.url.Query = sanitize(p.cleanQuery(cutURL(query)), maxURLPart)
	return p
}

// cutURL bounds a part of a URL before it is decoded.
func cutURL(s string) string { return s[:min(len(s), maxURL)] }

// splitURL splits an absolute URL of a web page the way browsers do (WHATWG URL §4.4):
// the scheme may be missing after //, tabs and line breaks do not count, backslashes are
// slashes, and the fragment is not part of what is returned. host is in lower case and in
// ASCII, without user, port and final dot; path and query are as sent. host is empty if
// the text is no such URL.
func splitURL(raw string) (host, path, query string) {
	raw = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.TrimSpace(raw))
	raw, _, _ = strings.Cut(raw, "#")
	rest, query, _ := strings.Cut(raw, "?")
	rest = strings.ReplaceAll(rest, `\`, "/")
	if scheme, after, ok := strings.Cut(rest, ":"); ok && isScheme(scheme) {
		rest = after
		if !strings.HasPrefix(rest, "//") && !webScheme(scheme) {
			return "", "", ""
		}
	} else if !strings.HasPrefix(rest, "//") {
		return "", "", ""
	}
	authority, path, slash := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if slash {
		path = "/" + path
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	return hostName(authority), path, query
}

func webScheme(s string) bool { return strings.EqualFold(s, "http") || strings.EqualFold(s, "https") }

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && s[i] != '+' && s[i] != '-' && s[i] != '.') {
			return false
		}
	}
	return s != ""
}

// hostName returns the host of host:port in the form in which hosts are compared.
func hostName(authority string) string {
	host := authority
	if end := strings.IndexByte(host, ']'); strings.HasPrefix(host, "[") && end > 0 {
		return strings.ToLower(host[1:end])
	}
	host, _, _ = strings.Cut(host, ":")
	return inventory.ASCIIHost(host)
}

// percentDecode undoes percent-encoding as browsers do (WHATWG URL §1.3): a percent sign
// without two hex digits is kept as it is. plus makes + a space, as in the parameters of a query.
func percentDecode(s string, plus bool) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && plus:
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// wellEncoded reports whether every percent sign is followed by two hex digits.
func wellEncoded(s string) bool {
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])) {
			return false
		}
	}
	return true
}

func (p *page) cleanPath(path string) string {
	if !hasEmail(path) {
		return path
	}
	parts := strings.Split(path, "/")
	for i, s := range parts {
		if hasEmail(s) {
			parts[i] = "-"
			p.dropped++
		}
	}
	return strings.Join(parts, "/")
}

func (p *page) cleanQuery(raw string) string {
	if raw == "" {
		return ""
	}
	kept := make([]string, 0, 8)
	for part := range strings.SplitSeq(raw, "&") {
		k, v, _ := strings.Cut(part, "=")
		key, value := unescape(k), unescape(v)
		switch {
		case key == "":
		case hasEmail(part) || hasEmail(key) || hasEmail(value) || hasEmail(unescape(value)):
			p.dropped++
		case secretParam(key):
		case strings.HasPrefix(strings.ToLower(key), "utm_"):
			p.setUTM(strings.ToLower(key[4:]), value)
		default:
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

func (p *page) setUTM(name, value string) {
	switch name {
	case "source", "medium", "campaign", "term", "content":
		if p.utm == nil {
			p.utm = make(map[string]string, 5)
		}
		p.utm[name] = sanitize(value, maxText)
	}
}

func secretParam(name string) bool {
	name = strings.ToLower(name)
	for _, s := range secretParams {
		if strings.Contains(name, s) {
			return true
		}
	}
	return false
}

// refHost returns the host of a referrer, the only part of it that is stored.
func refHost(raw string) string {
	host, _, _ := splitURL(raw)
	return sanitize(host, maxURLPart)
}

func unescape(s string) string { return percentDecode(s, true) }
