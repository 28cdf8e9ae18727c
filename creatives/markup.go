package creatives

import (
	"errors"
	"time"

	"rebound/rtb"
)

// Errors of [Creative.Append].
var (
	ErrTooLarge  = errors.New("markup is larger than the limit")
	ErrNoProduct = errors.New("the creative needs a product and has none")
)

// Markup is what one bid puts into a creative. Everything is borrowed until
// Append returns.
type Markup struct {
	Size     rtb.Size
	Products []*Product
	Click    []byte // our signed click URL, complete
	// ClickMacro is the exchange's click macro, put raw before our URL, which is
	// then percent-encoded; empty: our URL stands alone.
	ClickMacro []byte
	// ClickMacroEsc is the exchange's macro for use inside another redirect.
	ClickMacroEsc []byte
	Pixel         []byte // our impression pixel's URL, exchange macros in it raw
	Advertiser    string
	Campaign      string
	Line          string
	SiteDomain    []byte // from the request: hostile
	CacheBuster   uint64
	Now           time.Time // decides whether a sale is on
}

// Append appends the creative's markup, before JSON escaping. dst comes back
// unchanged with an error.
func (c *Creative) Append(dst []byte, m *Markup) ([]byte, error) { return dst, nil }

// Fill says where products come from.
type Fill uint8

// The sources of products.
const (
	FillCart Fill = iota + 1
	FillViewed
	FillWishlist
	FillComplements // what goes with products that the visitor met or bought
)

// Select appends the products to show to a visitor, the best first, at most
// one for now: in stock, of the advertiser, and not bought within 30 days.
// Nothing is appended where none fits.
func (c *Creative) Select(dst []*Product, v *rtb.Visitor, f *Feed, advertiser string, now time.Time) []*Product {
	return dst
}

type piece struct {
	lit string
}
