package tracking

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/events"
	"rebound/exchange"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// edge is a handler behind real HTTP with the facts that it recorded.
type edge struct {
	t      *testing.T
	h      *Handler
	s      *Signer
	now    time.Time
	facts  []events.Fact
	broken error // result of Append
	client *fasthttp.Client
}

func newEdge(t *testing.T, specs ...exchange.ProfileSpec) *edge {
	t.Helper()
	e := &edge{t: t, s: newSigner(t, testKey(1)), now: sampleClaims().Issued.Add(10 * time.Second)}
	profiles := map[string]*exchange.Profile{}
	for _, spec := range append(specs, exchange.ProfileSpec{ID: "demo", Seat: "seat-1"}) {
		p, problems := spec.Compile()
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		profiles[p.ID] = p
	}
	e.h = NewHandler(Options{
		Signer: e.s, Now: func() time.Time { return e.now }, Profiles: func(id string) *exchange.Profile { return profiles[id] },
		Append: func(_ context.Context, facts ...events.Fact) error {
			if e.broken == nil {
				e.facts = append(e.facts, facts...)
			}
			return e.broken
		},
	})
	ln := fasthttputil.NewInmemoryListener()
	server := &fasthttp.Server{ReadBufferSize: 16 << 10, Handler: func(ctx *fasthttp.RequestCtx) {
		if !e.h.Serve(ctx) {
			ctx.SetStatusCode(fasthttp.StatusTeapot)
		}
	}}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		e.client.CloseIdleConnections()
		_ = ln.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	e.client = &fasthttp.Client{Dial: func(string) (net.Conn, error) { return ln.Dial() }}
	return e
}

// fire sends a notice with parameters after its token, as the exchange would.
func (e *edge) fire(method string, kind rtb.NoticeKind, c rtb.Claims, params string) *fasthttp.Response {
	e.t.Helper()
	return e.get(method, string(signedURL(e.s, kind, &c))+params)
}

func (e *edge) get(method, url string) *fasthttp.Response {
	e.t.Helper()
	var rq fasthttp.Request
	rs := &fasthttp.Response{}
	rq.Header.SetMethod(method)
	rq.SetRequestURI(strings.Replace(url, "https://", "http://", 1))
	if err := e.client.Do(&rq, rs); err != nil {
		e.t.Fatal(err)
	}
	return rs
}

func (e *edge) count(kind rtb.NoticeKind, code Code) uint64 {
	for _, c := range e.h.Stats() {
		if c.Kind == kind && c.Code == code {
			return c.N
		}
	}
	return 0
}

// only returns the one recorded fact.
func (e *edge) only() events.Fact {
	e.t.Helper()
	if len(e.facts) != 1 {
		e.t.Fatalf("got %d facts; want 1: %+v", len(e.facts), e.facts)
	}
	return e.facts[0]
}

