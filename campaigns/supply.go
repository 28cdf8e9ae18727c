package campaigns

import (
	"strings"

	"rebound/internal/spec"
	"rebound/rtb"
)

// Codes of no-bids that are more specific than their reason (OpenRTB 3.0, List:
// No-Bid Reason Codes).
const (
	nbrNonHuman      = 4
	nbrCloudIP       = 5
	nbrAdsTxtMissing = 11
	nbrAdsTxt        = 12
	nbrSChain        = 16
	nbrSChainNode    = 17
)

// Supply is the rules about supply that apply to all lines. It is immutable and
// safe for concurrent use.
type Supply struct {
	crawlers, agents []*agentSet
	requireUA        bool
	networks         []*networkSet

	allowDomains, blockDomains names
	allowBundles, blockBundles names
	allows                     bool // there is an allow list
	publishers                 texts
	blockedSellers             []*sellerSet

	sellers      *sellerTable
	missingAllow bool
}

// Traffic reports whether a request comes from a person's device: crawler,
// invalid_traffic, or none. code is the code on the wire if the reason has
// several. Traffic examines the device only and does not allocate. A nil Supply
// has no rules.
func (s *Supply) Traffic(d *rtb.Device) (r rtb.NoBidReason, code int) {
	if s == nil {
		return rtb.NoBidNone, 0
	}
	ua := d.UA[:min(len(d.UA), maxUA)]
	for _, set := range s.crawlers {
		if set.in(ua) {
			return rtb.NoBidCrawler, 0
		}
	}
	for _, set := range s.agents {
		if set.in(ua) {
			return rtb.NoBidInvalidTraffic, nbrNonHuman
		}
	}
	if s.requireUA && !plausible(ua) {
		return rtb.NoBidInvalidTraffic, nbrNonHuman
	}
	if len(s.networks) > 0 && (s.inNetwork(d.IP) || s.inNetwork(d.IPv6)) {
		return rtb.NoBidInvalidTraffic, nbrCloudIP
	}
	return rtb.NoBidNone, 0
}

// plausible reports whether a text can be the user agent of a device: long
// enough, printable, and not an unreplaced macro.
func plausible(ua []byte) bool {
	letters := 0
	for _, c := range ua {
		if c < ' ' || c == 0x7f || c == '{' || c == '}' {
			return false
		}
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			letters++
		}
	}
	return len(ua) >= 12 && letters >= 6
}

func (s *Supply) inNetwork(text []byte) bool {
	ip, ok := parseIP(text)
	if !ok {
		return false
	}
	for _, set := range s.networks {
		if set.has(ip) {
			return true
		}
	}
	return false
}

// Place reports whether anything may be shown where the request comes from:
// site_blocked, schain (a node is blocked), or none. A nil Supply has no rules.
func (s *Supply) Place(f *Facts, exchange string) rtb.NoBidReason {
	switch {
	case s == nil:
		return rtb.NoBidNone
	case s.allows && !f.listed(s.allowDomains, s.allowBundles), f.blocked(s.blockDomains, s.blockBundles),
		len(s.publishers) > 0 && publisherIn(s.publishers, f.o.Supply.PublisherID, exchange):
		return rtb.NoBidSiteBlocked
	case len(s.blockedSellers) > 0 && f.schain().blocked:
		return rtb.NoBidSChain
	}
	return rtb.NoBidNone
}

// Code returns the code on the wire of a reason that has several; 0 if the
// reason's own code is right.
func (f *Facts) Code(r rtb.NoBidReason) int {
	switch {
	case f.o == nil:
		return 0
	case r == rtb.NoBidSChain && f.schain().blocked:
		return nbrSChainNode
	case r == rtb.NoBidSChain:
		return nbrSChain
	case r == rtb.NoBidAdsTxt && f.sellers().status == sellerMissing:
		return nbrAdsTxtMissing
	case r == rtb.NoBidAdsTxt:
		return nbrAdsTxt
	}
	return 0
}

