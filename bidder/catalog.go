package bidder

import (
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"

	"rebound/campaigns"
	"rebound/exchange"
	"rebound/privacy"
	"rebound/rtb"
)

// Catalog holds everything in one configuration that concerns bidding. It must
// not change after its first use. A request reads the same catalog from
// beginning to end.
type Catalog struct {
	Hash string // of the configuration, for the record
	// Activation is the id under which everything in the catalog was archived, for the
	// record; empty: it was not.
	Activation string
	Exchanges  map[string]*exchange.Profile
	Index      *campaigns.Index
	Policy     *privacy.Policy
	Rates      *rtb.Rates
	// EIDSources are the sources of user.eids that may identify a visitor, the most
	// trusted first. Identifiers of other sources are not looked up.
	EIDSources []string
	// Supply holds the rules for sites, apps and sellers; nil: none.
	Supply *campaigns.Supply
	// Approvals are the creatives that exchanges refuse to show; nil: none.
	Approvals *campaigns.Approvals
	// LinesPerAdvertiser is how many lines of one advertiser may bid in one
	// response; 0 means 1.
	LinesPerAdvertiser int

	once    sync.Once
	domains map[*campaigns.Advertiser][]string // registrable, lower case
}

// registrable returns the advertiser's domains at the level that block lists use:
// shop.co.uk for www.shop.co.uk (conformance B10).
func (c *Catalog) registrable(a *campaigns.Advertiser) []string {
	c.once.Do(func() {
		c.domains = make(map[*campaigns.Advertiser][]string)
		for _, a := range c.Index.Advertisers() {
			for _, d := range a.Domains {
				c.domains[a] = append(c.domains[a], registrableDomain(d))
			}
		}
	})
	return c.domains[a]
}

// registrableDomain returns the domain one label below a public suffix, or the
// domain itself where the list of public suffixes has no answer.
func registrableDomain(d string) string {
	d = strings.TrimSuffix(strings.ToLower(d), ".")
	if r, err := publicsuffix.EffectiveTLDPlusOne(d); err == nil {
		return r
	}
	return d
}

func (c *Catalog) linesPerAdvertiser() int { return max(c.LinesPerAdvertiser, 1) }
