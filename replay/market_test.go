package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebound/config"
	"rebound/events"
	"rebound/rtb"
)

// shopAt returns a configuration with one line that bids on the visitors of a generated
// day, with no budget that binds.
func shopAt(t testing.TB, auction, cpm, limit string, status string) *config.Snapshot {
	t.Helper()
	text := fmt.Sprintf(`version: 1
exchanges:
  - {id: demo, include: builtin:generic, seat: seat-1, sources: [127.0.0.0/8], auction: %s, billing_source: {banner: burl}}
advertisers:
  - {id: shop, name: Example Shop, domains: [shop.example], currency: USD, timezone: America/Toronto}
audiences:
  - {id: product_viewers, include: {event: view_item}}
creatives:
  - {id: banner, type: image, image_url: "https://shop.example/a.jpg", alt: Shop, click_url: "https://shop.example/", sizes: [300x250, 728x90, 320x50]}
campaigns:
  - id: day
    advertiser: shop
    status: %s
    budget: {daily: 1000.00, pacing: asap}
    lines: [{id: viewed, audience: {include: [product_viewers]}, bid: {strategy: fixed, cpm: %s, max_cpm: %s, recency: [{within: 1h, x: 1.8}, {within: 24h, x: 1.3}, {within: 7d, x: 1.0}, {within: 30d, x: 0.6}]}, frequency: none, min_gap: off, creatives: [banner]}]
`, auction, status, cpm, limit)
	s, err := config.LoadFS(fstest.MapFS{"c.yaml": {Data: []byte(text)}}, "c.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// live is a synthetic market: what really competes, and what a bidder with the old
// configuration has in its log after a run.
type live struct {
	truth   []*events.BidRecord
	records []*events.BidRecord
	facts   []*events.Fact
}

func all[T any](list []*T) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for _, x := range list {
			c := *x
			if !yield(&c, nil) {
				return
			}
		}
	}
}

// aLive runs the old configuration for half an hour in a market. Its log has no price
// beyond what notices without a minimum to win tell.
func aLive(t testing.TB, first bool, old, never *config.Snapshot, requests int, seed uint64) *live {
	t.Helper()
	x := &live{}
	r := rand.New(rand.NewPCG(seed, 5))
	for rec, err := range lines(aDay(t, old, requests, seed)) {
		if err != nil {
			t.Fatal(err)
		}
		rec.TS = start(t).Add(rec.TS.Sub(start(t)) / 48)
		rec.BidID = pinID(fmt.Sprint(seed, len(x.truth)))
		x.truth = append(x.truth, rec)
	}
	slices.SortFunc(x.truth, compareRecords)
	decided := map[int][]events.DecisionBid{}
	o := Options{Config: old, Against: never, Seed: 77, NoticeDelay: time.Second, Clock: func() time.Time { return time.Time{} }, Differ: func(d Difference) error {
		decided[d.N] = slices.Clone(d.New.Bids)
		return nil
	}}
	if _, err := Run(t.Context(), o, all(x.truth)); err != nil {
		t.Fatal(err)
	}
	for i, rec := range x.truth {
		c := *rec
		c.Market = nil
		c.Decision = &events.Decision{NoBid: rtb.NoBidFloor}
		if bids := decided[i+1]; len(bids) > 0 {
			c.Decision = &events.Decision{Bids: bids}
		}
		for _, b := range c.Decision.Bids {
			x.facts = append(x.facts, noticesOf(rec, &b, first, rec.TS.Add(time.Duration(500+r.IntN(1500))*time.Millisecond))...)
		}
		x.records = append(x.records, &c)
	}
	slices.SortStableFunc(x.facts, func(a, b *events.Fact) int { return a.TS.Compare(b.TS) })
	return x
}

func noticesOf(rec *events.BidRecord, b *events.DecisionBid, first bool, at time.Time) []*events.Fact {
	m := rec.Market[b.ImpID]
	claims := &rtb.Claims{Bid: b.BidID, Exchange: "demo", Advertiser: b.Advertiser, Campaign: b.Campaign, Line: b.Line, Price: b.Price, Currency: rtb.USD,
		AdvertiserCurrency: rtb.USD, Rate: rtb.RateOne, FirstPrice: first, Value: b.Value.Cost(), BillOn: rtb.BillOnBURL}
	paid, ok := won(m, claims)
	d := due{at: at, claims: *claims, lost: !ok, paid: paid}
	var out []*events.Fact
	for _, f := range d.facts(at) {
		f.TS = at
		out = append(out, &f)
	}
	return out
}

