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
	"rebound/privacy"
	"rebound/rtb"
)

// Defaults of the plain sections.
const (
	defaultBid   = ":8080"
	defaultEdge  = ":8081"
	defaultAdmin = "127.0.0.1:8082"

	defaultDataDir  = "./data"
	defaultMaxBytes = Bytes(20 << 30)
	defaultCache    = Bytes(256 << 20)

	defaultBidLog  = Bytes(10 << 30)
	defaultFactLog = Bytes(100 << 30)
	defaultKeep    = 90 * 24 * time.Hour

	defaultNoticeTTL = 48 * time.Hour
	minNoticeTTL     = time.Hour
	maxNoticeTTL     = 7 * 24 * time.Hour

	defaultRateAge = 24 * time.Hour

	maxVendorID = 1<<16 - 1
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
			l.addAt("listen."+a.field, quote(a.addr), "host:port or :port, such as 127.0.0.1:8082", "")
		}
		if a.field == "admin" && err == nil && n > 0 && !loopback(host) {
			l.warnAt("listen.admin", a.addr+": reached from outside this machine", "a loopback address: who reaches it can stop bidding and read profiles", "")
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
		l.addAt("listen.public_url", quote(s.PublicURL), "an https URL, or http on this machine, without a query", "")
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
	orDefault(&s.Data.MaxBytes, defaultMaxBytes)
	orDefault(&s.Data.CacheBytes, defaultCache)
	bids, facts := &s.Logs.Bids, &s.Logs.Facts
	orDefault(&bids.Dir, path.Join(s.Data.Dir, "log/bids"))
	orDefault(&bids.MaxBytes, defaultBidLog)
	orDefault(&facts.Dir, path.Join(s.Data.Dir, "log/facts"))
	orDefault(&facts.MaxBytes, defaultFactLog)
	orDefault(&facts.Keep, defaultKeep)
	l.percent("logs.bids.known_nobid_pct", &bids.KnownNoBidPct, 1)
	l.percent("logs.bids.unknown_nobid_pct", &bids.UnknownNoBidPct, 0.1)
	for _, x := range []struct {
		path  string
		least Bytes
		have  Bytes
	}{{"data.max_bytes", 1 << 20, s.Data.MaxBytes}, {"data.cache_bytes", 1 << 20, s.Data.CacheBytes},
		{"logs.bids.max_bytes", 1 << 20, bids.MaxBytes}, {"logs.facts.max_bytes", 1 << 20, facts.MaxBytes}} {
		if x.have < x.least {
			l.addAt(x.path, x.have.String(), "at least "+x.least.String(), "")
		}
	}
	if s.Data.NATS != "" {
		if u, err := url.Parse(s.Data.NATS); err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			l.addAt("data.nats", "something else", "a URL such as nats://host:4222, or nothing for the embedded log", "")
		}
	}
}

func (l *loader) percent(path string, p **float64, absent float64) {
	if *p == nil {
		*p = &absent
		return
	}
	if x := **p; !(x >= 0 && x <= 100) {
		l.addAt(path, strconv.FormatFloat(x, 'g', -1, 64), "a percentage from 0 to 100", "")
	}
}

func (l *loader) privacy(s *Privacy) *privacy.Policy {
	if s.VendorID < 0 || s.VendorID > maxVendorID {
		l.addAt("privacy.vendor_id", strconv.Itoa(s.VendorID), "an id of the Global Vendor List, 1 to 65535, or 0", "")
	}
	if s.VendorID == 0 {
		l.warnAt("privacy.vendor_id", "0", "our id in the Global Vendor List: without it all traffic under the GDPR is refused", "")
	}
	orDefault(&s.UnknownCountry, "refuse")
	words := []string{"refuse", "allow"}
	if !slices.Contains(words, s.UnknownCountry) {
		l.addAt("privacy.unknown_country", quote(s.UnknownCountry), "refuse or allow", rtb.DidYouMean(s.UnknownCountry, words))
	}
	if s.UnknownCountry == "allow" {
		l.warnAt("privacy.unknown_country", "allow", "refuse: a request that tells neither gdpr nor a country may come from where consent is needed", "")
	}
	orDefault(&s.NoticeTTL, defaultNoticeTTL)
	if s.NoticeTTL < minNoticeTTL || s.NoticeTTL > maxNoticeTTL {
		l.addAt("privacy.notice_ttl", rtb.FormatDuration(s.NoticeTTL), "1h to 7d", "")
	}
	p := &privacy.Policy{
		VendorID: s.VendorID, UnknownCountryAllow: s.UnknownCountry == "allow", GDPRCountries: s.GDPRCountries,
		PurposeOneTreatment: s.PurposeOneTreatment, MinPolicyVersion: s.MinPolicyVersion, RequireDisclosedVendors: s.RequireDisclosedVendors,
		FlexiblePurposes: s.FlexiblePurposes, GPCEverywhere: s.GPCEverywhere, ContextualWithoutBasis: s.ContextualWithoutBasis,
	}
	problems, _ := p.Check()
	for _, x := range problems {
		if x.Path != "vendor_id" { // said above
			l.addAt("privacy."+x.Path, quote(x.Got), x.Want, "")
		}
	}
	return p
}