// CompileSupply compiles the section supply and loads its tables. The result is
// nil if nothing is configured.
func CompileSupply(s *SupplySpec, tables *Tables) (*Supply, spec.Report) {
	c := &compiler{in: Input{Tables: tables}}
	out := &Supply{
		requireUA:    s.RequireUA,
		crawlers:     c.agents("crawlers", s.Crawlers, builtinCrawlers),
		agents:       c.agents("invalid_agents", s.InvalidAgents, builtinAgents),
		networks:     c.networks("datacentres", s.DataCentres),
		allowDomains: c.hosts("allow_domains", s.AllowDomains), allowBundles: c.bundles("allow_bundles", s.AllowBundles),
		blockDomains: c.hosts("block_domains", s.BlockDomains), blockBundles: c.bundles("block_bundles", s.BlockBundles),
		allows:         len(s.AllowDomains)+len(s.AllowBundles) > 0,
		publishers:     c.texts("block_publishers", s.BlockPublishers, wantPublisher),
		blockedSellers: c.sellerNames("block_sellers", s.BlockSellers),
		missingAllow:   c.choose("missing_ads_txt", s.MissingAdsTxt, []string{"refuse", "allow"}, 0) == 1,
	}
	if s.Sellers != "" {
		var sink sellerSink
		out.sellers, _ = c.table("sellers", "sellers", s.Sellers, &sink, func() any { return sink.table() }).(*sellerTable)
	}
	asks := out.requireUA || out.allows || out.sellers != nil ||
		len(out.crawlers)+len(out.agents)+len(out.networks)+len(out.blockDomains)+len(out.blockBundles)+len(out.publishers)+len(out.blockedSellers) > 0
	if !asks {
		return nil, c.Report
	}
	return out, c.Report
}

// agentSet finds any of many parts of a user agent in one pass, without regard
// to case.
type agentSet struct {
	pairs [1 << 16 / 64]uint64 // pairs of bytes that begin a part
	parts map[uint16][]string
}

func twoBytes(a, b byte) uint16 { return uint16(a)<<8 | uint16(b) }

func (a *agentSet) in(ua []byte) bool {
	for i := 0; i+1 < len(ua); i++ {
		k := twoBytes(rtb.Lower(ua[i]), rtb.Lower(ua[i+1]))
		if a.pairs[k/64]&(1<<(k%64)) == 0 {
			continue
		}
		for _, p := range a.parts[k] {
			if len(ua)-i >= len(p) && rtb.EqualFold(ua[i:i+len(p)], p) {
				return true
			}
		}
	}
	return false
}

type agentSink struct {
	parts   []string
	builtin []string // the list that the word builtin means in a configuration; nil in a file
}

func (a *agentSink) add(row string) bool {
	if row == builtinWord && a.builtin != nil {
		a.parts = append(a.parts, a.builtin...)
		return true
	}
	part := strings.ToLower(row)
	a.parts = append(a.parts, part)
	return len(part) >= 3 && len(part) <= maxUA
}

func (a *agentSink) set() *agentSet {
	s := &agentSet{parts: map[uint16][]string{}}
	for _, p := range a.parts {
		if len(p) < 3 {
			continue
		}
		k := twoBytes(p[0], p[1])
		s.pairs[k/64] |= 1 << (k % 64)
		s.parts[k] = append(s.parts[k], p)
	}
	return s
}

// builtinWord names the lists below in a configuration.
const builtinWord = "builtin"

// Crawlers and programs that identify themselves. A configuration can add its
// own, or a list that is kept up to date.
var (
	builtinCrawlers = []string{
		"bot/", "bot;", "-bot", "crawl", "spider", "googlebot", "adsbot", "mediapartners-google", "google-read-aloud", "bingpreview", "slurp",
		"facebookexternalhit", "facebookcatalog", "ia_archiver", "archive.org_bot", "applebot", "petalbot", "pinterestbot", "whatsapp/",
		"lighthouse", "pagespeed", "pingdom", "uptimerobot", "site24x7", "gtmetrix", "validator", "feedfetcher", "embedly", "quora link preview",
		"outbrain", "ias_crawler", "ias-va", "admantx", "grapeshot", "proximic", "peer39_crawler", "comscore",
	}
	builtinAgents = []string{
		"headlesschrome", "phantomjs", "slimerjs", "puppeteer", "playwright", "selenium", "webdriver", "cypress/", "python-requests", "python-urllib",
		"python/", "aiohttp", "scrapy", "curl/", "wget/", "libwww-perl", "lwp::", "go-http-client", "java/", "apache-httpclient", "httpclient/",
		"node-fetch", "axios/", "got (", "ruby", "postmanruntime", "httpie", "winhttp", "zgrab", "masscan", "nmap",
	}
)

func (c *compiler) agents(path string, entries, builtin []string) []*agentSet {
	return lists(c, path, "agents", entries, &agentSink{builtin: builtin}, "the word builtin, three characters or more of a user agent, or file:name")
}
