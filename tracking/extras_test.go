package tracking

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"rebound/events"
	"rebound/exchange"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// A duplicate is counted as such and not recorded again; a notice that could not be
// stored does not count as recorded.
func TestASecondCopyIsADuplicate(t *testing.T) {
	conformance.Covers(t, "M8")
	e := newEdge(t)
	c := sampleClaims()
	e.broken = errors.New("no log")
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	e.broken = nil
	for range 3 {
		e.fire("GET", rtb.NoticeBill, c, "&p=1")
	}
	e.fire("GET", rtb.NoticeWin, c, "&p=1")
	for range 2 {
		if rs := e.fire("GET", rtb.NoticeClick, c, ""); rs.StatusCode() != fasthttp.StatusFound {
			t.Errorf("click: got %d; want 302", rs.StatusCode())
		}
	}
	if n := e.count(rtb.NoticeBill, CodeDuplicate); len(e.facts) != 3 || n != 2 {
		t.Errorf("got %d facts and %d duplicate bills; want 3, 2", len(e.facts), n)
	}
	if n := e.count(rtb.NoticeClick, CodeDuplicate); n != 1 {
		t.Errorf("got %d duplicate clicks; want 1", n)
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := recent{size: 100}
	for i := range 10_000 {
		r.add(fmt.Sprint(i), uint64(i))
		if len(r.now)+len(r.old) > 200 {
			t.Fatalf("after %d: %d are kept", i, len(r.now)+len(r.old))
		}
	}
	for i := 9_900; i < 10_000; i++ {
		if owner, ok := r.seen(fmt.Sprint(i)); !ok || owner != uint64(i) {
			t.Fatalf("%d is forgotten", i)
		}
	}
	if _, ok := r.seen("1"); ok {
		t.Error("the first is still known")
	}
}

func testKeys() exchange.PriceKeySpec {
	key := func(from byte) string {
		b := make([]byte, 32)
		for i := range b {
			b[i] = from + byte(i)
		}
		return base64.URLEncoding.EncodeToString(b)
	}
	return exchange.PriceKeySpec{Encryption: key(0), Integrity: key(0x20)}
}

// Rule E4: an old encrypted price is flagged, one of another bid is rejected, and a bid
// may repeat its own.
func TestSealsThatAreStaleOrReplayed(t *testing.T) {
	conformance.Covers(t, "E4")
	e := newEdge(t, exchange.ProfileSpec{ID: "sealed", Seat: "s", PriceCodec: "hmac-sha1", PriceKeys: []exchange.PriceKeySpec{testKeys()}})
	const sealed = "&p=ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRW9A" // 1.50, of 2024-01-12
	c := sampleClaims()
	c.Exchange = "sealed"
	e.fire("GET", rtb.NoticeWin, c, sealed)
	e.fire("GET", rtb.NoticeBill, c, sealed)
	c.Bid[0]++
	e.fire("GET", rtb.NoticeBill, c, sealed)
	if len(e.facts) != 3 {
		t.Fatalf("got %d facts; want 3", len(e.facts))
	}
	bill, replay := e.facts[1].Notice, e.facts[2].Notice
	if bill.Charge != 1500 || !slices.Contains(bill.Flags, FlagPriceStale) || slices.Contains(bill.Flags, FlagPriceReplayed) {
		t.Errorf("own seal: got charge %d, flags %v; want 1500 and %s", bill.Charge, bill.Flags, FlagPriceStale)
	}
	if replay.Charge != c.Reserved || !slices.Contains(replay.Flags, FlagPriceReplayed) {
		t.Errorf("another's seal: got charge %d, flags %v; want %d and %s", replay.Charge, replay.Flags, c.Reserved, FlagPriceReplayed)
	}
}

// Rule E2: an encrypted price whose last character has nonzero padding bits is
// rejected.
func TestSpareBitsAreNoPrice(t *testing.T) {
	conformance.Covers(t, "E2")
	e := newEdge(t, exchange.ProfileSpec{ID: "sealed", Seat: "s", PriceCodec: "hmac-sha1", PriceKeys: []exchange.PriceKeySpec{testKeys()}})
	c := sampleClaims()
	c.Exchange = "sealed"
	const good = "ZaCxwAAB4kAAAAAAAAAAAbv7uHQOcXl6jLRW9A"
	for last := 'A'; last <= 'z'; last++ {
		if last > 'Z' && last < 'a' {
			continue
		}
		c.Bid[1]++
		e.facts = nil
		e.fire("GET", rtb.NoticeBill, c, "&p="+good[:len(good)-1]+string(last))
		want := c.Reserved
		if last == 'A' {
			want = 1500
		}
		if f := e.only(); f.Charge != want {
			t.Errorf("ending in %c: got charge %d; want %d", last, f.Charge, want)
		}
	}
}

// Rule M21: the price is after the discount; the discount is recorded.
func TestDiscountIsKept(t *testing.T) {
	conformance.Covers(t, "M21", "M1")
	e := newEdge(t)
	c := sampleClaims()
	c.Price, c.Reserved = 10_000_000, 10_000
	e.fire("GET", rtb.NoticeBill, c, "&p=8.0&dp=20&dc=2.0&ai=r0&bi=x&ii=1&si=s&ad=a&mb=1&ts=1&sf=0.1")
	if f := e.only(); f.Price != 8_000_000 || f.DiscountPct != 20_000_000 || f.Discount != 2_000_000 {
		t.Errorf("got price %v, discount %v, %d; want 8, 2, 20 percent", f.Price, f.Discount, f.DiscountPct)
	}
}

// Rule P13: a bid for 30.3 impressions reserves the cost of that many; the exchange may
// report fewer, but is never charged for more.
func TestMultiplierIsBoundedByTheQuantity(t *testing.T) {
	conformance.Covers(t, "P13")
	for _, x := range []struct {
		quantity rtb.Quantity
		params   string
		want     rtb.Micros
	}{
		{0, "&x=30.3", 2_500},
		{0, "&x=0.1", 2_500},
		{30_300_000, "&x=30.3", 75_750},
		{30_300_000, "&x=10", 25_000},
		{30_300_000, "&x=99", 75_750},
		{30_300_000, "", 75_750},
		{30_300_000, "&x=${AUCTION_MULTIPLIER}", 75_750},
		{30_300_000, "&x=-1", 75_750},
	} {
		e := newEdge(t)
		c := sampleClaims()
		c.Price, c.Quantity, c.Rate = 2_500_000, x.quantity, rtb.RateOne
		c.Reserved = c.Charge(c.Price)
		e.fire("GET", rtb.NoticeBill, c, "&p=2.50"+x.params)
		if f := e.only(); f.Charge != x.want || f.Charge > c.Reserved {
			t.Errorf("quantity %d%s: got charge %d of %d; want %d", x.quantity, x.params, f.Charge, c.Reserved, x.want)
		}
	}
}

// Rule M18: X-Device-* headers are accepted only from the exchange's networks, and the
// address is truncated.
func TestDeviceHeadersNeedAKnownSender(t *testing.T) {
	conformance.Covers(t, "M18")
	for _, x := range []struct {
		from, want string
		crawler    bool
	}{{"203.0.113.9", "198.51.100.0/24", true}, {"192.0.2.1", "", false}} {
		e := newEdge(t, exchange.ProfileSpec{ID: "known", Seat: "s", NoticeSources: []string{"203.0.113.0/24"}})
		c := sampleClaims()
		c.Exchange = "known"
		var ctx fasthttp.RequestCtx
		var rq fasthttp.Request
		rq.SetRequestURI(string(signedURL(e.s, rtb.NoticeBill, &c)) + "&p=1")
		rq.Header.Set("X-Device-IP", "198.51.100.77")
		rq.Header.Set("X-Device-User-Agent", "SomeBot/1.0")
		ctx.Init(&rq, tcpAddr(x.from), nil)
		e.h.Serve(&ctx)
		f := e.only()
		if f.ClientNet != x.want || slices.Contains(f.Flags, FlagCrawler) != x.crawler {
			t.Errorf("from %s: got network %q, flags %v; want %q", x.from, f.ClientNet, f.Flags, x.want)
		}
	}
}

// Losses are counted by line, creative and reason, in bounded memory.
func TestLossesByLineAndCreative(t *testing.T) {
	conformance.Covers(t, "M14")
	e := newEdge(t)
	c := sampleClaims()
	for i := range maxLossRows + 50 {
		c.Bid[2], c.Bid[3], c.Creative = byte(i), byte(i>>8), fmt.Sprint("cr", i)
		e.fire("GET", rtb.NoticeLoss, c, "&l=102")
	}
	rows := e.h.LossTable()
	if len(rows) > maxLossRows+1 || rows[0].Line != "other" || rows[0].N != 50 || rows[0].Reason != "higher_bid" {
		t.Errorf("got %d rows, first %+v; want 50 under other", len(rows), rows[0])
	}
	total := uint64(0)
	for _, r := range rows {
		total += r.N
	}
	if total != maxLossRows+50 {
		t.Errorf("got %d losses; want %d", total, maxLossRows+50)
	}
}

// Section 16: more than one loss of a class in a thousand bids of five minutes raises
// the alarm, which is logged once in that time.
func TestLossAlarm(t *testing.T) {
	for _, x := range []struct {
		loss  string
		class string
		n     int
		rings bool
	}{{"3", "answer", 2, false}, {"10", "answer", 3, true}, {"203", "filter", 3, true}, {"211", "filter", 3, true},
		{"100", "floor", 3, true}, {"101", "floor", 3, true}, {"102", "answer", 50, false}, {"212", "filter", 50, false}} {
		core, logs := observer.New(zap.WarnLevel)
		e := newEdge(t)
		bids := uint64(5_000)
		e.h.o.Logger, e.h.o.Bids = zap.New(core), func() uint64 { return bids }
		e.h.alarm.start = e.now.Add(-time.Hour)
		e.h.mark()
		e.now = e.now.Add(20 * time.Second)
		bids += 2_000
		c := sampleClaims()
		for i := range x.n {
			c.Bid[4] = byte(i)
			e.fire("GET", rtb.NoticeLoss, c, "&l="+x.loss)
		}
		if got := e.h.Alarms()[x.class]; got != x.rings {
			t.Errorf("%d of %s: alarm %v; want %v", x.n, x.loss, got, x.rings)
		}
		if n := logs.Len(); n > 1 || (n == 1) != x.rings {
			t.Errorf("%d of %s: %d log lines", x.n, x.loss, n)
		}
		e.now = e.now.Add(6 * time.Minute)
		if e.h.Alarms()[x.class] {
			t.Errorf("%s still rings after six minutes", x.loss)
		}
	}
}

// Rule M16: feedback becomes facts outside the bid path; feedback beyond the limits is dropped.
func TestFeedbackBecomesFacts(t *testing.T) {
	conformance.Covers(t, "M16")
	e := newEdge(t)
	c := sampleClaims()
	tok := token(t, e.s, rtb.NoticeLoss, &c)
	row := func(tok, rest string) string {
		return `{"request_id":"r","event_notification_token":{"payload":"` + tok + `"}` + rest + `}`
	}
	won := c
	won.Bid[0]++
	rows := "[" + row(tok, `,"minimum_bid_to_win":1.25,"creative_status_code":79`) + "," + row("x"+tok[1:], "") + "," + `7` + "," +
		row(token(t, e.s, rtb.NoticeLoss, &won), `,"minimum_bid_to_win":"0.9","creative_status_code":1`) + "]"
	synctest.Test(t, func(t *testing.T) {
		h := NewHandler(e.h.o)
		h.TakeFeedback(c.Exchange, []byte(rows))
		for range 2 * feedbackQueue {
			h.TakeFeedback(c.Exchange, []byte("[]"))
		}
		h.TakeFeedback(c.Exchange, make([]byte, feedbackBytes+1))
		done := make(chan error, 1)
		inner, stop := context.WithCancel(context.Background())
		go func() { done <- h.Run(inner) }()
		synctest.Wait()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s := h.FeedbackStats(); s.Taken != feedbackQueue || s.Dropped != feedbackQueue+2 || s.Rows != 2 || s.Refused != 2 {
			t.Errorf("got %+v; want %d taken, %d dropped, 2 rows, 2 refused", s, feedbackQueue, feedbackQueue+2)
		}
	})
	if len(e.facts) != 2 {
		t.Fatalf("got %d facts; want 2", len(e.facts))
	}
	lost, win := e.facts[0], e.facts[1]
	if lost.Kind != "loss" || lost.Notice.LossReason != 102 || lost.Notice.MinToWin != 1_250_000 || lost.Notice.Bills {
		t.Errorf("got %+v; want a loss by a higher bid at 1.25", lost.Notice)
	}
	if win.Kind != "win" || win.Notice.MinToWin != 900_000 || win.Notice.Bills || win.Notice.Charge != 0 {
		t.Errorf("got %+v; want a win that charges nothing", win.Notice)
	}
}

// An entry counts as one loss, even if it is repeated or also arrives as a notice. An
// entry without a status is refused, and one that could not be stored is not counted.
func TestFeedbackCountsOnce(t *testing.T) {
	conformance.Covers(t, "M16")
	e := newEdge(t)
	e.h.o.Bids = func() uint64 { return 10 }
	c := sampleClaims()
	send := func(status string) {
		row := `{"event_notification_token":{"payload":"` + token(t, e.s, rtb.NoticeLoss, &c) + `"}` + status + `}`
		e.h.record(context.Background(), &feedback{c.Exchange, []byte("[" + row + "," + row + "," + row + "]")})
	}
	total := func() (n uint64) {
		for _, r := range e.h.LossTable() {
			n += r.N
		}
		return n
	}
	for _, status := range []string{"", `,"creative_status_code":0`, `,"creative_status_code":-3`, `,"creative_status_code":null`} {
		if send(status); len(e.facts) != 0 || total() != 0 {
			t.Fatalf("%q: got %d facts, %d losses; want none", status, len(e.facts), total())
		}
	}
	const disapproved = `,"creative_status_code":10`
	e.broken = errors.New("no log")
	if send(disapproved); total() != 0 {
		t.Errorf("got %d losses that nothing stored; want none", total())
	}
	e.broken = nil
	send(disapproved)
	send(disapproved)
	if f := e.only(); f.Kind != events.KindLoss || f.Notice.LossReason != 510 || total() != 1 {
		t.Errorf("got %+v, %d losses; want one of reason 510", f.Notice, total())
	}
	if s := e.h.FeedbackStats(); s.Rows != 1 || s.Repeated != 5 {
		t.Errorf("got %+v; want one row, 5 repeated", s)
	}
	e.fire("GET", rtb.NoticeLoss, c, "&l=102")
	if n := e.count(rtb.NoticeLoss, CodeDuplicate); n != 1 || total() != 1 {
		t.Errorf("the notice of the same loss: got %d duplicates, %d losses; want 1, 1", n, total())
	}
	c.Bid[0]++
	c.BillOn = rtb.BillOnNURL
	if send(`,"creative_status_code":1`); len(e.facts) != 1 {
		t.Errorf("a win took the place of the notice that bills")
	}
}

func tcpAddr(ip string) *net.TCPAddr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1} }

