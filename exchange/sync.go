package exchange

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// sync reads the fields of cookie sync.
func (c *compiler) sync(s *ProfileSpec, p *Profile) {
	p.MatchURL, p.MatchMacro, p.MatchParams = s.MatchURL, orString(s.MatchMacro, "$UID"), s.MatchParams
	c.check(s.MatchURL == "" || redirectable(s.MatchURL), "match_url", strconv.Quote(s.MatchURL), "an https URL without #")
	for _, r := range p.MatchMacro {
		c.check(r > ' ' && r <= '~' && r != '&' && r != '#', "match_macro", strconv.Quote(s.MatchMacro), "a macro such as $UID")
	}
	for i, name := range s.MatchParams {
		c.check(name != "" && url.QueryEscape(name) == name, "match_params["+strconv.Itoa(i)+"]", strconv.Quote(name), "the name of a parameter")
	}
	for i, host := range s.RedirectHosts {
		u, err := url.Parse("https://" + host)
		c.check(err == nil && u.Host == host && u.Hostname() != "" && !strings.ContainsAny(host, "*@"),
			"redirect_hosts["+strconv.Itoa(i)+"]", strconv.Quote(host), "a host such as sync.example.com")
		p.RedirectHosts = append(p.RedirectHosts, strings.TrimSuffix(strings.ToLower(host), ":443"))
	}
	p.Resync = orDuration(&s.Resync, 7*24*time.Hour)
	c.check(p.Resync >= time.Hour && p.Resync <= 60*24*time.Hour, "resync", p.Resync, "1h to 60d")
}

// redirectable reports whether a browser may be redirected to a URL template: https, or
// http on this machine, which is for tests.
func redirectable(template string) bool {
	if strings.ContainsFunc(template, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' || r == '#' }) {
		return false
	}
	before, _, _ := strings.Cut(template, "?")
	u, err := url.Parse(before)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && ip != nil && ip.IsLoopback()
}
