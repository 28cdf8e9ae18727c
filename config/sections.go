package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/creatives"
	"rebound/internal/spec"
	"rebound/privacy"
	"rebound/rtb"
)

// Defaults of the sections below.
const (
	defaultBid   = ":8080"
	defaultEdge  = ":8081"
	defaultAdmin = "127.0.0.1:8082"

	defaultDataDir = "./data"
	defaultCache   = spec.Bytes(256 << 20)

	defaultBidLog  = spec.Bytes(10 << 30)
	defaultFactLog = spec.Bytes(100 << 30)
	defaultKeep    = 90 * 24 * time.Hour
	minKeep        = 8 * 24 * time.Hour // above the longest notice_ttl

	defaultNoticeTTL = 48 * time.Hour
	minNoticeTTL     = time.Hour
	maxNoticeTTL     = 7 * 24 * time.Hour

	defaultRateAge = 24 * time.Hour
)

func orDefault[T comparable](v *T, absent T) {
	var zero T
	if *v == zero {
		*v = absent
	}
}

func (l *loader) listen(s *Listen) {
	orDefault(&s.Bid, defaultBid)
	orDefault(&s.Edge, defaultEdge)
	orDefault(&s.Admin, defaultAdmin)
	for _, a := range []struct{ field, addr string }{{"bid", s.Bid}, {"edge", s.Edge}, {"admin", s.Admin}} {
		host, port, err := net.SplitHostPort(a.addr)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || host != "" && !creatives.ValidHost(strings.ToLower(host)) && !validAddr(host) {
			l.Add("listen."+a.field, spec.Quote(a.addr), "host:port or :port, such as 127.0.0.1:8082")
		}
		if a.field == "admin" && err == nil && n > 0 && !loopback(host) {
			l.Warn("listen.admin", a.addr+": reachable from other machines", "a loopback address; anyone who reaches this port can stop bidding and read profiles")
		}
	}
	if s.PublicURL == "" {
		port := "8081"
		if _, p, err := net.SplitHostPort(s.Edge); err == nil {
			port = p
		}
		s.PublicURL = "http://127.0.0.1:" + port
	}
	u, err := url.Parse(s.PublicURL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		l.Add("listen.public_url", spec.Quote(s.PublicURL), "an https URL without a query, or http on this machine")
	}
	s.PublicURL = strings.TrimRight(s.PublicURL, "/")
}

func validAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (l *loader) data(s *Snapshot) {
	orDefault(&s.Data.Dir, defaultDataDir)
	orDefault(&s.Data.CacheBytes, defaultCache)
	bids, facts := &s.Logs.Bids, &s.Logs.Facts
	orDefault(&bids.Dir, path.Join(s.Data.Dir, "log/bids"))
	orDefault(&bids.MaxBytes, defaultBidLog)
	orDefault(&facts.Dir, path.Join(s.Data.Dir, "log/facts"))
	orDefault(&facts.MaxBytes, defaultFactLog)
	orDefault(&facts.Keep, defaultKeep)
	if facts.Keep < minKeep {
		l.Add("logs.facts.keep", facts.Keep.String(), "at least 8d: a repeated notice must still find the first one")
	}
	if s.Data.NATS == "" {
		orDefault(&s.Data.Node, "n1")
	}
	if s.Data.Node != "" && !spec.ValidID(s.Data.Node) {
		l.Add("data.node", spec.Quote(s.Data.Node), "an id: lower-case letters, digits, - and _")
	}
	l.percent("logs.bids.known_nobid_pct", &bids.KnownNoBidPct, 1)
	l.percent("logs.bids.unknown_nobid_pct", &bids.UnknownNoBidPct, 0.1)
	for _, x := range []struct {
		path  string
		least spec.Bytes
		have  spec.Bytes
	}{{"data.cache_bytes", 1 << 20, s.Data.CacheBytes},
		{"logs.bids.max_bytes", 1 << 20, bids.MaxBytes}, {"logs.facts.max_bytes", 1 << 20, facts.MaxBytes}} {
		if x.have < x.least {
			l.Add(x.path, x.have.String(), "at least "+x.least.String())
		}
	}
	for server := range strings.SplitSeq(s.Data.NATS, ",") {
		if u, err := url.Parse(server); s.Data.NATS != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)) {
			l.Add("data.nats", "an invalid URL", "URLs of the servers of a cluster such as nats://host1:4222,nats://host2:4222, or none for a single node")
		}
	}
}

