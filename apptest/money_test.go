package apptest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// smallShop writes a configuration with one line that bids 1.00 CPM at full
// price under a total budget, and returns its path.
func smallShop(t *testing.T, total string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rebound.yaml")
	text := `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
exchanges: [{id: demo, seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms}]
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
audiences: [{id: product_viewers, include: {event: view_item}}]
creatives: [{id: banner, type: image, image_url: "https://shop.example/ad.jpg", alt: Shop, click_url: "https://shop.example/", sizes: [300x250]}]
campaigns:
  - id: small
    advertiser: shop
    status: active
    budget: {total: ` + total + `, pacing: asap}
    lines: [{id: viewed, audience: {include: [product_viewers]}, bid: {strategy: fixed, cpm: 1.00, max_cpm: 1.00}, frequency: none, min_gap: off, creatives: [banner]}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// buyers is an exchange that sells to the bidder whatever it bids on, at its
// price, from many connections at once.
type buyers struct {
	b      *bidder
	client *http.Client
	asked  atomic.Int64
	won    atomic.Int64
	billed atomic.Int64
	failed atomic.Int64
	// holdBack keeps every n-th bill for later; 0: none.
	holdBack int64
	mu       sync.Mutex
	held     []string
}

func newBuyers(b *bidder) *buyers {
	return &buyers{b: b, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// run sends n requests over 32 connections; every bid wins and is billed at
// 1.00. It ends early if the bidder has exited.
func (x *buyers) run(n int64, stop func(asked int64) bool) {
	var wg sync.WaitGroup
	var over atomic.Bool
	for range 32 {
		wg.Go(func() {
			for !over.Load() {
				i := x.asked.Add(1)
				if i > n || (stop != nil && stop(i)) {
					over.Store(true)
					return
				}
				if !x.buy(i) {
					x.failed.Add(1)
					if stop != nil {
						over.Store(true)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// buy is one auction: false when the bidder did not answer.
func (x *buyers) buy(i int64) bool {
	rq := fmt.Sprintf(`{"id":"m%d","tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s","domain":"news.example"},"user":{"buyeruid":"money-%d"}}`, i, i%50)
	status, body := x.post("http://"+x.b.Bid+"/openrtb2/demo", rq)
	if status != http.StatusOK {
		return status == http.StatusNoContent
	}
	x.won.Add(1)
	var burl, nurl string
	for _, f := range []struct {
		name string
		to   *string
	}{{"burl", &burl}, {"nurl", &nurl}} {
		_, rest, _ := strings.Cut(body, `"`+f.name+`":"`)
		*f.to, _, _ = strings.Cut(rest, `"`)
		*f.to = strings.NewReplacer("${AUCTION_PRICE}", "1.00", "${AUCTION_CURRENCY}", "USD", "${AUCTION_MIN_TO_WIN}", "1.00").Replace(*f.to)
	}
	if x.holdBack > 0 && i%x.holdBack == 0 {
		x.mu.Lock()
		x.held = append(x.held, burl)
		x.mu.Unlock()
		return true
	}
	won, billed := x.bill(nurl), x.bill(burl) // an undelivered win does not hold back the bill
	return won && billed
}

// bill sends a notice; if there is no response it is kept for later, as an
// exchange that retries does.
func (x *buyers) bill(u string) bool {
	rs, err := x.client.Get(u)
	if err != nil {
		x.mu.Lock()
		x.held = append(x.held, u)
		x.mu.Unlock()
		return false
	}
	rs.Body.Close()
	x.billed.Add(1)
	return rs.StatusCode == http.StatusNoContent
}

func (x *buyers) post(u, body string) (int, string) {
	rs, err := x.client.Post(u, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, ""
	}
	defer rs.Body.Close()
	var b strings.Builder
	buf := make([]byte, 8<<10)
	for {
		n, err := rs.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return rs.StatusCode, b.String()
		}
	}
}

