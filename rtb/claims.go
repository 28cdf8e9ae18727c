package rtb

import "time"

// NoticeKind is what a notice tells. Each kind has a MAC of its own, so a token
// of one kind is worthless as another.
type NoticeKind uint8

// The kinds.
const (
	NoticeWin   NoticeKind = iota + 1 // nurl
	NoticeBill                        // burl
	NoticeLoss                        // lurl
	NoticeImp                         // pixel in the markup
	NoticeView                        // viewable
	NoticeClick                       // click through our redirect
	NoticeVideo                       // VAST progress
)

var noticeNames = [...]string{"", "win", "bill", "loss", "imp", "view", "click", "video"}

// String is the kind's name in metrics and facts.
func (k NoticeKind) String() string {
	if int(k) >= len(noticeNames) {
		return ""
	}
	return noticeNames[k]
}

// BillingSource says which notice books the spend of a bid.
type BillingSource uint8

// The sources; exchange profiles name one per format.
const (
	BillOnBURL BillingSource = iota
	BillOnNURL
	BillOnImp // our pixel, or the native tracker
	BillOnVAST
)

// Notice is the kind of notice that books the spend under the source.
func (s BillingSource) Notice() NoticeKind {
	switch s {
	case BillOnNURL:
		return NoticeWin
	case BillOnImp:
		return NoticeImp
	case BillOnVAST:
		return NoticeVideo
	}
	return NoticeBill
}

// Claims is everything that a notice needs, carried in its signed token, so
// that a reload between bid and bill can neither charge twice nor differently.
type Claims struct {
	Bid        BidID
	Exchange   string
	Node       string
	Grant      string // the run of the node whose grants cover the bid
	Advertiser string
	Campaign   string
	Line       string
	Creative   string
	Visitor    Key // zero when no visitor was read
	Item       string
	Deal       string
	Landing    string // where a click leads; only click tokens carry it

	Caps     CapSet
	Day      Day
	Price    CPM      // the bid, in Currency
	Currency Currency // the bid's
	// AdvertiserCurrency is the budgets' currency, and Rate how many millionths
	// of it one unit of Currency is worth: 1,000,000 when they are the same.
	AdvertiserCurrency Currency
	Rate               int64
	Reserved           Micros // worst cost of the impression, in AdvertiserCurrency
	// Quantity is how many impressions the bid may count as, in millionths
	// (OpenRTB 2.6 §3.2.31, imp.qty); 0 means one.
	Quantity   int64
	Format     Formats
	BillOn     BillingSource
	FirstPrice bool
	Test       bool // never billed, never counted

	Issued     time.Time // second precision
	WinExpiry  time.Time // without a win by then the reservation is released
	BillExpiry time.Time // a bill of a won bid that comes later is late spend

	// Value and Expected are predictions at bid time: what the impression was
	// worth and what it was expected to cost, in AdvertiserCurrency micros.
	Value    Micros
	Expected Micros
}
