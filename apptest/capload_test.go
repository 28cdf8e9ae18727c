package apptest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// capShop is a configuration with caps of every window on money and impressions, at an
// exchange with second-price auctions, one with first-price auctions and one that reports
// every win. Each line has a cap of another kind that binds it.
type capShop struct {
	path string
	from time.Time // when the flight began
	// steps is how often the caps were raised by their first value, so that they bind again.
	steps int
}

// How long each exchange may still sell and bill a bid, as in the configuration.
var capExchanges = map[string]struct {
	unseen time.Duration // from the bid to a bill without a win notice
	won    time.Duration // from the bid to a bill after a win notice
	win    time.Duration // from the bid to its win notice
	first  bool
}{
	"second": {40 * time.Second, 80 * time.Second, 40 * time.Second, false},
	"first":  {10 * time.Minute, 15 * time.Minute, 10 * time.Minute, true},
	"sure":   {0, 90 * time.Second, 30 * time.Second, false},
}

// visitorCap is how many impressions of the line visitor a person may see in 24 hours.
const visitorCap = 3

func newCapShop(t *testing.T) *capShop {
	t.Helper()
	s := &capShop{path: filepath.Join(t.TempDir(), "rebound.yaml"), from: time.Now().AddDate(0, 0, -3)}
	s.write(t)
	return s
}

// write writes the configuration with caps that are steps times larger than the first ones.
func (s *capShop) write(t *testing.T) {
	t.Helper()
	var text strings.Builder
	usd := func(cents int) string { return fmt.Sprintf("%d.%02d", cents*(s.steps+1)/100, cents*(s.steps+1)%100) }
	count := func(n int) int { return n * (s.steps + 1) }
	fmt.Fprintf(&text, `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
exchanges:
  - {id: second, seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms, auction_ttl: 40s, exp: {banner: 40s}, bill_window: {banner: 40s}}
  - {id: first, seat: seat-1, sources: [127.0.0.0/8], auction: first, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms, auction_ttl: 5m, exp: {banner: 10m}, bill_window: {banner: 10m}}
  - {id: sure, seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms, auction_ttl: 30s, exp: {banner: 60s}, bill_window: {banner: 60s}, win_notices: always}
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, timezone: America/Toronto, budget: {daily: %s, imps_hourly: %d, pacing: asap}, keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
audiences: [{id: product_viewers, include: {event: view_item}}]
creatives:
`, usd(60), count(550))
	lines := []struct{ id, exchanges, budget, cpm, frequency string }{
		{"day", "second", "daily: " + usd(10), "1.00", "none"},
		{"hour", "first", "hourly: " + usd(10), "1.50", "none"},
		{"imps", "first, second", fmt.Sprintf("daily: 1000, imps_daily: %d", count(50)), "1.25", "none"},
		{"flight", "sure", "flight: " + usd(10), "2.00", "none"},
		{"total", "sure, second", "total: " + usd(10), "1.75", "none"},
		{"visitor", "first", "", "3.00", fmt.Sprintf("[{max: %d, per: 24h}]", visitorCap)},
	}
	for _, l := range lines {
		fmt.Fprintf(&text, "  - {id: %s, type: image, image_url: \"https://shop.example/is-%s.jpg\", alt: Shop, click_url: \"https://shop.example/\", sizes: [300x250]}\n", l.id, l.id)
	}
	fmt.Fprintf(&text, "campaigns:\n  - id: caps\n    advertiser: shop\n    status: active\n    start: %s\n    budget: {total: %s, imps_hourly: %d}\n    lines:\n",
		s.from.UTC().Format(time.RFC3339), usd(40), count(250))
	for _, l := range lines {
		if l.id == "visitor" {
			fmt.Fprintf(&text, "  - id: often\n    advertiser: shop\n    status: active\n    start: %s\n    budget: {hourly: %s, total: 1000}\n    lines:\n", s.from.UTC().Format(time.RFC3339), usd(25))
		}
		fmt.Fprintf(&text, "      - {id: %s, audience: {include: [product_viewers]}, exclude_converters: off, exchanges: [%s], budget: {%s}, bid: {strategy: fixed, cpm: %s, max_cpm: %s}, frequency: %s, min_gap: off, creatives: [%s]}\n",
			l.id, l.exchanges, l.budget, l.cpm, l.cpm, l.frequency, l.id)
	}
	if err := os.WriteFile(s.path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// capBid is a bid that the exchange received, as the exchange knows it.
type capBid struct {
	id, exchange, campaign, line, visitor string
	nurl, burl, lurl                      string

	price  int64     // micros of CPM
	cost   int64     // micros, if it is billed at its price
	asked  time.Time // before the request was sent
	got    time.Time
	won    time.Time // when its win notice was acknowledged
	lost   bool      // a loss notice was sent
	billed bool      // the bill was sent, and is sent until it is acknowledged
	acked  bool
	late   bool  // the bidder was away for so long that the bill came after the promise had ended
	charge int64 // micros of its bill
	gone   bool  // the exchange will never bill it
}

// until returns when the exchange can bill the bid at the latest, by its promise.
func (c *capBid) until() time.Time {
	x := capExchanges[c.exchange]
	if !c.won.IsZero() {
		return c.asked.Add(x.won)
	}
	return c.asked.Add(x.unseen)
}

// exchangeMargin is how long before the end of its promise an exchange stops to begin
// something, so that a bidder that is being started again gets the notice in time.
const exchangeMargin = 15 * time.Second

// open reports whether the bid can still be billed at a time.
func (c *capBid) open(now time.Time) bool { return !c.gone && (c.billed || now.Before(c.until())) }

// owners returns the owners of the caps that the bid counts against.
func (c *capBid) owners() []string {
	campaign := "shop/" + c.campaign + "/"
	return []string{campaign + c.line, campaign, "shop//"}
}

// capLoad is three exchanges under load, and the visitors of the shop.
type capLoad struct {
	*proofLoad
	shop *capShop
	// mu of proofLoad protects what follows.
	bids map[string]*capBid
	due  []*capBid // sold and not billed yet
	cut  int       // bid requests without a response, each of which may have become a bid
}

func newCapLoad(b *bidder, s *capShop) *capLoad {
	return &capLoad{proofLoad: newProofLoad(b), shop: s, bids: map[string]*capBid{}}
}

// repeat has n workers do something until stop is closed. A worker rests after a step that
// returns false.
func (x *capLoad) repeat(n int, stop <-chan struct{}, step func(rnd *rand.Rand) bool) {
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), uint64(x.number.Add(1))))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !step(rnd) {
					time.Sleep(2 * time.Millisecond) // only saves CPU time
				}
			}
		})
	}
	wg.Wait()
}

