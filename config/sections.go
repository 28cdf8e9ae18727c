package config

import (
	"crypto/tls"
	"io/fs"
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

	defaultDataDir      = "./data"
	defaultCache        = spec.Bytes(256 << 20)
	defaultBidsInFlight = 1 << 20

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

// demoKey is the SHA-256 of the events key of the sample shop, which is public.
const demoKey = "f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992"

// exposed reports whether anyone could use the listeners of a configuration: one of
// its exchanges has no secret, or an advertiser has the key of the sample shop.
func exposed(f *File) bool {
	for i := range f.Exchanges {
		if f.Exchanges[i].Secret == "" {
			return true
		}
	}
	for i := range f.Advertisers {
		for _, k := range f.Advertisers[i].Keys {
			if strings.EqualFold(k.SHA256, demoKey) {
				return true
			}
		}
	}
	return false
}

// defaultHost is where the bid and edge listeners are bound if the file names no address.
func defaultHost(f *File) string {
	if exposed(f) {
		return "127.0.0.1"
	}
	return ""
}

func (l *loader) listen(s *Listen, host string, now time.Time) {
	orDefault(&s.Bid, host+defaultBid)
	orDefault(&s.Edge, host+defaultEdge)
	orDefault(&s.Admin, defaultAdmin)
	var taken []listenAddr
	for _, a := range []listenAddr{{field: "bid", addr: s.Bid}, {field: "edge", addr: s.Edge}, {field: "admin", addr: s.Admin}} {
		host, port, err := net.SplitHostPort(a.addr)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if err != nil || err2 != nil || host != "" && !creatives.ValidHost(strings.ToLower(host)) && !validAddr(host) {
			l.Add("listen."+a.field, spec.Quote(a.addr), "host:port or :port, such as 127.0.0.1:8082")
			continue
		}
		a.host, a.port = host, n
		if i := slices.IndexFunc(taken, a.collides); i >= 0 {
			l.Add("listen."+a.field, a.addr+", the port of listen."+taken[i].field, "a port that no other listener has")
		}
		taken = append(taken, a)
		if a.field == "admin" && n > 0 && !loopback(host) {
			l.Warn("listen.admin", a.addr+": reachable from other machines", "a loopback address; anyone who reaches this port can stop bidding and read profiles")
		}
	}
	l.publicURL(s)
	l.certificate("listen.tls.bid", &s.TLS.Bid, now)
	l.certificate("listen.tls.edge", &s.TLS.Edge, now)
	l.proxies(s)
	orDefault(&s.BidLoop, "auto")
	l.OneOf("listen.bid_loop", s.BidLoop, []string{"auto", "off"})
}

// listenAddr is the address of one listener.
type listenAddr struct {
	field, addr, host string
	port              uint64
}

// collides reports whether two listeners cannot have both addresses. Port 0 is any
// free port.
func (a listenAddr) collides(b listenAddr) bool {
	everywhere := func(host string) bool {
		addr, err := netip.ParseAddr(host)
		return host == "" || err == nil && addr.IsUnspecified()
	}
	return a.port != 0 && a.port == b.port && (a.host == b.host || everywhere(a.host) || everywhere(b.host) || loopback(a.host) && loopback(b.host) && (a.host == "localhost" || b.host == "localhost"))
}

// publicURL checks the public URL of the edge listener, or derives it from its
// address.
func (l *loader) publicURL(s *Listen) {
	scheme := "http"
	if s.TLS.Edge.Cert != "" {
		scheme = "https"
	}
	if s.PublicURL == "" {
		port := "8081"
		if _, p, err := net.SplitHostPort(s.Edge); err == nil {
			port = p
		}
		s.PublicURL = scheme + "://127.0.0.1:" + port
	}
	u, err := url.Parse(s.PublicURL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || !rtb.MarkupSafe(s.PublicURL) ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		l.Add("listen.public_url", spec.Quote(s.PublicURL), "an https URL without a query, or http on this machine")
	} else if scheme == "https" && u.Scheme == "http" {
		l.Add("listen.public_url", spec.Quote(s.PublicURL), "an https URL, because listen.tls.edge serves https")
	}
	s.PublicURL = strings.TrimRight(s.PublicURL, "/")
}

// certificate checks that a certificate and its key can be used. They are not part of
// the hash of the configuration, because they are renewed while it stays the same.
func (l *loader) certificate(path string, c *Certificate, now time.Time) {
	if c.Cert == "" && c.Key == "" || l.placeholders != nil {
		return
	}
	var pem [2][]byte
	for i, f := range []struct{ field, name string }{{".cert", c.Cert}, {".key", c.Key}} {
		if f.name == "" {
			l.Add(path+f.field, "nothing", "a file: cert and key belong together")
			return
		}
		b, err := fs.ReadFile(l.fsys, f.name)
		if err != nil {
			l.Add(path+f.field, "file "+spec.Quote(f.name)+": "+reason(err), "a file that can be read")
			return
		}
		pem[i] = b
	}
	pair, err := tls.X509KeyPair(pem[0], pem[1])
	if err != nil {
		l.Add(path, strings.TrimPrefix(err.Error(), "tls: "), "a certificate and its own private key as PEM")
		return
	}
	if end := pair.Leaf.NotAfter; !now.IsZero() && now.After(end) {
		l.Warn(path+".cert", "a certificate that expired at "+end.UTC().Format(time.RFC3339), "a valid one; it is loaded when its file changes")
	}
}

const maxDrainDelay = 5 * time.Minute

// proxies checks what is said about proxies in front of the listeners.
func (l *loader) proxies(s *Listen) {
	for i, name := range s.ProxyProtocol {
		if l.OneOf(spec.At("listen.proxy_protocol", i), name, []string{"bid", "edge"}); slices.Index(s.ProxyProtocol, name) < i {
			l.Add(spec.At("listen.proxy_protocol", i), spec.Quote(name)+" again", "each listener once")
		}
	}
	for i, text := range s.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			hint := ""
			if addr, err := netip.ParseAddr(text); err == nil {
				hint = netip.PrefixFrom(addr, addr.BitLen()).String()
			}
			l.AddHint(spec.At("listen.trusted_proxies", i), spec.Quote(text), "a network such as 10.0.0.0/8", hint)
		case prefix.Bits() == 0:
			l.Add(spec.At("listen.trusted_proxies", i), spec.Quote(text), "the networks of your proxies: with all networks anyone can claim any address")
		}
	}
	if len(s.ProxyProtocol) > 0 && len(s.TrustedProxies) == 0 {
		l.Add("listen.trusted_proxies", "nothing", "the networks of the proxies that send the PROXY protocol, such as [10.0.0.0/8]")
	}
	if s.DrainDelay > maxDrainDelay {
		l.Add("listen.drain_delay", spec.FormatDuration(s.DrainDelay), "at most "+spec.FormatDuration(maxDrainDelay))
	}
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
	orDefault(&s.Data.BidsInFlight, defaultBidsInFlight)
	if n := s.Data.BidsInFlight; n < 1000 || n > 100_000_000 {
		l.Add("data.bids_in_flight", strconv.Itoa(n), "1000 to 100000000")
	}
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

// ratesPath begins the paths in the file of exchange rates.
const ratesPath = "rates.file:"

func (l *loader) rates(s *RatesSpec, now time.Time) *rtb.Rates {
	orDefault(&s.MaxAge, defaultRateAge)
	if s.File == "" {
		return nil
	}
	from, _ := l.find("rates.file")
	root := l.parse(s.File, from, "rates.file")
	if root == nil {
		return nil
	}
	var f ratesFile
	l.table = root
	l.decode(root, reflect.ValueOf(&f).Elem(), ratesPath, "")
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
