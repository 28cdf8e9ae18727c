package bidder_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"rebound/bidder"
	"rebound/internal/conformance"
	"rebound/rtb"
)

const manyLines, manyImps = 31, 100

// crowd returns a world of many lines, each with its own creative; patch is applied
// to every line.
func crowd(t testing.TB, exchange, patch map[string]any) *world {
	return crowdOf(t, manyLines, exchange, patch)
}

// crowdOf is crowd with a number of lines.
func crowdOf(t testing.TB, n int, exchange, patch map[string]any) *world {
	var lines, list []any
	for i := range n {
		id := fmt.Sprintf("cr%d", i)
		list = append(list, map[string]any{"id": id, "advertiser": "shop", "type": "html", "size": "300x250", "language": "en",
			"click_url": "https://shop.example/", "html": `<a href="{{click}}">shop</a>`})
		l := map[string]any{"id": fmt.Sprintf("l%d", i), "audience": map[string]any{"include": []any{"viewers"}}, "exclude_converters": "off",
			"bid": map[string]any{"cpm": 2.0, "max_cpm": 2.0}, "frequency": "none", "min_gap": "off", "creatives": []any{id}}
		maps.Copy(l, patch)
		lines = append(lines, l)
	}
	return newWorld(t, &scenario{Exchange: exchange, Config: map[string]any{"creatives": list},
		Campaign: map[string]any{"lines": lines, "budget": map[string]any{"daily": 1_000_000, "pacing": "asap"}}})
}

// wide returns the scenarios' request with many patched impressions and the members
// of rest.
func (w *world) wide(imp, rest map[string]any) []byte {
	w.t.Helper()
	var rq map[string]any
	if err := json.Unmarshal(w.r0, &rq); err != nil {
		w.t.Fatal(err)
	}
	var imps []any
	for i := range manyImps {
		m := maps.Clone(rq["imp"].([]any)[0].(map[string]any))
		m["id"] = fmt.Sprint(i)
		maps.Copy(m, imp)
		imps = append(imps, m)
	}
	rq["imp"] = imps
	maps.Copy(rq, rest)
	body, err := json.Marshal(rq)
	if err != nil {
		w.t.Fatal(err)
	}
	return body
}

func deals(n int, id func(int) string) map[string]any {
	var list []any
	for i := range n {
		list = append(list, map[string]any{"id": id(i)})
	}
	return map[string]any{"pmp": map[string]any{"private_auction": 1, "deals": list}}
}

// With hundreds of deals on a hundred impressions and lines that take any deal, the
// options, quotes and drops stay within their limits, and the rest is counted.
func TestManyDealsAreBounded(t *testing.T) {
	w := crowd(t, nil, map[string]any{"deals": "only"})
	b, s := w.bare(), bidder.NewDecision()
	rq := bidder.Request{Exchange: "demo", Body: w.wide(deals(500, func(i int) string { return fmt.Sprint(i) }), nil), Arrival: w.now}
	if a := b.Answer(&rq, s); a.Offers == 0 {
		t.Fatalf("got %q; want bids", a.Reason)
	}
	did, out := s.Work(), s.Outcome()
	if did.Quotes > bidder.MaxQuotes || did.Options > bidder.MaxOptions || len(out.Drops) > bidder.MaxDrops {
		t.Errorf("got %d quotes, %d options, %d drops; want at most %d, %d, %d", did.Quotes, did.Options, len(out.Drops),
			bidder.MaxQuotes, bidder.MaxOptions, bidder.MaxDrops)
	}
	if out.Lost.Options < 500*manyImps-bidder.MaxQuotes {
		t.Errorf("got %d options lost; want those of the first line that were not priced, at least", out.Lost.Options)
	}
	// One step for each line, impression and creative, and two for each deal that is
	// priced: far fewer than one for each deal, impression and line.
	if most := 4*bidder.MaxQuotes + 8*manyLines*manyImps; did.Steps > most {
		t.Errorf("got %d steps; want at most %d of the %d that every deal would cost", did.Steps, most, 500*manyImps*manyLines)
	}
}

// With an option for every line and impression, the limits of options and drops
// are reached.
func TestOptionsOfARequestAreBounded(t *testing.T) {
	w := crowd(t, nil, map[string]any{"deals": map[string]any{"any": true}})
	b, s := w.bare(), bidder.NewDecision()
	imp := deals(4, func(i int) string { return fmt.Sprint(i) })
	imp["pmp"].(map[string]any)["private_auction"] = 0
	b.Answer(&bidder.Request{Exchange: "demo", Body: w.wide(imp, nil), Arrival: w.now}, s)
	did, out := s.Work(), s.Outcome()
	if did.Options != bidder.MaxOptions || len(out.Drops) != bidder.MaxDrops {
		t.Errorf("got %d options, %d drops; want %d, %d", did.Options, len(out.Drops), bidder.MaxOptions, bidder.MaxDrops)
	}
	if want := did.Quotes - bidder.MaxOptions; out.Lost.Options != want || out.Lost.Drops == 0 {
		t.Errorf("got %d options, %d drops lost; want %d, some", out.Lost.Options, out.Lost.Drops, want)
	}
	if !did.Oversized {
		t.Error("a scratch that a hostile request blew up goes back to the pool")
	}
	b.Answer(&bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now}, s)
	if s = bidder.NewDecision(); s.Work().Oversized {
		t.Error("a new scratch is oversized")
	}
	if a := b.Answer(&bidder.Request{Exchange: "demo", Body: w.r0, Arrival: w.now}, s); a.Offers == 0 || s.Work().Oversized {
		t.Errorf("a plain request: got %d offers, oversized %v; want one, false", a.Offers, s.Work().Oversized)
	}
}

