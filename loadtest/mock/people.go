package mock

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sort"
	"strconv"

	"rebound/rtb"
)

// person is one visitor. Only the worker that owns the visitor touches it.
type person struct {
	n       int
	app     bool
	shopper bool
	cookie  string // value of rt_uid, once a page of the shop has set it
	ifa     string // of an app user
	visited bool   // the shop
	product int    // viewed last, 1 to Products
	orders  int
}

// crowd is the population, of whom some are more active than others.
type crowd struct {
	people     []person
	cumulative []float64
}

// maxActivity is the greatest activity of one person, relative to the median.
const maxActivity = 10

// newCrowd makes the population of a seed.
func newCrowd(o *Options) *crowd {
	r := rand.New(rand.NewPCG(o.Seed, 0x63726f7764))
	c := &crowd{make([]person, o.Visitors), make([]float64, o.Visitors)}
	sum := 0.0
	for i := range c.people {
		p := &c.people[i]
		p.n, p.app, p.shopper = i, r.Float64()*100 < o.AppPct, r.Float64()*100 < o.ShopperPct
		if p.app {
			p.ifa = fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32()&0xffff, r.Uint32()&0xfff, r.Uint32()&0xfff, r.Uint64()&0xffffffffffff)
		}
		sum += min(math.Exp(r.NormFloat64()), maxActivity)
		c.cumulative[i] = sum
	}
	return c
}

// draw returns the index of a person.
func (c *crowd) draw(r *rand.Rand) int {
	n := len(c.cumulative)
	return min(sort.SearchFloat64s(c.cumulative, r.Float64()*c.cumulative[n-1]), n-1)
}

// visitShop lets a person look at a product, and sometimes put it into the cart.
func (w *worker) visitShop(p *person, r *rand.Rand, step int) {
	p.product = 1 + r.IntN(w.o.Shop.Products)
	w.event(p, "view_item", step, 0)
	if r.IntN(4) == 0 {
		w.event(p, "add_to_cart", step, 0)
	}
	p.visited = true
	w.reportFirst("visit", "A visitor looks at SKU%d in the shop. The pixel tells the bidder, which remembers it.", p.product)
	w.b.note(func(t *Totals) { t.ShopVisits++ })
}

// event sends one event: the pixel for browsers, a server event for apps. value is that
// of an order; it is 0 for other events.
func (w *worker) event(p *person, name string, step int, value rtb.Micros) bool {
	item := "SKU" + strconv.Itoa(max(p.product, 1))
	order := fmt.Sprintf("mx-%s-%d", w.run, step)
	if p.app {
		return w.serverEvent(p, name, item, order, value)
	}
	q := url.Values{"a": {w.o.Shop.Advertiser}, "e": {name}, "id": {item}, "gdpr": {"0"}, "u": {"https://shop.example/p/" + item}, "eid": {order + "-" + name}}
	if value > 0 {
		q.Set("o", order)
		q.Set("v", value.String())
		q.Set("cu", "USD")
	}
	var header http.Header
	if p.cookie != "" {
		header = http.Header{"Cookie": {"rt_uid=" + p.cookie}}
	}
	rs, err := w.call(http.MethodGet, w.o.Shop.Edge+"/v1/px?"+q.Encode(), nil, header)
	if err != nil || rs.code != http.StatusOK {
		w.b.failed(fmt.Sprintf("pixel: status %d, %v", rs.code, err))
		return false
	}
	for _, c := range rs.cookies {
		if c.Name == "rt_uid" {
			p.cookie = c.Value
		}
	}
	return true
}

// serverEvent sends what an app of the shop reports through the shop's server.
func (w *worker) serverEvent(p *person, name, item, order string, value rtb.Micros) bool {
	e := map[string]any{"event": name, "event_id": order + "-" + name, "user": map[string]string{"ifa": p.ifa}, "items": []map[string]string{{"id": item}},
		"consent": map[string]int{"gdpr": 0}}
	if value > 0 {
		e["order_id"], e["value"], e["currency"] = order, json.Number(value.String()), "USD"
	}
	body, err := json.Marshal(e)
	if err != nil {
		w.b.failed("event: " + err.Error())
		return false
	}
	rs, err := w.call(http.MethodPost, w.o.Shop.Edge+"/v1/events", body, http.Header{"Authorization": {"Bearer " + w.o.Shop.Key}, "Content-Type": {"application/json"}})
	if err != nil || rs.code != http.StatusOK {
		w.b.failed(fmt.Sprintf("server event: status %d %.100s, %v", rs.code, rs.body, err))
		return false
	}
	return true
}