// Rule M22: the time from bid to notice is measured once for each notice.
func TestDelaysAreMeasured(t *testing.T) {
	conformance.Covers(t, "M22")
	e := newEdge(t)
	c := sampleClaims()
	e.now = c.Issued.Add(400 * time.Millisecond)
	e.fire("GET", rtb.NoticeWin, c, "&p=1")
	e.now = c.Issued.Add(2 * time.Minute)
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	e.fire("GET", rtb.NoticeBill, c, "&p=1")
	wins, _ := e.h.Delays(rtb.NoticeWin)
	bills, sum := e.h.Delays(rtb.NoticeBill)
	if wins[1] != 1 || bills[6] != 1 || sum != 120 || slices.Max(bills) != 1 {
		t.Errorf("got wins %v, bills %v, %g s; want one in each, 120 s", wins, bills, sum)
	}
}

// Shortly after the start, losses are compared with the bids since the start, although
// no step has been marked yet.
func TestLossAlarmAfterTheStart(t *testing.T) {
	e := newEdge(t)
	e.h.o.Bids = func() uint64 { return 1_500 }
	e.h.alarm.start = e.now
	e.now = e.now.Add(time.Minute)
	c := sampleClaims()
	e.fire("GET", rtb.NoticeLoss, c, "&l=3")
	if e.h.Alarms()["answer"] {
		t.Error("1 loss of 1,500 bids rings")
	}
	c.Bid[0]++
	e.fire("GET", rtb.NoticeLoss, c, "&l=3")
	if !e.h.Alarms()["answer"] {
		t.Error("2 losses of 1,500 bids do not ring")
	}
}

