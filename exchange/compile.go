package exchange

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebound/internal/spec"
	"rebound/rtb"
)

// compiler collects the problems of one profile.
type compiler struct{ spec.Report }

func (c *compiler) check(ok bool, path string, got any, want string) {
	if !ok {
		c.Add(path, fmt.Sprintf("%v", got), want)
	}
}

// Compile checks the specification and fills in the defaults. All problems are
// reported at once; the profile is usable only when there are none.
func (s *ProfileSpec) Compile() (*Profile, spec.Problems) {
	var c compiler
	p := &Profile{
		ID: s.ID, IDSpace: orString(s.IDSpace, s.ID),
		Secret: s.Secret, QuotaQPS: s.QuotaQPS, MaxInFlight: s.MaxInFlight,
		MaxBody: orInt(int(s.MaxBody), 256<<10), MaxInflated: orInt(int(s.MaxInflated), 1<<20),
		GzipIn: s.GzipIn == nil || *s.GzipIn, GzipOut: s.GzipOut == nil || *s.GzipOut,
		ContentType:     orString(s.ContentType, "application/json"),
		MalformedStatus: orInt(s.MalformedStatus, 400), NBREnabled: s.NBREnabled,
		Seat: s.Seat, DefaultCur: s.DefaultCur,
		DealFloorInheritsCur: s.DealFloorInheritsCur, AllowNoInventory: s.AllowNoInventory,
		MultibidMax: orInt(s.MultibidMax, 1), firstPrice: s.At500FirstPrice,
		clickMacro: s.ClickMacro, clickMacroEsc: s.ClickMacroEsc,
		CRIDMax: orInt(s.CRIDMax, 64), ADomainMax: s.ADomainMax, ADomainLenMax: orInt(s.ADomainLenMax, 128),
		RespMaxBytes: int(s.RespMaxBytes), RequiresApproval: s.RequiresApproval, DefaultProtocols: s.DefaultProtocols,
		SChainASI:      s.SChainASI,
		OpenRTBVersion: orString(s.OpenRTBVersion, "2.6"), RetryWindow: time.Duration(s.RetryWindow),
		AdmMaxBytes: int(s.AdmMaxBytes), BidFeedback: s.BidFeedback, refuseClickTracking: s.RefuseClickTracking, buyerIFA: s.BuyerUIDIFA,
		tick: s.PriceTick, attr: s.Attr, billingIDs: s.BillingIDs, procTime: s.ProcessingTime,
	}
	if p.DefaultCur.IsZero() {
		p.DefaultCur = rtb.USD
	}
	c.ID("id", s.ID)
	c.check(s.Seat != "", "seat", "nothing", "our seat id at the exchange")
	c.check(!s.SeatNumeric || digitsOnly(s.Seat), "seat", strconv.Quote(s.Seat), "digits only, as seat_numeric says")
	c.check(p.MalformedStatus == 400 || p.MalformedStatus == 204, "malformed_status", p.MalformedStatus, "400 or 204")
	for path, n := range map[string]int{"quota_qps": s.QuotaQPS, "max_in_flight": s.MaxInFlight, "multibid_max": s.MultibidMax,
		"crid_max": s.CRIDMax, "adomain_max": s.ADomainMax, "adomain_len_max": s.ADomainLenMax} {
		c.check(n >= 0, path, n, "0 or more")
	}
	for i, n := range s.DefaultProtocols {
		c.check(n >= 1 && n <= 16, "default_protocols["+strconv.Itoa(i)+"]", n, "a protocol of AdCOM 1.0, 1 to 16")
	}
	for _, at := range s.At500FirstPrice {
		c.check(at >= 500, "at_500_first_price", at, "codes of 500 and above")
	}
	c.sync(s, p)
	p.Sources = c.networks("sources", s.sources())
	p.devices = c.networks("notice_sources", s.NoticeSources)
	c.times(s, p)
	c.choices(s, p)
	c.extras(s, p)
	c.nbrMap(s, p)
	c.prices(s, p)
	return p, c.Problems
}

