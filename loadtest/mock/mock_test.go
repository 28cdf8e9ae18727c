package mock

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"rebound/rtb"
)

// The package must be usable in the bidder's program, which does without the attack
// library.
func TestNoAttackLibrary(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, bad := range []string{"vegeta", "rebound/bidder", "fasthttp"} {
		if strings.Contains(string(out), bad) {
			t.Errorf("the package depends on %s", bad)
		}
	}
}

func TestSell(t *testing.T) {
	const m = 1_000_000
	deal := &Deal{ID: "d", Price: 2 * m}
	for _, c := range []struct {
		name                       string
		floor, competition         rtb.CPM
		first                      bool
		bids                       []bid
		winner                     int // index; -1: nobody of the bidders
		cleared, toBeat, toBeatOne rtb.CPM
	}{
		{"no bid", 1 * m, 2 * m, false, nil, -1, 0, 0, 0},
		{"second price pays the competition", 1 * m, 2 * m, false, []bid{{price: 3 * m}}, 0, 2 * m, 2 * m, 0},
		{"second price pays the floor", 1 * m, 0, false, []bid{{price: 3 * m}}, 0, 1 * m, 1 * m, 0},
		{"first price pays the bid", 1 * m, 2 * m, true, []bid{{price: 3 * m}}, 0, 3 * m, 2 * m, 0},
		{"a bid at the price to beat wins", 1 * m, 3 * m, false, []bid{{price: 3 * m}}, 0, 3 * m, 3 * m, 0},
		{"a bid below it loses", 1 * m, 3*m + 1, false, []bid{{price: 3 * m}}, -1, 0, 3*m + 1, 0},
		{"the higher of two wins and pays the lower", 1 * m, 2 * m, false, []bid{{price: 3 * m}, {price: 5 * m}}, 1, 3 * m, 5 * m, 3 * m},
		{"of equal bids the first wins", 1 * m, 2 * m, false, []bid{{price: 3 * m}, {price: 3 * m}}, 0, 3 * m, 3 * m, 3 * m},
		{"a late bid does not take part", 1 * m, 2 * m, false, []bid{{price: 9 * m, late: true}, {price: 3 * m}}, 1, 2 * m, 3 * m, 2 * m},
		{"a deal has a fixed price", 1 * m, 1 * m, false, []bid{{price: 4 * m, DealID: "d"}}, 0, 2 * m, 1 * m, 0},
	} {
		imp := &impression{floor: c.floor, competition: c.competition, deal: deal}
		var list []*bid
		for i := range c.bids {
			list = append(list, &c.bids[i])
		}
		s := sell(imp, c.first, list)
		winner := -1
		for i := range list {
			if s.winner == list[i] {
				winner = i
			}
		}
		if winner != c.winner || s.cleared != c.cleared {
			t.Errorf("%s: got winner %d at %s; want %d at %s", c.name, winner, s.cleared, c.winner, c.cleared)
		}
		for i, want := range []rtb.CPM{c.toBeat, c.toBeatOne} {
			if i < len(list) {
				if got := s.toBeat(imp, list[i]); got != want {
					t.Errorf("%s: price to beat of bid %d: got %s; want %s", c.name, i, got, want)
				}
			}
		}
	}
}

// outside is a bidder of another make: it bids 3.00 CPM on every impression for those
// with a cookie, and keeps books of its own.
type outside struct {
	mu     sync.Mutex
	calls  map[string]int // by path
	billed map[string]int64
	wrong  int64 // added to the books
	bids   int
}

func (o *outside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[r.URL.Path]++
	base := "http://" + r.Host
	switch r.URL.Path {
	case "/v1/px":
		http.SetCookie(w, &http.Cookie{Name: "rt_uid", Value: "u"})
	case "/bid":
		var rq struct {
			ID   string
			Imp  []struct{ ID string }
			User struct{ BuyerUID string }
		}
		if json.NewDecoder(r.Body).Decode(&rq) != nil || rq.User.BuyerUID == "" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		var bids []string
		for _, imp := range rq.Imp {
			o.bids++
			id := fmt.Sprintf("b-%s-%s", rq.ID[strings.LastIndexByte(rq.ID, '-')+1:], imp.ID)
			u := func(kind string) string { return base + "/v1/" + kind + "?k=" + id + "&p=${AUCTION_PRICE}" }
			bids = append(bids, fmt.Sprintf(`{"id":%q,"impid":%q,"price":3,"cid":"c","crid":"x","nurl":%q,"burl":%q,"lurl":%q,"adm":%q}`, id, imp.ID, u("win"), u("bill"), u("loss"),
				`<a href="`+u("c")+`"><img src="`+u("imp")+`"></a>`))
		}
		fmt.Fprintf(w, `{"id":%q,"cur":"USD","seatbid":[{"bid":[%s]}]}`, rq.ID, strings.Join(bids, ","))
	case "/v1/bill":
		price, err := rtb.ParseMicros(r.URL.Query().Get("p"), rtb.RoundUp)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		o.billed[r.URL.Query().Get("k")] = int64(rtb.CPM(price).Cost())
		w.WriteHeader(http.StatusNoContent)
	case "/v1/c":
		http.Redirect(w, r, "https://shop.example/", http.StatusFound)
	case "/admin/budgets", "/metrics":
		sum := o.wrong
		for _, v := range o.billed {
			sum += v
		}
		if r.URL.Path == "/metrics" {
			fmt.Fprintf(w, "rebound_pacing_spend_micros_total{line=\"l\"} %d\n", sum)
			return
		}
		fmt.Fprintf(w, `{"budgets":[{"campaign":"c","window":"total","spent_micros":%d}]}`, sum)
	}
}