// Whatever its parameters, a notice is answered with 204 and never charges more than
// was reserved.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"&p=1", "&p=AUDIT&c=EUR", "&p=%24%7BAUCTION_PRICE%7D", "&p=1e9&x=30&dp=1e99&dc=-1", "&l=9999999&m=", "&p=${X}&e=[ERRORCODE]", "&p=%%%", "&k=x"} {
		f.Add(seed, "198.51.100.1, x", "bot")
	}
	e := &edge{s: newSigner(f, testKey(1)), now: sampleClaims().Issued}
	p, _ := (&exchange.ProfileSpec{ID: "demo", Seat: "s", NoticeSources: []string{"127.0.0.0/8"}}).Compile()
	var last events.Fact
	h := NewHandler(Options{Signer: e.s, Now: func() time.Time { return e.now }, Profiles: func(string) *exchange.Profile { return p },
		Append: func(_ context.Context, facts ...events.Fact) error { last = facts[0]; return nil }})
	c := sampleClaims()
	n := uint64(0)
	f.Fuzz(func(t *testing.T, params, ip, agent string) {
		n++
		binary.LittleEndian.PutUint64(c.Bid[:], n)
		last = events.Fact{}
		var ctx fasthttp.RequestCtx
		var rq fasthttp.Request
		rq.SetRequestURI(string(signedURL(e.s, rtb.NoticeBill, &c)) + params)
		rq.Header.Set("X-Device-IP", ip)
		rq.Header.Set("X-Device-User-Agent", agent)
		ctx.Init(&rq, tcpAddr("127.0.0.1"), nil)
		if !h.Serve(&ctx) {
			return // no URL: the server refuses it
		}
		if ctx.Response.StatusCode() != fasthttp.StatusNoContent {
			t.Errorf("%q: got %d", params, ctx.Response.StatusCode())
		}
		if last.Notice != nil && (last.Notice.Charge > c.Reserved || last.Notice.Charge < 0) {
			t.Errorf("%q: charged %d of %d", params, last.Notice.Charge, c.Reserved)
		}
	})
}

// Feedback never becomes a fact that charges.
func FuzzFeedback(f *testing.F) {
	s := newSigner(f, testKey(1))
	c := sampleClaims()
	f.Add([]byte(`[{"event_notification_token":{"payload":"` + token(f, s, rtb.NoticeLoss, &c) + `"},"minimum_bid_to_win":1e400,"creative_status_code":1}]`))
	f.Add([]byte(`[{"event_notification_token":7},[],null,{"minimum_bid_to_win":"NaN"}]`))
	f.Add([]byte(`[[[[[[`))
	h := NewHandler(Options{Signer: s, Now: func() time.Time { return c.Issued }, Append: func(_ context.Context, facts ...events.Fact) error {
		if n := facts[0].Notice; n.Bills || n.Charge != 0 || n.MinToWin < 0 {
			f.Errorf("got %+v", n)
		}
		return nil
	}})
	f.Fuzz(func(t *testing.T, rows []byte) { h.record(context.Background(), &feedback{"demo", rows}) })
}