// forecast replays a log with its notices.
func forecast(t testing.TB, o Options, x *live) *Report {
	t.Helper()
	o.Clock = func() time.Time { return time.Time{} }
	o.NoticeDelay = time.Second
	o.Notices = func() iter.Seq2[*events.Fact, error] { return all(x.facts) }
	var err error
	if o.Survey, err = Scan(t.Context(), &o, all(x.records)); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o, all(x.records))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (v Interval) has(x int64) bool { return v[0] <= x && x <= v[1] }

// The log of a run tells the run again: the same configuration wins, spends and values what
// the notices say, within 1 %.
func TestReplayEqualsItsNotices(t *testing.T) {
	never := shopAt(t, "second", "2.00", "8.00", "paused")
	for _, auction := range []string{"second", "first"} {
		old := shopAt(t, auction, "2.00", "8.00", "active")
		x := aLive(t, auction == "first", old, never, 3000, 4)
		r := forecast(t, Options{Config: old, Seed: 1}, x)
		l, was := &r.Lines[0], &r.Recorded[0]
		near := func(a, b int64) bool { return a*100 >= b*99 && a*100 <= b*101 }
		if was.Wins == 0 || !near(int64(l.Wins), int64(was.Wins)) || !near(int64(l.Spend), int64(was.Spend)) || !near(int64(l.Value), int64(was.Value)) {
			t.Errorf("%s price: replayed %d wins, %s, value %s; recorded %+v", auction, l.Wins, l.Spend, l.Value, was)
		}
		m := r.Run.Market
		if m.Bids != m.Exact+m.AtMost+m.Above+m.Unknown+m.Unwinnable || m.Won != was.Wins || m.Above == 0 || (m.AtMost > 0) != (auction == "first") || (m.Exact > 0) != (auction == "second") {
			t.Errorf("%s price: market %+v", auction, m)
		}
		page := pageOf(t, r, "Records", "Market", "Recorded", "Lines", "95 % intervals", "No bids")
		for _, want := range []string{fmt.Sprintf("<p>market: %d recorded bids, %d won; ", m.Bids, m.Won),
			fmt.Sprintf("<tr><td>shop/day/viewed</td><td>%d</td><td>%d</td><td>%s</td>", was.Bids, was.Wins, money(was.Spend, "USD"))} {
			if !strings.Contains(page, want) {
				t.Errorf("%s price: the page lacks %s", auction, want)
			}
		}
	}
}

// Bids that are 20 % higher win more value in any market. The comparison names them, and
// what they really win is inside the stated intervals.
func TestWhatIfIsInsideItsInterval(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, and one goroutine")
	}
	whatIf(t, 3)
}

// The same with 100 seeds.
func TestProveWhatIfIsInsideItsInterval(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("set PROVE=1")
	}
	whatIf(t, 100)
}

func whatIf(t *testing.T, seeds uint64) {
	never := shopAt(t, "second", "2.00", "8.00", "paused")
	for _, auction := range []string{"second", "first"} {
		old, more := shopAt(t, auction, "1.00", "4.00", "active"), shopAt(t, auction, "1.20", "4.80", "active")
		inside, named := uint64(0), uint64(0)
		for seed := range seeds {
			x := aLive(t, auction == "first", old, never, 2000, seed)
			r := forecast(t, Options{Config: more, Against: old, Seed: seed}, x)
			o := Options{Config: more, Against: old, Seed: 99, NoticeDelay: time.Second, Clock: func() time.Time { return time.Time{} }}
			truth, err := Run(t.Context(), o, all(x.truth))
			if err != nil {
				t.Fatal(err)
			}
			l, really, d := &r.Lines[0], &truth.Lines[0], &r.Differences.Total[0]
			gain := int64(really.Value - truth.Against.Lines[0].Value)
			ok := l.Interval.Wins.has(int64(really.Wins)) && l.Interval.Spend.has(int64(really.Spend)) && l.Interval.Value.has(int64(really.Value)) && d.Interval.Value.has(gain)
			if ok {
				inside++
			} else {
				t.Logf("%s price, seed %d: really %d wins, %s, value %s, gain %d; stated %+v and %v", auction, seed, really.Wins, really.Spend, really.Value, gain, l.Interval, d.Interval.Value)
			}
			if d.Better == "new" {
				named++
			}
		}
		t.Logf("%s price: inside in %d of %d, named in %d", auction, inside, seeds, named)
		if least := (seeds*95 + 99) / 100; inside < least || named < least {
			t.Errorf("%s price: inside in %d, named in %d of %d seeds; want %d", auction, inside, named, seeds, least)
		}
	}
}