func (l *loader) identity(s *Identity) []string {
	var sources []string
	seen := map[string]bool{}
	modes := []string{"plain", "ignore"}
	for i := range s.EIDs {
		e, at := &s.EIDs[i], "identity.eids["+strconv.Itoa(i)+"]"
		orDefault(&e.Mode, "plain")
		if !slices.Contains(modes, e.Mode) {
			l.addAt(at+".mode", quote(e.Mode), "plain or ignore", rtb.DidYouMean(e.Mode, modes))
		}
		if e.Source == "" || len(e.Source) > 128 || seen[e.Source] {
			l.addAt(at+".source", quote(e.Source), "a source such as id5-sync.com, once", "")
		}
		seen[e.Source] = true
		if e.Mode == "plain" {
			sources = append(sources, e.Source)
		}
	}
	return sources
}

// ratesFile is the table of exchange rates.
type ratesFile struct {
	AsOf  time.Time          `yaml:"as_of"` // when the rates held; RFC 3339; required
	Base  rtb.Currency       `yaml:"base"`  // what one unit is of; required
	Rates map[string]float64 `yaml:"rates"` // how much of each currency one unit of base is worth
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
		l.add(at, "as_of", "nothing", "when the rates held, such as 2026-10-01T00:00:00Z", "")
	}
	if f.Base.IsZero() {
		l.add(at, "base", "nothing", "a currency such as USD", "")
	}
	r := &rtb.Rates{Base: f.Base, AsOf: f.AsOf, MaxAge: s.MaxAge, PerBase: map[rtb.Currency]float64{}}
	for code, x := range f.Rates {
		cur, ok := rtb.ParseCurrency(code)
		if !ok || !(x > 0) || x > 1e9 {
			l.addAt("rates.file:.rates."+code, quote(code)+" at "+strconv.FormatFloat(x, 'g', -1, 64), "a code of ISO 4217 and a rate of more than 0", "")
			continue
		}
		r.PerBase[cur] = x
	}
	if !now.IsZero() && now.Sub(f.AsOf) > s.MaxAge {
		l.warnAt("rates.file", "rates of "+f.AsOf.Format(time.RFC3339), "rates not older than "+rtb.FormatDuration(s.MaxAge)+": until then nothing is bid in a currency other than the advertiser's", "")
	}
	return r
}

func (l *loader) loadFeeds(s *Snapshot, o Options) {
	s.FeedIndex, s.Rows = map[string]*creatives.Feed{}, map[string][]creatives.RowProblem{}
	for i := range s.Feeds {
		spec, at := &s.Feeds[i], "feeds["+strconv.Itoa(i)+"]"
		if !rtb.ValidID(spec.ID) {
			l.addAt(at+".id", quote(spec.ID), "an id of a-z, 0-9, _ and -, at most 64 characters", "")
		}
		if _, again := s.FeedIndex[spec.ID]; again {
			l.addAt(at+".id", quote(spec.ID)+" again", "an id that no other feed has", "")
		}
		if spec.MinKeepPct < 0 || spec.MinKeepPct > 100 {
			l.addAt(at+".min_keep_pct", strconv.Itoa(spec.MinKeepPct), "1 to 100", "")
		}
		s.FeedIndex[spec.ID] = l.loadFeed(s, spec, at, o)
	}
}

func (l *loader) loadFeed(s *Snapshot, spec *FeedSpec, at string, o Options) *creatives.Feed {
	if spec.File == "" {
		l.addAt(at+".file", "nothing", "a file of tab separated values", "")
		return nil
	}
	f, err := l.fsys.Open(spec.File)
	if err != nil {
		l.addAt(at+".file", "file "+quote(spec.File)+": "+reason(err), "a file that can be read", "")
		return nil
	}
	defer f.Close()
	l.feeds = append(l.feeds, spec.File)
	opts := creatives.FeedOptions{ID: spec.ID, MinKeepPct: spec.MinKeepPct}
	for i := range s.Advertisers {
		if s.Advertisers[i].Feed == spec.ID {
			for _, d := range s.Advertisers[i].Domains {
				opts.Domains = append(opts.Domains, strings.ToLower(d))
			}
		}
	}
	if o.Previous != nil {
		opts.Previous = o.Previous.FeedIndex[spec.ID]
	}
	feed, rows, err := creatives.LoadFeed(f, opts)
	if err != nil {
		got, want := gotWant(err)
		l.add(place{spec.File, 1}, at+".file", got, want, "")
		return nil
	}
	s.Rows[spec.ID] = rows
	l.feedWarnings(spec, at, feed, rows)
	return feed
}

// feedWarnings tell of skipped rows; the first few by line.
func (l *loader) feedWarnings(spec *FeedSpec, at string, feed *creatives.Feed, rows []creatives.RowProblem) {
	const shown = 5
	for i, r := range rows {
		if i == shown {
			l.warnings = append(l.warnings, Problem{File: spec.File, Path: at, Got: strconv.Itoa(len(rows)-shown) + " more rows that were skipped", Want: "good rows"})
			break
		}
		l.warnings = append(l.warnings, Problem{File: spec.File, Line: r.Line, Path: at, Got: strings.TrimPrefix(r.Field+": "+r.Why, ": "), Want: "a good row; it was skipped"})
	}
	if feed.Kept {
		l.warnAt(at+".file", "far fewer good rows than before", "a complete file; the "+strconv.Itoa(feed.Good)+" products from before stay", "")
	}
}