// Rules M4, M10, M11: values of a bill's price parameter, and what is charged.
func TestBillIsBookedAsItsPriceSays(t *testing.T) {
	conformance.Covers(t, "M4", "M11", "P12")
	first := func(c *rtb.Claims) { c.FirstPrice = true }
	euro := func(c *rtb.Claims) {
		c.AdvertiserCurrency, c.Rate = rtb.Currency{'E', 'U', 'R'}, rtb.Rate{Num: 9, Den: 10}
	}
	for _, tc := range []struct {
		name   string
		params string
		change func(*rtb.Claims)
		price  rtb.CPM
		charge rtb.Micros
		code   Code
		told   bool
		flags  []string
	}{
		{name: "a price", params: "&p=1.2&c=USD", price: 1_200_000, charge: 1200, told: true},
		{name: "rounded up", params: "&p=1.2000001", price: 1_200_001, charge: 1201, told: true},
		{name: "the bid itself", params: "&p=2.31", price: 2_310_000, charge: 2310, told: true},
		{name: "above the bid", params: "&p=999", price: 2_310_000, charge: 2310, code: CodePriceAboveBid, told: true, flags: []string{FlagPriceAboveBid}},
		{name: "no parameter", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "empty", params: "&p=", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "zero", params: "&p=0", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "negative", params: "&p=-1", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "macro", params: "&p=${AUCTION_PRICE}", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "escaped macro", params: "&p=%24%7BAUCTION_PRICE%7D", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "words", params: "&p=abc", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "another currency", params: "&p=1.2&c=JPY", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagCurrency, FlagPriceMissing}},
		{name: "currency macro", params: "&p=1.2&c=${AUCTION_CURRENCY}", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagCurrency, FlagPriceMissing}},
		{name: "escaped currency macro", params: "&p=1.2&c=%24%7BAUCTION_CURRENCY%7D", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagCurrency, FlagPriceMissing}},
		{name: "empty currency", params: "&p=1.2&c=", price: 1_200_000, charge: 1200, told: true},
		{name: "small currency", params: "&p=1.2&c=usd", price: 1_200_000, charge: 1200, told: true},
		{name: "point first", params: "&p=.5", price: 500_000, charge: 500, told: true},
		{name: "comma", params: "&p=1%2C20", price: 1_200_000, charge: 1200, told: true},
		{name: "comma that may separate thousands", params: "&p=1,200", price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "second price far below", params: "&p=0.01", price: 10_000, charge: 10, told: true},
		{name: "first price, a quarter", params: "&p=0.5775", change: first, price: 577_500, charge: 578, told: true},
		{name: "first price, below a quarter", params: "&p=0.577499", change: first, price: 2_310_000, charge: 2310, code: CodePriceBelowBid, flags: []string{FlagPriceBelowBid}},
		{name: "first price, for one impression", params: "&p=0.00231", change: first, price: 2_310_000, charge: 2310, code: CodePriceBelowBid, flags: []string{FlagPriceBelowBid}},
		{name: "first price tells", params: "&p=2", change: first, price: 2_000_000, charge: 2000, told: true},
		{name: "first price does not tell", change: first, price: 2_310_000, charge: 2310},
		{name: "first price, empty", params: "&p=", change: first, price: 2_310_000, charge: 2310},
		{name: "first price, not a number", params: "&p=NaN", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, comma", params: "&p=1,5", change: first, price: 1_500_000, charge: 1500, told: true},
		{name: "first price, zero byte", params: "&p=%00", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, zero", params: "&p=0", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, small audit", params: "&p=audit", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, negative", params: "&p=-1", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, macro", params: "&p=${AUCTION_PRICE}", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, blank", params: "&p=%20", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, infinite", params: "&p=Inf", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, hex", params: "&p=0x10", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, words", params: "&p=abc", change: first, price: 2_310_000, charge: 2310, code: CodePriceMissing, flags: []string{FlagPriceMissing}},
		{name: "first price, beyond limits", params: "&p=9e9", change: first, price: 2_310_000, charge: 2310, code: CodePriceAboveBid, told: true, flags: []string{FlagPriceAboveBid}},
		{name: "first price, beyond all", params: "&p=1e400", change: first, price: 2_310_000, charge: 2310, code: CodePriceAboveBid, told: true, flags: []string{FlagPriceAboveBid}},
		{name: "first price, a million and more", params: "&p=1000000.000001", change: first, price: 2_310_000, charge: 2310, code: CodePriceAboveBid, told: true, flags: []string{FlagPriceAboveBid}},
		{name: "beyond limits", params: "&p=9e9", price: 2_310_000, charge: 2310, code: CodePriceAboveBid, told: true, flags: []string{FlagPriceAboveBid}},
		{name: "converted", params: "&p=1", change: euro, price: 1_000_000, charge: 900, told: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t)
			c := sampleClaims()
			if tc.change != nil {
				tc.change(&c)
			}
			if rs := e.fire("GET", rtb.NoticeBill, c, tc.params); rs.StatusCode() != 204 || len(rs.Body()) != 0 {
				t.Errorf("got %d, %q; want 204, empty", rs.StatusCode(), rs.Body())
			}
			f := e.only()
			if f.ID != "bill:"+c.Bid.String() || f.Kind != events.KindBill || !f.Bills || !f.At.Equal(e.now) || f.Currency != c.AdvertiserCurrency {
				t.Errorf("got fact %+v", f)
			}
			if f.Price != tc.price || f.Charge != tc.charge || f.PriceTold != tc.told || !slices.Equal(f.Flags, tc.flags) {
				t.Errorf("got price %d, charge %d, told %v, flags %v; want %d, %d, %v, %v",
					f.Price, f.Charge, f.PriceTold, f.Flags, tc.price, tc.charge, tc.told, tc.flags)
			}
			if e.count(rtb.NoticeBill, tc.code) != 1 {
				t.Errorf("not counted as %s", tc.code)
			}
		})
	}
}

