package rtb

import "time"

// NoticeKind is the kind of a notice. Tokens are signed per kind, so a token
// issued for one kind is rejected on the endpoint of another.
type NoticeKind uint8

// The kinds of notices.
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

// String returns the kind's name as metrics and facts use it.
func (k NoticeKind) String() string {
	if int(k) >= len(noticeNames) {
		return ""
	}
	return noticeNames[k]
}

// BillingSource selects the notice that charges a bid.
type BillingSource uint8

// The billing sources; an exchange profile selects one for each format.
const (
	BillOnBURL BillingSource = iota
	BillOnNURL
	BillOnImp // our pixel, or the native tracker
	BillOnVAST
)

// Notice returns the kind of notice that charges bids under the source.
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

// Claims is the content of a notice's signed token. It holds everything that
// is needed to process the notice, so a configuration reload between the bid and
// its bill neither charges twice nor changes the charge.
type Claims struct {
	Bid        BidID
	Exchange   string
	Node       string
	Grant      string // run of the node whose grants cover the bid
	Advertiser string
	Campaign   string
	Line       string
	Creative   string
	Visitor    Key // zero when no visitor was read
	Item       string
	Deal       string
	Landing    string // landing page; only click tokens carry it
	// Handle is the line's handle, where it is known; 0: pacing looks the line up by its
	// ids. It is not part of tokens.
	Handle LineHandle
	// Slot is the kind of slot, by which pacing learns prices; tokens do not carry it.
	Slot Slot
	// Path is the supply path that offers the impression; tokens do not carry it.
	Path PathHandle

	Caps     CapSet
	Day      Day
	Flights  Flights
	Hour     Hour     // in which caps per hour count it; 0: the hour of Issued in UTC
	Price    CPM      // the bid, in Currency
	Currency Currency // currency of the bid
	// AdvertiserCurrency is the currency of the budgets. Rate converts an amount
	// in Currency into it.
	AdvertiserCurrency Currency
	Rate               Rate
	Reserved           Micros // highest cost of the impression, in AdvertiserCurrency
	// Quantity is the number of impressions that the bid pays for, in millionths
	// (OpenRTB 2.6 §3.2.31, imp.qty); 0 means one impression.
	Quantity   Quantity
	Format     Formats
	BillOn     BillingSource
	FirstPrice bool
	Test       bool // a test bid: never charged or counted
	Dry        bool // a bid that is never sent: released at once, and no demand; not in the token

	Issued     time.Time // second precision
	WinExpiry  time.Time // the reservation is released if no win has arrived by then
	BillExpiry time.Time // a bill that arrives later is late spend

	// Value and Expected are predictions at bid time, in AdvertiserCurrency: the
	// value of the impression and the expected cost of the bid.
	Value    Micros
	Expected Micros

	// ClickPPM and ConversionPPM are the predicted probabilities of a click and of a
	// conversion, in millionths; 0 means no prediction.
	ClickPPM      uint32
	ConversionPPM uint32
	Features      Features
}

// MaxFeatures is the largest number of features that a token carries.
const MaxFeatures = 8

// Features are the hashed features of a bid from which its outcome is learned. The zero
// value holds none, and costs nothing in a token.
type Features struct {
	N    uint8 // number of hashes in use, at most MaxFeatures
	Hash [MaxFeatures]uint32
}

// SealedClaims are the claims of one bid, encoded and hashed once for the tokens of all
// its notices. Only the signer that filled it can use it; the memory of Text is reused. The
// methods that append tokens write to Tag, so only one goroutine at a time may call them
// with the same SealedClaims.
type SealedClaims struct {
	Text    []byte   // the encoded claims as base64url; empty if no URL can carry them
	Digest  [16]byte // keyed hash of the encoded claims; never sent
	Tag     [16]byte // scratch memory of the methods that append tokens
	Landing string   // of the claims; only click tokens carry it
}
