package creatives

import (
	"time"

	"rebound/rtb"
)

// MaxMarkup is how many bytes a creative's markup may have unless its spec
// says less.
const MaxMarkup = 32 << 10

// Creative is one compiled creative. It is immutable and safe for concurrent
// use.
type Creative struct {
	ID         string
	CRID       string // id and content hash, at most 64 bytes; changes when the content does
	Advertiser string // empty: any advertiser's line may use it
	Type       string // as configured, such as html_template
	Format     rtb.Formats
	Sizes      []rtb.Size
	Attrs      []int    // creative attributes, against battr
	Cats       []string // empty: the advertiser's
	Language   string   // empty: not known
	Mimes      []string
	APIs       []int
	Secure     bool // everything it loads is https
	FullScreen bool // only for interstitials (OpenRTB 2.6 §3.2.4, instl)
	ClickURL   string
	IURL       string // a picture for the exchange's audit; may be empty
	// NeedsProduct tells that there is no markup without a product.
	NeedsProduct bool
	Fallback     *Creative // used where the products do not suffice; may be nil
	Fill         []Fill
	MaxBytes     int
	Duration     time.Duration // of a video or audio ad; 0 for other formats

	body  body
	crids []string // by size, if there are several
}

// CRIDOf is the creative id of one size: what an exchange reviews under one id is
// one look (conformance R6). It is CRID where the creative has one size or none.
func (c *Creative) CRIDOf(s rtb.Size) string {
	for i := range c.crids {
		if c.Sizes[i] == s {
			return c.crids[i]
		}
	}
	return c.CRID
}

// HasSize tells whether the creative can be shown in a size.
func (c *Creative) HasSize(s rtb.Size) bool {
	for _, have := range c.Sizes {
		if have == s {
			return true
		}
	}
	return false
}

// Landing is where a click leads: the product's page, or the creative's own
// click_url without a product.
func (c *Creative) Landing(products []*Product) string {
	if len(products) > 0 {
		return products[0].Link.Raw
	}
	return c.ClickURL
}
