package exchange

import (
	"rebound/internal/spec"
	"rebound/rtb"
)

// ProfileSpec is the configuration of one exchange. Absent fields have the defaults
// named here.
type ProfileSpec struct {
	// ID names the exchange in the route, records and metrics; [a-z0-9][a-z0-9_-]{0,63}.
	ID string `yaml:"id"`
	// Name is the exchange's name, for readers of the file only.
	Name string `yaml:"name"`
	// IDSpace is the namespace of the exchange's user ids in the match table;
	// default: the id. Endpoints that share their users share the namespace.
	IDSpace string `yaml:"id_space"`

	// Secret must come with every request; empty: only sources restrict.
	Secret string `yaml:"secret" config:"env"`
	// Sources are the networks (CIDR) that requests may come from; default:
	// any when a secret is set, else loopback only.
	Sources []string `yaml:"sources"`
	// QuotaQPS is the maximum rate of requests that are evaluated, per second; 0: no
	// limit.
	QuotaQPS int `yaml:"quota_qps"`
	// MaxInFlight is the maximum number of requests that are evaluated at the same
	// time; 0: the server's limit.
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxBody is the maximum size of a body as sent; default 256KiB.
	MaxBody spec.Bytes `yaml:"max_body"`
	// MaxInflated is the maximum size of a body after decompression; default 1MiB.
	MaxInflated spec.Bytes `yaml:"max_inflated"`
	// GzipIn accepts gzip bodies; default true.
	GzipIn *bool `yaml:"gzip_in"`
	// GzipOut compresses responses if the request allows it; default true.
	GzipOut *bool `yaml:"gzip_out"`
	// OpenRTBVersion is the version of responses: bids carry no field of a newer one,
	// except those in bid_fields, and the header x-openrtb-version names it; default
	// 2.6. Requests are read as 2.2 to 2.6, whatever their header says.
	OpenRTBVersion string `yaml:"openrtb_version"`
	// BidFields are fields that bids carry although they are newer than
	// openrtb_version: api, protocol, exp (2.4), burl, lurl, language, wratio (2.5),
	// mtype, cattax, apis, dur (2.6); default none.
	BidFields []string `yaml:"bid_fields"`
	// ResponseExt are members of ext, all of them texts, in every response, with
	// bids or without.
	ResponseExt map[string]string `yaml:"response_ext"`
	// ContentType of responses; default application/json.
	ContentType string `yaml:"content_type"`
	// MalformedStatus is the status of the response to a malformed request: 400
	// (default) or 204. With 204 every refusal is 204, also that of a body that is too
	// large or of another type, and of a wrong secret.
	MalformedStatus int `yaml:"malformed_status"`
	// NBREnabled responds to no-bids with 200 and a reason code instead of 204.
	NBREnabled bool `yaml:"nbr_enabled"`
	// NBRMap replaces reason codes: the name of a no-bid reason to nbr.
	NBRMap map[string]int `yaml:"nbr_map"`

	// DefaultTMax is the time to respond if a request has no tmax; default 100ms.
	DefaultTMax spec.Duration `yaml:"default_tmax"`
	// RTTAllowance is the part of tmax that the network takes; default 20ms.
	RTTAllowance *spec.Duration `yaml:"rtt_allowance"`
	// Safety is the time that is left unused before the deadline; default 10ms.
	Safety *spec.Duration `yaml:"safety"`

	// Seat is our seat at the exchange; required.
	Seat string `yaml:"seat"`
	// SeatNumeric says that the exchange requires a seat of digits only.
	SeatNumeric bool `yaml:"seat_numeric"`
	// Auction is the auction type if a request names none: first or second (default).
	Auction string `yaml:"auction" enum:"first,second"`
	// At500FirstPrice are the auction types of 500 and above that mean first price.
	At500FirstPrice []int `yaml:"at_500_first_price"`
	// Shading is the share of the price that is bid if the winner pays its bid, until
	// enough outcomes are known to learn the best bid; above 0, at most 1; default 1.
	// A floor that the full price reaches is still reached.
	Shading float64 `yaml:"shading"`
	// DefaultCur is the bid currency if a request names none; default USD.
	DefaultCur rtb.Currency `yaml:"default_cur"`
	// DealFloorInheritsCur gives a deal floor without a currency that of the impression
	// instead of USD.
	DealFloorInheritsCur bool `yaml:"deal_floor_inherits_cur"`
	// AllowNoInventory accepts requests with none of site, app and dooh.
	AllowNoInventory bool `yaml:"allow_no_inventory"`
	// PriceTick is the step of prices, in major units of CPM; default 0: a micro.
	// Prices are rounded down to it, but never below the floor.
	PriceTick rtb.CPM `yaml:"price_tick"`
	// RetryWindow is how long a repeated request gets the same response, without a
	// second reservation; default 0: every request is decided.
	RetryWindow spec.Duration `yaml:"retry_window"`
	// SChainASI are the domains of the exchange. The last node of a supply chain must
	// be one of them; without a chain the publisher's account there is looked up in
	// ads.txt. Default none: any last node is accepted.
	SChainASI []string `yaml:"schain_asi"`
	// MultibidMax is the maximum number of bids on one impression; default 1. A bid
	// under a deal and an open bid are always allowed together.
	MultibidMax int `yaml:"multibid_max"`

	// AuctionTTL is how long a bid can win after it was sent; default 5m.
	AuctionTTL spec.Duration `yaml:"auction_ttl"`
	// BillWindow is how long after its win a bid can be billed, by format; default
	// 1h.
	BillWindow ByFormat[spec.Duration] `yaml:"bill_window"`
	// WinNotices specifies whether every win is reported by nurl: always, or sometimes
	// (default). A bid that was not reported as won holds its cost for auction_ttl
	// where they always come, otherwise for the longer of auction_ttl and exp.
	WinNotices string `yaml:"win_notices" enum:"always,sometimes"`
	// Exp is bid.exp by format; default banner 5m, native 10m, video and audio 30m.
	Exp ByFormat[spec.Duration] `yaml:"exp"`
	// MaxExp is the longest imp.exp, the time until an ad is shown, for which a bid is
	// held in the budget; a longer one is cut to it; default 24h.
	MaxExp spec.Duration `yaml:"max_exp"`
	// BillingSource is the notice that charges bids, by format: burl (default),
	// pixel (or imp, native), vast, or nurl if the exchange has nothing else.
	BillingSource ByFormat[string] `yaml:"billing_source" enum:"burl,imp,native,nurl,pixel,vast"`

	// PriceMacro is the text that the exchange replaces by the price; default
	// ${AUCTION_PRICE}, and ${AUCTION_PRICE:B64} for the codec b64.
	PriceMacro string `yaml:"price_macro"`
	// PriceCodec is the encoding of the price: plain (default), b64, hmac-sha1,
	// aes-cbc.
	PriceCodec string `yaml:"price_codec" enum:"aes-cbc,b64,hmac-sha1,plain"`
	// PriceKeys are the cipher's keys, the newest first; at most two generations are
	// needed. Use ${ENV_NAME}, never the key itself.
	PriceKeys []PriceKeySpec `yaml:"price_keys"`
	// PriceUnit is the unit of the price: cpm (default), cpm_micros (default for
	// hmac-sha1) or cpi_micros.
	PriceUnit string `yaml:"price_unit" enum:"cpi_micros,cpm,cpm_micros"`
	// PriceIn are the notices that carry the price macro; default win, bill,
	// imp, video.
	PriceIn []string `yaml:"price_in"`
	// PriceMacroForms are the only forms that the exchange replaces; empty: any.
	PriceMacroForms []string `yaml:"price_macro_forms"`
	// PriceMacroRequired are the notices of which at least one must carry the price
	// macro, or the exchange drops the bid; names as in price_in.
	PriceMacroRequired []string `yaml:"price_macro_required"`
	// CurrencyMacro is the macro of the price's currency; default
	// ${AUCTION_CURRENCY}; "-" omits it.
	CurrencyMacro string `yaml:"currency_macro"`
	// LossMacro is the macro of the loss reason; default ${AUCTION_LOSS}; "-" omits
	// it.
	LossMacro string `yaml:"loss_macro"`
	// Macros are further macros in win and bill notices, by name: auction_id, bid_id,
	// imp_id, seat_id, ad_id, mbr, multiplier, imp_ts, discount_pct, discount_cpm,
	// supply_fee. Each value is the text that the exchange replaces.
	Macros map[string]string `yaml:"macros"`
	// NoticesLeftOut are the notice URLs that bids do not carry: win, bill, loss.
	NoticesLeftOut []string `yaml:"notices_left_out"`
	// NoticeSources are the networks (CIDR) from which the exchange sends notices.
	// Headers such as X-Device-IP are trusted only from there.
	NoticeSources []string `yaml:"notice_sources"`
	// MinToWinMacro is the macro of the price to beat; default
	// ${AUCTION_MIN_TO_WIN}; "-" omits it.
	MinToWinMacro string `yaml:"mintowin_macro"`
	// ClickMacro is inserted in front of our click URL in markup; empty: none.
	ClickMacro string `yaml:"click_macro"`
	// ClickMacroEsc is the form of the click macro for use within another URL.
	ClickMacroEsc string `yaml:"click_macro_esc"`
	// ClickMacroRequired says that the exchange drops markup without its click macro.
	ClickMacroRequired bool `yaml:"click_macro_required"`
	// ClickMacroFormats are the formats whose markup carries the click macro: banner,
	// video, audio, native; default all.
	ClickMacroFormats []string `yaml:"click_macro_formats"`
	// RefuseClickTracking bids no banner on requests with ext.clktrkrq 1, which
	// require a click macro that we cannot provide.
	RefuseClickTracking bool `yaml:"refuse_click_tracking"`
	// Markup is how the exchange gets the markup: adm (default), or registered: it
	// shows the creative that was registered under the bid's crid, and bids carry no
	// adm.
	Markup string `yaml:"markup" enum:"adm,registered"`
	// VASTIn is where the exchange takes VAST from: adm (default), or url: not from
	// adm. We serve no VAST by URL, so there video and audio get no bid.
	VASTIn string `yaml:"vast_in" enum:"adm,url"`

	// DefaultProtocols are the AdCOM protocols of video and audio if an impression
	// lists none; default 2, 3, 5, 6: VAST 2.0 and 3.0.
	DefaultProtocols []int `yaml:"default_protocols"`
	// NativeWrapper wraps native markup as {"native":{...}}: always, never, or request
	// (default: like the request).
	NativeWrapper string `yaml:"native_wrapper" enum:"always,never,request"`
	// RequiredBidFields are the bid fields without which the exchange drops a bid:
	// adomain, attr, bundle, burl, cat, cid, crid, dealid, iurl, language, nurl.
	RequiredBidFields []string `yaml:"required_bid_fields"`
	// CRIDMax is the maximum length of a creative id in bytes; default 64.
	CRIDMax int `yaml:"crid_max"`
	// ADomainMax is the maximum number of advertiser domains in a bid; default 0: any.
	ADomainMax int `yaml:"adomain_max"`
	// ADomainLenMax is the maximum length of a domain in bytes; default 128.
	ADomainLenMax int `yaml:"adomain_len_max"`
	// AdmMaxBytes is the maximum size of the markup of a bid; default 0: any.
	AdmMaxBytes spec.Bytes `yaml:"adm_max_bytes"`
	// Attr are creative attributes that every bid declares in addition to those of its
	// creative, such as a code for retargeting.
	Attr []int `yaml:"attr"`
	// BillingIDs sets bid.ext.billing_id to one of the impression's
	// imp.ext.billing_id: none (default), any, or the listed ones only.
	BillingIDs []string `yaml:"billing_ids"`
	// ProcessingTime adds ext.processing_time_ms to responses.
	ProcessingTime bool `yaml:"processing_time"`
	// BidFeedback reads the outcome of earlier bids from ext.bid_feedback of requests,
	// and adds the token that identifies a bid there to bid.ext.
	BidFeedback bool `yaml:"bid_feedback"`
	// RespMaxBytes is the maximum size of a response; default 0: any.
	RespMaxBytes spec.Bytes `yaml:"resp_max_bytes"`
	// BuyerUIDCodec is the encoding of user.buyeruid: plain (default) or b64url.
	BuyerUIDCodec string `yaml:"buyeruid_codec" enum:"b64url,plain"`
	// BuyerUIDIFA also reads a user.buyeruid that is an advertising id (a UUID) as
	// device.ifa; some exchanges send it in apps if none of our ids is matched.
	BuyerUIDIFA bool `yaml:"buyeruid_ifa"`
	// RequiresApproval says that the exchange must approve creatives before they are
	// shown.
	RequiresApproval bool `yaml:"requires_approval"`
	// GVLID is the exchange's own id in the Global Vendor List, for readers of the file only; 0: unknown.
	GVLID int `yaml:"gvl_id"`
	// MatchURL is the https URL to which cookie sync sends the browser, with the macros
	// ${UID} (our visitor id), ${UID_B64URL}, ${MATCH} (our match URL, escaped), ${NONCE},
	// ${GDPR}, ${GDPR_CONSENT}, ${US_PRIVACY}, ${GPP_STRING} and ${GPP_SID}; http only on
	// loopback.
	MatchURL string `yaml:"match_url"`
	// MatchMacro is the macro that the exchange replaces with its user id in our match
	// URL; default $UID.
	MatchMacro string `yaml:"match_macro"`
	// MatchParams are the parameters of a sync that are passed on to match_url, such as
	// google_push; default none.
	MatchParams []string `yaml:"match_params"`
	// RedirectHosts are the hosts, with a port if it is not 443, to which a sync may
	// redirect if it names a URL itself (r); default none.
	RedirectHosts []string `yaml:"redirect_hosts"`
	// Resync is how long a sync is good for, after which the tag makes another; 1h to
	// 60d, default 7d.
	Resync spec.Duration `yaml:"resync"`
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
