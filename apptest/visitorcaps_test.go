package apptest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// visitorShop writes a configuration with one line that bids 3.00 CPM in first-price
// auctions and shows a visitor its ad as often as frequency allows, and returns its path.
func visitorShop(t *testing.T, frequency string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rebound.yaml")
	text := `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
exchanges: [{id: first, seat: seat-1, sources: [127.0.0.0/8], auction: first, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms}]
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
audiences: [{id: product_viewers, include: {event: view_item}}]
creatives: [{id: visitor, type: image, image_url: "https://shop.example/is-visitor.jpg", alt: Shop, click_url: "https://shop.example/", sizes: [300x250]}]
campaigns:
  - id: often
    advertiser: shop
    status: active
    budget: {total: 100, pacing: asap}
    lines: [{id: visitor, audience: {include: [product_viewers]}, exclude_converters: off, bid: {strategy: fixed, cpm: 3.00, max_cpm: 3.00}, ` + frequency + `min_gap: off, creatives: [visitor]}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// visitorLoad is an exchange that counts the bids that it gets for each visitor.
type visitorLoad struct {
	*capLoad
	asked map[string]int // requests by visitor without a response
	bids  map[string][]*capBid
}

// newVisitorLoad starts a bidder with a frequency cap that knows n visitors, v0 and so on.
func newVisitorLoad(t *testing.T, frequency string, n int) *visitorLoad {
	t.Helper()
	b := startBidder(t, "--config", visitorShop(t, frequency))
	x := &visitorLoad{capLoad: newCapLoad(b, nil), asked: map[string]int{}, bids: map[string][]*capBid{}}
	for first := 0; first < n; first += 500 {
		var batch bytes.Buffer
		for i := first; i < min(first+500, n); i++ {
			fmt.Fprintf(&batch, `,{"event":"view_item","user":{"uid":"v%d"},"items":[{"id":"SKU1"}]}`, i)
		}
		b.events("[" + batch.String()[1:] + "]")
	}
	within(t, patience, "the visitors are known", func() bool {
		status, _ := x.ask("first", fmt.Sprintf("v%d", n-1), true)
		return status == http.StatusOK
	})
	return x
}

// request makes one request for a visitor.
func (x *visitorLoad) request(visitor string) *capBid {
	c := &capBid{exchange: "first", visitor: visitor, asked: time.Now()}
	status, body := x.ask(c.exchange, visitor, false)
	x.mu.Lock()
	defer x.mu.Unlock()
	if status == 0 {
		x.asked[visitor]++
	}
	if status != http.StatusOK || !c.read(body) {
		return nil
	}
	x.capLoad.bids[c.id] = c
	x.bids[visitor] = append(x.bids[visitor], c)
	return c
}

// together makes n requests for each of the visitors, all in parallel, and calls then for
// each bid.
func (x *visitorLoad) together(n int, then func(c *capBid), visitors ...string) {
	var wg sync.WaitGroup
	for _, v := range visitors {
		for range n {
			wg.Go(func() {
				if c := x.request(v); c != nil && then != nil {
					then(c)
				}
			})
		}
	}
	wg.Wait()
}

// granted requests bids for a visitor of its own until there is one, so that money is not
// what other visitors lack.
func (x *visitorLoad) granted(t *testing.T, visitor string) {
	t.Helper()
	within(t, patience, "money is granted", func() bool { return x.request(visitor) != nil })
}

func (x *visitorLoad) restart() {
	x.b.kill()
	x.client.CloseIdleConnections()
	x.b.start()
}

// Twenty requests in parallel for one visitor get as many bids as the frequency cap allows,
// and not one more after a kill.
func TestParallelRequestsOfOneVisitor(t *testing.T) {
	x := newVisitorLoad(t, "frequency: [{max: 5, per: 24h}], ", 2)
	x.granted(t, "v1")
	within(t, patience, "five bids", func() bool { // the first may need more money than is granted
		x.together(20, nil, "v0")
		return len(x.bids["v0"]) >= 5
	})
	x.together(20, nil, "v0")
	x.restart()
	x.granted(t, "v1")
	x.together(20, nil, "v0")
	if n := len(x.bids["v0"]); n != 5 {
		t.Errorf("got %d bids; want 5", n)
	}
}

// By default a visitor gets ten impressions of a line in 24 hours, and the eleventh is
// refused, after a kill too.
func TestEleventhImpression(t *testing.T) {
	x := newVisitorLoad(t, "", 3)
	refused := func(when string) {
		t.Helper()
		before := x.b.metric("rebound_bidder_nobids_total", "exchange", "first", "reason", "frequency")
		if x.request("v0") != nil {
			t.Errorf("%s: the visitor gets an eleventh bid", when)
		}
		if n := x.b.metric("rebound_bidder_nobids_total", "exchange", "first", "reason", "frequency") - before; n != 1 {
			t.Errorf("%s: %g no-bids for the reason frequency; want 1", when, n)
		}
	}
	for i := range 10 {
		within(t, patience, fmt.Sprintf("bid %d", i+1), func() bool {
			c := x.request("v0")
			if c != nil && i%2 == 0 { // of the others the bills are outstanding
				x.charge(c, c.price)
			}
			return c != nil
		})
	}
	refused("after ten")
	for _, when := range []string{"after a kill", "after another"} {
		x.restart()
		x.granted(t, "v1")
		refused(when)
	}
	for _, c := range x.bids["v0"] {
		x.charge(c, c.price)
	}
	refused("after all bills")
	x.restart()
	x.granted(t, "v2")
	refused("after a kill that followed all bills")
}

// capOfOne sends 64 requests in parallel for each of some visitors, whose cap is one
// impression, while the bidder is killed again and again.
func capOfOne(t *testing.T, kills, visitors int) {
	t.Helper()
	x := newVisitorLoad(t, "frequency: [{max: 1, per: 24h}], ", visitors*(kills+1)+1)
	rnd := rand.New(rand.NewPCG(9, 10))
	var all []string
	for k := range kills + 1 {
		var list []string
		for i := range visitors {
			list = append(list, fmt.Sprintf("v%d", k*visitors+i))
		}
		all = append(all, list...)
		again := list
		for range visitors { // and some of the earlier ones
			again = append(again, all[rnd.IntN(len(all))])
		}
		after := time.Duration(rnd.IntN(200_000)) * time.Microsecond
		var killed sync.WaitGroup
		if k < kills {
			killed.Go(func() { time.Sleep(after); x.b.kill() })
		}
		x.together(64, func(c *capBid) {
			switch c.price = c.cost * 1000; c.id[0] % 4 {
			case 0:
				x.win(c)
			case 1:
				x.charge(c, c.price)
			}
		}, again...)
		killed.Wait()
		x.client.CloseIdleConnections()
		if k < kills {
			x.b.start()
			x.again(t)
		}
	}
	within(t, patience, "every visitor has a bid", func() bool {
		var without []string
		for _, v := range all {
			if len(x.bids[v]) == 0 && x.asked[v] == 0 {
				without = append(without, v)
			}
		}
		x.together(8, nil, without...)
		return len(without) == 0
	})
	x.together(8, nil, all...)
	unknown := 0
	for _, v := range all {
		if n := len(x.bids[v]); n > 1 {
			t.Errorf("visitor %s got %d bids; want 1", v, n)
		} else if n == 0 {
			unknown++
		}
	}
	report(t, fmt.Sprintf("%d kills: %d visitors with 64 parallel requests each, and more later: no visitor got two bids; of %d the bid was cut off", kills, len(all), unknown))
	if unknown > len(all)/2 {
		t.Errorf("%d of %d visitors got no bid", unknown, len(all))
	}
}

// TestProveCapOfOne: a cap of one impression in 24 hours under 64 requests in parallel and
// 60 kills is exact.
func TestProveCapOfOne(t *testing.T) {
	proving(t)
	capOfOne(t, 60, 20)
}

// TestCapOfOneThroughKills is the short form of the proof.
func TestCapOfOneThroughKills(t *testing.T) { capOfOne(t, 2, 4) }

// What a power cut leaves of the file of reservations: its name, and a function that returns
// the content after the cut from an earlier and the last one.
var powerCuts = []struct {
	name  string
	after func(earlier, last []byte) []byte
}{
	{"no file", func(_, _ []byte) []byte { return nil }},
	{"an empty file", func(_, _ []byte) []byte { return []byte{} }},
	{"only zeros", func(_, last []byte) []byte { return make([]byte, len(last)) }},
	{"half of it", func(_, last []byte) []byte { return last[:len(last)/2] }},
	{"the end is zeros", func(_, last []byte) []byte {
		b := slices.Clone(last)
		clear(b[4096:])
		return otherBoot(b)
	}},
	{"what was stored earlier", func(earlier, _ []byte) []byte { return otherBoot(earlier) }},
	{"the file of an earlier run", func(earlier, _ []byte) []byte { return earlier }},
	{"everything", func(_, last []byte) []byte { return otherBoot(last) }},
}

// otherBoot replaces the boot id in the header of a file of reservations.
func otherBoot(b []byte) []byte {
	b = slices.Clone(b)
	copy(b[64:], "00000000-0000-0000-0000-000000000000")
	return b
}

// After a power cut a visitor is never shown more than its cap, whatever is left of the file
// of reservations: nobody with a cap gets a bid while one that is forgotten may be shown. The
// money of those bids stays held.
func TestCapsAfterAPowerCut(t *testing.T) {
	for _, cut := range powerCuts {
		t.Run(cut.name, func(t *testing.T) {
			x := newVisitorLoad(t, "frequency: [{max: 1, per: 24h}], ", 40)
			x.granted(t, "v30")
			name := filepath.Join(x.b.dir, "reservations")
			earlier, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			x.restart()
			x.granted(t, "v31")
			for i := range 20 {
				x.granted(t, fmt.Sprintf("v%d", i))
			}
			x.b.kill()
			x.client.CloseIdleConnections()
			last, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if content := cut.after(earlier, last); content == nil {
				err = os.Remove(name)
			} else {
				err = os.WriteFile(name, content, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			x.b.start()
			for i := range 40 {
				x.together(4, nil, fmt.Sprintf("v%d", i))
			}
			for v, list := range x.bids {
				if len(list) > 1 {
					t.Errorf("visitor %s got %d bids", v, len(list))
				}
			}
			if n := x.b.metric("rebound_bidder_nobids_total", "exchange", "first", "reason", "frequency"); n == 0 {
				t.Error("no visitor was refused for the reason frequency")
			}
			spent, _, _ := x.b.campaignTotal("often")
			held, _ := num(x.b.budget("often", "", "total")["granted_micros"])
			if want := float64(22 * 3000); spent+held < want {
				t.Errorf("%.0f micros are spent and held; want at least the %.0f of the bids that may be billed", spent+held, want)
			}
		})
	}
}