// Rule M5: an exchange and format have one billing source; no other notice charges.
func TestOnlyTheBillingSourceCharges(t *testing.T) {
	conformance.Covers(t, "M5", "VD16")
	for _, source := range []rtb.BillingSource{rtb.BillOnBURL, rtb.BillOnNURL, rtb.BillOnImp, rtb.BillOnVAST} {
		for _, kind := range signedKinds {
			e := newEdge(t)
			c := sampleClaims()
			c.BillOn = source
			e.fire("GET", kind, c, "&p=1.5")
			f := e.only()
			if want := kind == source.Notice(); f.Bills != want || (f.Charge > 0) != want {
				t.Errorf("billing on %d, %s: got bills %v, charge %d; want bills %v", source, kind, f.Bills, f.Charge, want)
			}
			if f.Charge > c.Reserved {
				t.Errorf("%s: charge %d above the reservation %d", kind, f.Charge, c.Reserved)
			}
		}
	}
}

// A browser's pixel never sets a price, unless only the exchange can have encrypted it.
func TestAPixelSetsNoPrice(t *testing.T) {
	conformance.Covers(t, "E2", "M5")
	e := newEdge(t)
	c := sampleClaims()
	c.BillOn = rtb.BillOnImp
	e.fire("GET", rtb.NoticeImp, c, "&p=0.000001")
	if f := e.only(); f.Charge != c.Reserved || f.PriceTold || f.Price != c.Price {
		t.Errorf("got charge %d, price %d, told %v; want %d, %d, false", f.Charge, f.Price, f.PriceTold, c.Reserved, c.Price)
	}

	key := func(from byte) string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = from + byte(i)
		}
		return base64.URLEncoding.EncodeToString(b)
	}
	sealed := newEdge(t, exchange.ProfileSpec{ID: "sealed", Seat: "s", PriceCodec: "hmac-sha1",
		PriceKeys: []exchange.PriceKeySpec{{Encryption: key(0), Integrity: key(0x20)}}})
	c.Exchange = "sealed"
	sealed.fire("GET", rtb.NoticeImp, c, "&p=ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRW9A") // 1.50, conformance section 10
	if f := sealed.only(); f.Charge != 1500 || !f.PriceTold {
		t.Errorf("sealed price: got charge %d, told %v; want 1500, true", f.Charge, f.PriceTold)
	}
	sealed.facts = nil
	c.Bid[0]++
	sealed.fire("GET", rtb.NoticeImp, c, "&p=ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRX9A")
	if f := sealed.only(); f.Charge != c.Reserved || !slices.Contains(f.Flags, FlagPriceForged) {
		t.Errorf("broken seal: got charge %d, flags %v; want %d, %s", f.Charge, f.Flags, c.Reserved, FlagPriceForged)
	}
}

func TestWhatIsNotRecorded(t *testing.T) {
	conformance.Covers(t, "M4", "K8", "T25")
	for name, tc := range map[string]struct {
		kind   rtb.NoticeKind
		params string
		change func(*rtb.Claims)
		code   Code
	}{
		"audit bill":  {kind: rtb.NoticeBill, params: "&p=AUDIT", code: CodeAudit},
		"audit win":   {kind: rtb.NoticeWin, params: "&p=AUDIT", code: CodeAudit},
		"audit pixel": {kind: rtb.NoticeImp, params: "&p=AUDIT", code: CodeAudit},
		"audit, exchange gone": {kind: rtb.NoticeBill, params: "&p=AUDIT", code: CodeAudit,
			change: func(c *rtb.Claims) { c.Exchange = "gone" }},
		"test bid": {kind: rtb.NoticeBill, params: "&p=1", code: CodeTest, change: func(c *rtb.Claims) { c.Test = true }},
	} {
		e := newEdge(t)
		c := sampleClaims()
		if tc.change != nil {
			tc.change(&c)
		}
		e.fire("GET", tc.kind, c, tc.params)
		if len(e.facts) != 0 || e.count(tc.kind, tc.code) != 1 {
			t.Errorf("%s: got %d facts, %d counted as %s; want 0, 1", name, len(e.facts), e.count(tc.kind, tc.code), tc.code)
		}
	}
}

func TestAnExchangeThatIsGoneStillBills(t *testing.T) {
	e := newEdge(t)
	c := sampleClaims()
	c.Exchange = "gone"
	e.fire("GET", rtb.NoticeBill, c, "&p=1.0")
	if f := e.only(); !f.Bills || f.Charge != c.Reserved || !slices.Contains(f.Flags, FlagPriceMissing) {
		t.Errorf("got bills %v, charge %d, flags %v; want the bid booked and flagged", f.Bills, f.Charge, f.Flags)
	}
}

