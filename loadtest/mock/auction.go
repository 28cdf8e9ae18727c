package mock

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"rebound/rtb"
)

// impression is one impression that is sold.
type impression struct {
	id          string
	w, h        int
	floor       rtb.CPM
	deal        *Deal   // offered; nil: none
	competition rtb.CPM // highest bid of the modelled competition
}

// page is one page view or app screen with the auctions on it.
type page struct {
	step   int
	first  bool // first-price auctions
	person *person
	imps   []impression
	tmax   time.Duration
	at     time.Time
}

// bid is one bid of a response.
type bid struct {
	ID     string      `json:"id"`
	ImpID  string      `json:"impid"`
	Price  json.Number `json:"price"`
	Adm    string      `json:"adm"`
	NURL   string      `json:"nurl"`
	BURL   string      `json:"burl"`
	LURL   string      `json:"lurl"`
	CID    string      `json:"cid"`
	CrID   string      `json:"crid"`
	DealID string      `json:"dealid"`

	price rtb.CPM
	rival bool // from another bidder than the one whose books are compared
	late  bool
}

type response struct {
	ID      string `json:"id"`
	Cur     string `json:"cur"`
	SeatBid []struct {
		Bid []bid `json:"bid"`
	} `json:"seatbid"`
}

// banner sizes on pages and in apps.
var (
	pageSizes = [][2]int{{300, 250}, {300, 250}, {728, 90}, {160, 600}, {300, 600}, {970, 250}}
	appSizes  = [][2]int{{320, 50}, {300, 250}, {320, 100}}
)

// newPage draws a page view of a person.
func (w *worker) newPage(p *person, r *rand.Rand, step int) *page {
	now := w.o.Now()
	pg := &page{step: step, person: p, tmax: w.o.TMax, at: now, first: w.o.Bidder.Second == "" || w.o.Bidder.First != "" && r.IntN(2) == 0}
	drift := 1.0
	if pg.first {
		drift += w.o.DriftPct / 100 * w.done(step, now)
	}
	for k := range 1 + r.IntN(2) {
		sizes := pageSizes
		if p.app {
			sizes = appSizes
		}
		s := sizes[r.IntN(len(sizes))]
		imp := impression{id: strconv.Itoa(k + 1), w: s[0], h: s[1]}
		imp.floor = rtb.CPM(float64(w.o.FloorMax)*(0.1+0.9*r.Float64())) / 1000 * 1000
		imp.competition = rtb.CPM(float64(w.o.Competition)*drift*math.Exp(w.o.Spread*r.NormFloat64())) / 1000 * 1000
		if deal := r.Float64() * 100; deal < w.o.DealPct {
			imp.deal = &w.o.Deals[r.IntN(len(w.o.Deals))]
		}
		pg.imps = append(pg.imps, imp)
	}
	return pg
}