// noon returns a clock that begins at noon, so that no day ends during a run.
func noon() func() time.Time {
	began := time.Now()
	return func() time.Time { return time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC).Add(time.Since(began)) }
}

// run lets an exchange run against an outside bidder.
func run(t *testing.T, o *outside, change func(*Options)) *Report {
	t.Helper()
	o.calls, o.billed = map[string]int{}, map[string]int64{}
	s := httptest.NewServer(o)
	defer s.Close()
	opt := Options{Bidder: Bidder{Second: s.URL + "/bid", Admin: s.URL}, Shop: Shop{Advertiser: "shop", Edge: s.URL}, Pages: 600, Visitors: 60,
		ShopperPct: 70, RevisitPct: 5, ClickPct: 50, ConvertPct: 50, TMax: time.Minute, Seed: 3, Now: noon()}
	change(&opt)
	x, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	r, err := x.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// With every fault of notices the books agree, because only bills that the bidder
// acknowledged count, and each counts once.
func TestBooksAgree(t *testing.T) {
	o := &outside{}
	r := run(t, o, func(p *Options) {
		p.Notices = Notices{LostPct: 10, LatePct: 10, LateDelay: time.Millisecond, DuplicatePct: 10, ReorderedPct: 10, BilledLossPct: 20}
	})
	n := r.Totals.Notices
	if !r.Agrees() || r.Totals.Failures != 0 {
		t.Errorf("differences %v, failures %d: %s", r.Comparison.Differences, r.Totals.Failures, r.Totals.LastFailure)
	}
	if r.Totals.Wins == 0 || r.Totals.Losses == 0 || r.Totals.Clicks == 0 || r.Totals.Orders == 0 || r.Totals.Unbilled == 0 ||
		min(n.Lost, n.Late, n.Duplicated, n.Reordered, n.BilledLoss) == 0 {
		t.Errorf("something did not happen: %+v", r.Totals)
	}
	if r.Totals.Bids != o.bids || n.Win != o.calls["/v1/win"] || n.Bill != o.calls["/v1/bill"] || n.Loss != o.calls["/v1/loss"] {
		t.Errorf("the exchange counts %d bids and %+v; the bidder %d and %v", r.Totals.Bids, n, o.bids, o.calls)
	}
	var text, page strings.Builder
	if r.WriteText(&text) != nil || r.WriteHTML(&page) != nil || !strings.Contains(text.String(), "agree to the last micro") || !strings.Contains(page.String(), "<svg") {
		t.Errorf("reports: %s", text.String())
	}
}

// A bidder that has one micro more in its books is found out.
func TestBooksDiffer(t *testing.T) {
	x := &Exchange{b: newBooks(time.Now())}
	o := &outside{calls: map[string]int{}, billed: map[string]int64{}}
	s := httptest.NewServer(o)
	defer s.Close()
	x.o = Options{Bidder: Bidder{Admin: s.URL, Second: s.URL}, Now: time.Now}
	x.o.setDefaults()
	before, err := x.readBooks(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	o.wrong = 1
	var c Comparison
	x.compareBudgets(context.Background(), before, &c)
	if len(c.Differences) != 2 || !strings.Contains(c.Differences[0], "0.000001") {
		t.Errorf("got %q; want the campaign and the sum", c.Differences)
	}
}

// The same seed makes the same run, with any number of workers at the same speed.
func TestDeterministic(t *testing.T) {
	faults := func(p *Options) {
		p.Notices = Notices{LostPct: 5, DuplicatePct: 5, BilledLossPct: 5}
		p.KeepAuctions = true
	}
	a, b := run(t, &outside{}, faults), run(t, &outside{}, faults)
	if !reflect.DeepEqual(a.Rows, b.Rows) || a.Totals.Notices != b.Totals.Notices || a.Totals.Orders != b.Totals.Orders || len(a.Auctions) != len(b.Auctions) {
		t.Errorf("two runs of one seed differ:\n%+v\n%+v", a.Totals, b.Totals)
	}
	c := run(t, &outside{}, func(p *Options) { faults(p); p.Seed = 4 })
	if reflect.DeepEqual(a.Rows, c.Rows) {
		t.Error("another seed makes the same run")
	}
}

// The exchange survives a bidder that breaks off, hangs or answers nonsense, and says
// what it saw.
func TestBadBidders(t *testing.T) {
	for _, c := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{"closes", "EOF", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }},
		{"nonsense", "something else than a bid response", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }},
		{"status", "status 500", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }},
		{"below the floor", "", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"seatbid":[{"bid":[{"id":"1","impid":"1","price":0.0001,"adm":"x"}]}]}`)
		}},
	} {
		s := httptest.NewServer(c.answer)
		x, err := New(Options{Bidder: Bidder{Second: s.URL}, Shop: Shop{Edge: s.URL}, Pages: 20, Visitors: 5, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		r, err := x.Run(context.Background())
		if err != nil || r.Totals.Bids != 0 || (c.want == "") != (r.Totals.Failures == 0) || !strings.Contains(r.Totals.LastFailure, c.want) {
			t.Errorf("%s: got %v, %d bids, %d failures: %q; want %q", c.name, err, r.Totals.Bids, r.Totals.Failures, r.Totals.LastFailure, c.want)
		}
		if c.want == "" && r.Totals.Invalid == 0 {
			t.Errorf("%s: no bid was refused", c.name)
		}
		s.Close()
	}
}

// An interruption ends the run with the books as they are.
func TestInterrupted(t *testing.T) {
	o := &outside{calls: map[string]int{}, billed: map[string]int64{}}
	s := httptest.NewServer(o)
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	x, err := New(Options{Bidder: Bidder{Second: s.URL + "/bid", Admin: s.URL}, Shop: Shop{Edge: s.URL}, Duration: time.Hour, PerSecond: 500, ShopperPct: 50, Now: time.Now,
		First: func(string) { cancel() }})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := x.Run(ctx); err != nil || !r.Agrees() {
		t.Errorf("got %v, %+v", err, r)
	}
}

func TestRefusesOptions(t *testing.T) {
	good := Options{Bidder: Bidder{Second: "http://127.0.0.1:1/"}, Pages: 1, Now: time.Now}
	for name, change := range map[string]func(*Options){
		"clock":    func(o *Options) { o.Now = nil },
		"bidder":   func(o *Options) { o.Bidder.Second = "" },
		"pages":    func(o *Options) { o.Pages = 0 },
		"second":   func(o *Options) { o.PerSecond = -1 },
		"visitors": func(o *Options) { o.Visitors = -1 },
		"workers":  func(o *Options) { o.Workers = 100_000 },
		"clicks":   func(o *Options) { o.ClickPct = 101 },
		"deals":    func(o *Options) { o.DealPct = 1 },
		"spread":   func(o *Options) { o.Spread = 100 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), name[:len(name)-1]) {
			t.Errorf("%s: got %v; want an error that names it", name, err)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	if err := readFacts(filepath.Join(t.TempDir(), "none"), func(*logged) {}); err == nil {
		t.Error("a missing log is not an error")
	}
}

// The page shows the caps that are spread over time and were spent from, in order.
func TestCurves(t *testing.T) {
	began := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	curve := func(line string, spent, planned rtb.Micros) *BudgetCurve {
		c := &BudgetCurve{Advertiser: "shop", Campaign: "autumn", Line: line, Window: "flight", Day: "2026-10-01", Currency: "USD"}
		for i := range rtb.Micros(mostPoints) {
			c.Points = append(c.Points, BudgetPoint{At: began.Add(time.Duration(i) * time.Second), Cap: 3_000_000,
				Spent: spent * i / mostPoints, Planned: planned * i / mostPoints, Multiplier: 1.5})
		}
		return c
	}
	curves := []*BudgetCurve{curve("unspent", 3000, 3_000_000), curve("asap", 3_000_000, 0), curve("half", 1_500_000, 3_000_000), curve("spent", 2_900_000, 3_000_000)}
	if !thin(curves) || len(curves[0].Points) != mostPoints/2 || thin(curves) {
		t.Errorf("got %d points; want %d", len(curves[0].Points), mostPoints/2)
	}
	var titles []string
	for _, c := range shown(curves) {
		titles = append(titles, c.Line)
	}
	if want := "spent half"; strings.Join(titles, " ") != want {
		t.Errorf("got the caps of %v; want %s", titles, want)
	}
	if d := curves[2].Deviation(); d < 0.28 || d > 0.3 {
		t.Errorf("half of a plan: deviation %.3f; want 0.29, a half over the square root of 3", d)
	}
	s := curves[3].section(began)
	if s.Title != "shop / autumn / spent, flight of 2026-10-01" || len(s.Charts) != 2 || !strings.Contains(s.Text, "96.5 %") {
		t.Errorf("got section %q, %q with %d charts", s.Title, s.Text, len(s.Charts))
	}
}
