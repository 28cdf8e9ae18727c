package apptest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proofShop writes the configuration of the proofs: one line that bids a fixed
// price for those who viewed a product and did not buy, and shows that product. It
// returns the path of the file.
func proofShop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	const shop = `version: 1
privacy: {vendor_id: 42, unknown_country: allow}
exchanges:
  - {id: demo, seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms}
  - {id: other, seat: seat-1, sources: [127.0.0.0/8], auction: second, billing_source: {banner: burl}, rtt_allowance: 0ms, safety: 0ms}
advertisers:
  - {id: shop, name: Shop, domains: [shop.example], currency: USD, timezone: America/Toronto, feed: main, keys: [{sha256: f5d072715bf986543308d9f187277c2406847cd7bfd33cbc2264fedc284a9992, scopes: [events]}]}
feeds: [{id: main, file: products.tsv}]
audiences:
  - {id: product_viewers, include: {event: view_item}}
  - {id: buyers, include: {event: purchase}}
creatives: [{id: card, type: html_template, file: card.html, sizes: [300x250]}]
campaigns:
  - id: small
    advertiser: shop
    status: active
    budget: {daily: 100000.00, total: 500000.00, pacing: asap}
    lines: [{id: viewed, audience: {include: [product_viewers], exclude: [buyers]}, budget: {daily: 50000.00}, bid: {strategy: fixed, cpm: 1.00, max_cpm: 1.00}, frequency: none, min_gap: off, creatives: [card]}]
`
	for to, from := range map[string]string{"products.tsv": "../examples/shop/products.tsv", "card.html": "../examples/shop/creatives/card.html"} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "rebound.yaml")
	if err := os.WriteFile(path, []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// proofVisitors is how many visitors the load has.
const proofVisitors = 240

// proofLoad sends events and notices and remembers what was acknowledged.
type proofLoad struct {
	b      *bidder
	client *http.Client
	number atomic.Int64 // of the last event

	mu     sync.Mutex // protects what follows
	known  []string   // visitors with an acknowledged product view
	events map[string]bool
	bills  map[string]bool // bid ids whose bill was acknowledged
	unsure []owedBill      // bills that were not accepted
	codes  map[string]int  // "bill 204" and so on; status 0 means no response
}

func newProofLoad(b *bidder) *proofLoad {
	return &proofLoad{b: b, events: map[string]bool{}, bills: map[string]bool{}, codes: map[string]int{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// run sends events and sells impressions from eight connections until stop is
// closed, or for so many steps of each.
func (x *proofLoad) run(steps int, stop <-chan struct{}) {
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), uint64(x.number.Load())))
			for i := 0; i < steps; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if w < 3 {
					x.batch(w, rnd)
				} else if w == 3 {
					x.pixel(rnd)
				} else {
					x.auction(rnd)
				}
			}
		})
	}
	wg.Wait()
}

// batch sends three events of a worker's own visitors, so that those of one
// visitor come in order.
func (x *proofLoad) batch(worker int, rnd *rand.Rand) {
	const each = proofVisitors / 3
	var list, ids, viewed []string
	first := rnd.IntN(each)
	for i := range 3 {
		n := worker*each + (first+i)%each
		uid := fmt.Sprintf("v%d", n)
		id := fmt.Sprintf("ev-%s-%d", uid, x.number.Add(1))
		if n%4 == 0 && rnd.IntN(10) == 0 {
			list = append(list, fmt.Sprintf(`{"event":"purchase","event_id":%q,"user":{"uid":%q},"value":5,"currency":"USD","order_id":%q,"items":[{"id":"SKU1"}]}`, id, uid, id))
		} else {
			list = append(list, fmt.Sprintf(`{"event":"view_item","event_id":%q,"user":{"uid":%q},"items":[{"id":"SKU%d"}]}`, id, uid, 1+rnd.IntN(40)))
			viewed = append(viewed, uid)
		}
		ids = append(ids, id)
	}
	status, body := x.send(http.MethodPost, "http://"+x.b.Edge+"/v1/events", "["+strings.Join(list, ",")+"]", "Authorization", "Bearer demo-shop-key")
	var answer struct{ Accepted int }
	good := status == http.StatusOK && json.Unmarshal([]byte(body), &answer) == nil && answer.Accepted == 3
	x.note("events", status, func() {
		if !good {
			return
		}
		for _, id := range ids {
			x.events[id] = true
		}
		x.known = append(x.known, viewed...)
	})
}

// pixel loads the shop's pixel. It gets its GIF whether or not the event is stored.
func (x *proofLoad) pixel(rnd *rand.Rand) {
	status, _ := x.send(http.MethodGet, fmt.Sprintf("http://%s/v1/px?a=shop&e=view_item&id=SKU%d", x.b.Edge, 1+rnd.IntN(40)), "")
	x.note("pixel", status, func() {})
}

// auction requests a bid, runs the auction and sends the notices; occasionally
// a bill twice, or none.
func (x *proofLoad) auction(rnd *rand.Rand) {
	x.mu.Lock()
	uid := "v1"
	if n := len(x.known); n > 0 {
		uid = x.known[rnd.IntN(n)]
	}
	x.mu.Unlock()
	status, body := x.ask("demo", uid, false)
	x.note("bid", status, func() {})
	if status != http.StatusOK {
		return
	}
	price := fmt.Sprintf("0.%02d", 10+rnd.IntN(90))
	macros := strings.NewReplacer("${AUCTION_PRICE}", price, "${AUCTION_CURRENCY}", "USD", "${AUCTION_MIN_TO_WIN}", price)
	nurl, burl := macros.Replace(member(body, "nurl")), macros.Replace(member(body, "burl"))
	status, _ = x.send(http.MethodGet, nurl, "")
	x.note("win", status, func() {})
	_, rest, _ := strings.Cut(body, `"seatbid"`)
	owed := owedBill{bid: member(rest, "id"), url: burl}
	switch rnd.IntN(20) {
	case 0: // never billed
	case 1:
		x.bill(owed)
		x.bill(owed)
	default:
		x.bill(owed)
	}
}

