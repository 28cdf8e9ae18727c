package rtb

import "time"

// Auction types (OpenRTB 2.6 §3.2.1, field at; §3.2.12 for deals).
const (
	AuctionFirstPrice  = 1
	AuctionSecondPrice = 2
	AuctionFixedPrice  = 3 // deals only: the floor is the agreed price
)

// Formats is a set of markup types, numbered as bid.mtype (OpenRTB 2.6 §4.2.3).
type Formats uint8

// The markup types. [Formats.MType] gives the wire's number.
const (
	FormatBanner Formats = 1 << iota
	FormatVideo
	FormatAudio
	FormatNative
)

// Has reports whether the set contains f.
func (s Formats) Has(f Formats) bool { return s&f != 0 }

// MType returns bid.mtype of a single format: banner 1, video 2, audio 3, native 4; 0
// for anything else.
func (s Formats) MType() int {
	switch s {
	case FormatBanner:
		return 1
	case FormatVideo:
		return 2
	case FormatAudio:
		return 3
	case FormatNative:
		return 4
	}
	return 0
}

// String returns the name of a single format.
func (s Formats) String() string {
	switch s {
	case FormatBanner:
		return "banner"
	case FormatVideo:
		return "video"
	case FormatAudio:
		return "audio"
	case FormatNative:
		return "native"
	}
	return ""
}

// Opportunity is one bid request as the decision needs it. Its byte slices are views
// into the request body or into the decoder's memory, so nothing of it may outlive
// the handler. An Opportunity is reused; the decoder resets it.
//
// Keywords, UserSegments, Supply.Cats and Device.Browser are empty unless they were read
// ([Parts]). A rule that compares one of them must ask for its part; otherwise a rule that
// blocks would let every request pass.
type Opportunity struct {
	ID   []byte
	At   int           // auction type; if absent the profile's default, or else 2
	TMax time.Duration // 0: absent
	Test bool

	Currencies []Currency // accepted bid currencies; empty: the profile's
	CurBad     bool       // cur is present but has no readable code

	WSeat, BSeat  [][]byte
	BCat, ACat    [][]byte
	CatTax        int // taxonomy of BCat and ACat; 1 if absent
	BAdv, BApp    [][]byte
	WLang, WLangB [][]byte
	BlockListsBad bool // a block or allow list is unreadable, so nothing may be bid
	Signals       Signals
	IDs           []ExternalID // of the eids only those of sources that the decoder was asked for
	Supply        Supply
	Device        Device
	SChain        SChain
	Keywords      [][]byte      // site, app, content and user keywords, kwarray included; needs PartKeywords
	UserKeywords  int           // index in Keywords of the user's; those before it are the inventory's
	UserSegments  []UserSegment // needs PartSegments
	ClickTracking bool          // ext.clktrkrq: banners must carry the exchange's click macro
	DSARequired   int           // regs.ext.dsa.dsarequired
	DSAPubRender  DSARender
	Imps          []Impression
	BidFeedback   []byte // ext.bid_feedback, raw: the outcome of earlier bids
	// MalformedImps counts the impressions that were skipped because they were
	// unusable (no id, no object).
	MalformedImps int
}

// ExternalID is one identifier that the request offers for its user.
type ExternalID struct {
	Kind  IDKind
	Scope []byte // eid source; empty otherwise
	Value []byte
	MM    int // match method; -1: absent
}

// Supply is the inventory: the site, app or screen that would show the ad.
type Supply struct {
	Site, App, DOOH bool
	ID              []byte
	Domain          []byte
	Page            []byte
	Bundle          []byte // as sent: a store id, or the address of the app's page in a store
	StoreURL        []byte
	PublisherID     []byte
	Cats            [][]byte // site.cat/app.cat, pagecat, content.cat; needs PartCategories
	CatTax          int
	InventoryDomain []byte
}