// Rules M6, M7, M10: a notice is always answered with 204, for any method.
func TestEveryNoticeIsAnsweredAsItsSenderExpects(t *testing.T) {
	conformance.Covers(t, "M6", "M7", "M10", "K3", "K4")
	e := newEdge(t)
	good := sampleClaims()
	forged := "?k=" + strings.Repeat("A", 80)
	for _, method := range []string{"GET", "POST"} {
		for path, want := range map[string]int{"/v1/win": 204, "/v1/bill": 204, "/v1/loss": 204, "/v1/imp": 200, "/v1/view": 200,
			"/v1/c": 404, "/v1/vast/start": 200, "/v1/vast/nonsense": 200, "/v1/vast/": 200} {
			for _, query := range []string{"", forged, "?k=%00%ff", "?k=" + strings.Repeat("k", 9000), "?p=1"} {
				rs := e.get(method, base+path+query)
				if rs.StatusCode() != want {
					t.Errorf("%s %s%.20s: got %d; want %d", method, path, query, rs.StatusCode(), want)
				}
				if want == 200 && (len(rs.Body()) != 43 || string(rs.Header.ContentType()) != "image/gif") {
					t.Errorf("%s %s: got %d bytes of %s; want the pixel", method, path, len(rs.Body()), rs.Header.ContentType())
				}
				if string(rs.Header.Peek("Cache-Control")) != "no-store" || rs.ConnectionClose() {
					t.Errorf("%s %s: got Cache-Control %q, close %v", method, path, rs.Header.Peek("Cache-Control"), rs.ConnectionClose())
				}
			}
		}
	}
	if len(e.facts) != 0 {
		t.Fatalf("got %d facts of forged notices; want 0", len(e.facts))
	}
	if n := e.count(rtb.NoticeBill, CodeForged); n != 2 {
		t.Errorf("got %d forged bills counted; want 2", n)
	}
	if n := e.count(rtb.NoticeBill, CodeMalformed); n != 8 {
		t.Errorf("got %d malformed bills counted; want 8", n)
	}
	for _, kind := range []rtb.NoticeKind{rtb.NoticeWin, rtb.NoticeBill, rtb.NoticeLoss} {
		for _, method := range []string{"GET", "POST"} {
			if rs := e.fire(method, kind, good, "&p=1"); rs.StatusCode() != 204 {
				t.Errorf("%s %s: got %d; want 204", method, kind, rs.StatusCode())
			}
		}
	}
	if n := e.count(rtb.NoticeBill, CodeDuplicate); len(e.facts) != 3 || n != 1 {
		t.Errorf("got %d facts, %d duplicates of the bill; want 3, 1", len(e.facts), n)
	}
}

// A token of one kind of notice is rejected on every other endpoint.
func TestATokenIsWorthlessElsewhere(t *testing.T) {
	conformance.Covers(t, "M10")
	c := sampleClaims()
	for _, signed := range signedKinds {
		e := newEdge(t)
		tok := token(t, e.s, signed, &c)
		for _, kind := range signedKinds {
			if kind != signed {
				e.get("GET", base+paths[kind]+"?k="+tok+"&p=1")
			}
		}
		if len(e.facts) != 0 {
			t.Errorf("%s token: got %d facts elsewhere; want 0", signed, len(e.facts))
		}
	}
}

func TestClickLeadsToTheLandingPageOnly(t *testing.T) {
	conformance.Covers(t, "K3")
	e := newEdge(t)
	c := sampleClaims()
	rs := e.fire("GET", rtb.NoticeClick, c, "&u=https://evil.example")
	if rs.StatusCode() != 302 || string(rs.Header.Peek("Location")) != c.Landing {
		t.Errorf("got %d to %q; want 302 to %q", rs.StatusCode(), rs.Header.Peek("Location"), c.Landing)
	}
	if f := e.only(); f.Kind != events.KindClick || f.Bills || f.Item != "sku1" {
		t.Errorf("got fact %+v", f)
	}
	e.broken = errors.New("log is away")
	if rs := e.fire("GET", rtb.NoticeClick, c, ""); rs.StatusCode() != 302 {
		t.Errorf("log away: got %d; want 302", rs.StatusCode())
	}
	for _, landing := range []string{"", "javascript:alert(1)", "https://shop.example/\r\nSet-Cookie: a=b", "//evil.example"} {
		c.Landing = landing
		if rs := e.fire("GET", rtb.NoticeClick, c, ""); rs.StatusCode() != 404 || len(rs.Header.Peek("Location")) > 0 {
			t.Errorf("landing %q: got %d to %q; want 404", landing, rs.StatusCode(), rs.Header.Peek("Location"))
		}
	}
}

