package bidder_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"rebound/bidder"
	"rebound/internal/conformance"
	"rebound/rtb"
)

// held is a store that blocks until the test releases it.
type held struct {
	bidder.Visitors
	entered, leave chan struct{}
}

func (h *held) Find(space string, ids []rtb.ExternalID, v *rtb.Visitor, beforeRead func()) rtb.NoBidReason {
	h.entered <- struct{}{}
	<-h.leave
	return h.Visitors.Find(space, ids, v, beforeRead)
}

// postTo sends a body to a bidder's handler and returns the response.
func postTo(b *bidder.Bidder, body []byte) *fasthttp.Response {
	var rq fasthttp.Request
	rq.Header.SetMethod("POST")
	rq.SetRequestURI("http://bid.example/openrtb2/demo")
	rq.SetBody(body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&rq, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
	b.Serve(&ctx)
	return &ctx.Response
}

// Rule T19: a request above an exchange's in-flight limit gets a 204 at once, while
// the others are still being decided.
func TestInFlightLimitOfAnExchange(t *testing.T) {
	conformance.Covers(t, "T19")
	w := newWorld(t, &scenario{Exchange: map[string]any{"max_in_flight": 2}})
	h := &held{Visitors: w.segments, entered: make(chan struct{}), leave: make(chan struct{})}
	b := bidder.New(bidder.Options{Visitors: h, Budgets: w.pacer, Links: w.signer, Clock: func() time.Time { return w.now }})
	b.Swap(w.bidder.Catalog())
	answers := make(chan int, 2)
	for range 2 {
		go func() { answers <- postTo(b, w.r0).StatusCode() }()
		<-h.entered
	}
	if rs := postTo(b, w.r0); rs.StatusCode() != fasthttp.StatusNoContent || rs.ConnectionClose() {
		t.Errorf("the third: got %d, close %v; want 204 on an open connection", rs.StatusCode(), rs.ConnectionClose())
	}
	close(h.leave)
	for range 2 {
		if status := <-answers; status != fasthttp.StatusOK {
			t.Errorf("one of the first two: got %d; want 200", status)
		}
	}
	go func() { <-h.entered }()
	if rs := postTo(b, w.r0); rs.StatusCode() != fasthttp.StatusOK {
		t.Errorf("after them: got %d; want 200", rs.StatusCode())
	}
	for _, s := range b.Stats() {
		if s.Exchange == "demo" && (s.NoBids[rtb.NoBidOverloaded] != 1 || s.Bids != 3) {
			t.Errorf("got %d overloaded, %d bids; want 1, 3", s.NoBids[rtb.NoBidOverloaded], s.Bids)
		}
	}
}

// Rule M16: feedback on earlier bids is passed on unchanged, whatever the decision
// on the request, and only for exchanges that are configured for it.
func TestFeedbackIsHandedOn(t *testing.T) {
	conformance.Covers(t, "M16")
	const feedback = `[{"request_id":"r","minimum_bid_to_win":1.5}]`
	body := func(w *world, extra string) []byte {
		return bytes.Replace(w.r0, []byte(`"at":1`), []byte(`"at":1,"ext":{"bid_feedback":`+feedback+`}`+extra), 1)
	}
	for _, on := range []bool{true, false} {
		w := newWorld(t, &scenario{Exchange: map[string]any{"bid_feedback": on}})
		var got []string
		b := bidder.New(bidder.Options{Visitors: w.segments, Budgets: w.pacer, Links: w.signer, Clock: func() time.Time { return w.now },
			Feedback: func(id string, f []byte) { got = append(got, id+" "+string(f)) }})
		b.Swap(w.bidder.Catalog())
		postTo(b, body(w, ""))
		postTo(b, bytes.Replace(body(w, ""), []byte("u-retarget"), []byte("u-stranger"), 1))
		postTo(b, body(w, `,"regs":{"coppa":1}`))
		postTo(b, append(body(w, ""), 'x')) // unreadable
		postTo(b, w.r0)                     // without
		want := 3
		if !on {
			want = 0
		}
		if len(got) != want || on && got[0] != "demo "+feedback {
			t.Errorf("bid_feedback %v: got %q; want %d times the feedback", on, got, want)
		}
	}
}

// Rule V19: the number of stored responses is bounded, and no request gets the
// response of another.
func TestRetriesAreBounded(t *testing.T) {
	conformance.Covers(t, "V19")
	w := newWorld(t, &scenario{Exchange: map[string]any{"retry_window": "10s"},
		Campaign: map[string]any{"budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}}})
	s := bidder.NewDecision()
	for i := range 3000 {
		id := []byte(`"id":"r` + time.Duration(i).String() + `"`)
		body := bytes.Replace(w.r0, []byte(`"id":"r0"`), id, 1)
		for range 2 {
			a := w.bidder.Answer(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s)
			if a.Status != 200 || !bytes.Contains(a.Body, id) {
				t.Fatalf("request %d: got %d %.80s", i, a.Status, a.Body)
			}
		}
		if i%500 == 0 {
			w.tick()
		}
	}
	dry := bytes.Clone(w.r0)
	w.bidder.Answer(&bidder.Request{Exchange: "demo", Body: dry, Arrival: w.now}, s)
	if a := w.bidder.DryRun(&bidder.Request{Exchange: "demo", Body: dry, Arrival: w.now}, s); a.Repeated {
		t.Error("a dry request got a kept answer")
	}
}
