package apptest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// request is an ordinary request of a page for one 300x250 banner.
func request(id, buyer string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"at":2,"tmax":500,"cur":["USD"],"imp":[{"id":"1","secure":1,"bidfloor":0.5,`+
		`"banner":{"format":[{"w":300,"h":250}]}}],"site":{"domain":"news.example","page":"https://news.example/a"},`+
		`"device":{"ip":"203.0.113.7","ua":"Mozilla/5.0"},"user":{"buyeruid":%q}}`, id, buyer)
}

// theBid is the only bid of a response.
func theBid(t *testing.T, body []byte) map[string]any {
	t.Helper()
	seats := list(parse(t, body)["seatbid"])
	if len(seats) != 1 {
		t.Fatalf("got %d seats; want 1: %s", len(seats), body)
	}
	bids := list(obj(seats[0])["bid"])
	if len(bids) != 1 {
		t.Fatalf("got %d bids; want 1: %s", len(bids), body)
	}
	return obj(bids[0])
}

// notify sends one of a bid's notices as an exchange does, with the macros replaced.
func (b *bidder) notify(u, price string) {
	b.t.Helper()
	u = strings.NewReplacer("${AUCTION_PRICE}", price, "${AUCTION_CURRENCY}", "USD", "${AUCTION_LOSS}", "102",
		"${AUCTION_MIN_TO_WIN}", price).Replace(u)
	if status, _ := b.get(u); status != http.StatusNoContent {
		b.t.Fatalf("notice: got %d; want 204: %s", status, u)
	}
}

// awaitBid asks until the visitor gets a bid.
func (b *bidder) awaitBid(buyer string) map[string]any {
	b.t.Helper()
	var body []byte
	took := within(b.t, patience, "a bid for a visitor who looked at a shoe", func() bool {
		var status int
		status, body = b.ask("demo", request("r-"+buyer[:4], buyer))
		return status == http.StatusOK
	})
	b.t.Logf("bid after %s", took)
	return theBid(b.t, body)
}

func spent(row map[string]any) float64 { v, _ := num(row["spent_micros"]); return v }

// TestStory covers the main use of the product: a visitor views a shoe, leaves,
// is recognized on another site and bid for, buys, and the bids stop. In
// between the process is killed right after an impression was billed.
func TestStory(t *testing.T) {
	b := startBidder(t)

	if status, body := b.ask("demo", request("r0", "stranger")); status != http.StatusNoContent || len(body) != 0 {
		t.Fatalf("unknown visitor: got %d %q; want 204 and nothing", status, body)
	}
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "unknown_visitor"); n != 1 {
		t.Errorf("unknown_visitor: got %v; want 1", n)
	}

	alice, bob := b.browser(), b.browser()
	visit := "a=shop&e=view_item&id=SKU1&u=" + url.QueryEscape("https://shop.example/p/SKU1")
	uid, other := alice.pixel(visit), bob.pixel(visit)
	if uid == "" || other == "" || uid == other {
		t.Fatalf("got visitor ids %q and %q; want two", uid, other)
	}

	bid := b.awaitBid(uid)
	checkShoe(t, b, bid)
	b.notify(str(bid["nurl"]), "1.20")
	b.notify(str(bid["burl"]), "1.20")
	within(t, patience, "the bill in the budgets", func() bool { return spent(b.budget("autumn", "", "total")) == 1200 })

	b.kill()
	b.start()
	if got := spent(b.budget("autumn", "", "total")); got != 1200 {
		t.Errorf("spend after the crash: got %v; want 1200", got)
	}
	b.notify(str(bid["burl"]), "1.20") // the exchange retries in case we did not get it
	second := b.awaitBid(uid)
	b.notify(str(second["nurl"]), "1.00")
	b.notify(str(second["burl"]), "1.00")
	within(t, patience, "the second bill in the budgets", func() bool { return spent(b.budget("autumn", "", "total")) != 1200 })
	if got := spent(b.budget("autumn", "", "total")); got != 2200 {
		t.Errorf("spend: got %v; want 2200: a bill that comes twice counts once, also after a crash", got)
	}

	r := b.events(fmt.Sprintf(`{"event":"purchase","event_id":"o-1","user":{"uid":%q},"items":[{"id":"SKU1","price":79.9}],`+
		`"value":79.9,"currency":"USD","order_id":"A-1"}`, uid))
	if n, _ := num(r["accepted"]); n != 1 {
		t.Fatalf("purchase: got %v; want it accepted", r)
	}
	took := within(t, patience, "no more bids for who bought", func() bool {
		status, _ := b.ask("demo", request("r3", uid))
		return status == http.StatusNoContent
	})
	t.Logf("bids stopped after %s", took)
	if n := b.metric("rebound_bidder_nobids_total", "exchange", "demo", "reason", "audience_excluded"); n < 1 {
		t.Errorf("audience_excluded: got %v; want at least 1", n)
	}
	if status, _ := b.ask("demo", request("r4", other)); status != http.StatusOK {
		t.Errorf("the visitor who did not buy: got %d; want a bid", status)
	}
	checkStoryMetrics(t, b)
	if status := b.terminate(); status != 0 {
		t.Errorf("SIGTERM: got exit status %d; want 0", status)
	}
}

// checkShoe checks the bid as a page would show it.
func checkShoe(t *testing.T, b *bidder, bid map[string]any) {
	t.Helper()
	adm := str(bid["adm"])
	if !strings.Contains(adm, "SKU1.jpg") {
		t.Errorf("markup shows no picture of the shoe: %s", adm)
	}
	from := strings.Index(adm, "http://"+b.Edge+"/v1/c?k=")
	if from < 0 {
		t.Fatalf("markup has no click link: %s", adm)
	}
	link, _, _ := strings.Cut(adm[from:], `"`)
	rs, _ := call(t, nil, http.MethodGet, strings.ReplaceAll(link, "&amp;", "&"), "", nil)
	if rs.StatusCode != http.StatusFound || rs.Header.Get("Location") != "https://shop.example/p/SKU1" {
		t.Errorf("click: got %d to %q; want 302 to the shoe's page", rs.StatusCode, rs.Header.Get("Location"))
	}
	if p, _ := num(bid["price"]); p < 0.5 {
		t.Errorf("price: got %v; want at least the floor of 0.5", p)
	}
}

