package events

import (
	"time"

	"rebound/rtb"
)

// Kind is the kind of a fact.
type Kind string

// The kinds of facts.
const (
	KindEvent   Kind = "event"   // a visitor did something on an advertiser's site
	KindLink    Kind = "link"    // an outside identifier belongs to a visitor
	KindOptOut  Kind = "opt_out" // a visitor opted out
	KindOptIn   Kind = "opt_in"  // a visitor takes back its opt-out
	KindErase   Kind = "erase"   // a visitor's data is erased
	KindConfig  Kind = "config"  // a configuration became active
	KindGrant   Kind = "grant"   // a node may spend up to an amount of a budget
	KindTick    Kind = "tick"    // time passed; nothing else happened
	KindPause   Kind = "pause"   // an operator stopped or resumed bidding
	KindWin     Kind = "win"     // an exchange says that a bid won
	KindBill    Kind = "bill"    // an exchange says that an impression is charged
	KindLoss    Kind = "loss"    // an exchange says that a bid lost
	KindImp     Kind = "imp"     // the markup was rendered
	KindView    Kind = "view"    // the ad was viewable
	KindClick   Kind = "click"   // the ad was clicked
	KindVideo   Kind = "video"   // a video advanced
	KindList    Kind = "list_rows"
	KindConvert Kind = "conversion"
	KindAdjust  Kind = "adjustment" // money is booked that no notice accounts for

	KindApproval   Kind = "approval"    // an exchange or an operator approved or rejected a creative
	KindAcceptLoss Kind = "accept_loss" // an operator accepted that a range of facts is lost
	KindUnreadable Kind = "unreadable"  // a message of the fleet's stream was not a fact
)

// Fact is one line of the log. A fact is appended once under its ID; applying
// it twice changes nothing. Its kind decides which of the embedded structs are
// set. Their JSON names are distinct, except for those of Adjustment, so a line
// contains them without nesting; [AppendBody] and [AppendWho] say which of the
// two objects of a line each field belongs to.
type Fact struct {
	V    int       `json:"v"`             // 1
	Seq  uint64    `json:"seq,omitempty"` // place in the log; set by the journal
	ID   string    `json:"id"`            // message id: the same id twice is one fact
	TS   time.Time `json:"ts,omitzero"`   // set by the journal at append; never goes back along the log
	At   time.Time `json:"at,omitzero"`   // when the event itself happened
	Kind Kind      `json:"kind"`

	Advertiser string  `json:"advertiser,omitempty"`
	Visitor    rtb.Key `json:"visitor,omitzero"`
	// Node is the node that wrote a grant, or that made the bid of a notice.
	Node string `json:"node,omitempty"`
	// Currency is the currency of the fact's amounts in micros.
	Currency rtb.Currency `json:"currency,omitzero"`

	*Event  `json:",omitempty"`
	*Link   `json:",omitempty"`
	*Notice `json:",omitempty"`
	*Grant  `json:",omitempty"`
	*Config `json:",omitempty"`
	*Pause  `json:",omitempty"`
	*List   `json:",omitempty"`

	Adjustment *Adjustment `json:"-"`
	AcceptLoss *AcceptLoss `json:"-"`
	Approval   *Approval   `json:"-"`

	// Keys are the outside identifiers of an opt_out or erase fact.
	Keys []LinkKey `json:"keys,omitempty"`

	// Erased reports whether the fact's personal fields were erased.
	Erased bool `json:"-"`
	// LineHash is the chain hash of the fact's line; set by the journal.
	LineHash Hash `json:"-"`
}

// Position returns the fact's place in the log, which is the position of a view
// that has applied it.
func (f *Fact) Position() Position {
	return Position{Seq: f.Seq, Hash: f.LineHash, Time: f.TS}
}

// Trust is the degree to which the source of an event is trusted.
type Trust string

// Degrees of trust.
const (
	TrustBrowser Trust = "browser" // from the pixel or the tag, which anybody can send
	TrustServer  Trust = "server"  // sent with the advertiser's key
)

// Event is an action of a visitor (kind event).
type Event struct {
	Name    string            `json:"name,omitempty"` // canonical: view_item, add_to_cart, purchase...
	EventID string            `json:"event_id,omitempty"`
	Items   []Item            `json:"items,omitempty"`
	Value   rtb.Micros        `json:"value_micros,omitempty"`
	OrderID string            `json:"order_id,omitempty"`
	URL     *URL              `json:"url,omitempty"`
	RefHost string            `json:"ref_host,omitempty"`
	UTM     map[string]string `json:"utm,omitempty"`
	Query   string            `json:"q,omitempty"`
	Props   map[string]string `json:"props,omitempty"`
	Source  string            `json:"action_source,omitempty"`
	Trust   Trust             `json:"trust,omitempty"`
}

