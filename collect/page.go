package collect

import (
	"net/url"
	"strings"

	"rebound/events"
)

// Lengths, in bytes, beyond which the text of an event is cut (free text) or
// refused (identifiers).
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

// page is the address of an event's page, cleaned.
type page struct {
	url     *events.URL
	utm     map[string]string
	dropped int // parts that held an e-mail address
}

// secretParams are pieces of parameter names whose values are a person's or a
// session's and nothing that a rule needs.
var secretParams = []string{"mail", "phone", "passw", "token", "session", "secret", "auth", "sid", "gclid", "fbclid", "msclkid", "firstname", "lastname"}

// readPage splits a page's address into host, path and query. The utm
// parameters are taken out of the query; parts that hold an e-mail address are
// dropped and counted, parameters that name a person or a session are dropped.
// An address that cannot be read is no page.
func readPage(raw string) page {
	var p page
	raw = tidy(raw, maxURL)
	u, err := url.Parse(raw)
	if raw == "" || err != nil || u.Hostname() == "" {
		return p
	}
	p.url = &events.URL{Host: tidy(strings.ToLower(u.Hostname()), maxURLPart)}
	p.url.Path = tidy(p.cleanPath(u.Path), maxURLPart)
	p.url.Query = tidy(p.cleanQuery(u.RawQuery), maxURLPart)
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
		p.utm[name] = tidy(value, maxText)
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

// refHost is the host of a referrer; nothing else of it is kept.
func refHost(raw string) string {
	u, err := url.Parse(tidy(raw, maxURL))
	if err != nil {
		return ""
	}
	return tidy(strings.ToLower(u.Hostname()), maxURLPart)
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