// checkStoryMetrics checks that /metrics shows each step since the restart.
func checkStoryMetrics(t *testing.T, b *bidder) {
	t.Helper()
	for _, m := range []struct {
		name   string
		labels []string
		least  float64
	}{
		{"rebound_bidder_requests_total", []string{"exchange", "demo"}, 3},
		{"rebound_bidder_bids_total", []string{"exchange", "demo"}, 2},
		{"rebound_bidder_decision_seconds_count", nil, 3},
		{"rebound_collect_events_total", []string{"kind", "purchase"}, 1},
		{"rebound_collect_to_biddable_seconds_count", nil, 1},
		{"rebound_tracking_notices_total", []string{"kind", "win", "code", "ok"}, 1},
		{"rebound_tracking_notices_total", []string{"kind", "bill", "code", "ok"}, 2},
		{"rebound_pacing_spend_micros_total", []string{"line", "shop/autumn/viewed"}, 2200},
		{"rebound_pacing_multiplier", []string{"line", "shop/autumn/viewed"}, 1},
		{"rebound_journal_append_seconds_count", nil, 1},
		{"rebound_segments_visitors", nil, 2},
		{"rebound_segments_cache_hits_total", nil, 0},
	} {
		if got := b.metric(m.name, m.labels...); got < m.least {
			t.Errorf("%s%v: got %v; want at least %v", m.name, m.labels, got, m.least)
		}
	}
	if n := b.metric("rebound_server_in_flight"); n != 1 { // the scrape itself
		t.Errorf("in flight: got %v; want 1", n)
	}
}
