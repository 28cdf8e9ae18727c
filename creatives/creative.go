package creatives

import (
	"time"

	"rebound/rtb"
)

// MaxMarkup is the size limit of a creative's markup in bytes. A spec may set a
// lower one.
const MaxMarkup = 32 << 10

// Creative is a compiled creative. It is immutable and safe for concurrent use.
type Creative struct {
	ID         string
	CRID       string // id and content hash, at most 64 bytes; changes when the content does
	Advertiser string // empty: lines of any advertiser may use it
	Type       string // as configured, such as html_template
	Format     rtb.Formats
	Sizes      []rtb.Size
	Attrs      []int    // creative attributes, checked against battr
	Cats       []string // empty: the advertiser's
	Language   string   // empty: unknown
	Mimes      []string
	APIs       []int
	Secure     bool // everything it loads is https
	FullScreen bool // only for interstitials (OpenRTB 2.6 §3.2.4, instl)
	ClickURL   string
	IURL       string // an image for the exchange's audit; may be empty
	// NeedsProduct is set if the creative cannot be shown without a product.
	NeedsProduct bool
	Fallback     *Creative // used if there is no product; may be nil
	// Alike is the first creative that equals this one in everything that decides where it
	// may be shown, without products: Fits, Secure, Language, Cats, and whether there is an
	// IURL. It is this creative if there is none before it.
	Alike    *Creative
	Fill     Fills
	MaxBytes int
	Duration time.Duration // of a video or audio ad; 0 for other formats

	body  body
	crids []string // by size, if there are several
}

// CRIDOf returns the creative id of one size, so that an exchange reviews one
// appearance under one id (conformance R6). It is CRID if the creative has one
// size or none.
func (c *Creative) CRIDOf(s rtb.Size) string {
	for i := range c.crids {
		if c.Sizes[i] == s {
			return c.crids[i]
		}
	}
	return c.CRID
}

// HasSize reports whether the creative can be shown in a size.
func (c *Creative) HasSize(s rtb.Size) bool {
	for _, have := range c.Sizes {
		if have == s {
			return true
		}
	}
	return false
}

// Landing returns the landing page: that of the first product, or else the
// click_url of the creative.
func (c *Creative) Landing(products []*Product) string {
	if len(products) > 0 {
		return products[0].Link.Raw
	}
	return c.ClickURL
}