// owedBill is the bill of a bid.
type owedBill struct{ bid, url string }

// member returns the text of the first member of a name in a response with one bid.
func member(body, name string) string {
	_, rest, _ := strings.Cut(body, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// bill sends a bill; one that is not accepted is kept to be sent again.
func (x *proofLoad) bill(owed owedBill) {
	status, _ := x.send(http.MethodGet, owed.url, "")
	x.note("bill", status, func() {
		switch status {
		case http.StatusNoContent:
			x.bills[owed.bid] = true
		case 0, http.StatusServiceUnavailable:
			x.unsure = append(x.unsure, owed)
		}
	})
}

// again resends the bills that got no response, as an exchange does.
func (x *proofLoad) again() {
	x.mu.Lock()
	list := x.unsure
	x.unsure = nil
	x.mu.Unlock()
	for _, owed := range list {
		x.bill(owed)
	}
}

func (x *proofLoad) note(what string, status int, fn func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.codes[fmt.Sprintf("%s %d", what, status)]++
	fn()
}

// takeCodes returns the numbers of answers since the last call.
func (x *proofLoad) takeCodes() map[string]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	codes := maps.Clone(x.codes)
	clear(x.codes)
	return codes
}

// ask asks an exchange's endpoint for a bid for a visitor; a test request spends nothing.
func (x *proofLoad) ask(exchange, uid string, test bool) (int, string) {
	flag := 0
	if test {
		flag = 1
	}
	return x.send(http.MethodPost, "http://"+x.b.Bid+"/openrtb2/"+exchange, fmt.Sprintf(
		`{"id":"q","test":%d,"tmax":5000,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s","domain":"news.example"},"user":{"buyeruid":%q}}`, flag, uid))
}

// send makes one request; status 0 says that there was no answer.
func (x *proofLoad) send(method, u, body string, header ...string) (int, string) {
	rq, err := http.NewRequest(method, u, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if body != "" {
		rq.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	rs, err := x.client.Do(rq)
	if err != nil {
		return 0, err.Error()
	}
	defer rs.Body.Close()
	text, err := io.ReadAll(rs.Body)
	if err != nil {
		return 0, err.Error()
	}
	return rs.StatusCode, string(text)
}

// missing lists the facts that were acknowledged and are not in the log, or are in it twice.
func (x *proofLoad) missing(r *recount) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var wrong []string
	for id := range x.events {
		if n := r.events[id]; n != 1 {
			wrong = append(wrong, fmt.Sprintf("event %s is there %d times", id, n))
		}
	}
	for id := range x.bills {
		if n := r.bills[id]; n != 1 {
			wrong = append(wrong, fmt.Sprintf("bill of %s is there %d times", id, n))
		}
	}
	return wrong
}

// differences compares a running bidder with a recount: what each budget has
// spent, and for every visitor whether it is bid for and with which product.
func (x *proofLoad) differences(r *recount, visitors []string) []string {
	wrong := x.budgetDifferences(r)
	for _, uid := range visitors {
		v := r.visitors[uid]
		status, body := x.ask("demo", uid, true)
		switch {
		case v.bids() != (status == http.StatusOK):
			wrong = append(wrong, fmt.Sprintf("visitor %s gets %d; want a bid: %t", uid, status, v.bids()))
		case v.bids() && !slices.ContainsFunc(v.items, func(item string) bool { return strings.Contains(strings.ToLower(body), "/img/"+item+".jpg") }):
			wrong = append(wrong, fmt.Sprintf("visitor %s is not shown one of %v", uid, v.items))
		}
	}
	return wrong
}

// budgetRow is a row of GET /admin/budgets.
type budgetRow struct {
	Advertiser, Campaign, Line, Window, Day, Unit string

	Cap      int64     `json:"cap_micros"`
	Spent    int64     `json:"spent_micros"`
	Late     int64     `json:"late_spend_micros"`
	Granted  int64     `json:"granted_micros"`
	Reserved int64     `json:"reserved_micros"`
	Idle     int64     `json:"idle_micros"`
	Frees    time.Time `json:"frees_at"`
}

// id returns the budget's id as facts write it.
func (r *budgetRow) id() string {
	window := r.Window
	if r.Unit != "" {
		window = "imps_" + window
	}
	switch r.Window {
	case "day", "flight":
		window += "/" + r.Day
	case "hour":
		window += "/" + r.Frees.UTC().Add(-time.Hour).Format("2006-01-02T15")
	}
	return r.Advertiser + "/" + r.Campaign + "/" + r.Line + "/" + window
}

// budgets returns the rows of GET /admin/budgets.
func (x *proofLoad) budgets() ([]budgetRow, error) {
	status, body := x.send(http.MethodGet, "http://"+x.b.Admin+"/admin/budgets", "")
	var answer struct{ Budgets []budgetRow }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Budgets) == 0 {
		return nil, fmt.Errorf("budgets: got %d %.100s", status, body)
	}
	return answer.Budgets, nil
}

func (x *proofLoad) budgetDifferences(r *recount) []string {
	rows, err := x.budgets()
	if err != nil {
		return []string{err.Error()}
	}
	var wrong []string
	for i := range rows {
		if id := rows[i].id(); rows[i].Spent != r.spent[id] {
			wrong = append(wrong, fmt.Sprintf("budget %s: got %d spent; the facts add up to %d", id, rows[i].Spent, r.spent[id]))
		}
	}
	return wrong
}
