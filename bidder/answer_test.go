package bidder_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/bidder"
	"rebound/events"
	"rebound/exchange"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// bare returns a bidder over the world's views that records nothing and whose clock
// stands still, for measurements.
func (w *world) bare() *bidder.Bidder {
	b := bidder.New(bidder.Options{Visitors: w.segments, Budgets: w.pacer, Links: w.signer, Clock: func() time.Time { return w.now }})
	b.Swap(w.bidder.Catalog())
	return b
}

// lasting returns a world whose budget outlasts any test.
func lasting(t testing.TB) *world {
	return newWorld(t, &scenario{Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}}})
}

// everything returns a bidder over the world's views with all that a running one has: a
// bid log that redacts and records every request, positions, and feedback.
func (w *world) everything(l *events.BidLog) *bidder.Bidder {
	b := bidder.New(bidder.Options{
		Visitors: w.segments, Budgets: w.pacer, Links: w.signer, Records: l, Keys: w.keyring, Clock: func() time.Time { return w.now },
		Positions: func() events.RecordPos {
			return events.RecordPos{Segments: w.segments.Position().Seq, Money: w.pacer.Position().Seq}
		},
		Node: "n1", Build: "test", KnownNoBidShare: 1, UnknownNoBidShare: 1, Feedback: func(string, []byte) {},
	})
	b.Swap(w.bidder.Catalog())
	return b
}

// bidLog opens a bid log. Nothing is written until it runs.
func (w *world) bidLog() *events.BidLog {
	w.t.Helper()
	l, err := events.OpenBidLog(events.BidLogOptions{Dir: w.t.TempDir(), BufferBytes: 1 << 30})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// With everything on, a no-bid allocates nothing, and a bid at most twice.
func TestAllocations(t *testing.T) {
	if raceOn {
		t.Skip("allocation counts differ under the race detector")
	}
	w := lasting(t)
	l := w.bidLog()
	b, s, answers := w.everything(l), bidder.NewDecision(), 0
	unknown := bytes.Replace(w.r0, []byte("u-retarget"), []byte("u-stranger"), 1)
	for _, c := range []struct {
		name string
		body []byte
		want rtb.NoBidReason
		most float64
	}{
		{"unknown visitor", unknown, rtb.NoBidUnknownVisitor, 0},
		{"privacy refuses", bytes.Replace(w.r0, []byte(`"at":1`), []byte(`"at":1,"regs":{"coppa":1}`), 1), rtb.NoBidPrivacyCOPPA, 0},
		{"floor", bytes.Replace(w.r0, []byte(`0.50`), []byte(`9.99`), 1), rtb.NoBidFloor, 0},
		{"bid", w.r0, rtb.NoBidNone, 2},
	} {
		var a bidder.Response
		rq := bidder.Request{Exchange: "demo", Body: c.body, Arrival: w.now}
		n := math.Inf(1)
		for i := 0; i < 20 && n > c.most; i++ { // background goroutines of the views and of other tests allocate too
			runtime.Gosched() // for the goroutine that fills the cache of visitors
			n = min(n, testing.AllocsPerRun(200, func() {
				a = b.Answer(&rq, s)
				answers++
			}))
		}
		if a.Reason != c.want {
			t.Errorf("%s: got %q; want %q", c.name, a.Reason, c.want)
		}
		if n > c.most {
			t.Errorf("%s: got %v allocations; want at most %v", c.name, n, c.most)
		}
		t.Logf("%s: %v allocations", c.name, n)
	}
	if st := l.Stats(); st.Waiting != answers || st.Redacted > 0 || st.Dropped > 0 {
		t.Errorf("got %+v; want every request recorded", st)
	}
}

// explosive panics when it is asked for a quote.
type explosive struct{ bidder.Budgets }

func (e explosive) Quote(rtb.LineHandle, *rtb.Ask) (rtb.Quote, rtb.NoBidReason) {
	panic("a defect")
}

// Rule T4: a panic costs its own request only.
func TestAPanicCostsOneRequest(t *testing.T) {
	conformance.Covers(t, "T4")
	w := lasting(t)
	b := bidder.New(bidder.Options{Visitors: w.segments, Budgets: explosive{w.pacer}, Links: w.signer, Clock: func() time.Time { return w.now }})
	b.Swap(w.bidder.Catalog())
	s := bidder.NewDecision()
	rq := bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now}
	for range 3 {
		if a := b.Answer(&rq, s); a.Status != 204 || a.Reason != rtb.NoBidError {
			t.Fatalf("got %d %q; want 204 error", a.Status, a.Reason)
		}
	}
	rq.Body = bytes.Replace(w.r0, []byte("u-retarget"), []byte("u-stranger"), 1)
	if a := b.Answer(&rq, s); a.Reason != rtb.NoBidUnknownVisitor {
		t.Errorf("the next request: got %q; want unknown_visitor", a.Reason)
	}
	if n := b.Stats()[1].NoBids[rtb.NoBidError]; n != 3 {
		t.Errorf("got %d errors counted; want 3", n)
	}
}

