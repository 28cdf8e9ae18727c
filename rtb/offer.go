package rtb

import "time"

// Offer is one bid of a decision, ready to be encoded into the response. Its
// slices are borrowed from the handler's scratch.
type Offer struct {
	Imp      int // index into Opportunity.Imps
	Bid      BidID
	Price    CPM // in Currency
	Currency Currency
	Format   Formats
	Size     Size
	Flex     FlexSize // set when Size was chosen to match a ratio

	Campaign   string // cid
	CreativeID string // crid
	AdDomains  []string
	Cats       []string
	CatTax     int
	Attrs      []int
	Language   string
	Deal       []byte
	APIs       []int
	Protocol   int
	Duration   time.Duration // whole seconds
	Exp        time.Duration // whole seconds; 0 omits the field
	Bundle     string
	IURL       string
	Ext        []byte // raw JSON members of bid.ext, without the braces

	Markup     []byte // adm as a JSON string
	MarkupSize int    // of adm in bytes, before escaping
	NURL       []byte // the URLs need no escaping in JSON
	BURL       []byte
	LURL       []byte
}
