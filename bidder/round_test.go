package bidder_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"rebound/bidder"
	"rebound/rtb"
)

// randomLines returns a world of many lines that differ in everything that bounds a
// price: cpm, priority, factors, deals, and the age and number of the visitor's events.
func randomLines(t testing.TB, r *rand.Rand) *world {
	pick := func(list ...any) any { return list[r.IntN(len(list))] }
	var lines, audiences, creatives []any
	var seeds []seed
	for i := range 4 {
		event := fmt.Sprintf("event%d", i)
		audiences = append(audiences, map[string]any{"id": event, "advertiser": "shop", "ttl": "30d", "include": map[string]any{"event": event}})
		if i < 3 {
			seeds = append(seeds, seed{Event: event, Ago: time.Duration(1+r.IntN(200)) * time.Hour, Times: 1 + r.IntN(6)})
		}
		creatives = append(creatives, map[string]any{"id": fmt.Sprintf("c%d", i), "advertiser": "shop", "type": "html", "sizes": []any{pick("300x250", "728x90"), "320x50"},
			"language": "en", "click_url": "https://shop.example/", "html": `<a href="{{click}}">shop</a>`})
	}
	for i := range 60 {
		bid := map[string]any{"cpm": float64(1+r.IntN(12)) / 2, "max_cpm": float64(6 + r.IntN(4))}
		if r.IntN(2) == 0 {
			bid["recency"] = []any{map[string]any{"within": "12h", "x": pick(0.5, 1.5, 2)}, map[string]any{"within": "3d", "x": pick(0.8, 1, 1.8)}, map[string]any{"within": "20d", "x": pick(0, 0.5, 1)}}
		}
		if r.IntN(2) == 0 {
			bid["intensity"] = []any{map[string]any{"min_count": 2, "x": pick(1.2, 0.7)}, map[string]any{"min_count": 4, "x": pick(1.5, 0.5)}}
		}
		if r.IntN(3) == 0 {
			bid["adjust"] = map[string]any{"hour": map[string]any{"0-11": 1.3, "12-23": pick(0.5, 1.1)}}
		}
		l := map[string]any{"id": fmt.Sprintf("l%d", i), "priority": pick(50, 50, 60), "audience": map[string]any{"any_of": []any{fmt.Sprintf("event%d", r.IntN(4)), fmt.Sprintf("event%d", r.IntN(3))}},
			"exclude_converters": "off", "bid": bid, "frequency": "none", "min_gap": "off", "creatives": []any{fmt.Sprintf("c%d", r.IntN(4))}, "rotation": pick("first", "even")}
		if l["audience"].(map[string]any)["any_of"].([]any)[0] == l["audience"].(map[string]any)["any_of"].([]any)[1] {
			l["audience"].(map[string]any)["any_of"] = l["audience"].(map[string]any)["any_of"].([]any)[:1]
		}
		if r.IntN(6) == 0 {
			l["deals"] = pick("any", "only", []any{"d1"})
		}
		if r.IntN(4) == 0 {
			l["geo"] = map[string]any{"include": []any{pick("CA", "US")}}
		}
		lines = append(lines, l)
	}
	return newWorld(t, &scenario{Visitors: seeds, Exchange: map[string]any{"multibid_max": pick(1, 1, 2), "price_tick": pick(0, 0.05)},
		Config:   map[string]any{"audiences": audiences, "creatives": creatives},
		Campaign: map[string]any{"lines": lines, "budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}}})
}

// randomRequest returns a request of random impressions with an id of its own.
func (w *world) randomRequest(r *rand.Rand, id int) []byte {
	var rq map[string]any
	if err := json.Unmarshal(w.r0, &rq); err != nil {
		w.t.Fatal(err)
	}
	var imps []any
	for i := range 1 + r.IntN(3) {
		size := [][2]int{{300, 250}, {728, 90}, {320, 50}, {970, 250}}[r.IntN(4)]
		imp := map[string]any{"id": fmt.Sprint(i), "secure": 1, "bidfloor": float64(r.IntN(14)) / 2, "banner": map[string]any{"format": []any{map[string]any{"w": size[0], "h": size[1]}}}}
		if r.IntN(3) == 0 {
			imp["pmp"] = map[string]any{"private_auction": r.IntN(2), "deals": []any{map[string]any{"id": fmt.Sprintf("d%d", r.IntN(2)), "bidfloor": float64(r.IntN(8))}, map[string]any{"id": "other", "at": 3, "bidfloor": 2}}}
		}
		imps = append(imps, imp)
	}
	rq["id"], rq["imp"] = fmt.Sprintf("request-%d", id), imps
	if r.IntN(3) == 0 {
		rq["device"] = map[string]any{"ua": "Mozilla/5.0", "geo": map[string]any{"country": "USA"}}
	}
	body, err := json.Marshal(rq)
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

// outcomeText is what must not depend on how many lines were evaluated.
func outcomeText(d *bidder.Decision) string {
	var b strings.Builder
	out := d.Outcome()
	fmt.Fprint(&b, out.Reason)
	for i := range out.Bids {
		bid := &out.Bids[i]
		fmt.Fprintf(&b, " [%s %s on %d deal %q at %d]", bid.Line.ID.Line, bid.Creative.ID, bid.Offer.Imp, bid.Offer.Deal, bid.Offer.Price)
	}
	return b.String()
}

// drawOf is a source whose first number, the request's draw, is given, and whose others,
// of which bid ids are made, are random.
type drawOf struct {
	draw uint64
	used bool
	rand *rand.Rand
}

func (s *drawOf) Uint64() uint64 {
	if !s.used {
		s.used = true
		return s.draw
	}
	return s.rand.Uint64()
}

// multiplied divides the prices of lines by different multipliers, as pacing does.
type multiplied struct{ bidder.Budgets }

func (m multiplied) Multiplier(h rtb.LineHandle) float64 { return 1 + float64(h%5)/4 }

func (m multiplied) SampleEvery(h rtb.LineHandle) uint32 { return 1 << (h % 7) }

func (m multiplied) Quote(h rtb.LineHandle, ask *rtb.Ask) (rtb.Quote, rtb.NoBidReason) {
	q, r := m.Budgets.Quote(h, ask)
	if r != rtb.NoBidNone {
		return q, r
	}
	q.Multiplier = m.Multiplier(h)
	if q.Price = min(q.Price, ask.Value.Scale(1/q.Multiplier)); q.Price < ask.Floor {
		return q, rtb.NoBidPaced
	}
	return q, r
}

// A round that ends early makes the bids that evaluating every line makes, and gives
// the same reason for none. Its record is repeated as it was, whichever lines it sampled.
func TestShortRoundsDecideLikeFullOnes(t *testing.T) {
	short, skipped, bids, repeated := 0, 0, 0, 0
	for n := range uint64(12) {
		r := rand.New(rand.NewPCG(n, 1))
		w := randomLines(t, r)
		b, d := bidder.New(bidder.Options{Visitors: w.segments, Budgets: multiplied{w.pacer}, Links: w.signer, Keys: w.keyring, Records: &w.records, KnownNoBidShare: 1, Clock: func() time.Time { return w.now }}), bidder.NewDecision()
		b.Swap(w.bidder.Catalog())
		for id := range 150 {
			body, draw := w.randomRequest(r, id), r.Uint64()
			rq := bidder.Request{Exchange: "demo", Body: body, Arrival: w.now, Source: &drawOf{draw: draw, rand: r}}
			b.DryRun(&rq, d)
			want := outcomeText(d)
			if d.Outcome().Skipped > 0 {
				t.Fatal("a dry run skips lines")
			}
			rq.Source = &drawOf{draw: draw, rand: r}
			rs := b.Answer(&rq, d)
			if got := outcomeText(d); got != want {
				t.Fatalf("world %d, request %d: got %s; want %s, as all lines give\n%s", n, id, got, want, rq.Body)
			}
			for i := range d.Outcome().Bids {
				w.pacer.Release(d.Outcome().Bids[i].Claims.Bid)
			}
			if d.Outcome().Skipped > 0 {
				if diff := w.repeat(w.records.last); diff != "" {
					t.Fatalf("world %d, request %d: repeated from its record: %s", n, id, diff)
				}
				repeated++
			}
			bids += rs.Offers
			if skipped += d.Outcome().Skipped; d.Outcome().Skipped > 0 {
				short++
			}
		}
	}
	if short < 600 || bids < 900 || repeated < 600 {
		t.Errorf("got %d short rounds and %d bids in 1800 requests; want enough of them to compare", short, bids)
	}
	t.Logf("%d short rounds of 1800 skipped %d lines; %d bids", short, skipped, bids)
}

// observing sums what pacing is told of each line, and wants samples of one request in
// every.
type observing struct {
	bidder.Budgets
	every uint32
	mu    sync.Mutex
	sum   map[rtb.LineHandle]*rtb.Observation
}

func (o *observing) SampleEvery(rtb.LineHandle) uint32 { return o.every }

func (o *observing) Observe(h rtb.LineHandle, x *rtb.Observation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.sum[h]
	if s == nil {
		s = &rtb.Observation{}
		o.sum[h] = s
	}
	s.Requests, s.Expected, s.Quotes, s.Full = s.Requests+x.Requests, s.Expected+x.Expected, s.Quotes+x.Quotes, s.Full+x.Full
}

// What pacing observes of a line over many requests is, in expectation, what
// evaluating every line on every request would show, and rounds of few lines evaluate
// every line.
func TestObservationsAreUnbiased(t *testing.T) {
	for _, c := range []struct {
		lines  int
		wanted uint32 // the sample that pacing wants
		every  int
		full   bool // every request asks for all lines
	}{{4, 64, 1, false}, {5, 1, 4, false}, {16, 2, 4, false}, {16, 32, 32, false}, {manyLines, 1, 16, false}, {manyLines, 64, 64, false}, {manyLines, 64, 1, true}} {
		t.Run(fmt.Sprint(c.lines, " lines, wanted ", c.wanted, ", full ", c.full), func(t *testing.T) { checkObservations(t, c.lines, c.wanted, c.every, c.full) })
	}
}

// checkObservations checks what is observed of lines of which one bids, when one round
// in every evaluates the others.
func checkObservations(t *testing.T, lines int, wanted uint32, every int, all bool) {
	const requests = 6000
	w := crowdOf(t, lines, nil, map[string]any{"bid": map[string]any{"cpm": 2.0, "max_cpm": 2.0}})
	o := &observing{Budgets: w.pacer, every: wanted, sum: map[rtb.LineHandle]*rtb.Observation{}}
	b := bidder.New(bidder.Options{Visitors: w.segments, Budgets: o, Links: w.signer, Clock: func() time.Time { return w.now }})
	b.Swap(w.bidder.Catalog())
	d := bidder.NewDecision()
	full := 0
	var cost rtb.Micros
	for n := range requests {
		body := strings.Replace(string(w.r0), `"r0"`, fmt.Sprintf(`"r%d"`, n), 1)
		if rs := b.Answer(&bidder.Request{Exchange: "demo", Body: []byte(body), Arrival: w.now, Full: all}, d); rs.Offers != 1 {
			t.Fatalf("got %q; want a bid", rs.Reason)
		}
		w.pacer.Release(d.Outcome().Bids[0].Claims.Bid)
		if d.Outcome().Skipped == 0 {
			full++
		}
		cost = d.Outcome().Bids[0].Quote.Full
	}
	p := 1 / float64(every)
	if sd := math.Sqrt(requests * p * (1 - p)); math.Abs(float64(full)-requests*p) > 5*sd {
		t.Errorf("got %d full rounds of %d; want about %.0f", full, requests, requests*p)
	}
	if len(o.sum) != lines {
		t.Fatalf("got observations of %d lines; want %d", len(o.sum), lines)
	}
	winners, noise := 0, math.Sqrt(float64(every-1)*requests)
	for h, s := range o.sum {
		if math.Abs(float64(s.Requests)-requests) > 5*noise || s.Quotes != s.Requests || s.Full != cost*rtb.Micros(s.Quotes) {
			t.Errorf("line %d: got %+v; want about %d requests, each with one quote of %d", h, *s, requests, cost)
		}
		if s.Expected > 0 {
			winners++
			if s.Requests != requests {
				t.Errorf("the line that bids: got %d requests; want exactly %d", s.Requests, requests)
			}
		}
	}
	if winners != 1 {
		t.Errorf("got expected cost of %d lines; want that of the one that bids", winners)
	}
}