// sources returns the networks that requests may come from. Without a secret and
// without a list only loopback is allowed.
func (s *ProfileSpec) sources() []string {
	if len(s.Sources) == 0 && s.Secret == "" {
		return []string{"127.0.0.0/8", "::1/128"}
	}
	return s.Sources
}

func (c *compiler) networks(path string, list []string) (out []netip.Prefix) {
	for _, text := range list {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			c.Add(path, strconv.Quote(text), "a network such as 203.0.113.0/24")
			continue
		}
		out = append(out, prefix.Masked())
	}
	return out
}

// maxBidLife is the longest time that a bid can be open: the longest time for which
// notices are accepted.
const maxBidLife = 7 * 24 * time.Hour

// usualExp is the longest exp of which check does not warn.
const usualExp = time.Hour

func (c *compiler) times(s *ProfileSpec, p *Profile) {
	p.DefaultTMax = orDuration(&s.DefaultTMax, 100*time.Millisecond)
	p.RTTAllowance = optDuration(s.RTTAllowance, 20*time.Millisecond)
	p.Safety = optDuration(s.Safety, 10*time.Millisecond)
	c.check(p.Budget(0) > 0, "default_tmax", p.DefaultTMax, "more than rtt_allowance and safety together")
	p.AuctionTTL = orDuration(&s.AuctionTTL, 5*time.Minute)
	defaults := [4]time.Duration{5 * time.Minute, 30 * time.Minute, 30 * time.Minute, 10 * time.Minute}
	p.WinNotices = choose(c, "win_notices", s.WinNotices, "sometimes", map[string]bool{"sometimes": false, "always": true})
	windows, exps := s.BillWindow.all(), s.Exp.all()
	for i, name := range formatNames {
		p.billWindow[i] = orDuration(windows[i], time.Hour)
		p.exp[i] = orDuration(exps[i], defaults[i])
		c.check(p.billWindow[i] >= p.exp[i], "bill_window."+name, p.billWindow[i], "at least exp."+name+", "+p.exp[i].String())
		if !p.WinNotices && p.exp[i] > max(p.AuctionTTL, usualExp) {
			c.Warn("exp."+name, p.exp[i].String()+": a bid without a win notice holds its cost that long, not for auction_ttl, "+p.AuctionTTL.String(),
				"at most "+usualExp.String()+", or win_notices: always where the exchange reports every win")
		}
		c.check(p.AuctionTTL+p.billWindow[i] <= maxBidLife, "bill_window."+name, p.billWindow[i], "with auction_ttl at most 7d")
	}
	p.MaxExp = orDuration(&s.MaxExp, 24*time.Hour)
	c.check(p.AuctionTTL+p.MaxExp <= maxBidLife, "max_exp", p.MaxExp, "with auction_ttl at most 7d")
}

func (c *compiler) choices(s *ProfileSpec, p *Profile) {
	p.At = choose(c, "auction", s.Auction, "second", map[string]int{"first": rtb.AuctionFirstPrice, "second": rtb.AuctionSecondPrice})
	p.NativeWrapper = choose(c, "native_wrapper", s.NativeWrapper, "request",
		map[string]NativeWrapper{"request": WrapAsRequest, "always": WrapAlways, "never": WrapNever})
	p.RegisteredMarkup = choose(c, "markup", s.Markup, "adm", map[string]bool{"adm": false, "registered": true})
	p.vastByURL = choose(c, "vast_in", s.VASTIn, "adm", map[string]bool{"adm": false, "url": true})
	p.buyerB64 = choose(c, "buyeruid_codec", s.BuyerUIDCodec, "plain", map[string]bool{"plain": false, "b64url": true})
	names := map[string]rtb.BillingSource{"burl": rtb.BillOnBURL, "nurl": rtb.BillOnNURL, "pixel": rtb.BillOnImp,
		"imp": rtb.BillOnImp, "native": rtb.BillOnImp, "vast": rtb.BillOnVAST}
	for i, source := range s.BillingSource.all() {
		path := "billing_source." + formatNames[i]
		p.billing[i] = choose(c, path, *source, "burl", names)
		c.check(*source != "vast" || i == 1 || i == 2, path, "vast", "vast for video and audio only")
	}
	for _, f := range s.RequiredBidFields {
		bit, ok := requirableFields[f]
		c.check(ok, "required_bid_fields", strconv.Quote(f), "one of "+strings.Join(sortedKeys(requirableFields), ", "))
		p.required |= bit
	}
}