// Device describes the device. Values of sua take precedence over older fields
// (OpenRTB 2.6 §3.2.18).
type Device struct {
	UA       []byte
	IP, IPv6 []byte
	Type     int // devicetype; 0 absent
	OS       []byte
	Browser  []byte // from sua.browsers; needs PartBrowser
	Language []byte
	Mobile   Flag // sua.mobile
	Country  []byte
	Region   []byte
	City     []byte
	ZIP      []byte
	Lat, Lon float64
	HasGeo   bool // Lat and Lon are set
	// UTCOffset is the device's local time minus UTC (geo.utcoffset); valid if
	// HasOffset is set.
	UTCOffset time.Duration
	HasOffset bool
	W, H      int
}

// UserSegment is one user.data segment.
type UserSegment struct {
	Provider []byte
	SegTax   int
	ID       []byte
}

// MaxSChains is how many supply chains a request can hold: one in each of the
// places that versions of the protocol define.
const MaxSChains = 3

// SChain holds the supply chains of a request. Senders in transition put the chain
// into several places; where these differ, all of them apply.
type SChain struct {
	Present  bool
	Bad      bool            // one of them cannot be read, or not as a whole
	Complete bool            // all of them are complete
	Ver      []byte          // version of the specification, e.g. 1.0; of several, one that is not 1
	Nodes    []SChainNode    // of all chains, one after the other
	Chains   int             // how many chains Nodes holds
	Ends     [MaxSChains]int // index in Nodes of the last node of each
}

// SChainNode is one node of a supply chain.
type SChainNode struct {
	ASI, SID []byte
}

// DSARender says who renders the disclosure that the Digital Services Act
// requires, from the publisher's side (IAB Tech Lab, DSA Transparency, pubrender).
type DSARender uint8

// The values of pubrender, each one above that of the standard.
const (
	DSARenderAbsent     DSARender = iota
	DSARenderNo                   // 0: the publisher cannot render it
	DSARenderMaybe                // 1: the publisher could, depending on adrender
	DSARenderYes                  // 2: the publisher will
	DSARenderUnreadable           // not a value of the standard, or two that differ
)

// And combines two readings of the same field.
func (r DSARender) And(other DSARender) DSARender {
	switch {
	case r == DSARenderAbsent || r == other:
		return other
	case other == DSARenderAbsent:
		return r
	}
	return DSARenderUnreadable
}

// Impression is one imp object.
type Impression struct {
	ID       []byte
	Floor    CPM
	FloorCur Currency // USD if absent
	FloorBad bool     // the floor is unreadable, so there is no bid
	Secure   Flag     // Unreadable counts as required
	Instl    bool
	Rewarded bool
	// RewardedUnsure says that the request has an unreadable rewarded flag; a line
	// that refuses rewarded impressions refuses this one.
	RewardedUnsure bool
	Exp            time.Duration // imp.exp
	// Viewability is the share of impressions of this kind that were viewable, 0 to 1:
	// the lowest value of any vendor (imp.metric); valid if HasViewability is set.
	Viewability    float64
	HasViewability bool
	Formats        Formats // which of the four objects below are present
	Banner         Banner
	Video          Video
	Audio          Video // audio.* uses the same fields
	Native         Native

	PrivateAuction bool
	Deals          []Deal
	DealsBad       bool
	BillingIDs     [][]byte // imp.ext.billing_id
	SKAdN          []byte   // imp.ext.skadn, raw
	TagID          []byte   // imp.tagid, the placement's id at the exchange or publisher
	GPID           []byte   // imp.ext.gpid, the publisher's id of the placement, the same at all exchanges

	// ExcludedCreativeIDs are the ids of our creatives that the exchange does not show
	// here (imp.ext.excluded_creatives). ExcludedBad says that the list is unreadable,
	// so there is no bid.
	ExcludedCreativeIDs [][]byte
	ExcludedBad         bool

	Qty float64 // imp.qty.multiplier; 0 absent
}

// Size is a width and height in CSS pixels.
type Size struct{ W, H int }

