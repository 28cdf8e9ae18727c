package creatives

import (
	"io"
	"time"

	"rebound/rtb"
)

// Text is a product's text and its escaped forms, made once at load.
type Text struct {
	Raw  string
	HTML string // for HTML text and for quoted attributes
	URL  string // percent-encoded, for a part of a URL
	JS   string // for a quoted string in a script
}

// Product is one good row of a feed.
type Product struct {
	ID          string // trimmed and case-folded
	SKU         Text   // the id as the feed writes it
	Title       Text
	Link        Text
	Image       Text
	Brand       Text
	Price       Text // "29.90 USD"
	SalePrice   Text // empty without a sale
	Type        string
	GroupID     string
	Amount      rtb.Micros
	SaleAmount  rtb.Micros
	Currency    rtb.Currency
	SaleFrom    time.Time // zero: since ever
	SaleTo      time.Time // zero: for ever
	InStock     bool
	Complements []string // ids, trimmed and case-folded
}

// RowProblem says why a row of a feed was skipped.
type RowProblem struct {
	Line  int
	Field string
	Why   string
}

// Feed is a loaded product feed; immutable.
type Feed struct {
	ID   string
	Good int
	Bad  int
	// Kept tells that a newer file was refused and this is the older feed.
	Kept bool

	products map[string]*Product
}

// FeedOptions say how a feed is read.
type FeedOptions struct {
	ID       string
	Domains  []string // hosts that links may have, with their subdomains; empty: any
	Previous *Feed    // what is served now; nil at start
	// MinKeepPct is the least share of the previous good rows, in percent, that a
	// new file must have; 0 means 50.
	MinKeepPct int
}

// Product finds a product by its folded id; nil when there is none. A nil feed
// has none.
func (f *Feed) Product(id string) *Product {
	if f == nil {
		return nil
	}
	return f.products[id]
}

// LoadFeed reads products as tab separated values with a header line of
// Merchant field names. Bad rows are skipped and reported. An error means that
// nothing could be read; a file with far fewer good rows than the previous feed
// gives the previous feed back, marked Kept.
func LoadFeed(r io.Reader, o FeedOptions) (*Feed, []RowProblem, error) {
	return nil, nil, nil
}