// A dry run decides like a real one and leaves no trace.
func TestADryRunLeavesNoTrace(t *testing.T) {
	w := lasting(t)
	s := bidder.NewDecision()
	rq := bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now, Source: rand.NewChaCha8([32]byte{5})}
	dry := w.bidder.DryRun(&rq, s)
	if dry.Status != 200 || dry.Offers != 1 || w.records.last != nil {
		t.Fatalf("got %+v, record %v; want a bid and no record", dry, w.records.last)
	}
	if _, reserved := w.money(); reserved != "0" {
		t.Errorf("got %s reserved; want 0", reserved)
	}
	if st := w.stats(); st.Requests != 0 {
		t.Errorf("got %d requests counted; want 0", st.Requests)
	}
	var d events.Decision
	s.Describe(&d, &dry)
	if len(d.Bids) != 1 || d.Bids[0].Line != "l0" || d.Bids[0].Price != 2_000_000 {
		t.Errorf("got %+v", d)
	}
	w.won = slices.Clone(dry.Body)
	w.fire([]fire{{Notice: "burl", Price: "1"}})
	if spent, _ := w.money(); spent != "0" {
		t.Errorf("the links of a dry run bill: got %s spent", spent)
	}
	real := w.bidder.Answer(&rq, s)
	if got, want := bidTexts(t, real.Body), bidTexts(t, w.won); got != want {
		t.Errorf("the real run decides otherwise: %s; want %s", got, want)
	}
}

func bidTexts(t *testing.T, body []byte) string {
	t.Helper()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, b := range bidsOf(answer) {
		ids = append(ids, fmt.Sprint(b["impid"], " ", b["price"], " ", b["crid"]))
	}
	return strings.Join(ids, ", ")
}

// A request that is refused before its deadline is known has no deadline in its record.
func TestTheRecordOfARequestWithoutInventory(t *testing.T) {
	w := lasting(t)
	w.call(&call{Request: `{"site":null}`, Expect: expect{NoBid: "inventory", Recorded: "anonymous"}}, "no site")
	if r := w.records.last; r == nil || r.DeadlineUS != 0 {
		t.Errorf("got %+v; want a record without a deadline", r)
	}
}

// The record explains the price and shares no memory with the decision.
func TestTheRecordExplainsTheBid(t *testing.T) {
	conformance.Covers(t, "G25")
	w := lasting(t)
	w.call(&call{Expect: expect{Bid: map[string]any{"price": 2}}}, "bid")
	r := w.records.last
	if r == nil || r.Exchange != "demo" || r.Node != "n1" || r.Config != w.snapshot.Hash || r.SampleWeight != 1 || r.DeadlineUS != 90_000 {
		t.Fatalf("got %+v", r)
	}
	if r.Privacy.Level != rtb.LevelPersonalised || r.Visitor == nil || len(r.Visitor.Segments) == 0 {
		t.Errorf("got privacy %+v, visitor %+v", r.Privacy, r.Visitor)
	}
	d := r.Decision
	if len(d.Bids) != 1 || d.NoBid != rtb.NoBidNone {
		t.Fatalf("got %+v", d)
	}
	x := d.Bids[0]
	if x.ImpID != "1" || x.Campaign != "c0" || x.Line != "l0" || x.Creative != "cr0" || x.Value != 2_000_000 || x.Reserved != 2000 ||
		x.Factors.CPM != 2_000_000 || x.Factors.Multiplier != 1 || x.Factors.Rate != 1 || x.Factors.Floor != 500_000 || x.Draw <= 0 || x.Draw >= 1 {
		t.Errorf("got %+v", x)
	}
	before, _ := json.Marshal(r)
	w.call(&call{Request: `{"id":"r1","user":{"buyeruid":"nobody"}}`, Expect: expect{NoBid: "unknown_visitor"}}, "no bid")
	if after, _ := json.Marshal(r); !bytes.Equal(before, after) {
		t.Error("the next request changed the record of the one before")
	}
	if r := w.records.last; r.Visitor != nil || r.Decision.NoBid != rtb.NoBidUnknownVisitor || len(r.Decision.Bids) != 0 {
		t.Errorf("got %+v", r)
	}
}

// A request reads one catalog from beginning to end while others are swapped in.
func TestSwapUnderTraffic(t *testing.T) {
	w := lasting(t)
	b := w.bare()
	old := b.Catalog()
	empty := &bidder.Catalog{Exchanges: map[string]*exchange.Profile{"demo": old.Exchanges["demo"]}, Index: old.Index, Policy: old.Policy, Hash: "other"}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			s := bidder.NewDecision()
			rq := bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now}
			for range 300 {
				if a := b.Answer(&rq, s); a.Status != 200 && a.Status != 204 {
					t.Errorf("got %d", a.Status)
				}
			}
		})
	}
	for i := range 300 {
		b.Swap([]*bidder.Catalog{old, empty}[i%2])
	}
	wg.Wait()
	if st := b.Stats(); st[1].Requests != 600 {
		t.Errorf("got %d requests counted; want 600", st[1].Requests)
	}
}