func (l *loader) percent(path string, p **float64, absent float64) {
	if *p == nil {
		*p = &absent
	}
	l.Percent(path, **p)
}

func (l *loader) privacy(s *Privacy) *privacy.Policy {
	orDefault(&s.UnknownCountry, "refuse")
	l.OneOf("privacy.unknown_country", s.UnknownCountry, []string{"refuse", "allow"})
	if s.UnknownCountry == "allow" {
		l.Warn("privacy.unknown_country", "allow", "refuse; a request without gdpr and country may come from where consent is required")
	}
	orDefault(&s.NoticeTTL, defaultNoticeTTL)
	if s.NoticeTTL < minNoticeTTL || s.NoticeTTL > maxNoticeTTL {
		l.Add("privacy.notice_ttl", spec.FormatDuration(s.NoticeTTL), "1h to 7d")
	}
	p := &privacy.Policy{
		VendorID: s.VendorID, UnknownCountryAllow: s.UnknownCountry == "allow", GDPRCountries: s.GDPRCountries,
		PurposeOneTreatment: s.PurposeOneTreatment, MinPolicyVersion: s.MinPolicyVersion, RequireDisclosedVendors: s.RequireDisclosedVendors,
		FlexiblePurposes: s.FlexiblePurposes, GPCEverywhere: s.GPCEverywhere, ContextualWithoutBasis: s.ContextualWithoutBasis,
	}
	l.Include("privacy", p.Check())
	return p
}

func (l *loader) identity(s *Identity) []string {
	var sources []string
	seen := map[string]bool{}
	for i := range s.EIDs {
		e, at := &s.EIDs[i], spec.At("identity.eids", i)
		orDefault(&e.Mode, "plain")
		l.OneOf(at+".mode", e.Mode, []string{"plain", "ignore"})
		if e.Source == "" || len(e.Source) > 128 || seen[e.Source] {
			l.Add(at+".source", spec.Quote(e.Source), "a source such as id5-sync.com, each once")
		}
		seen[e.Source] = true
		if e.Mode == "plain" {
			sources = append(sources, e.Source)
		}
	}
	return sources
}

// ratesFile is a table of exchange rates.
type ratesFile struct {
	AsOf  time.Time          `yaml:"as_of"` // time of the rates; RFC 3339; required
	Base  rtb.Currency       `yaml:"base"`  // base currency; required
	Rates map[string]float64 `yaml:"rates"` // value of one unit of base in each currency
}

func (l *loader) rates(s *RatesSpec, now time.Time) *rtb.Rates {
	orDefault(&s.MaxAge, defaultRateAge)
	if s.File == "" {
		return nil
	}
	root := l.parse(s.File, l.find("rates.file"), "rates.file")
	if root == nil {
		return nil
	}
	var f ratesFile
	l.decode(root, reflect.ValueOf(&f).Elem(), "rates.file:", "")
	at := root.place()
	if f.AsOf.IsZero() {
		l.add(at, "as_of", "nothing", "the time of the rates, such as 2026-10-01T00:00:00Z", "")
	}
	if f.Base.IsZero() {
		l.add(at, "base", "nothing", "a currency such as USD", "")
	}
	r := &rtb.Rates{Base: f.Base, AsOf: f.AsOf, MaxAge: s.MaxAge}
	for code, x := range f.Rates {
		cur, ok := rtb.ParseCurrency(code)
		if !ok || !(x > 0) || x > 1e9 {
			l.Add("rates.file:.rates."+code, spec.Quote(code)+" at "+spec.Float(x), "an ISO 4217 code and a rate above 0")
			continue
		}
		r.Set(cur, x)
	}
	if !now.IsZero() && now.Sub(f.AsOf) > s.MaxAge {
		l.Warn("rates.file", "rates of "+f.AsOf.Format(time.RFC3339), "rates not older than "+spec.FormatDuration(s.MaxAge)+"; with older rates nothing is bid in a currency other than the advertiser's")
	}
	return r
}