// A deal that is listed several times is priced once.
func TestARepeatedDealCountsOnce(t *testing.T) {
	for _, n := range []int{2, 8, 9, 500} {
		w := crowd(t, map[string]any{"multibid_max": 10}, map[string]any{"deals": "only"})
		b, s := w.bare(), bidder.NewDecision()
		body := w.wide(deals(n, func(i int) string { return fmt.Sprint("d", i%2) }), nil)
		if a := b.Answer(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s); a.Offers == 0 {
			t.Fatalf("got %q; want bids", a.Reason)
		}
		if got, want := s.Work().Quotes, min(n, 2)*manyLines*manyImps; got != want {
			t.Errorf("%d deals of two ids: got %d quotes; want %d", n, got, want)
		}
	}
}

// Of more deals than a line can bid under, the best are kept.
func TestTheBestDealsAreKept(t *testing.T) {
	w := newWorld(t, &scenario{Line: map[string]any{"deals": "only"}})
	var list []any
	for i := range 20 {
		list = append(list, map[string]any{"id": fmt.Sprint(i), "at": 3, "bidfloor": 0.5 + float64(i*7%20)/100})
	}
	var rq map[string]any
	if err := json.Unmarshal(w.r0, &rq); err != nil {
		t.Fatal(err)
	}
	rq["imp"].([]any)[0].(map[string]any)["pmp"] = map[string]any{"private_auction": 1, "deals": list}
	body, _ := json.Marshal(rq)
	s := bidder.NewDecision()
	w.bare().Answer(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s)
	out := s.Outcome()
	if len(out.Bids) != 1 || string(out.Bids[0].Offer.Deal) != "17" || s.Work().Options != 2 || out.Lost.Options != 18 {
		t.Errorf("got %d bids, %d options, %d lost: %+v; want one under deal 17, the dearest, of 2, 18 lost", len(out.Bids), s.Work().Options, out.Lost.Options, out.Bids)
	}
}

// The decision ends soon after the clock passes the deadline, in any stage, and
// nothing stays reserved.
func TestTheClockEndsTheWork(t *testing.T) {
	w := crowd(t, nil, map[string]any{"deals": map[string]any{"any": true}})
	imp := deals(400, func(i int) string { return fmt.Sprint(i) })
	imp["pmp"].(map[string]any)["private_auction"] = 0
	body := w.wide(imp, nil)
	s, readings, slow := bidder.NewDecision(), 0, time.Duration(0)
	b := bidder.New(bidder.Options{Visitors: w.segments, Budgets: w.pacer, Links: w.signer, Clock: func() time.Time {
		readings++
		return w.now.Add(time.Duration(readings) * slow)
	}})
	b.Swap(w.bidder.Catalog())
	if a := b.Answer(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s); a.Offers == 0 {
		t.Fatalf("got %q; want bids", a.Reason)
	}
	all, budget := readings, s.Work().Budget
	_, held := w.money()
	for _, c := range []struct {
		name string
		late int // the reading that passes the deadline
	}{{"at once", 3}, {"early", 20}, {"half way", all / 2}, {"with offers made", all - 40}, {"at the last options", all - 8}} {
		readings, slow = 0, budget/time.Duration(c.late-1)
		if a := b.Answer(&bidder.Request{Exchange: "demo", Body: body, Arrival: w.now}, s); a.Reason != rtb.NoBidLate {
			t.Errorf("%s: got %q after %d readings; want late", c.name, a.Reason, readings)
		}
		if readings > c.late+3 {
			t.Errorf("%s: got %d readings; want at most 3 after the one that was late, %d", c.name, readings, c.late)
		}
		if most := readings * 2 * bidder.CheckEvery; s.Work().Steps > most {
			t.Errorf("%s: got %d steps; want at most %d", c.name, s.Work().Steps, most)
		}
		if _, reserved := w.money(); reserved != held {
			t.Errorf("%s: got %s reserved; want %s, as before", c.name, reserved, held)
		}
	}
}

// A request's block lists are read once for the creatives with the same language and
// categories, not for each creative, line and impression.
func TestBlockListsAreReadOnce(t *testing.T) {
	conformance.Covers(t, "V16")
	const entries = 32_000
	list := func(text, last string) []string {
		l := make([]string, entries)
		for i := range l {
			l[i] = text
		}
		l[entries-1] = last
		return l
	}
	w := crowd(t, nil, nil)
	b, s := w.bare(), bidder.NewDecision()
	for _, c := range []struct {
		name  string
		lists map[string]any
		read  int
		want  rtb.NoBidReason
	}{
		{"nothing blocked", map[string]any{"bcat": list("IAB9-1", "IAB9-2"), "wlang": list("fr", "en")}, 2 * entries, rtb.NoBidNone},
		{"the last category", map[string]any{"bcat": list("IAB9-1", "IAB22")}, entries, rtb.NoBidCategory},
		{"the language", map[string]any{"wlang": list("fr", "de")}, entries, rtb.NoBidLanguage},
	} {
		a := b.DryRun(&bidder.Request{Exchange: "demo", Body: w.wide(nil, c.lists), Arrival: w.now}, s) // evaluates every line
		if did := s.Work(); a.Reason != c.want || did.Entries != c.read {
			t.Errorf("%s: got %q, %d entries read; want %q, %d", c.name, a.Reason, did.Entries, c.want, c.read)
		}
	}
}