// Rule T5: a connection stays open after every ordinary refusal.
func TestOneConnectionForEverything(t *testing.T) {
	conformance.Covers(t, "T5")
	w := lasting(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &fasthttp.Server{Handler: w.bare().Serve, NoDefaultServerHeader: true}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	bodies := []struct {
		body   string
		status int
	}{{string(w.r0), 200}, {`{"id":`, 400}, {strings.Replace(string(w.r0), "u-retarget", "x", 1), 204}, {strings.Repeat("x", 300<<10), 413}}
	for i := range 200 {
		c := bodies[i%len(bodies)]
		fmt.Fprintf(conn, "POST /openrtb2/demo HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(c.body), c.body)
		rs, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, rs.Body)
		_ = rs.Body.Close()
		if rs.Close || (rs.StatusCode != c.status && !(c.status == 200 && rs.StatusCode == 204)) {
			t.Fatalf("request %d: got %d, close %v; want %d", i, rs.StatusCode, rs.Close, c.status)
		}
	}
	_ = conn.Close()
	_ = ln.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Any request gets a valid response, and no price exceeds the maximum.
func FuzzAnswer(f *testing.F) {
	w := lasting(f)
	f.Add(w.r0)
	for _, s := range []string{`{`, `{"id":"1","imp":[{"id":"1","banner":{}}]}`, `{"id":1,"imp":{}}`,
		`{"id":"r","at":3,"cur":["XXX"],"imp":[{"id":"1","bidfloor":1e300,"banner":{"w":300,"h":250,"format":[{"w":-1}]}}],"user":{"buyeruid":"u-retarget"},"device":{"geo":{"country":"CAN"}},"site":{}}`} {
		f.Add([]byte(s))
	}
	b, s := w.bare(), bidder.NewDecision()
	f.Fuzz(func(t *testing.T, body []byte) {
		rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
		a := b.DryRun(&rq, s)
		switch {
		case a.Reason == rtb.NoBidError:
			t.Fatalf("got an error for %q", body)
		case a.Status == 200 && a.Offers > 0:
			if !json.Valid(a.Body) {
				t.Fatalf("got %q", a.Body)
			}
			for _, bid := range s.Outcome().Bids {
				if bid.Offer.Price <= 0 || bid.Offer.Price > 2_000_000 {
					t.Fatalf("got price %d", bid.Offer.Price)
				}
			}
		case a.Status != 204 && a.Status != 400:
			t.Fatalf("got %d", a.Status)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	w := lasting(b)
	stranger := bytes.Replace(w.r0, []byte("u-retarget"), []byte("u-stranger"), 1)
	bd, s := w.bare(), bidder.NewDecision()
	run := func(name string, body []byte, answer func(*bidder.Request, *bidder.Decision) bidder.Response) {
		b.Run(name, func(b *testing.B) {
			rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			var a bidder.Response
			for b.Loop() {
				a = answer(&rq, s)
			}
			if name != "unknown visitor" && a.Offers == 0 {
				b.Fatalf("got %q; want a bid", a.Reason)
			}
		})
	}
	run("unknown visitor", stranger, bd.Answer)
	run("bid", w.r0, bd.DryRun) // dry: reserved and released, so that the budget lasts
	b.Run("decode only", func(b *testing.B) {
		var d exchange.Decoder
		var o rtb.Opportunity
		p := w.snapshot.Profiles["demo"]
		b.ReportAllocs()
		for b.Loop() {
			if err := d.Head(w.r0, p, &o); err != nil {
				b.Fatal(err)
			}
			if err := d.Rest(p, &o, rtb.AllParts); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Rule T11: the body is too large as sent, or after decompression.
func TestTooLargeBodies(t *testing.T) {
	conformance.Covers(t, "T11")
	w := newWorld(t, &scenario{Exchange: map[string]any{"max_body": "64KiB", "max_inflated": "128KiB"}})
	padded := func(n int) *string { s := string(w.r0) + strings.Repeat(" ", n); return &s }
	w.call(&call{Body: padded(64 << 10), Expect: expect{Status: 413, NoBid: "malformed"}}, "as sent")
	w.call(&call{Body: padded(100 << 10), Gzip: true, Expect: expect{Bid: map[string]any{"price": 2}}}, "inflated within the limit")
	w.call(&call{Body: padded(1 << 20), Gzip: true, Expect: expect{Status: 413, NoBid: "malformed"}}, "inflated beyond it")
	w.call(&call{Expect: expect{Bid: map[string]any{"price": 2}}}, "the next request")
}

// A request for which the listener has no capacity gets a 204 and is counted.
func TestShed(t *testing.T) {
	conformance.Covers(t, "T19")
	w := lasting(t)
	var ctx fasthttp.RequestCtx
	var rq fasthttp.Request
	rq.SetRequestURI("/openrtb2/demo")
	ctx.Init(&rq, nil, nil)
	w.bidder.Shed(&ctx)
	if ctx.Response.StatusCode() != 204 || w.bidder.Stats()[1].NoBids[rtb.NoBidOverloaded] != 1 {
		t.Errorf("got %d, %+v; want a counted 204", ctx.Response.StatusCode(), w.bidder.Stats()[1])
	}
}
