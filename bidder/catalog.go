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

// Catalog is everything that the configuration says about bidding, at one
// moment. It is not changed after it is first used; one request reads one catalog
// from beginning to end.
type Catalog struct {
	Hash      string // of the configuration, for the record
	Exchanges map[string]*exchange.Profile
	Index     *campaigns.Index
	Policy    *privacy.Policy
	Rates     *rtb.Rates
	// EIDSources are the sources of user.eids that may name a visitor, the most
	// trusted first; identifiers of others are not looked up.
	EIDSources []string
	// Supply is what is known of supply; nil: nothing is asked.
	Supply *campaigns.Supply
	// Approvals are the creatives that exchanges do not show; nil: all may be shown.
	Approvals *campaigns.Approvals
	// LinesPerAdvertiser is how many lines of an advertiser may answer one
	// request; 0 means 1.
	LinesPerAdvertiser int

	once    sync.Once
	domains map[*campaigns.Advertiser][]string // registrable, lower case
}

// registrable are the advertiser's domains at the level at which block lists
// name them: shop.co.uk for www.shop.co.uk (conformance B10).
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

// registrableDomain is the domain that was registered, or the domain itself
// where the list of public suffixes has no answer.
func registrableDomain(d string) string {
	d = strings.TrimSuffix(strings.ToLower(d), ".")
	if r, err := publicsuffix.EffectiveTLDPlusOne(d); err == nil {
		return r
	}
	return d
}

func (c *Catalog) linesPerAdvertiser() int { return max(c.LinesPerAdvertiser, 1) }
