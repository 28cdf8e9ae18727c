package mock

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"time"

	"rebound/rtb"
)

// Loss reasons of OpenRTB 2.6 (list 5.25 of AdCOM: loss reason codes).
const (
	lossLate       = "2"   // impression opportunity expired
	lossBelowFloor = "100" // bid was below auction floor
	lossToHigher   = "102" // lost to higher bid
)

// macros are the values of the substitution macros (OpenRTB 2.6 §4.4).
type macros struct {
	price, toBeat rtb.CPM
	loss          string
	request, imp  string
	bid           *bid
}

// expand replaces the macros in a URL or in markup.
func (m *macros) expand(text string) string {
	return strings.NewReplacer("${AUCTION_PRICE}", m.price.String(), "${AUCTION_CURRENCY}", "USD", "${AUCTION_LOSS}", m.loss, "${AUCTION_MIN_TO_WIN}", m.toBeat.String(),
		"${AUCTION_ID}", m.request, "${AUCTION_IMP_ID}", m.imp, "${AUCTION_BID_ID}", m.bid.ID, "${AUCTION_AD_ID}", m.bid.CrID, "${AUCTION_SEAT_ID}", "seat-1",
		"${AUCTION_MBR}", "", "${AUCTION_MULTIPLIER}", "1").Replace(text)
}

// delayed is a notice that is sent later.
type delayed struct {
	due  time.Time
	send func()
}

// notice sends one notice, unless it is lost; it may be late or sent twice. done, if
// not nil, is called with whether the bidder acknowledged it.
func (w *worker) notice(kind, url string, r *rand.Rand, done func(acknowledged bool)) {
	f := &w.o.Notices
	lost, late, twice := r.Float64()*100 < f.LostPct, r.Float64()*100 < f.LatePct, r.Float64()*100 < f.DuplicatePct
	if done == nil {
		done = func(bool) {}
	}
	if url == "" {
		return
	}
	if lost {
		w.b.note(func(t *Totals) { t.Notices.Lost++ })
		done(false)
		return
	}
	send := func() {
		done(w.deliver(kind, url))
		if twice {
			w.b.note(func(t *Totals) { t.Notices.Duplicated++ })
			w.deliver(kind, url)
		}
	}
	if late {
		w.b.note(func(t *Totals) { t.Notices.Late++ })
		w.later = append(w.later, delayed{w.o.Now().Add(f.LateDelay), send})
		return
	}
	send()
}

// Attempts to deliver a notice to a bidder that answers 503.
const (
	deliverAttempts = 5
	deliverWait     = 300 * time.Millisecond
)

// deliver calls a notice URL and reports whether the bidder acknowledged it. An exchange
// sends a notice again after 503 only.
func (w *worker) deliver(kind, url string) bool {
	w.b.note(func(t *Totals) {
		switch kind {
		case "win":
			t.Notices.Win++
		case "bill":
			t.Notices.Bill++
		case "loss":
			t.Notices.Loss++
		}
	})
	for attempt := range deliverAttempts {
		rs, err := w.call(http.MethodGet, url, nil, nil)
		if err == nil && rs.code < 300 {
			return true
		}
		if err != nil || rs.code != http.StatusServiceUnavailable || attempt == deliverAttempts-1 {
			w.b.failed(fmt.Sprintf("%s notice: status %d, %v", kind, rs.code, err))
			return false
		}
		w.b.note(func(t *Totals) { t.Notices.Retried++ })
		time.Sleep(deliverWait)
	}
	return false
}

// flush sends the delayed notices that are due, or all of them in time.
func (w *worker) flush(all bool) {
	for len(w.later) > 0 {
		d := w.later[0]
		if wait := d.due.Sub(w.o.Now()); wait > 0 {
			if !all {
				return
			}
			time.Sleep(wait)
		}
		w.later = w.later[1:]
		d.send()
	}
}

// won sends what follows a win: the win notice, the rendering, the bill, and sometimes a
// click and an order.
func (w *worker) won(pg *page, e *Entry, m *macros, r *rand.Rand) {
	b := m.bid
	win := func() { w.notice("win", m.expand(b.NURL), r, nil) }
	bill := func() {
		w.notice("bill", m.expand(b.BURL), r, func(ok bool) {
			w.b.bill(e, ok)
			if ok {
				w.reportFirst("bill", "The ad is shown and billed: %s USD of the campaign's budget are spent.", e.Cost())
				w.b.second(w.o.Now(), func(s *Second) { s.Spend += e.Cost() })
			}
		})
	}
	if r.Float64()*100 < w.o.Notices.ReorderedPct {
		w.b.note(func(t *Totals) { t.Notices.Reordered++ })
		bill()
		win()
	} else {
		win()
		bill()
	}
	w.render(pg, e, m.expand(b.Adm), r)
}

// links of ours in markup: impression and view pixels, and the click.
var (
	pixels = regexp.MustCompile(`https?://[^"'<>\s]+/v1/(?:imp|view|vast/impression)\?[^"'<>\s]+`)
	clicks = regexp.MustCompile(`https?://[^"'<>\s]+/v1/c\?[^"'<>\s]+`)
)

// render loads the pixels of an ad, and sometimes clicks it.
func (w *worker) render(pg *page, e *Entry, markup string, r *rand.Rand) {
	w.b.note(func(t *Totals) { t.Rendered++ })
	for _, url := range pixels.FindAllString(markup, 4) {
		if rs, err := w.call(http.MethodGet, html.UnescapeString(url), nil, nil); err != nil || rs.code != http.StatusOK {
			w.b.failed(fmt.Sprintf("impression pixel: status %d, %v", rs.code, err))
		}
	}
	clicked, ordered, value := r.Float64()*100 < w.o.ClickPct, r.Float64()*100 < w.o.ConvertPct, rtb.Micros(10+r.IntN(190))*1_000_000
	url := clicks.FindString(markup)
	if !clicked || url == "" {
		return
	}
	rs, err := w.call(http.MethodGet, html.UnescapeString(url), nil, nil)
	if err != nil || rs.code != http.StatusFound || rs.location == "" {
		w.b.failed(fmt.Sprintf("click: status %d, %v", rs.code, err))
		return
	}
	w.b.note(func(t *Totals) { t.Clicks++; e.Clicked = true })
	w.reportFirst("click", "The visitor clicks the ad and is back in the shop: %s", rs.location)
	if !ordered || !w.event(pg.person, "purchase", pg.step, value) {
		return
	}
	pg.person.orders++
	w.reportFirst("order", "The visitor buys for %s USD. From now on the bidder leaves this visitor alone.", value)
	w.b.note(func(t *Totals) { t.Orders++; t.OrderValue += value; e.OrderValue = value })
}

// reply is a response to any call of the exchange.
type reply struct {
	code     int
	body     []byte
	cookies  []*http.Cookie
	location string
}

// maxReply bounds what is read of a response.
const maxReply = 1 << 20

// call makes one HTTP request.
func (w *worker) call(method, url string, body []byte, header http.Header) (reply, error) {
	rq, err := http.NewRequestWithContext(w.ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if header != nil {
		rq.Header = header
	}
	rs, err := w.o.Client.Do(rq)
	if err != nil {
		return reply{}, err
	}
	defer rs.Body.Close()
	r := reply{code: rs.StatusCode, cookies: rs.Cookies(), location: rs.Header.Get("Location")}
	r.body, err = io.ReadAll(io.LimitReader(rs.Body, maxReply))
	return r, err
}
