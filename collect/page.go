package collect

import (
	"net/url"
	"strings"

	"rebound/events"
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

// readPage splits the URL of a page into host, path and query. It moves utm parameters out
// of the query, drops and counts parts that contain an e-mail address, and drops
// parameters that identify a person or a session. An invalid URL gives an empty page.
func readPage(raw string) page {
	var p page
	raw = sanitize(raw, maxURL)
	u, err := url.Parse(raw)
	if raw == "" || err != nil || u.Hostname() == "" {
		return p
	}
	p.url = &events.URL{Host: sanitize(strings.ToLower(u.Hostname()), maxURLPart)}
	p.url.Path = sanitize(p.cleanPath(u.Path), maxURLPart)
	p.url.Query = sanitize(p.cleanQuery(u.RawQuery), maxURLPart)
	return p
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
	u, err := url.Parse(sanitize(raw, maxURL))
	if err != nil {
		return ""
	}
	return sanitize(strings.ToLower(u.Hostname()), maxURLPart)
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