// runBids sends bid requests, and the notices that follow at once, until stop is closed.
func (x *capLoad) runBids(stop <-chan struct{}) { x.repeat(5, stop, x.auction) }

// runNotices sends events and the bills that are due until stop is closed.
func (x *capLoad) runNotices(stop <-chan struct{}) {
	x.repeat(3, stop, func(rnd *rand.Rand) bool {
		if rnd.IntN(4) == 0 {
			x.batch(rnd.IntN(3), rnd)
			return false
		}
		return x.billDue(rnd)
	})
}

// auction asks for a bid and decides what becomes of it. It reports whether there was one.
func (x *capLoad) auction(rnd *rand.Rand) bool {
	names := []string{"second", "first", "sure"}
	c := &capBid{exchange: names[rnd.IntN(len(names))], visitor: fmt.Sprintf("v%d", rnd.IntN(proofVisitors)), asked: time.Now()}
	status, body := x.ask(c.exchange, c.visitor, false)
	c.got = time.Now()
	x.note("bid", status, func() {
		if status == 0 {
			x.cut++
		}
	})
	if status != http.StatusOK || !c.read(body) {
		return false
	}
	x.note("bids", status, func() { x.bids[c.id] = c })
	e := capExchanges[c.exchange]
	switch k := rnd.IntN(20); {
	case k < 7: // won and billed at once
		if x.win(c) {
			x.sell(c, rnd)
		}
	case k < 9 && e.unseen > 0: // billed without a win notice
		x.sell(c, rnd)
	case k < 12: // won now, billed later
		if x.win(c) {
			x.keep(c)
		}
	case k < 14 && e.unseen > 0: // billed later
		x.keep(c)
	case k < 16:
		x.lose(c)
		if k == 14 && c.line != "visitor" && e.unseen > 0 { // and billed in spite of it
			x.keep(c)
		}
	}
	return true
}

