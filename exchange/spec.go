package exchange

import (
	"rebound/internal/spec"
	"rebound/rtb"
)

// ProfileSpec is what a configuration file says of one exchange; the names are
// the file's. Fields that are left out take the defaults named here.
type ProfileSpec struct {
	// ID names the exchange in the route, records and metrics; [a-z0-9][a-z0-9_-]{0,63}.
	ID string `yaml:"id"`
	// Name is for people; default: the id.
	Name string `yaml:"name"`
	// IDSpace is the space of the exchange's user ids in the match table;
	// default: the id. Endpoints that share their users share the space.
	IDSpace string `yaml:"id_space"`

	// Secret must come with every request; empty: sources alone decide.
	Secret string `yaml:"secret" config:"env"`
	// Sources are the networks (CIDR) that requests may come from; default:
	// any when a secret is set, else loopback only.
	Sources []string `yaml:"sources"`
	// QuotaQPS is the highest rate of requests that are worked on; 0: no limit.
	QuotaQPS int `yaml:"quota_qps"`
	// MaxInFlight is how many requests are worked on at once; 0: the server's.
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxBody bounds a body as sent; default 256KiB.
	MaxBody spec.Bytes `yaml:"max_body"`
	// MaxInflated bounds a body after decompression; default 1MiB.
	MaxInflated spec.Bytes `yaml:"max_inflated"`
	// GzipIn accepts gzip bodies; default true.
	GzipIn *bool `yaml:"gzip_in"`
	// GzipOut compresses answers where the request allows it; default true.
	GzipOut *bool `yaml:"gzip_out"`
	// OpenRTBVersion is the version that answers name in their header
	// x-openrtb-version; default 2.6. Requests are read as 2.2 to 2.6 whatever
	// their header says.
	OpenRTBVersion string `yaml:"openrtb_version"`
	// BidFields are fields that bids carry although they are newer than
	// openrtb_version: api, protocol, exp (2.4), burl, lurl, language, wratio (2.5),
	// mtype, cattax, apis, dur (2.6); default none.
	BidFields []string `yaml:"bid_fields"`
	// ResponseExt are members of ext, all of them texts, in every response, with
	// bids or without.
	ResponseExt map[string]string `yaml:"response_ext"`
	// ContentType of answers; default application/json.
	ContentType string `yaml:"content_type"`
	// MalformedStatus answers unreadable requests: 400 (default) or 204.
	MalformedStatus int `yaml:"malformed_status"`
	// NBREnabled answers no-bids with 200 and a reason code instead of 204.
	NBREnabled bool `yaml:"nbr_enabled"`
	// NBRMap replaces reason codes: name of a no-bid reason to nbr.
	NBRMap map[string]int `yaml:"nbr_map"`

	// DefaultTMax is the time to answer where a request names none; default 100ms.
	DefaultTMax spec.Duration `yaml:"default_tmax"`
	// RTTAllowance is what the network takes of tmax; default 20ms.
	RTTAllowance *spec.Duration `yaml:"rtt_allowance"`
	// Safety is kept free before the deadline; default 10ms.
	Safety *spec.Duration `yaml:"safety"`

	// Seat is our seat at the exchange; required.
	Seat string `yaml:"seat"`
	// SeatNumeric tells that the exchange wants digits only.
	SeatNumeric bool `yaml:"seat_numeric"`
	// Auction is the type where a request names none: first or second (default).
	Auction string `yaml:"auction"`
	// At500FirstPrice are the codes of 500 and above that mean first price.
	At500FirstPrice []int `yaml:"at_500_first_price"`
	// Shading is the share of a bid's price that is bid where the winner pays its
	// bid; above 0, at most 1; default 1: the whole. A floor within the price is
	// still reached.
	Shading float64 `yaml:"shading"`
	// DefaultCur is the bid currency where a request names none; default USD.
	DefaultCur rtb.Currency `yaml:"default_cur"`
	// DealFloorInheritsCur gives a deal floor without currency the impression's
	// instead of USD.
	DealFloorInheritsCur bool `yaml:"deal_floor_inherits_cur"`
	// AllowNoInventory accepts requests with none of site, app and dooh.
	AllowNoInventory bool `yaml:"allow_no_inventory"`
	// PriceTick is the step that prices are multiples of, in major units of CPM;
	// default 0: a micro. Prices round down to it, and never below the floor.
	PriceTick rtb.CPM `yaml:"price_tick"`
	// RetryWindow is for how long the same request gets the same answer again,
	// without a second reservation; default 0: every request is decided.
	RetryWindow spec.Duration `yaml:"retry_window"`
	// SChainASI are the domains of the exchange: the last node of a supply chain
	// must be one of them, and without a chain its accounts are looked up in
	// ads.txt; default none: the last node may be anybody's.
	SChainASI []string `yaml:"schain_asi"`
	// MultibidMax is how many bids one impression may get; default 1. A deal's bid
	// and an open one may always stand side by side.
	MultibidMax int `yaml:"multibid_max"`

	// AuctionTTL is how long a bid may still win; default 5m.
	AuctionTTL spec.Duration `yaml:"auction_ttl"`
	// BillWindow is how long after its win a bid may be billed in time, by
	// format; default 1h.
	BillWindow ByFormat[spec.Duration] `yaml:"bill_window"`
	// Exp is bid.exp by format; default banner 5m, native 10m, video and audio 30m.
	Exp ByFormat[spec.Duration] `yaml:"exp"`
	// MaxExp is how long an impression may ask us to wait for its rendering
	// (imp.exp) and be held in the budget; of a longer time only so much counts;
	// default 24h.
	MaxExp spec.Duration `yaml:"max_exp"`
	// BillingSource is the notice that books spend, by format: burl (default),
	// pixel (or imp, native), vast, or nurl where the exchange has nothing else.
	BillingSource ByFormat[string] `yaml:"billing_source"`

	// PriceMacro is what the exchange replaces by the price; default
	// ${AUCTION_PRICE}, and ${AUCTION_PRICE:B64} for the codec b64.
	PriceMacro string `yaml:"price_macro"`
	// PriceCodec is how the price comes: plain (default), b64, hmac-sha1, aes-cbc.
	PriceCodec string `yaml:"price_codec"`
	// PriceKeys are the cipher's keys, the newest first; two generations at most
	// are needed. Use ${ENV_NAME}, never the key itself.
	PriceKeys []PriceKeySpec `yaml:"price_keys"`
	// PriceUnit is the number's unit: cpm (default), cpm_micros (default for
	// hmac-sha1) or cpi_micros.
	PriceUnit string `yaml:"price_unit"`
	// PriceIn are the notices that carry the price macro; default win, bill,
	// imp, video.
	PriceIn []string `yaml:"price_in"`
	// PriceMacroForms are the only forms that the exchange replaces; empty: any.
	PriceMacroForms []string `yaml:"price_macro_forms"`
	// PriceMacroRequired are notices of which at least one must carry the price
	// macro, or the exchange drops the bid; names as in price_in.
	PriceMacroRequired []string `yaml:"price_macro_required"`
	// CurrencyMacro asks for the price's currency; default ${AUCTION_CURRENCY};
	// "-" leaves it out.
	CurrencyMacro string `yaml:"currency_macro"`
	// LossMacro asks for the reason of a loss; default ${AUCTION_LOSS}; "-" leaves
	// it out.
	LossMacro string `yaml:"loss_macro"`
	// Macros ask for more in win and bill notices, by name: auction_id, bid_id,
	// imp_id, seat_id, ad_id, mbr, multiplier, imp_ts, discount_pct, discount_cpm,
	// supply_fee. Each is the text that the exchange replaces.
	Macros map[string]string `yaml:"macros"`
	// NoticesLeftOut are notice URLs that bids do not carry: win, bill, loss.
	NoticesLeftOut []string `yaml:"notices_left_out"`
	// NoticeSources are the networks (CIDR) from which the exchange sends notices;
	// only from there X-Device-IP and its like are believed.
	NoticeSources []string `yaml:"notice_sources"`
	// MinToWinMacro asks for the price to beat; default ${AUCTION_MIN_TO_WIN};
	// "-" leaves it out.
	MinToWinMacro string `yaml:"mintowin_macro"`
	// ClickMacro is put before our click URL in markup; empty: none.
	ClickMacro string `yaml:"click_macro"`
	// ClickMacroEsc is the click macro's form for use inside another URL.
	ClickMacroEsc string `yaml:"click_macro_esc"`
	// ClickMacroRequired tells that the exchange drops markup without its click
	// macro.
	ClickMacroRequired bool `yaml:"click_macro_required"`
	// ClickMacroFormats are the formats whose markup carries the click macro: banner,
	// video, audio, native; default all.
	ClickMacroFormats []string `yaml:"click_macro_formats"`
	// RefuseClickTracking bids no banner on requests with ext.clktrkrq 1, which
	// demand a click macro that we cannot answer.
	RefuseClickTracking bool `yaml:"refuse_click_tracking"`
	// Markup is how the exchange gets the markup: adm (default), or registered: it
	// shows the creative that was registered under the bid's crid, and bids carry no
	// adm.
	Markup string `yaml:"markup"`
	// VASTIn is where the exchange takes VAST from: adm (default), or url: not from
	// adm. We serve no VAST by URL, so there video and audio get no bid.
	VASTIn string `yaml:"vast_in"`

	// DefaultProtocols are the AdCOM protocols of films and sounds where an
	// impression lists none; default 2, 3, 5, 6: VAST 2.0 and 3.0.
	DefaultProtocols []int `yaml:"default_protocols"`
	// NativeWrapper writes native markup as {"native":{...}}: always, never, or
	// request (default: as the request did).
	NativeWrapper string `yaml:"native_wrapper"`
	// RequiredBidFields are bid fields without which the exchange drops a bid:
	// adomain, attr, bundle, burl, cat, cid, crid, dealid, iurl, language, nurl.
	RequiredBidFields []string `yaml:"required_bid_fields"`
	// CRIDMax is the longest creative id in bytes; default 64.
	CRIDMax int `yaml:"crid_max"`
	// ADomainMax is how many advertiser domains a bid may carry; default 0: any.
	ADomainMax int `yaml:"adomain_max"`
	// ADomainLenMax is the longest domain in bytes; default 128.
	ADomainLenMax int `yaml:"adomain_len_max"`
	// AdmMaxBytes is the longest markup of a bid; default 0: any.
	AdmMaxBytes spec.Bytes `yaml:"adm_max_bytes"`
	// Attr are creative attributes that every bid declares beside its creative's
	// own, such as a code for retargeting.
	Attr []int `yaml:"attr"`
	// BillingIDs puts bid.ext.billing_id, one of the impression's
	// imp.ext.billing_id, into bids: none (default), any, or the listed ones only.
	BillingIDs []string `yaml:"billing_ids"`
	// ProcessingTime puts ext.processing_time_ms into answers.
	ProcessingTime bool `yaml:"processing_time"`
	// BidFeedback reads the outcome of earlier bids from ext.bid_feedback of
	// requests, and puts the token that names a bid there into bid.ext.
	BidFeedback bool `yaml:"bid_feedback"`
	// RespMaxBytes is the largest answer; default 0: any.
	RespMaxBytes spec.Bytes `yaml:"resp_max_bytes"`
	// BuyerUIDCodec is how user.buyeruid comes: plain (default) or b64url.
	BuyerUIDCodec string `yaml:"buyeruid_codec"`
	// BuyerUIDIFA reads a user.buyeruid that is an advertising id (a UUID) as
	// device.ifa too: some exchanges send it in apps where no id of ours is matched.
	BuyerUIDIFA bool `yaml:"buyeruid_ifa"`
	// RequiresApproval tells that creatives must be approved by the exchange.
	RequiresApproval bool `yaml:"requires_approval"`
	// GVLID is the exchange's own id in the Global Vendor List; 0: not known.
	GVLID int `yaml:"gvl_id"`
	// MatchURL is where cookie sync sends the browser; https.
	MatchURL string `yaml:"match_url"`
	// RedirectHosts are the hosts that sync may redirect to.
	RedirectHosts []string `yaml:"redirect_hosts"`
}

// ByFormat holds one value per markup type; the zero value means the default.
type ByFormat[T any] struct {
	Banner T `yaml:"banner"`
	Video  T `yaml:"video"`
	Audio  T `yaml:"audio"`
	Native T `yaml:"native"`
}

// PriceKeySpec are the keys of one generation of a price cipher.
type PriceKeySpec struct {
	// Encryption key: base64 of 32 bytes for hmac-sha1, of 16 for aes-cbc.
	Encryption string `yaml:"encryption" config:"env"`
	// Integrity key: base64 of 32 bytes; hmac-sha1 only.
	Integrity string `yaml:"integrity" config:"env"`
}