// Item is one product of an event. ID is trimmed and case-folded.
type Item struct {
	ID       string     `json:"id"`
	Price    rtb.Micros `json:"price_micros,omitempty"`
	Quantity int        `json:"qty,omitempty"`
	Category string     `json:"category,omitempty"`
	Brand    string     `json:"brand,omitempty"`
}

// URL is the page of an event; Query is the raw query without utm parameters.
type URL struct {
	Host  string `json:"host,omitempty"`
	Path  string `json:"path,omitempty"`
	Query string `json:"query,omitempty"`
}

// The modes of a list fact.
const (
	ListDefine = "define" // the list exists from now on, with these settings
	ListBegin  = "begin"  // a job begins to change the list, by Action
	ListRow    = "row"    // one row of a job; Keys identify the person
	ListCommit = "commit" // the job is complete: rows of a replacement take effect, and the older ones end
	ListAbort  = "abort"  // the job ended early: rows of a replacement never take effect
	ListDrop   = "drop"   // the list and its rows end
)

// The actions of a job.
const (
	ListAppend  = "append"
	ListReplace = "replace"
	ListRemove  = "remove"
)

// List changes a list of an advertiser's customers (kind list_rows). A fact has one row,
// so that erasing a person leaves the other rows as they are.
type List struct {
	List   string `json:"list,omitempty"`
	Job    string `json:"job,omitempty"`
	Mode   string `json:"mode,omitempty"`
	Action string `json:"action,omitempty"` // of begin
	// Norm, Purpose and TTL are settings of define: std or uid2, target or suppress, and
	// the seconds for which a row counts.
	Norm    string `json:"norm,omitempty"`
	Purpose string `json:"purpose,omitempty"`
	TTL     int64  `json:"ttl_s,omitempty"`
	// Rows and Accepted are the numbers of rows of the job, of commit and abort.
	Rows     int64 `json:"rows,omitempty"`
	Accepted int64 `json:"accepted,omitempty"`
	// Traits are the columns trait.<name> of the row. Personal.
	Traits map[string]string `json:"traits,omitempty"`
}

// LinkKey is one outside identifier, hashed. KeyKind is "b:<exchange>", "ifa",
// "eid:<source>", "em", "ph" or "xid"; in an opt-out or an erasure also [VisitorKind].
type LinkKey struct {
	KeyKind string  `json:"key_kind"`
	Key     rtb.Key `json:"key"`
}

// VisitorKind is the kind of a key that is a visitor's own.
const VisitorKind = "visitor"

// Link says that an outside identifier belongs to the fact's visitor.
type Link struct {
	LinkKey
	Provenance string `json:"provenance,omitempty"` // tag, s2s, sync, list
}

// Notice is a report of an exchange or a browser about one bid (kinds win,
// bill, loss, imp, view, click, video). Everything except the price, the loss
// and the flags comes from the signed token.
type Notice struct {
	BidID      rtb.BidID    `json:"bid_id,omitzero"`
	Exchange   string       `json:"exchange,omitempty"`
	Grant      string       `json:"grant,omitempty"`
	Campaign   string       `json:"campaign,omitempty"`
	Line       string       `json:"line,omitempty"`
	Creative   string       `json:"creative,omitempty"`
	Item       string       `json:"item,omitempty"`
	Deal       string       `json:"deal,omitempty"`
	Format     string       `json:"format,omitempty"`
	Day        rtb.Day      `json:"day,omitempty"`
	Caps       rtb.CapSet   `json:"caps,omitempty"`
	Flights    rtb.Flights  `json:"flights,omitzero"`       // on which days those of the line, campaign and advertiser began
	Hour       rtb.Hour     `json:"hour,omitempty"`         // in which caps per hour count the bid; 0: the hour of Issued in UTC
	Bid        rtb.CPM      `json:"bid,omitempty"`          // our price, in BidCurrency
	Price      rtb.CPM      `json:"price,omitempty"`        // as reported, clamped to the bid; in BidCurrency
	PriceTold  bool         `json:"price_told,omitempty"`   // the notice contained a readable price
	Charge     rtb.Micros   `json:"price_micros,omitempty"` // cost of this impression, in the fact's Currency
	BidCur     rtb.Currency `json:"bid_currency,omitzero"`
	Reserved   rtb.Micros   `json:"reserved_micros,omitempty"`
	Bills      bool         `json:"bills,omitempty"` // this kind of notice charges this bid
	FirstPrice bool         `json:"first_price,omitempty"`
	Issued     time.Time    `json:"issued,omitzero"`
	WinExpiry  time.Time    `json:"win_expiry,omitzero"`
	BillExpiry time.Time    `json:"bill_expiry,omitzero"`
	Value      rtb.Micros   `json:"bid_value_micros,omitempty"`
	Expected   rtb.Micros   `json:"expected_micros,omitempty"`
	// ClickPPM, ConversionPPM and Features are the bid's estimates, in millionths, and the
	// hashed features that they rest on. Bills and clicks carry them.
	ClickPPM      uint32   `json:"click_ppm,omitempty"`
	ConversionPPM uint32   `json:"conversion_ppm,omitempty"`
	Features      []uint32 `json:"features,omitempty"`
	LossReason    int      `json:"loss_reason,omitempty"`
	MinToWin      rtb.CPM  `json:"min_to_win,omitempty"`
	Progress      int      `json:"progress_pct,omitempty"`
	Multiplier    int64    `json:"multiplier_millionths,omitempty"`   // number of impressions that it counted as, if reported
	Discount      rtb.CPM  `json:"discount,omitempty"`                // deducted from Price, as reported; in BidCurrency
	DiscountPct   int64    `json:"discount_pct_millionths,omitempty"` // the same in percent
	ClientNet     string   `json:"client_net,omitempty"`              // network of the device, if the exchange reports it
	Flags         []string `json:"flags,omitempty"`                   // price_above_bid, price_missing, expired...
}