// request returns the bid request of a page.
func (w *worker) request(pg *page, r *rand.Rand) []byte {
	at := 2
	if pg.first {
		at = 1
	}
	b := fmt.Appendf(nil, `{"id":"mx-%s-%d","at":%d,"tmax":%d,"cur":["USD"],"imp":[`, w.run, pg.step, at, pg.tmax.Milliseconds())
	for k, imp := range pg.imps {
		if k > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"id":%q,"tagid":"slot-%d","secure":1,"bidfloor":%s,"bidfloorcur":"USD","banner":{"format":[{"w":%d,"h":%d}],"pos":1,"battr":[1,3,6],"mimes":["image/jpeg","image/png","text/html"]}`,
			imp.id, k, imp.floor, imp.w, imp.h)
		if imp.deal != nil {
			b = fmt.Appendf(b, `,"pmp":{"private_auction":0,"deals":[{"id":%q,"bidfloor":%s,"bidfloorcur":"USD","at":3}]}`, imp.deal.ID, imp.deal.Price)
		}
		b = append(b, '}')
	}
	site := r.IntN(200)
	geo := `"geo":{"country":"CAN","region":"ON","city":"Toronto","zip":"M5V"}`
	if pg.person.app {
		b = fmt.Appendf(b, `],"app":{"id":"a%d","bundle":"com.example.game%d","name":"Game %d","storeurl":"https://play.example/store/apps/details?id=com.example.game%d","cat":["IAB9"],"publisher":{"id":"p%d"}},"device":{"ua":%q,"ip":"198.51.100.%d","devicetype":4,"os":"iOS","osv":"18.1","language":"en","lmt":0,"ifa":%q,%s},`,
			site, site, site, site, site%40, agents[1], pg.person.n%256, pg.person.ifa, geo)
	} else {
		b = fmt.Appendf(b, `],"site":{"id":"s%d","domain":"news%d.example","page":"https://news%d.example/%d","cat":["IAB12"],"publisher":{"id":"p%d"}},"device":{"ua":%q,"ip":"198.51.100.%d","devicetype":2,"os":"Windows","language":"en",%s},`,
			site, site, site, r.IntN(9999), site%40, agents[0], pg.person.n%256, geo)
	}
	user := fmt.Sprintf(`"id":"mx-%d"`, pg.person.n)
	if pg.person.cookie != "" {
		user += fmt.Sprintf(`,"buyeruid":%q`, pg.person.cookie)
	}
	return fmt.Appendf(b, `"user":{%s},"bcat":["IAB25","IAB26"],"badv":["blocked.example"],"regs":{"gdpr":0},"source":{"tid":"mx-%s-%d"}}`, user, w.run, pg.step)
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
}

// collectBids asks every bidder and returns their bids.
func (w *worker) collectBids(pg *page, body []byte) []bid {
	bidders := append([]Bidder{w.o.Bidder}, w.o.Rivals...)
	lists := make([][]bid, len(bidders))
	if len(bidders) == 1 {
		return w.requestBids(pg, &bidders[0], body, false)
	}
	var wg sync.WaitGroup
	for i := range bidders {
		wg.Go(func() { lists[i] = w.requestBids(pg, &bidders[i], body, i > 0) })
	}
	wg.Wait()
	var all []bid
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// requestBids sends the request to one bidder and returns its valid bids.
func (w *worker) requestBids(pg *page, bidder *Bidder, body []byte, rival bool) []bid {
	url := bidder.Second
	if pg.first {
		url = bidder.First
	}
	if url == "" {
		return nil
	}
	header := http.Header{"Content-Type": {"application/json"}, "X-Openrtb-Version": {"2.6"}}
	if bidder.Secret != "" {
		header.Set("X-Rebound-Secret", bidder.Secret)
	}
	began := w.o.Now()
	rs, err := w.call(http.MethodPost, url, body, header)
	late := w.o.Now().Sub(began) > pg.tmax
	if !rival {
		w.b.note(func(t *Totals) {
			t.Requests++
			if late {
				t.Timeouts++
			}
		})
	}
	switch {
	case err != nil:
		w.b.failed("bid request: " + err.Error())
		return nil
	case rs.code == http.StatusNoContent:
		if !rival {
			w.b.note(func(t *Totals) { t.NoBids++ })
		}
		return nil
	case rs.code != http.StatusOK:
		w.b.failed(fmt.Sprintf("bid request: status %d from %s", rs.code, bidder.Name))
		return nil
	}
	var r response
	if err := json.Unmarshal(rs.body, &r); err != nil || r.Cur != "" && r.Cur != "USD" {
		w.b.failed(fmt.Sprintf("bid request: %s answered with something else than a bid response: %v", bidder.Name, err))
		return nil
	}
	out := w.validBids(pg, &r, rival, late)
	if !rival {
		if len(out) > 0 {
			w.reportFirst("bid", "The same visitor, or another one, opens a page with an ad slot. The bidder recognizes the visitor and bids %.2f CPM, with the product in the ad.", out[0].price.Units())
		}
		w.b.note(func(t *Totals) { t.Bids += len(out) })
		w.b.second(pg.at, func(s *Second) { s.Bids += len(out) })
	}
	return out
}

// validBids returns the bids of a response that may take part, and counts the others.
func (w *worker) validBids(pg *page, r *response, rival, late bool) (out []bid) {
	for _, seat := range r.SeatBid {
		for _, b := range seat.Bid {
			b.rival, b.late = rival, late
			if price, err := rtb.ParseMicros(b.Price.String(), rtb.RoundDown); err != nil || !w.admits(pg, &b, rtb.CPM(price)) {
				w.b.note(func(t *Totals) { t.Invalid++ })
				continue
			}
			out = append(out, b)
		}
	}
	return out
}

// admits reports whether a bid may take part, and sets its price.
func (w *worker) admits(pg *page, b *bid, price rtb.CPM) bool {
	b.price = price
	for _, imp := range pg.imps {
		if imp.id != b.ImpID {
			continue
		}
		if b.DealID != "" {
			return imp.deal != nil && imp.deal.ID == b.DealID && price >= imp.deal.Price
		}
		return price >= imp.floor && price > 0 && b.ID != "" && b.Adm != ""
	}
	return false
}

// sale is the outcome of one auction.
type sale struct {
	winner  *bid // nil: the competition won, or nobody
	cleared rtb.CPM
	second  rtb.CPM // highest price that the winner had to beat
}

// sell holds the auction of one impression. A bid wins if its price is at least every
// competing price, the floor included; among equal bids the first wins.
func sell(imp *impression, first bool, bids []*bid) sale {
	best := sale{second: max(imp.floor, imp.competition)}
	for _, b := range bids {
		if b.late {
			continue
		}
		switch {
		case best.winner == nil && b.price >= best.second:
			best.winner = b
		case best.winner != nil && b.price > best.winner.price:
			best.second, best.winner = best.winner.price, b
		default:
			best.second = max(best.second, b.price)
		}
	}
	switch {
	case best.winner == nil:
	case best.winner.DealID != "":
		best.cleared = imp.deal.Price
	case first:
		best.cleared = best.winner.price
	default:
		best.cleared = best.second
	}
	return best
}

// toBeat is the price that a bid had to reach.
func (s *sale) toBeat(imp *impression, b *bid) rtb.CPM {
	switch {
	case s.winner == b:
		return s.second
	case s.winner != nil:
		return max(s.winner.price, imp.floor, imp.competition)
	}
	return max(imp.floor, imp.competition)
}