// Banner is imp.banner (OpenRTB 2.6 §3.2.6).
type Banner struct {
	Sizes                  []Size // format[] and then w/h, without duplicates
	Flex                   []FlexSize
	WMin, WMax, HMin, HMax int
	Mimes                  [][]byte
	BAttr                  []int
	BType                  []int
	API                    []int
	ExpDir                 []int // directions in which the banner may expand
	Pos                    int   // -1 absent
	ListsBad               bool  // a restricting list of the banner is unreadable
}

// FlexSize is a format given as a ratio (OpenRTB 2.6 §3.2.10).
type FlexSize struct{ WRatio, HRatio, WMin int }

// Video is imp.video or imp.audio (OpenRTB 2.6 §3.2.7, §3.2.8).
type Video struct {
	Mimes                    [][]byte
	Protocols                []int
	MinDuration, MaxDuration time.Duration // 0 absent
	ReqDurations             []time.Duration
	MaxExtended              time.Duration
	HasMaxExtended           bool
	StartDelay               int
	HasStartDelay            bool
	W, H                     int
	Linearity                int
	Skip                     Flag
	Placement, Plcmt         int
	MinBitrate, MaxBitrate   int
	Delivery                 []int
	PlaybackMethod           []int
	API                      []int
	BAttr                    []int
	PodID                    []byte
	PodDur                   time.Duration
	PodDedupe                []int // AdCOM 1.0, List: Pod Deduplication Settings
	MaxSeq                   int
	MinCPMPerSec             CPM
	DurFloors                []DurFloor
	Pos                      int  // -1 absent
	BoxingAllowed            Flag // Absent counts as Yes
	ListsBad                 bool
}

// DurFloor is a floor for a range of durations (OpenRTB 2.6 §3.2.35).
type DurFloor struct {
	Min, Max time.Duration
	Floor    CPM
}

// Native is imp.native (OpenRTB 2.6 §3.2.9), with the request of Native Ads 1.2 as a
// JSON object even if it was sent as a string.
type Native struct {
	Request []byte // the JSON object, without the 1.0 wrapper
	Wrapped bool   // it was sent as {"native":{...}}
	Ver     []byte // of the request itself, or else imp.native.ver
	API     []int
	BAttr   []int
	Bad     bool

	Assets []NativeAsset
	// Trackers are the (event, method) pairs that are offered. HasTrackers says that
	// there is a list, even if it is empty.
	Trackers    []NativeTracker
	HasTrackers bool
	Privacy     bool // a privacy link of the buyer is supported
}

// NativeKind is the kind of an asset.
type NativeKind uint8

// The kinds of assets (Native Ads 1.2 §4.2).
const (
	NativeUnknown NativeKind = iota
	NativeTitle
	NativeImage
	NativeVideo
	NativeData
)

// NativeAsset is one asset that a native request asks for (Native Ads 1.2 §4.2
// to §4.6).
type NativeAsset struct {
	ID         int
	Required   bool
	Kind       NativeKind
	Type       int // of the image or the data; 0 absent
	Len        int // maximum characters of a title or a data value; 0: any
	W, H       int // of an image; 0: absent
	WMin, HMin int // -1: absent, and W and H are exact
	Mimes      [][]byte
	Bad        bool // a part of it is unreadable, so it cannot be filled
}

// NativeTracker is an offered tracking method (Native Ads 1.2 §4.7). Its events are
// numbered as in Native Ads, not as in AdCOM: 1 impression, 2 and 3 viewable, 4
// viewable video.
type NativeTracker struct {
	Event         int
	Image, Script bool
}

// Deal is one pmp.deals entry (OpenRTB 2.6 §3.2.12).
type Deal struct {
	ID           []byte
	Floor        CPM
	FloorCur     Currency // USD if absent, regardless of the impression's
	CurGiven     bool
	FloorBad     bool
	At           int // 0: the request's
	WSeat        [][]byte
	WADomain     [][]byte
	Guaranteed   bool
	MinCPMPerSec CPM
	DurFloors    []DurFloor
	ListsBad     bool
}
