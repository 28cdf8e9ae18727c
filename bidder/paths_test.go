package bidder_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// One impression that an exchange, its reseller and another exchange offer gets one bid.
func TestOneImpressionOverSeveralPaths(t *testing.T) {
	sc := scenario{Config: map[string]any{"exchanges": []any{
		map[string]any{"id": "demo", "seat": "seat-1", "auction": "second"},
		map[string]any{"id": "other", "seat": "seat-1", "auction": "second"},
	}}}
	w := newWorld(t, &sc)
	n := 0
	send := func(exchange, request, imp, want string) {
		t.Helper()
		n++
		if request == "" {
			request = fmt.Sprintf(`{"id":"q%d"}`, n)
		}
		w.send(&call{Path: "/openrtb2/" + exchange, Request: request, Imp: imp})
		if w.reason.String() != want {
			t.Errorf("request %d: got reason %q; want %q", n, w.reason, want)
		}
	}
	const gpid, tag = `{"ext":{"gpid":"/1234/top#1"},"tagid":"77"}`, `{"tagid":"77"}`
	send("demo", "", gpid, "")
	send("demo", `{"id":"again","source":{"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"reseller.example","sid":"9","hp":1}]}}}`, gpid, "same_impression")
	send("other", `{"id":"x","site":{"page":"http://www.pub.example/a/?utm=1"}}`, gpid, "same_impression")
	send("other", `{"id":"x2","test":1}`, gpid, "")
	send("other", `{"id":"x3","site":{"page":"https://pub.example/b"}}`, gpid, "")
	send("other", "", `{"ext":{"gpid":"/1234/bottom"},"tagid":"77"}`, "")
	send("demo", "", tag, "")
	send("other", "", tag, "same_impression")
	send("demo", "", "", "") // it cannot be recognised
	send("other", "", "", "")

	// A request without a bid leaves the impression to the others.
	w.now = w.now.Add(3 * time.Second)
	w.tick()
	send("demo", "", `{"ext":{"gpid":"/1234/top#1"},"bidfloor":50}`, "floor")
	send("other", "", gpid, "")
	send("demo", "", gpid, "same_impression")
}

// A guaranteed deal is bid on whatever else has a bid.
func TestGuaranteedDealOverASecondPath(t *testing.T) {
	w := newWorld(t, &scenario{Line: map[string]any{"deals": []any{"d1"}}})
	for n, deal := range []string{`{"id":"d1","bidfloor":1}`, `{"id":"d1","bidfloor":1}`, `{"id":"d1","bidfloor":1,"guar":1}`} {
		w.send(&call{Request: fmt.Sprintf(`{"id":"q%d"}`, n), Imp: `{"tagid":"7","pmp":{"private_auction":1,"deals":[` + deal + `]}}`})
		if got, want := w.reason.String(), []string{"", "same_impression", ""}[n]; got != want {
			t.Errorf("request %d: got reason %q; want %q", n, got, want)
		}
	}
}

// Impressions of one request that share a placement are different ones.
func TestOnePlacementTwiceInARequest(t *testing.T) {
	w := newWorld(t, &scenario{})
	w.send(&call{Request: `{"imp":[{"id":"1","tagid":"7","banner":{"format":[{"w":300,"h":250}]}},{"id":"2","tagid":"7","banner":{"format":[{"w":300,"h":250}]}}]}`})
	if n := bytes.Count(w.body, []byte(`"impid"`)); n != 2 {
		t.Errorf("got %d bids; want 2", n)
	}
}

// A bid on one of two impressions that share a placement keeps the other paths out.
func TestBidOnOneOfTwoSharedPlacements(t *testing.T) {
	const top, bottom = `{"id":"1","tagid":"7","banner":{"format":[{"w":300,"h":250}]}}`, `{"id":"2","tagid":"7","bidfloor":50,"banner":{"format":[{"w":300,"h":250}]}}`
	for _, imps := range []string{top + "," + bottom, bottom + "," + top} {
		w := newWorld(t, &scenario{})
		w.send(&call{Request: `{"id":"q1","imp":[` + imps + `]}`})
		if n := bytes.Count(w.body, []byte(`"impid"`)); n != 1 {
			t.Fatalf("got %d bids; want 1", n)
		}
		w.send(&call{Request: `{"id":"q2","imp":[` + top + `]}`})
		if got := w.reason.String(); got != "same_impression" {
			t.Errorf("over a second path: got reason %q; want same_impression", got)
		}
	}
}

// An exchange, two of its resellers and a second exchange offer one impression: it gets
// one bid until about two seconds have passed.
func TestFourPathsGetOneBid(t *testing.T) {
	sc := scenario{Config: map[string]any{"exchanges": []any{
		map[string]any{"id": "demo", "seat": "seat-1", "auction": "second"},
		map[string]any{"id": "other", "seat": "seat-1", "auction": "second"},
	}}}
	w := newWorld(t, &sc)
	reseller := func(id, name string) string {
		return `{"id":"` + id + `","source":{"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"` + name + `","sid":"9","hp":1}]}}}`
	}
	const imp = `{"tagid":"7","ext":{"gpid":"/1234/top"}}`
	offers := []struct{ exchange, request string }{
		{"demo", `{"id":"a"}`}, {"demo", reseller("b", "first.example")}, {"demo", reseller("c", "second.example")}, {"other", `{"id":"d"}`},
	}
	for round := range 3 {
		bids := 0
		for _, o := range offers {
			w.send(&call{Path: "/openrtb2/" + o.exchange, Request: o.request, Imp: imp})
			switch got := w.reason.String(); got {
			case "":
				bids++
			case "same_impression":
			default:
				t.Fatalf("round %d, request %s: got reason %q", round, o.request, got)
			}
			w.now = w.now.Add(400 * time.Millisecond)
		}
		if bids != 1 {
			t.Errorf("round %d: got %d bids over four paths; want 1", round, bids)
		}
		w.now = w.now.Add(70 * time.Second) // beyond min_gap
		w.tick()
	}
}