func TestLateNoticesAreRecordedAndNotCharged(t *testing.T) {
	conformance.Covers(t, "M8")
	e := newEdge(t)
	c := sampleClaims()
	e.now = c.Issued.Add(48 * time.Hour)
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	e.now = e.now.Add(time.Second)
	c.Bid[0]++
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	if len(e.facts) != 2 || !e.facts[0].Bills || e.facts[1].Bills || e.facts[1].Charge != 0 || !slices.Contains(e.facts[1].Flags, FlagExpired) {
		t.Fatalf("got %+v; want the first charged and the second flagged", e.facts)
	}
	if e.count(rtb.NoticeBill, CodeExpired) != 1 {
		t.Error("expired bill is not counted")
	}
}

func TestANoticeThatCannotBeRecordedIsCounted(t *testing.T) {
	conformance.Covers(t, "M7")
	core, said := observer.New(zap.InfoLevel)
	e := newEdge(t)
	e.h = NewHandler(Options{Signer: e.s, Now: e.h.o.Now, Profiles: e.h.o.Profiles, Append: e.h.o.Append, Logger: zap.New(core)})
	e.broken = errors.New("log is away")
	c := sampleClaims()
	for kind, want := range map[rtb.NoticeKind]int{rtb.NoticeWin: 503, rtb.NoticeBill: 503, rtb.NoticeLoss: 503, rtb.NoticeImp: 200, rtb.NoticeView: 200} {
		if rs := e.fire("GET", kind, c, "&p=1"); rs.StatusCode() != want || want == 503 && len(rs.Header.Peek("Retry-After")) == 0 {
			t.Errorf("%s: got %d; want %d, and when to retry", kind, rs.StatusCode(), want)
		}
		if e.count(kind, CodeFailed) != 1 {
			t.Errorf("%s that failed is not counted", kind)
		}
	}
	for range 50 {
		e.fire("GET", rtb.NoticeBill, c, "&p=1")
	}
	lost := said.FilterMessageSnippet("notice is lost")
	if n := lost.Len(); n == 0 || n > 20 { // a minute may end during the test
		t.Errorf("got %d lines for 55 lost notices; want some", n)
	}
	if bills := lost.FilterField(zap.Bool("bills", true)).All(); len(bills) == 0 || bills[0].ContextMap()["bid"] != c.Bid.String() || bills[0].ContextMap()["charge"] != "0.001" {
		t.Errorf("got %+v; want the bid and its charge", bills)
	}
	e.broken = nil
	if rs := e.fire("GET", rtb.NoticeBill, c, "&p=1"); rs.StatusCode() != 204 || e.only().Notice.Charge != 1000 {
		t.Errorf("sent again: got %d, %+v; want 204 and the charge", rs.StatusCode(), e.facts)
	}
}

// A price above the bid and a notice that is too late are logged with both prices, at
// a limited rate.
func TestNoticesThatNeedALookAreSaid(t *testing.T) {
	core, said := observer.New(zap.InfoLevel)
	e := newEdge(t)
	e.h = NewHandler(Options{Signer: e.s, Now: e.h.o.Now, Profiles: e.h.o.Profiles, Append: e.h.o.Append, Logger: zap.New(core)})
	c := sampleClaims()
	for i := range 50 {
		c.Bid[0] = byte(i)
		e.fire("GET", rtb.NoticeBill, c, "&p=900")
	}
	e.now = c.Issued.Add(49 * time.Hour)
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	e.now = c.Issued.Add(49 * time.Hour)
	c.Bid[1]++
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	above, late := said.FilterMessageSnippet("price above the bid"), said.FilterMessageSnippet("after notice_ttl")
	if n := above.Len(); n == 0 || n > 20 || late.Len() != 1 {
		t.Fatalf("got %d lines of 50 prices above their bids and %d of one late notice", n, late.Len())
	}
	m := above.All()[0].ContextMap()
	if m["exchange"] != c.Exchange || m["price_cpm"] != "900" || m["bid_cpm"] != rtb.Micros(c.Price).String() || m["bid"] == "" {
		t.Errorf("got %v; want exchange, bid and both prices", m)
	}
}

