package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebound/config"
	"rebound/events"
	"rebound/examples"
	"rebound/rtb"
	"rebound/segments"
)

func snapshot(t testing.TB, name string) *config.Snapshot {
	t.Helper()
	s, err := config.Load(filepath.Join("..", "examples", name), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func start(t testing.TB) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("America/Toronto")
	if err != nil {
		t.Fatal(err)
	}
	return time.Date(2026, 10, 1, 0, 0, 0, 0, zone)
}

// aDay returns a generated day as NDJSON.
func aDay(t testing.TB, s *config.Snapshot, requests int, seed uint64) []byte {
	t.Helper()
	var b bytes.Buffer
	d := Day{Index: s.Index, Exchange: "demo", Start: start(t), Requests: requests, Price: 1_000_000, Seed: seed}
	if err := d.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func lines(b []byte) iter.Seq2[*events.BidRecord, error] {
	return events.ReadRecords("test", bytes.NewReader(b))
}

func replayed(t testing.TB, o Options, records []byte) *Report {
	t.Helper()
	o.Clock = func() time.Time { return time.Time{} }
	if o.MaxBrokenPct == 0 {
		o.MaxBrokenPct = 100
	}
	r, err := Run(context.Background(), o, lines(records))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Without pacing the budget of a day is spent before noon; with pacing it lasts the
// day, is spent, and wins more.
func TestEvenLastsTheDayAndWinsMore(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes under the race detector, and one goroutine")
	}
	evenLastsTheDay(t, 30_000)
}

// The same on a day with as many requests as pacing was tuned for.
func TestProveEvenLastsTheDayAndWinsMore(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("set PROVE=1")
	}
	evenLastsTheDay(t, 100_000)
}

func evenLastsTheDay(t *testing.T, requests int) {
	even, asap := snapshot(t, "day/even.yaml"), snapshot(t, "day/asap.yaml")
	r := replayed(t, Options{Config: even, Against: asap, NoticeDelay: time.Second, Seed: 1}, aDay(t, even, requests, 5))
	e, a := &r.Lines[0], &r.Against.Lines[0]
	if e.UtilisationPct < 95 || e.UtilisationPct > 100 || a.UtilisationPct < 95 || a.UtilisationPct > 100 {
		t.Errorf("used: even %.1f %%, asap %.1f %%; want 95 to 100", e.UtilisationPct, a.UtilisationPct)
	}
	gone := func(l *LineReport) string {
		for _, p := range l.Curve {
			if p.SpendShare >= 0.99 {
				return p.At
			}
		}
		return "never"
	}
	if at := gone(a); at > "12:00" {
		t.Errorf("asap is out of money at %s; want before noon", at)
	}
	if at := gone(e); at < "23:00" {
		t.Errorf("even is out of money at %s; want it to last the day", at)
	}
	if e.Value < a.Value*3/2 {
		t.Errorf("even wins %s, asap %s; want half as much again", e.Value, a.Value)
	}
	for _, l := range []*LineReport{e, a} {
		if l.OverCap != 0 || l.LateSpend != 0 || len(l.Curve) != 96 || l.Curve[95].At != "24:00" || l.Curve[95].TrafficShare != 1 {
			t.Errorf("over cap %s, late %s, %d points, last %+v", l.OverCap, l.LateSpend, len(l.Curve), l.Curve[len(l.Curve)-1])
		}
		if want := float64(l.Spend) / float64(l.Cap); l.Curve[95].SpendShare < want-1e-5 || l.Curve[95].SpendShare > want+1e-5 {
			t.Errorf("the curve ends at %g of the cap, the ledger at %g", l.Curve[95].SpendShare, want)
		}
	}
	d := r.Differences
	if d.Compared != r.Run.Requests || d.Same+d.BidGained+d.BidLost+d.OtherLine+d.PriceUp+d.PriceDown != d.Compared {
		t.Errorf("differences do not add up: %+v", d)
	}
	page := pageOf(t, r, "Records", "Market", "Decisions, old to new", "New less old", "Lines under the new configuration "+r.Run.Config, "95 % intervals",
		"Lines under the old configuration "+r.Against.Run.Config, "No bids")
	if n := strings.Count(page, "<svg"); n != 2 {
		t.Errorf("page: %d drawings; want the spend and the multiplier", n)
	}
	for _, want := range []string{fmt.Sprintf("<p>%d records have a market.</p>", r.Run.Requests), fmt.Sprintf("<td>gained: only the new configuration bids</td><td>%d</td>", d.BidGained),
		fmt.Sprintf("<tr><td>total</td><td>%+d</td>", e.Wins-a.Wins), fmt.Sprintf("<td>budget</td><td>%d</td><td>%d</td>", r.NoBids["budget"], r.Against.NoBids["budget"])} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// pageOf returns the page of a report, which has sections with these titles in this order.
func pageOf(t *testing.T, r *Report, titles ...string) string {
	t.Helper()
	var page strings.Builder
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, part := range strings.Split(page.String(), "<h2>")[1:] {
		title, _, _ := strings.Cut(part, "</h2>")
		got = append(got, title)
	}
	if !slices.Equal(got, titles) {
		t.Errorf("the page has the sections %q; want %q", got, titles)
	}
	return page.String()
}

// The same input and seed give the same bytes.
func TestReplayIsRepeatable(t *testing.T) {
	s := snapshot(t, "day/even.yaml")
	day := aDay(t, s, 2_000, 9)
	if !bytes.Equal(day, aDay(t, s, 2_000, 9)) {
		t.Fatal("one seed makes two days")
	}
	report := func(seed uint64) string {
		var b strings.Builder
		if err := replayed(t, Options{Config: s, Seed: seed, LostPct: 5, NoticeDelay: 2 * time.Second}, day).WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := report(1)
	if again := report(1); again != first {
		t.Error("one seed gives two reports")
	}
	if report(2) == first {
		t.Error("the seed does not matter, though notices get lost at random")
	}
}

// A bid wins at the minimum to win; second price pays that, first price the bid.
func TestMarket(t *testing.T) {
	f := func(bid rtb.CPM, first bool, min rtb.CPM, paid rtb.CPM, wins bool) {
		t.Helper()
		got, ok := won(events.Market{MinToWin: min}, &rtb.Claims{Price: bid, FirstPrice: first})
		if got != paid || ok != wins {
			t.Errorf("bid %s against %s: paid %s, %v; want %s, %v", bid, min, got, ok, paid, wins)
		}
	}
	f(2_000_000, false, 2_000_000, 2_000_000, true)
	f(2_000_000, false, 1_500_000, 1_500_000, true)
	f(2_000_000, true, 1_500_000, 2_000_000, true)
	f(2_000_000, false, 2_000_001, 0, false)
}

// Notices arrive in the order of their times, and those of the same time in the order of their bids.
func TestNoticesKeepTheirOrder(t *testing.T) {
	var n notices
	t0 := start(t)
	for i, at := range []time.Duration{3, 1, 2, 1} {
		n.add(t0.Add(at*time.Second), &rtb.Claims{Line: string(rune('a' + i))}, 1, false, 0)
	}
	got := ""
	for {
		d, ok := n.before(t0.Add(2 * time.Second))
		if !ok {
			break
		}
		got += d.claims.Line
	}
	if got != "bdc" || n.Len() != 1 {
		t.Errorf("got %q and %d left; want bdc and one left", got, n.Len())
	}
}

// Bare requests find their visitors in the folded facts, at the time of the flags.
func TestBareRequestsWithFacts(t *testing.T) {
	s, err := config.LoadFS(examples.FS, examples.Shop, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keyring := rtb.NewKeyring([32]byte{7})
	store, err := segments.Open(segments.Options{InMemory: true, Keyring: keyring})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	at := start(t).UTC()
	view := func(n uint64, uid, name string, ts time.Time) *events.Fact {
		return &events.Fact{V: 1, Seq: n, ID: uid + name, TS: ts, At: ts, Kind: events.KindEvent, Advertiser: "shop",
			Visitor: keyring.Key(rtb.IDVisitor, "", []byte(uid)), Event: &events.Event{Name: name, Items: []events.Item{{ID: "sku1"}}, Trust: events.TrustServer}}
	}
	facts := []*events.Fact{view(40, "ann", "view_item", at.Add(-time.Hour)), view(41, "bob", "view_item", at.Add(-time.Hour)),
		view(42, "bob", "purchase", at.Add(5*time.Second)), {V: 1, Seq: 43, TS: at, Kind: events.KindTick}}
	request := func(id, uid string) string {
		return `{"id":"` + id + `","tmax":200,"imp":[{"id":"1","banner":{"w":300,"h":250}}],"site":{"id":"s","domain":"a.example"},"device":{"geo":{"country":"CAN"}},"user":{"buyeruid":"` + uid + `"}}` + "\n"
	}
	in := `{"v":1,"ts":"2026-10-01T04:00:00Z","exchange":"demo","request":null,"decision":{"nobid":"paused"}}` + "\n" + request("1", "ann") + request("2", "bob") + request("3", "carol") + "{broken\n" + request("4", "bob")
	r := replayed(t, Options{Config: s, Store: store, Exchange: "demo", At: at, Spacing: 10 * time.Second, Facts: func(yield func(*events.Fact, error) bool) {
		for _, f := range facts {
			if !yield(f, nil) {
				return
			}
		}
	}}, []byte(in))
	// The third visitor is unknown. The second and the fourth request come after the
	// purchase: facts up to a request's time are folded before it.
	if r.Run.Requests != 4 || r.Run.Known != 3 || r.Run.Bids != 1 || r.Run.Skipped != 1 {
		t.Errorf("run %+v, no bids %v", r.Run, r.NoBids)
	}
	if r.Run.Bodiless["paused"] != 1 || r.Run.Markets != 0 {
		t.Errorf("bodiless %v, %d markets; want one paused and none", r.Run.Bodiless, r.Run.Markets)
	}
	if r.NoBids["audience_excluded"] != 2 || r.NoBids["unknown_visitor"] != 1 {
		t.Errorf("no bids %v", r.NoBids)
	}
}

func TestNothingToReplay(t *testing.T) {
	s := snapshot(t, "day/even.yaml")
	o := Options{Config: s, Exchange: "nobody", Clock: time.Now}
	if _, err := Run(context.Background(), o, lines([]byte(`{"id":"1","imp":[]}`+"\n"))); err == nil || !strings.Contains(err.Error(), "--exchange") {
		t.Errorf("got %v; want an error that names the remedy", err)
	}
}

// Scripts rely on the names in the report.
func TestReportNames(t *testing.T) {
	s := snapshot(t, "day/even.yaml")
	var b bytes.Buffer
	if err := replayed(t, Options{Config: s}, aDay(t, s, 500, 1)).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Run   map[string]any
		Lines []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("requests known bids seconds per_second config seed") {
		if _, ok := got.Run[name]; !ok {
			t.Errorf("run has no %s", name)
		}
	}
	for _, name := range strings.Fields("line campaign matched bids wins spend_micros value_micros cap_micros utilisation_pct over_cap_micros late_spend_micros avg_bid avg_clear clicks conversions curve") {
		if _, ok := got.Lines[0][name]; !ok {
			t.Errorf("line has no %s", name)
		}
	}
}

// The public corpus is replayed where it is next to the repository.
func TestCorpusReplaysTheSameTwice(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "corpus", "requests.jsonl"))
	if err != nil {
		t.Skip("no corpus next to the checkout")
	}
	s, err := config.LoadFS(examples.FS, examples.Shop, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	report := func() string {
		var out strings.Builder
		if err := replayed(t, Options{Config: s, Exchange: "demo", At: start(t), Spacing: time.Millisecond}, b).WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if first := report(); first != report() {
		t.Error("two replays of the corpus differ")
	}
}
