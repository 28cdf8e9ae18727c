package privacy

import (
	"strconv"
	"strings"
	"sync"

	"rebound/internal/spec"
)

// MaxStringLen is the maximum length of a consent or GPP string in characters; a
// longer one counts as unreadable. A TCF string for a full vendor list of 1,500
// vendors, with disclosed vendors and a hundred publisher restrictions, has less
// than 4,000.
const MaxStringLen = 8192

// DefaultMinPolicyVersion is the oldest accepted version of the TCF policy: 4,
// that of TCF 2.2, the first under which legitimate interest is not a basis for
// profiles.
const DefaultMinPolicyVersion = 4

// Policy is the privacy section of the configuration. It must not be changed or
// copied after its first use; it is safe for concurrent use. The zero value is
// usable: it refuses all traffic under the GDPR and all traffic of unknown
// origin.
type Policy struct {
	// VendorID is our id in IAB Europe's Global Vendor List, 1 to 65535. With 0,
	// all traffic under the GDPR is refused.
	VendorID int
	// UnknownCountryAllow accepts a request that names neither the user's country
	// nor whether the GDPR applies. By default it is refused.
	UnknownCountryAllow bool
	// GDPRCountries are the countries (ISO 3166-1, alpha-2 or alpha-3) where a
	// missing gdpr flag counts as 1; empty means [DefaultGDPRCountries].
	GDPRCountries []string
	// PurposeOneTreatment are the publisher countries (alpha-2) whose strings may
	// omit purpose 1 because it was not shown to the user there; empty means
	// none.
	PurposeOneTreatment []string
	// MinPolicyVersion is the oldest accepted version of the TCF policy; 0 means
	// [DefaultMinPolicyVersion].
	MinPolicyVersion int
	// RequireDisclosedVendors refuses every TCF string without the segment of
	// disclosed vendors. By default only strings created after 28 February 2026
	// are refused, for which TCF 2.3 made the segment mandatory.
	RequireDisclosedVendors bool
	// FlexiblePurposes are the purposes (1 to 24) that we registered as flexible
	// in the vendor list. For these a publisher may require consent or legitimate
	// interest; for any other purpose such a restriction forbids it.
	FlexiblePurposes []int
	// GPCEverywhere honors Global Privacy Control in every country; by default
	// only in the United States and where the country is unknown.
	GPCEverywhere bool
	// ContextualWithoutBasis lets contextual lines bid on traffic under the GDPR
	// without a legal basis for purpose 2, which also covers ads selected by
	// context. By default they do not bid.
	ContextualWithoutBasis bool
	// CacheEntries is how many parsed strings each of the caches for TCF and GPP
	// holds; 0 means 4096, a negative number none.
	CacheEntries int

	once     sync.Once
	regions  *regions
	flexible uint32
	minimum  uint8
	oneAway  map[[2]byte]bool
	tcf      *cache[tcString]
	gpp      *cache[gppString]
}

// ready compiles the policy on its first use.
func (p *Policy) ready() { p.once.Do(p.compile) }

func (p *Policy) compile() {
	gdpr := p.GDPRCountries
	if len(gdpr) == 0 {
		gdpr = strings.Fields(DefaultGDPRCountries)
	}
	p.regions, _ = newRegions(gdpr)
	p.oneAway = make(map[[2]byte]bool)
	for _, c := range p.PurposeOneTreatment {
		if len(c) == 2 {
			c = strings.ToUpper(c)
			p.oneAway[[2]byte{c[0], c[1]}] = true
		}
	}
	for _, n := range p.FlexiblePurposes {
		if n >= 1 && n <= 24 {
			p.flexible |= 1 << (n - 1)
		}
	}
	p.minimum = DefaultMinPolicyVersion
	if p.MinPolicyVersion != 0 {
		p.minimum = uint8(min(max(p.MinPolicyVersion, 0), 255))
	}
	n := p.CacheEntries
	if n == 0 {
		n = defaultCacheEntries
	}
	p.tcf = newCache[tcString](n)
	p.gpp = newCache[gppString](n)
}

// Check returns the problems of the policy, and the settings that work but are
// risky. Paths are the names of the configuration's fields. A policy without
// problems can be used.
func (p *Policy) Check() (r spec.Report) {
	if p.VendorID < 0 || p.VendorID > 0xFFFF {
		r.Add("vendor_id", strconv.Itoa(p.VendorID), "1 to 65535, or 0 for none")
	}
	if p.VendorID == 0 {
		r.Warn("vendor_id", "0", "our id in the Global Vendor List; without one all traffic under the GDPR is refused")
	}
	if _, unknown := newRegions(p.GDPRCountries); len(unknown) > 0 {
		r.Add("gdpr_countries", strings.Join(unknown, ", "), "country codes of two or three letters (ISO 3166-1)")
	}
	none, _ := newRegions(nil)
	for i, c := range p.PurposeOneTreatment {
		if len(c) != 2 || none.of([]byte(c)) == regionUnknown {
			r.Add(spec.At("purpose_one_treatment", i), spec.Quote(c), "a country code of two letters (ISO 3166-1)")
		}
	}
	if p.MinPolicyVersion < 0 || p.MinPolicyVersion > 63 {
		r.Add("min_policy_version", strconv.Itoa(p.MinPolicyVersion), "1 to 63, or 0 for the default")
	}
	for i, n := range p.FlexiblePurposes {
		if n < 1 || n > 24 {
			r.Add(spec.At("flexible_purposes", i), strconv.Itoa(n), "a purpose from 1 to 24")
		}
	}
	if p.CacheEntries > maxCacheEntries {
		r.Add("cache_entries", strconv.Itoa(p.CacheEntries), "at most "+strconv.Itoa(maxCacheEntries))
	}
	return r
}

// Stats counts the work of a policy's caches of parsed strings, TCF and GPP
// together.
type Stats struct {
	Hits      uint64 // strings found in the cache
	Misses    uint64 // strings parsed because they were not in the cache
	Oversized uint64 // strings parsed because they cannot be cached
	Entries   int    // strings in the cache
}

// Stats returns the counters since the policy's first use.
func (p *Policy) Stats() Stats {
	p.ready()
	return Stats{
		Hits:      p.tcf.hits.Load() + p.gpp.hits.Load(),
		Misses:    p.tcf.misses.Load() + p.gpp.misses.Load(),
		Oversized: p.tcf.oversized.Load() + p.gpp.oversized.Load(),
		Entries:   int(p.tcf.entries.Load() + p.gpp.entries.Load()),
	}
}