// Rules M14, M15: loss reasons and the minimum to win.
func TestLossReasonsAndPriceToWin(t *testing.T) {
	conformance.Covers(t, "M14", "M15")
	e := newEdge(t)
	for _, params := range []string{"&l=102&m=1.90", "&l=102&m=", "&l=9999", "&l=700", "&l=${AUCTION_LOSS}", ""} {
		c := sampleClaims()
		c.Bid[5] = byte(len(e.facts))
		e.fire("GET", rtb.NoticeLoss, c, params)
	}
	var got []string
	for _, f := range e.facts {
		got = append(got, fmt.Sprint(f.LossReason, " ", f.MinToWin, " ", f.Charge))
	}
	if want := []string{"102 1.9 0", "102 0 0", "9999 0 0", "700 0 0", "-1 0 0", "-1 0 0"}; !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	if l := e.h.Losses(); l["higher_bid"] != 2 || l["exchange"] != 1 || l["other"] != 3 {
		t.Errorf("got %v", l)
	}
}

func TestVideoEventsAreFactsOfTheirOwn(t *testing.T) {
	conformance.Covers(t, "VD16")
	e := newEdge(t)
	c := sampleClaims()
	c.BillOn = rtb.BillOnVAST
	tok := token(t, e.s, rtb.NoticeVideo, &c)
	for _, ev := range []string{"impression", "start", "q1", "mid", "q3", "complete"} {
		e.get("GET", base+"/v1/vast/"+ev+"?k="+tok)
	}
	ids := map[string]bool{}
	for i, f := range e.facts {
		ids[f.ID] = true
		if f.Bills != (i == 0) {
			t.Errorf("%s: got bills %v", f.ID, f.Bills)
		}
	}
	if len(ids) != 6 || !ids["video:"+c.Bid.String()] || e.facts[5].Progress != 100 {
		t.Errorf("got %v", ids)
	}
}

// The player's code in VAST's Error URL is kept as a flag.
func TestVideoErrorsAreFlagged(t *testing.T) {
	c := sampleClaims()
	c.BillOn = rtb.BillOnVAST
	for code, want := range map[string]string{"303": "error_303", "[ERRORCODE]": "error", "": "error", "99": "error", "1000": "error"} {
		e := newEdge(t)
		e.get("GET", base+"/v1/vast/error?k="+token(t, e.s, rtb.NoticeVideo, &c)+"&e="+code)
		if f := e.only(); f.ID != "video:"+c.Bid.String()+":error" || f.Bills || !slices.Equal(f.Flags, []string{want}) {
			t.Errorf("code %q: got %+v; want flag %s", code, f, want)
		}
	}
}

// Clients read Location as ASCII: letters beyond it are encoded.
func TestLocationIsASCII(t *testing.T) {
	for landing, want := range map[string]string{
		"https://shop.example/größe?q=ü#früh": "https://shop.example/gr%C3%B6%C3%9Fe?q=%C3%BC#fr%C3%BCh",
		"https://shöp.shop.example/p":         "https://xn--shp-tna.shop.example/p",
		"https://shop.example/a%20b?c=d":      "https://shop.example/a%20b?c=d",
	} {
		e, c := newEdge(t), sampleClaims()
		c.Landing = landing
		if rs := e.fire("GET", rtb.NoticeClick, c, ""); rs.StatusCode() != 302 || string(rs.Header.Peek("Location")) != want {
			t.Errorf("landing %q: got %d to %q; want %q", landing, rs.StatusCode(), rs.Header.Peek("Location"), want)
		}
	}
}

// A click that a player or a native placement reports is not redirected.
func TestClickThatIsOnlyTold(t *testing.T) {
	e := newEdge(t)
	rs := e.fire("GET", rtb.NoticeClick, sampleClaims(), "&t=1")
	if rs.StatusCode() != 200 || string(rs.Header.ContentType()) != "image/gif" || len(rs.Header.Peek("Location")) > 0 {
		t.Errorf("got %d, %s to %q; want a GIF", rs.StatusCode(), rs.Header.ContentType(), rs.Header.Peek("Location"))
	}
	if f := e.only(); f.Kind != events.KindClick {
		t.Errorf("got %+v", f)
	}
	if rs := e.get("GET", base+"/v1/c?k=nonsense&t=1"); rs.StatusCode() != 200 || len(e.facts) != 1 {
		t.Errorf("got %d and %d facts; want a GIF and no fact", rs.StatusCode(), len(e.facts))
	}
}
