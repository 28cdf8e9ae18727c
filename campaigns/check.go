package campaigns

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	// The time zone database is embedded for machines that have none.
	_ "time/tzdata"

	"rebound/creatives"
	"rebound/internal/inventory"
	"rebound/internal/spec"
	"rebound/rtb"
)

// advertiser compiles one advertiser. It is kept even if it has problems, so
// that its campaigns are checked too.
func (c *compiler) advertiser(path string, s *AdvertiserSpec) {
	c.ID(path+".id", s.ID)
	if c.x.byID[s.ID] != nil {
		c.Add(path+".id", spec.Quote(s.ID)+" again", "an id that no other advertiser has")
		return
	}
	a := &Advertiser{ID: s.ID, Name: s.Name, Currency: s.Currency, Zone: time.UTC, Cats: slices.Clone(s.IABCat)}
	if a.Name == "" {
		a.Name = a.ID
	}
	if a.Currency.IsZero() {
		a.Currency = rtb.USD
	}
	if s.Timezone != "" {
		zone, err := time.LoadLocation(s.Timezone)
		if err != nil || s.Timezone == "Local" {
			c.Add(path+".timezone", spec.Quote(s.Timezone), "a name in the IANA time zone database, such as Europe/Rome")
		} else {
			a.Zone = zone
		}
	}
	c.dates(path, s.Start, s.End)
	a.Start, a.End = s.Start, s.End
	a.Pacing = Pacing(c.choose(path+".budget.pacing", s.Budget.Pacing, pacingNames, int(PacingEven)))
	a.HoldbackPct = c.holdback(path, &s.Budget, 0)
	a.Limits = c.limits(path, rtb.OwnAdvertiser, &s.Budget, s.Start)
	a.Domains = c.domains(path+".domains", s.Domains)
	for i, cat := range s.IABCat {
		if !strings.HasPrefix(cat, "IAB") || len(cat) > 16 {
			c.Add(spec.At(path+".iab_cat", i), spec.Quote(cat), "a category of IAB Content Taxonomy 1.0, such as IAB18-5")
		}
	}
	a.Keys = c.keys(path+".keys", s.Keys)
	if s.Feed != "" && spec.KnownIn(&c.Report, path+".feed", s.Feed, "a feed", c.in.Feeds) {
		a.Feed = c.in.Feeds[s.Feed]
	}
	c.frequency(path+".frequency", s.Frequency)
	if c.specs == nil {
		c.specs = map[*Advertiser]*AdvertiserSpec{}
	}
	c.specs[a] = s
	if c.above == nil {
		c.levels, c.above = map[*CampaignSpec]level{}, map[*Advertiser]level{}
	}
	c.above[a] = level{(*safety)(nil).plus(c.safety(path+".safety", &s.Safety)), c.dsa(path+".dsa", &s.DSA, a)}
	c.x.advertisers = append(c.x.advertisers, a)
	c.x.byID[a.ID] = a
}

func (c *compiler) domains(path string, domains []string) []string {
	const want = "host names without scheme and path, such as shop.example"
	if len(domains) == 0 {
		c.Add(path, "nothing", want)
	}
	out := make([]string, 0, len(domains))
	for i, d := range domains {
		host := inventory.ASCIIHost(d)
		if !creatives.ValidHost(host) {
			c.AddHint(spec.At(path, i), spec.Quote(d), want, creatives.HostOf(d))
		}
		out = append(out, host)
	}
	return out
}

func (c *compiler) keys(path string, specs []KeySpec) []Key {
	var keys []Key
	for i, s := range specs {
		var k Key
		sum, err := hex.DecodeString(s.SHA256)
		if err != nil || len(sum) != len(k.SHA256) {
			c.AddHint(spec.At(path, i)+".sha256", spec.Quote(s.SHA256), "the SHA-256 of the key as 64 hex digits", "printf %s KEY | sha256sum")
		}
		copy(k.SHA256[:], sum)
		if k.SHA256 == sha256.Sum256(nil) {
			c.Add(spec.At(path, i)+".sha256", "the hash of an empty key", "the hash of a key of at least 16 random bytes")
		}
		for _, other := range c.x.advertisers {
			if slices.ContainsFunc(other.Keys, func(o Key) bool { return o.SHA256 == k.SHA256 }) {
				c.Add(spec.At(path, i)+".sha256", "the key of advertiser "+spec.Quote(other.ID), "a key that no other advertiser has")
			}
		}
		for j, name := range s.Scopes {
			if n := c.OneOf(spec.At(spec.At(path, i)+".scopes", j), name, scopeNames); n >= 0 {
				k.Scopes |= 1 << n
			}
		}
		if len(s.Scopes) == 0 {
			k.Scopes = ScopeEvents
		}
		keys = append(keys, k)
	}
	return keys
}

const (
	minPer = time.Minute
	maxPer = 90 * 24 * time.Hour
)

func (c *compiler) frequency(path string, caps Frequency) {
	for i, f := range caps {
		if f.Max < 1 {
			c.AddHint(spec.At(path, i)+".max", strconv.Itoa(f.Max), "1 or more impressions", "frequency: none removes the cap")
		}
		if f.Per < minPer || f.Per > maxPer {
			c.Add(spec.At(path, i)+".per", spec.FormatDuration(f.Per), "1m to 90d")
		}
	}
}

// landing checks that a page is on the advertiser's domains.
func (c *compiler) landing(path, page string, a *Advertiser) {
	u, err := url.Parse(page)
	if err != nil || !creatives.HostWithin(u.Hostname(), a.Domains) {
		c.Add(path, "click_url "+spec.Quote(page), "a page on the advertiser's domains: "+strings.Join(a.Domains, ", "))
	}
}

func (c *compiler) money(path string, m *rtb.Micros) rtb.Micros {
	if m == nil {
		return 0
	}
	if *m <= 0 {
		c.AddHint(path, m.String(), "more than 0", "leave the field out to set no cap")
		return 0
	}
	return *m
}

func (c *compiler) cpm(path string, p rtb.CPM) {
	if p <= 0 || p > rtb.MaxCPM {
		got := p.String()
		if p == 0 {
			got = "nothing"
		}
		c.Add(path, got, "a price per thousand impressions, more than 0 and at most "+rtb.MaxCPM.String())
	}
}