// Grant lets one run of a node spend from a budget. Grants of the same run and budget
// replace each other: Amount is the cumulative amount that the run may ever settle
// there.
type Grant struct {
	Run    string       `json:"run,omitempty"` // names one start of a node
	Budget rtb.BudgetID `json:"budget,omitzero"`
	Amount rtb.Micros   `json:"amount_micros,omitempty"`
	Cap    rtb.Micros   `json:"cap_micros,omitempty"` // the cap that it was cut from
	Until  time.Time    `json:"until,omitzero"`       // bids may use it until then
	// HeldUntil is the time by which the last reservation from it has expired.
	// Anything not settled by then is free again.
	HeldUntil time.Time `json:"held_until,omitzero"`
	// Settled is the amount that had already been settled from the grant. It is
	// set if the fact replaces grants and bills in deleted log files.
	Settled rtb.Micros `json:"settled_micros,omitempty"`
	// ExpectSeq is the sequence of the budget's last grant that the writer had seen; the
	// log refuses the fact if there is a later one. Not stored.
	ExpectSeq uint64 `json:"-"`
}

// Config identifies the configuration that became active. Rules are the
// canonical texts of the segments to count from then on, so that folding needs
// no file. Rules that do not fit into one fact are in several, see [Config.Split].
type Config struct {
	Hash        string    `json:"hash,omitempty"`
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	Rules       []string  `json:"rules,omitempty"`
	// Part is the number of the fact, from 1 to Parts, of a configuration in several
	// facts. Its rules apply once all of them are in the log. Both are 0 in a
	// configuration of one fact.
	Part  int `json:"part,omitempty"`
	Parts int `json:"parts,omitempty"`
}

// Pause stops or resumes bidding. Scope is "all", "exchange:<id>" or
// "campaign:<advertiser>/<id>".
type Pause struct {
	Scope string `json:"scope,omitempty"`
	On    bool   `json:"on"`
	By    string `json:"by,omitempty"`
}

// Adjustment books money that no notice accounts for (kind adjustment): a loss
// that an operator accepted, a correction after reconciliation, or the balance
// that a budget had when older log files were deleted. Amount is added to what
// the budget has settled; LateSpend, a part of Amount, to its late spend.
type Adjustment struct {
	Budget    rtb.BudgetID `json:"budget,omitzero"`
	Exchange  string       `json:"exchange,omitempty"`
	Day       rtb.Day      `json:"day,omitempty"`
	Amount    rtb.Micros   `json:"amount_micros,omitempty"`
	LateSpend rtb.Micros   `json:"late_spend_micros,omitempty"`
	Reason    string       `json:"reason,omitempty"`
}

// AcceptLoss records that the facts From to To are lost and that views may
// continue without them (kind accept_loss).
type AcceptLoss struct {
	From uint64 `json:"from_seq,omitempty"`
	To   uint64 `json:"to_seq,omitempty"`
}

// Approval is the approval status of a creative at an exchange (kind approval).
// The latest one for each creative and exchange applies.
type Approval struct {
	Creative string `json:"creative,omitempty"`
	CRID     string `json:"crid,omitempty"` // the content that was approved or rejected
	Exchange string `json:"exchange,omitempty"`
	State    string `json:"state,omitempty"` // approved, rejected, pending
	By       string `json:"by,omitempty"`
}

// Position is a place in the log: the sequence, chain hash and TS of a fact. The
// zero Position is before the first fact.
type Position struct {
	Seq  uint64    `json:"seq"`
	Hash Hash      `json:"h,omitzero"`
	Time time.Time `json:"time"`
}