// read reads a response with one bid.
func (c *capBid) read(body string) bool {
	var rs struct {
		SeatBid []struct {
			Bid []struct {
				ID, NURL, BURL, LURL, CID, Adm string
				Price                          json.Number
			}
		}
	}
	if json.Unmarshal([]byte(body), &rs) != nil || len(rs.SeatBid) != 1 || len(rs.SeatBid[0].Bid) != 1 {
		return false
	}
	b := &rs.SeatBid[0].Bid[0]
	price, err := strconv.ParseFloat(b.Price.String(), 64)
	if err != nil {
		return false
	}
	_, line, _ := strings.Cut(b.Adm, "/is-")
	line, _, _ = strings.Cut(line, ".jpg")
	c.id, c.campaign, c.line = b.ID, b.CID, line
	c.nurl, c.burl, c.lurl = b.NURL, b.BURL, b.LURL
	c.price = int64(price*1e6 + 0.5)
	c.cost = (c.price + 999) / 1000
	return line != ""
}

// macros replaces the macros of a notice.
func (c *capBid) macros(u string, price int64) string {
	text := strconv.FormatFloat(float64(price)/1e6, 'f', -1, 64)
	return strings.NewReplacer("${AUCTION_PRICE}", text, "${AUCTION_CURRENCY}", "USD", "${AUCTION_MIN_TO_WIN}", text, "${AUCTION_LOSS}", "102").Replace(u)
}

// win reports that a bid won, and whether that was acknowledged.
func (x *capLoad) win(c *capBid) bool {
	if time.Now().After(c.asked.Add(capExchanges[c.exchange].win - exchangeMargin)) {
		return false
	}
	status, _ := x.send(http.MethodGet, c.macros(c.nurl, c.price), "")
	now := time.Now()
	x.note("win", status, func() {
		if status == http.StatusNoContent && now.Before(c.asked.Add(capExchanges[c.exchange].win)) {
			c.won = now
		}
	})
	return status == http.StatusNoContent || capExchanges[c.exchange].unseen > 0
}

func (x *capLoad) lose(c *capBid) {
	x.note("loss", 0, func() { c.lost = true })
	status, _ := x.send(http.MethodGet, c.macros(c.lurl, 0), "")
	x.note("loss", status, func() {})
}

// keep has a bid billed later.
func (x *capLoad) keep(c *capBid) {
	x.note("later", 0, func() { x.due = append(x.due, c) })
}

// billDue bills one of the bids that are due, or gives it up if it is too late. It reports
// whether there was one.
func (x *capLoad) billDue(rnd *rand.Rand) bool {
	x.mu.Lock()
	if len(x.due) < 20+rnd.IntN(200) {
		x.mu.Unlock()
		return false
	}
	i := rnd.IntN(len(x.due))
	c := x.due[i]
	x.due[i] = x.due[len(x.due)-1]
	x.due = x.due[:len(x.due)-1]
	x.mu.Unlock()
	x.sell(c, rnd)
	return true
}

// sell bills a bid, at a random price in a second-price auction, unless it is too late.
func (x *capLoad) sell(c *capBid, rnd *rand.Rand) {
	price := c.price
	if !capExchanges[c.exchange].first && rnd.IntN(3) > 0 {
		price = c.price/10 + rnd.Int64N(c.price*9/10)
	}
	x.charge(c, price)
	if rnd.IntN(20) == 0 {
		x.charge(c, price)
	}
}

// charge sends the bill of a bid at a price. From the first time on it is sent until it is
// acknowledged.
func (x *capLoad) charge(c *capBid, price int64) {
	x.mu.Lock()
	if !c.billed && time.Now().Add(exchangeMargin).After(c.until()) {
		c.gone = true
		x.mu.Unlock()
		return
	}
	if !c.billed {
		c.billed, c.charge = true, (price+999)/1000
	}
	x.mu.Unlock()
	status, _ := x.send(http.MethodGet, c.macros(c.burl, price), "")
	x.note("bill", status, func() {
		if status == http.StatusNoContent {
			if !c.acked {
				c.late = time.Now().Add(time.Second).After(c.until())
			}
			c.acked, x.proofLoad.bills[c.id] = true, true
		}
	})
}

// again repeats the bills that were not acknowledged.
func (x *capLoad) again(t *testing.T) {
	t.Helper()
	within(t, patience, "every bill is acknowledged", func() bool {
		left := x.list(func(c *capBid) bool { return c.billed && !c.acked })
		for _, c := range left {
			price := c.price
			if c.charge < c.cost {
				price = c.charge * 1000
			}
			x.charge(c, price)
		}
		return len(left) == 0
	})
}

// list returns the bids for which ok holds, in a stable order.
func (x *capLoad) list(ok func(c *capBid) bool) (list []*capBid) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.bids {
		if ok(c) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *capBid) int { return strings.Compare(a.id, b.id) })
	return list
}
