package apptest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// promiseShop writes a configuration with one line under a total budget of 0.30 that
// bids 3.60 CPM on videos, at an exchange that bills by burl and reports no wins,
// and returns its path.
func promiseShop(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rebound.yaml")
	text := `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
exchanges: [{id: demo, seat: seat-1, sources: [127.0.0.0/8], auction: first, billing_source: {video: burl}, auction_ttl: 1s, rtt_allowance: 0ms, safety: 0ms}]
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
audiences: [{id: product_viewers, include: {event: view_item}}]
creatives: [{id: film, type: vast, duration: 20s, click_url: "https://shop.example/", media: [{url: "https://shop.example/f.mp4", w: 640, h: 360}]}]
campaigns:
  - id: small
    advertiser: shop
    status: active
    budget: {total: 0.30, pacing: asap}
    lines: [{id: viewed, audience: {include: [product_viewers]}, bid: {strategy: fixed, cpm: 3.60, max_cpm: 3.60}, frequency: none, min_gap: off, creatives: [film]}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// promises is an exchange that keeps the bills of what it sold for later.
type promises struct {
	t       *testing.T
	b       *bidder
	x       *buyers
	n       int
	bills   []string // not sent yet
	exp     string   // of the responses
	billed  float64  // in micros, as the exchange counts it
	refused int
}

// ask makes n requests. lose reports each bid as lost at once.
func (p *promises) ask(n int, lose bool) {
	p.t.Helper()
	for range n {
		p.n++
		rq := fmt.Sprintf(`{"id":"m%d","tmax":5000,"imp":[{"id":"1","video":{"mimes":["video/mp4"],"w":640,"h":360,"protocols":[2,3,5,6,7,8]}}],"site":{"id":"s","domain":"news.example"},"user":{"buyeruid":"money-%d"}}`, p.n, p.n%50)
		status, body := p.x.post("http://"+p.b.Bid+"/openrtb2/demo", rq)
		if status != http.StatusOK {
			p.refused++
			continue
		}
		field := func(name string) string {
			_, rest, _ := strings.Cut(body, `"`+name+`":"`)
			u, _, _ := strings.Cut(rest, `"`)
			return strings.NewReplacer("${AUCTION_PRICE}", "3.60", "${AUCTION_CURRENCY}", "USD", "${AUCTION_LOSS}", "102", "${AUCTION_MIN_TO_WIN}", "").Replace(u)
		}
		_, p.exp, _ = strings.Cut(body, `"exp":`)
		p.exp, _, _ = strings.Cut(p.exp, `,`)
		p.bills = append(p.bills, field("burl"))
		if lose && !p.x.bill(field("lurl")) {
			p.t.Fatal("a loss notice was not accepted")
		}
	}
}

// sendBills sends what was kept, all of it twice.
func (p *promises) sendBills() {
	p.t.Helper()
	for _, u := range p.bills {
		for range 2 {
			if !p.x.bill(u) {
				p.t.Fatalf("a bill was not accepted: %s", u)
			}
		}
		p.billed += 3600
	}
	p.bills = nil
}

// check compares the exchange's books with the bidder's.
func (p *promises) check(cap float64) {
	p.t.Helper()
	within(p.t, patience, "all bills are folded", func() bool {
		spent, _, _ := p.b.total()
		return spent == p.billed
	})
	_, late, _ := p.b.total()
	p.t.Logf("%d requests, %d refused, exp %s: billed %.4f of %.2f, late %.4f", p.n, p.refused, p.exp, p.billed/1e6, cap/1e6, late/1e6)
	if p.billed > cap || p.billed < cap/2 || p.refused == 0 || late != 0 {
		p.t.Errorf("billed %.4f; want at most %.2f, at least half of it, and nothing late", p.billed/1e6, cap/1e6)
	}
}

func newPromises(t *testing.T) *promises {
	b := startBidder(t, "--config", promiseShop(t))
	knowVideoVisitors(t, b)
	return &promises{t: t, b: b, x: newBuyers(b)}
}

// knowVideoVisitors makes the buyers' visitors known to a bidder that bids on videos.
func knowVideoVisitors(t *testing.T, b *bidder) {
	t.Helper()
	var batch []string
	for i := range 50 {
		batch = append(batch, fmt.Sprintf(`{"event":"view_item","user":{"uid":"money-%d"},"items":[{"id":"A"}]}`, i))
	}
	b.events("[" + strings.Join(batch, ",") + "]")
	within(t, patience, "visitors are known", func() bool {
		status, _ := b.ask("demo", []byte(`{"id":"t","test":1,"tmax":5000,"imp":[{"id":"1","video":{"mimes":["video/mp4"],"w":640,"h":360}}],"site":{"id":"s"},"user":{"buyeruid":"money-49"}}`))
		return status == http.StatusOK
	})
}

// An exchange that reports every bid as lost and bills it later cannot spend more
// than the cap, before and after a kill. (Previously 122.20 were billed on 0.30.)
func TestLossesForEverything(t *testing.T) {
	p := newPromises(t)
	p.ask(600, true)
	if doubted, _ := num(p.b.budget("small", "", "total")["doubted_micros"]); doubted < 150_000 {
		t.Errorf("%.0f micros are doubted; want most of the cap", doubted)
	}
	p.b.kill()
	<-p.b.ended
	p.b.start()
	p.ask(300, true)
	p.sendBills()
	p.ask(300, true)
	p.sendBills()
	p.check(300_000)
}

// An exchange that reports no wins may bill a video until the exp of the response has
// passed, long after auction_ttl. (Previously 1.50 were billed on 0.30.)
func TestBillsUntilExp(t *testing.T) {
	p := newPromises(t)
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); { // reservations end by the log's time
		p.ask(20, false)
	}
	p.sendBills()
	p.ask(200, false)
	p.sendBills()
	p.check(300_000)
	if p.exp != "1800" {
		t.Errorf("exp %s; want 1800", p.exp)
	}
}