// A log that is split in ten files, or shuffled within a minute, gives the same report.
func TestOrderOfRecordsDoesNotMatter(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, and one goroutine")
	}
	never := shopAt(t, "second", "2.00", "8.00", "paused")
	old, more := shopAt(t, "first", "1.00", "4.00", "active"), shopAt(t, "first", "1.20", "4.80", "active")
	x := aLive(t, true, old, never, 2000, 8)
	report := func(files ...iter.Seq2[*events.BidRecord, error]) string {
		o := Options{Config: more, Against: old, Seed: 3, Notices: func() iter.Seq2[*events.Fact, error] { return all(x.facts) }, Clock: func() time.Time { return time.Time{} }}
		var err error
		if o.Survey, err = Scan(t.Context(), &o, InOrder(files)); err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), o, InOrder(files))
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := report(all(x.records))
	if report(all(x.records)) != want {
		t.Error("two replays differ")
	}
	var split, consecutive []iter.Seq2[*events.BidRecord, error]
	for k := range 10 {
		var part []*events.BidRecord
		for i := k; i < len(x.records); i += 10 {
			part = append(part, x.records[i])
		}
		split = append(split, all(part))
		n := len(x.records)
		consecutive = append(consecutive, all(x.records[k*n/10:(k+1)*n/10]))
	}
	slices.Reverse(consecutive)
	shuffled := slices.Clone(x.records)
	r := rand.New(rand.NewPCG(1, 1))
	key := map[*events.BidRecord]time.Time{}
	for _, rec := range shuffled {
		key[rec] = rec.TS.Add(time.Duration(r.Int64N(int64(Slack))))
	}
	slices.SortFunc(shuffled, func(a, b *events.BidRecord) int { return key[a].Compare(key[b]) })
	if slices.Equal(shuffled, x.records) {
		t.Fatal("the records were not shuffled")
	}
	for name, files := range map[string][]iter.Seq2[*events.BidRecord, error]{"ten files with every tenth record": split, "ten files": consecutive, "shuffled": {all(shuffled)}} {
		if got := report(files...); got != want {
			t.Errorf("%s: the report differs", name)
		}
	}
	late := append(slices.Clone(x.records[1:]), x.records[0])
	if got := report(all(late)); !strings.Contains(got, `"out_of_order": 1`) {
		t.Error("a record that is half an hour late is not counted")
	}
}

// More broken lines than allowed end the run, and a torn end does not count.
func TestBrokenLines(t *testing.T) {
	s := snapshot(t, "day/even.yaml")
	day := aDay(t, s, 300, 1)
	broken := append(bytes.Repeat([]byte("{broken\n"), 5), day...)
	o := Options{Config: s, MaxBrokenPct: 1, Clock: func() time.Time { return time.Time{} }}
	if _, err := Run(t.Context(), o, lines(broken)); err == nil || !strings.Contains(err.Error(), "5 of ") || !strings.Contains(err.Error(), "--max-broken") {
		t.Errorf("got %v; want an error that counts the lines", err)
	}
	o.MaxBrokenPct = 5
	if _, err := Run(t.Context(), o, lines(broken)); err != nil {
		t.Error(err)
	}
	o.MaxBrokenPct = 0
	r, err := Run(t.Context(), o, lines(append(day, `{"v":1,"ts":"20`...)))
	if err != nil || r.Run.Broken != 0 || r.Run.Skipped != 1 {
		t.Errorf("torn: got %v, %+v", err, r)
	}
}

// Names that the configuration and the log do not share are said.
func TestWarnings(t *testing.T) {
	s := shopAt(t, "second", "1.00", "2.00", "active")
	rec := &events.BidRecord{V: 1, TS: start(t), Exchange: "demo", Config: "abc", SampleWeight: 100, Request: json.RawMessage("{}"),
		Decision: &events.Decision{Dropped: []events.DecisionDrop{{Advertiser: "shop", Campaign: "autumn", Line: "gone", Reason: rtb.NoBidFloor}}}}
	o := &Options{Config: s}
	v, err := Scan(t.Context(), o, all([]*events.BidRecord{rec}))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(v.Warnings(o), "\n")
	for _, want := range []string{"shop/autumn/gone; it has shop/day/viewed", "no record in the log mentions: shop/day/viewed", "configuration abc; this replay uses " + s.Hash, "sample of about 100"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