// knowVisitors makes the buyers' visitors known.
func knowVisitors(t *testing.T, b *bidder) {
	t.Helper()
	var batch []string
	for i := range 50 {
		batch = append(batch, fmt.Sprintf(`{"event":"view_item","user":{"uid":"money-%d"},"items":[{"id":"A"}]}`, i))
	}
	b.events("[" + strings.Join(batch, ",") + "]")
	within(t, patience, "visitors are known", func() bool {
		status, _ := b.ask("demo", []byte(`{"id":"t","test":1,"tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s"},"user":{"buyeruid":"money-49"}}`))
		return status == http.StatusOK
	})
}

// total are the figures of the total cap of campaign small, in micros.
func (b *bidder) total() (spent, late, reserved float64) { return b.campaignTotal("small") }

// campaignTotal are the figures of a campaign's total cap, in micros.
func (b *bidder) campaignTotal(campaign string) (spent, late, reserved float64) {
	row := b.budget(campaign, "", "total")
	spent, _ = num(row["spent_micros"])
	late, _ = num(row["late_spend_micros"])
	reserved, _ = num(row["reserved_micros"])
	return spent, late, reserved
}

// TestBudgetHoldsAgainstManyWins: a total budget of 1.00 meets 10,000 offers that
// would all be won at 1.00 CPM. A thousand impressions fit, and no more.
func TestBudgetHoldsAgainstManyWins(t *testing.T) {
	b := startBidder(t, "--config", smallShop(t, "1.00"))
	knowVisitors(t, b)
	x := newBuyers(b)
	x.run(10_000, nil)
	// More requests: bids that the previous grant did not cover are covered by the next.
	within(t, patience, "the budget is spent", func() bool {
		x.asked.Store(0)
		x.run(200, nil)
		spent, _, _ := b.total()
		return spent >= 990_000
	})
	spent, late, reserved := b.total()
	t.Logf("%d won, %d notices; settled %.6f, late %.6f, reserved %.6f", x.won.Load(), x.billed.Load(), spent/1e6, late/1e6, reserved/1e6)
	if spent < 990_000 || spent > 1_000_000 || late != 0 {
		t.Errorf("settled %.6f, late %.6f; want 0.99 to 1.00 and nothing late", spent/1e6, late/1e6)
	}
	if x.failed.Load() > 0 {
		t.Errorf("%d requests failed", x.failed.Load())
	}
}

// TestBudgetHoldsThroughAKill: the same, with a kill -9 in the middle and every
// fifth bill sent only after the restart.
func TestBudgetHoldsThroughAKill(t *testing.T) {
	b := startBidder(t, "--config", smallShop(t, "1.00"))
	knowVisitors(t, b)
	x := newBuyers(b)
	x.holdBack = 5
	x.run(10_000, func(asked int64) bool { return x.won.Load() >= 300 })
	go b.kill()
	x.run(1<<40, func(int64) bool { return false })
	<-b.ended
	won := x.won.Load()
	b.start()
	x.holdBack = 0
	held := x.held
	x.held = nil
	for _, u := range held {
		if !x.bill(u) {
			t.Errorf("an outstanding notice was not taken after the restart: %s", u)
		}
	}
	x.asked.Store(0)
	x.run(10_000, nil)
	within(t, patience, "all bills are folded", func() bool {
		spent, _, _ := b.total()
		return spent == float64(x.won.Load())*1000
	})
	spent, late, _ := b.total()
	granted, _ := num(b.budget("small", "", "total")["granted_micros"])
	t.Logf("%d won before the kill, %d in all; settled %.6f, late %.6f, still granted %.6f", won, x.won.Load(), spent/1e6, late/1e6, granted/1e6)
	if spent-late > 1_000_000 || late != 0 {
		t.Errorf("settled %.6f, late %.6f; want at most 1.00 and nothing late", spent/1e6, late/1e6)
	}
	if won < 300 || x.won.Load() <= won {
		t.Errorf("%d won before the kill, %d after; want both", won, x.won.Load()-won)
	}
	// The same bills once more change nothing.
	for _, u := range held {
		x.bill(u)
	}
	if again, _, _ := b.total(); again != spent {
		t.Errorf("settled %.6f after the bills came twice; want %.6f", again/1e6, spent/1e6)
	}
}
