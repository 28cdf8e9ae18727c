package exchange

import (
	"crypto/subtle"
	"net/netip"
	"slices"
	"time"

	"rebound/rtb"
)

// Profile is one exchange, compiled from a [ProfileSpec]. It is immutable and
// may be shared by goroutines.
type Profile struct {
	ID, IDSpace string

	Secret      string
	Sources     []netip.Prefix // empty: any address, because a secret is set
	QuotaQPS    int            // 0: no limit
	MaxInFlight int            // 0: the server's
	MaxBody     int            // bytes as sent
	MaxInflated int            // bytes after decompression
	GzipIn      bool
	GzipOut     bool
	ContentType string
	// MalformedStatus is the HTTP status of the response to a malformed request. If
	// it is 204, every refusal is 204.
	MalformedStatus int
	NBREnabled      bool
	OpenRTBVersion  string

	DefaultTMax, RTTAllowance, Safety time.Duration

	Seat                 string
	At                   int // auction type if a request names none
	DefaultCur           rtb.Currency
	DealFloorInheritsCur bool
	AllowNoInventory     bool
	MultibidMax          int
	SChainASI            []string      // domains of the exchange; empty: any
	RetryWindow          time.Duration // 0: none
	Shading              float64       // of first-price bids until their prices are learned; 1: none

	AuctionTTL time.Duration // how long a bid can win after it was sent
	WinNotices bool          // every win is reported by a win notice
	MaxExp     time.Duration // the longest imp.exp for which a bid is held

	// RegisteredMarkup leaves adm out: the exchange shows the creative that is
	// registered under the bid's crid.
	RegisteredMarkup bool
	NativeWrapper    NativeWrapper
	DefaultProtocols []int // if an impression lists none; empty: VAST 2.0 and 3.0
	CRIDMax          int   // bytes
	ADomainMax       int   // elements; 0: any
	ADomainLenMax    int   // bytes
	RespMaxBytes     int   // 0: any
	AdmMaxBytes      int   // 0: any
	BidFeedback      bool
	RequiresApproval bool
	MatchURL         string        // where cookie sync sends the browser, with macros
	MatchMacro       string        // of the exchange for its user id, in our match URL
	MatchParams      []string      // parameters of a sync that are passed on to MatchURL
	RedirectHosts    []string      // in lower case
	Resync           time.Duration // until a visitor is synced again

	billWindow [4]time.Duration
	exp        [4]time.Duration
	billing    [4]rtb.BillingSource
	firstPrice []int // at codes of 500 and above
	nbr        [rtb.NoBidReasons]int
	required   fieldSet
	fields     fieldSet // sent in bids
	buyerB64   bool
	buyerIFA   bool

	clickMacro, clickMacroEsc string
	clickFormats              rtb.Formats
	refuseClickTracking       bool
	vastByURL                 bool   // no VAST document in adm; we serve none by URL
	responseExt               []byte // members of ext, without braces

	tick       rtb.CPM
	attr       []int
	billingIDs []string
	procTime   bool
	notices    [rtb.NoticeVideo + 1]bool // kinds of notices whose URLs bids carry
	devices    []netip.Prefix

	priceCodec priceCodec
	priceUnit  priceUnit
	priceMacro string
	minToWin   string
	keys       []priceKey
	macros     [rtb.NoticeVideo + 1]string
}

// NativeWrapper is the rule for wrapping native markup in {"native":{...}}.
type NativeWrapper uint8

// The rules.
const (
	WrapAsRequest NativeWrapper = iota // like the request; always for version 1.0, which has no other form
	WrapAlways
	WrapNever
)

// formatIndex returns the index of a single format in the profile's tables.
func formatIndex(f rtb.Formats) int {
	if m := f.MType(); m > 0 {
		return m - 1
	}
	return 0
}

// BillingSource returns the notice that charges bids of a format.
func (p *Profile) BillingSource(f rtb.Formats) rtb.BillingSource { return p.billing[formatIndex(f)] }

// BillWindow returns how long after its win a bid of the format can be billed.
func (p *Profile) BillWindow(f rtb.Formats) time.Duration { return p.billWindow[formatIndex(f)] }

// Hold returns how long a bid of the format that was not reported as won may still
// be billed: as long as it may win, and, where win notices are not certain, as long
// as the exp of the response allows the ad to wait.
func (p *Profile) Hold(f rtb.Formats) time.Duration {
	if p.WinNotices {
		return p.AuctionTTL
	}
	return max(p.AuctionTTL, p.Exp(f))
}

// BidLife returns the longest time that a bid can be open, from the bid to the end
// of its bill window, unless the impression asks for a longer one (imp.exp).
func (p *Profile) BidLife() time.Duration {
	return p.AuctionTTL + max(p.billWindow[0], p.billWindow[1], p.billWindow[2], p.billWindow[3])
}

// Exp returns bid.exp of the format: how long the ad may wait to be shown.
func (p *Profile) Exp(f rtb.Formats) time.Duration { return p.exp[formatIndex(f)] }

// FirstPrice reports whether the winner pays its bid under the auction type. A type
// that the profile does not list counts as second price, the default of OpenRTB 2.6
// §3.2.1.
func (p *Profile) FirstPrice(at int) bool {
	return at == rtb.AuctionFirstPrice || (at >= 500 && slices.Contains(p.firstPrice, at))
}

// Budget returns how long the response may take from the arrival of the request:
// tmax, or the profile's default, less the network and safety margins. It can be
// negative.
func (p *Profile) Budget(tmax time.Duration) time.Duration {
	if tmax <= 0 {
		tmax = p.DefaultTMax
	}
	return tmax - p.RTTAllowance - p.Safety
}

// NBR returns the exchange's no-bid code for a reason.
func (p *Profile) NBR(r rtb.NoBidReason) int {
	if r >= rtb.NoBidReasons {
		return r.NBR()
	}
	return p.nbr[r]
}

// Admits reports whether requests may come from the address.
func (p *Profile) Admits(addr netip.Addr) bool {
	if len(p.Sources) == 0 {
		return true
	}
	addr = addr.Unmap()
	for _, s := range p.Sources {
		if s.Contains(addr) {
			return true
		}
	}
	return false
}

// SecretOK compares a request's secret with the exchange's in constant time.
func (p *Profile) SecretOK(got []byte) bool {
	return p.Secret == "" || subtle.ConstantTimeCompare(got, []byte(p.Secret)) == 1
}

// WrapNative reports whether the native markup for n is wrapped.
func (p *Profile) WrapNative(n *rtb.Native) bool {
	switch p.NativeWrapper {
	case WrapAlways:
		return true
	case WrapNever:
		return false
	}
	return n.Wrapped || string(n.Ver) == "1.0"
}