func (c *compiler) nbrMap(s *ProfileSpec, p *Profile) {
	for r := range rtb.NoBidReasons {
		p.nbr[r] = r.NBR()
	}
	for name, code := range s.NBRMap {
		var r rtb.NoBidReason
		if err := r.UnmarshalText([]byte(name)); err != nil || name == "" {
			c.Add("nbr_map", strconv.Quote(name), "the name of a no-bid reason")
			continue
		}
		c.check(code >= 0 && (code <= 17 || code >= 500), "nbr_map."+name, code, "0 to 17, or 500 and above")
		p.nbr[r] = code
	}
}

func (c *compiler) prices(s *ProfileSpec, p *Profile) {
	p.priceCodec = choose(c, "price_codec", s.PriceCodec, "plain",
		map[string]priceCodec{"plain": codecPlain, "b64": codecB64, "hmac-sha1": codecHMAC, "aes-cbc": codecAES})
	unit := "cpm"
	if p.priceCodec == codecHMAC {
		unit = "cpm_micros"
	}
	p.priceUnit = choose(c, "price_unit", s.PriceUnit, unit,
		map[string]priceUnit{"cpm": unitCPM, "cpm_micros": unitCPMMicros, "cpi_micros": unitCPIMicros})
	c.check(p.priceCodec != codecHMAC || p.priceUnit != unitCPM, "price_unit", "cpm", "cpm_micros or cpi_micros with hmac-sha1")
	p.priceMacro = s.PriceMacro
	if p.priceMacro == "" {
		p.priceMacro = "${AUCTION_PRICE}"
		if p.priceCodec == codecB64 {
			p.priceMacro = "${AUCTION_PRICE:B64}"
		}
	}
	p.minToWin = orString(s.MinToWinMacro, "${AUCTION_MIN_TO_WIN}")
	if p.minToWin == "-" {
		p.minToWin = ""
	}
	want := map[priceCodec]int{codecHMAC: 32, codecAES: 16}[p.priceCodec]
	c.check(want == 0 || len(s.PriceKeys) > 0, "price_keys", "none", "at least one for "+s.PriceCodec)
	for i, k := range s.PriceKeys {
		path := "price_keys[" + strconv.Itoa(i) + "]"
		if want == 0 {
			c.Add(path, "a key", "none without a cipher")
			continue
		}
		key := priceKey{encryption: c.key(path+".encryption", k.Encryption, want)}
		if p.priceCodec == codecHMAC {
			key.integrity = c.key(path+".integrity", k.Integrity, want)
		}
		p.keys = append(p.keys, key)
	}
	c.compileMacros(s, p)
}

// key decodes a key. Problems never contain its text.
func (c *compiler) key(path, text string, size int) []byte {
	b, err := base64.RawStdEncoding.DecodeString(stdAlphabet(text))
	if err != nil || len(b) != size {
		c.Add(path, fmt.Sprintf("%d characters", len(text)), fmt.Sprintf("base64 of %d bytes", size))
		return nil
	}
	return b
}

func stdAlphabet(s string) string {
	return strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(s), "=")
}

var formatNames = [4]string{"banner", "video", "audio", "native"}

func (b *ByFormat[T]) all() [4]*T { return [4]*T{&b.Banner, &b.Video, &b.Audio, &b.Native} }

func choose[T any](c *compiler, path, got, fallback string, from map[string]T) T {
	v, ok := from[orString(got, fallback)]
	c.check(ok, path, strconv.Quote(got), "one of "+strings.Join(sortedKeys(from), ", "))
	return v
}

func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

func orString(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func orInt(n, fallback int) int {
	if n == 0 {
		return fallback
	}
	return n
}

func orDuration(d *spec.Duration, fallback time.Duration) time.Duration {
	if *d == 0 {
		return fallback
	}
	return time.Duration(*d)
}

func optDuration(d *spec.Duration, fallback time.Duration) time.Duration {
	if d == nil {
		return fallback
	}
	return time.Duration(*d)
}

func digitsOnly(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
